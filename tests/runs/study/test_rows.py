from __future__ import annotations

import json
import multiprocessing
from pathlib import Path

import pytest

from kdcourse.errors import CheckpointError
from kdcourse.files import read_checksums, sha256
from kdcourse.runs.study import rows as module
from kdcourse.runs.study.rows import Row, Rows, identity


def row(seed: int = 0, **changes: object) -> Row:
    known = {
        "about": {"kind": "labels"},
        "recipe": {"epochs": 1},
        "precision": "float32",
        "data": "d",
        "answers": None,
    }
    return {**known, "seed": seed, "validation_accuracy": 0.5, **changes}


@pytest.fixture(autouse=True)
def locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "cache_folder", lambda: tmp_path / "cache")


def test_rows_are_kept_in_order_and_their_checksum_is_written(tmp_path: Path) -> None:
    rows = Rows(tmp_path / "new", "one")
    assert rows.read() == []
    for seed in (2, 0, 1):
        rows.add(row(seed))
        assert read_checksums(rows.path.parent) == {"one.jsonl": sha256(rows.path)}
    assert [each["seed"] for each in rows.checked()] == [2, 0, 1]
    assert len(rows.path.read_text().splitlines()) == 3


def test_a_row_of_the_same_training_is_added_once(tmp_path: Path) -> None:
    rows = Rows(tmp_path, "one")
    rows.add(row(validation_accuracy=0.5))
    rows.add(row(validation_accuracy=0.6))
    assert [each["validation_accuracy"] for each in rows.read()] == [0.5]


@pytest.mark.parametrize(
    "change",
    [
        {"about": {"kind": "answers"}},
        {"recipe": {"epochs": 2}},
        {"precision": "bfloat16"},
        {"data": "e"},
        {"answers": "a"},
    ],
)
def test_a_row_is_known_by_all_that_its_training_depends_on(change: dict[str, object]) -> None:
    assert identity(row()) == identity(row(validation_accuracy=0.1, seconds=3))
    assert identity(row()) != identity(row(**change)) != identity(row(1, **change))


def test_a_file_that_was_changed_or_has_no_rows_is_refused(tmp_path: Path) -> None:
    rows = Rows(tmp_path, "one")
    with pytest.raises(CheckpointError, match=r"no rows in .*kdcourse study one"):
        rows.checked()
    rows.add(row())
    rows.path.write_text(rows.path.read_text().replace("0.5", "0.9"))
    with pytest.raises(CheckpointError, match=r"one\.jsonl was changed"):
        rows.checked()
    rows.path.write_text(json.dumps(row()) + "\n" + '{"seed": 3}\n')
    with pytest.raises(CheckpointError, match=r"line 2 is no row"):
        rows.read()


def _claim(folder: Path, cache: Path, answer: multiprocessing.SimpleQueue[list[bool]]) -> None:
    module.cache_folder = lambda: cache
    rows, found = Rows(folder, "one"), []
    for seed in (0, 1):
        with rows.claimed(row(seed)) as mine:
            found.append(mine)
    answer.put(found)


def test_what_a_process_claims_no_other_gets_until_it_is_done(tmp_path: Path) -> None:
    context = multiprocessing.get_context(
        "fork" if "fork" in multiprocessing.get_all_start_methods() else "spawn"
    )
    answer = context.SimpleQueue()

    def asked() -> list[bool]:
        other = context.Process(target=_claim, args=(tmp_path, tmp_path / "cache", answer))
        other.start()
        other.join(60)
        found: list[bool] = answer.get()
        return found

    rows = Rows(tmp_path, "one")
    with rows.claimed(row(0)) as mine:
        assert mine
        rows.add(row(1))  # which locks and releases another byte
        assert asked() == [False, True]
    assert asked() == [True, True]
