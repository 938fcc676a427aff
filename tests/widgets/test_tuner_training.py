"""A student of the tuner is trained exactly as fit and distil would, and what is kept of it survives."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from kdcourse.distillation import SoftTargets, distil, soft_targets
from kdcourse.errors import ArgumentError, DivergedError
from kdcourse.widgets.jobs import Stopped
from kdcourse.widgets.storage import Guess, GuessFolder, Run, RunFolder, RunSettings, kept_folder
from kdcourse.widgets.tuner_training import fresh_student, parameters, prepare_targets, train_run
from tests.distillation.tiny import constant_teacher, dataset, quarter_reader, split

SMALL = RunSettings(epochs=3, batch_size=16, learning_rate=0.05)


def targets() -> SoftTargets:
    data = dataset()
    return soft_targets(quarter_reader(), data.train, data, cache=False, progress=False)


def records(epochs: list[Any]) -> list[Any]:
    return [replace(record, seconds=0.0) for record in epochs]


@pytest.mark.parametrize(
    ("learns_from", "alpha"),
    [("distilled", 0.7), ("teacher", 1.0), ("labels", 0.0)],
    ids=["both", "teacher", "labels"],
)
def test_a_run_records_what_distil_records(learns_from: str, alpha: float) -> None:
    data, soft = dataset(), targets()
    settings = replace(SMALL, learns_from=learns_from, alpha=0.7, method_settings={"temperature": 3.0})
    run = train_run(settings, data, None if learns_from == "labels" else soft)
    student = fresh_student("mlp_25k", data, 0)
    history = distil(
        student, soft, data, temperature=3.0, alpha=alpha, epochs=3, seed=0, learning_rate=0.05, batch_size=16,
        precision="float32", progress=False,
    )  # fmt: skip
    assert records(run.epochs) == records(history.epochs)
    assert run.state == "finished" and [x for x, _ in run.losses] == [n / 4 for n in range(1, 13)]
    first = sum(y for _, y in run.losses[:4]) / 4
    assert first == pytest.approx(history.epochs[0].train_loss)


def test_the_same_seed_begins_with_the_same_weights_and_leaves_the_generator_alone() -> None:
    data = dataset()
    state = torch.random.get_rng_state()
    one, two, other = (fresh_student("mlp_25k", data, seed) for seed in (5, 5, 6))
    assert torch.equal(state, torch.random.get_rng_state())
    weights = [next(student.parameters()) for student in (one, two, other)]
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])
    assert parameters("mlp_25k", data) == sum(weight.numel() for weight in one.parameters())


def test_long_runs_keep_few_points_and_the_last_one() -> None:
    seen: list[float] = []
    run = train_run(
        replace(SMALL, batch_size=1, epochs=7, learning_rate=1e-4),
        dataset(),
        targets(),
        after_step=seen.append,
    )
    assert 200 <= len(run.losses) <= 300 and run.losses[-1][0] == 7.0
    assert len(seen) == 490 and seen[-1] == 1.0 and seen == sorted(seen)


def test_after_step_can_end_a_run_and_what_was_found_stays() -> None:
    begun: list[Run] = []

    def stop(share: float) -> None:
        if share > 0.5:
            raise Stopped

    with pytest.raises(Stopped):
        train_run(SMALL, dataset(), targets(), begun=begun.append, after_step=stop)
    assert len(begun[0].epochs) == 1 and 6 <= len(begun[0].losses) <= 8


def test_a_run_refuses_what_can_not_be_learned_from() -> None:
    data = dataset()
    with pytest.raises(ArgumentError, match="needs a teacher or its soft targets"):
        train_run(SMALL, data, None)
    with pytest.raises(ArgumentError, match="There is no model"):
        train_run(replace(SMALL, student="mlp"), data, targets())


@pytest.mark.parametrize("where", ["at once", "in validation"])
def test_a_run_that_diverges_keeps_what_was_seen(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[Run] = []
    settings = replace(SMALL, learns_from="labels", learning_rate=1e30 if where == "at once" else 0.05)
    if where == "in validation":
        monkeypatch.setattr("kdcourse.training.run.evaluate", lambda *given: (float("inf"), None))
    with pytest.raises(DivergedError, match="third of the learning rate"):
        train_run(settings, dataset(), None, begun=begun.append, optimizer="sgd")
    (run,) = begun
    assert run.state == "diverged" and run.epochs == []
    assert run.losses and all(math.isfinite(loss) for _, loss in run.losses)
    if where == "in validation":
        assert [x for x, _ in run.losses] == [0.25, 0.5, 0.75, 1.0]
    assert Run.from_json(run.to_json()) == run


def test_targets_are_taken_or_asked_for_and_the_asking_can_be_stopped(tmp_path: Path) -> None:
    data, soft = dataset(), targets()
    assert prepare_targets(soft, data, lambda: None) is soft
    other = soft_targets(quarter_reader(), split(70, 9), data, cache=False, progress=False)
    with pytest.raises(ArgumentError, match="another split"):
        prepare_targets(other, data, lambda: None)
    with pytest.raises(ArgumentError, match="the same logits"):
        prepare_targets(constant_teacher(), data, lambda: None, cache=False)
    asked: list[int] = []
    teacher = quarter_reader()
    prepare_targets(teacher, data, lambda: asked.append(1), cache=tmp_path)
    assert asked
    asked.clear()

    def stop() -> None:
        raise Stopped

    with pytest.raises(Stopped):
        prepare_targets(teacher, data, stop, cache=False)
    teacher(data.normalise(data.train.images[:2]))
    assert not asked, "the check stays with the teacher"


# -- what is kept ----------------------------------------------------------------------------


def test_a_run_survives_the_disk(tmp_path: Path) -> None:
    run = train_run(SMALL, dataset(), targets())
    folder = RunFolder(tmp_path)
    folder.save(run)
    assert RunFolder(tmp_path).load() == ([run], [])
    folder.delete(run)
    folder.delete(run)
    assert folder.load() == ([], [])


def test_runs_come_oldest_first_and_never_share_a_file(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    when = [f"2026-01-0{day}T10:00:00+00:00" for day in (3, 1, 2, 2)]
    for started in when:
        folder.save(Run(SMALL, "tiny", state="finished", started=started))
    runs, damaged = folder.load()
    assert [run.started for run in runs] == sorted(when) and damaged == []


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text[: len(text) // 2],
        lambda text: "",
        lambda text: "[]",
        lambda text: "null",
        lambda text: "\x00\xff",
        lambda text: text.replace('"format": 2', '"format": 3'),
        lambda text: text.replace('"mlp_25k"', "7"),
        lambda text: text.replace('{"temperature": 4.0}', '{"temperature": "4"}'),
        lambda text: text.replace('{"temperature": 4.0}', "4.0"),
        lambda text: text.replace('"distilled"', '"distiled"'),
        lambda text: text.replace('"state": "finished"', '"state": "training"'),
        lambda text: text.replace('"validation_accuracy": ', '"validation_accuracy": NaN, "x": '),
        lambda text: text.replace('"losses": [', '"losses": [[1], '),
        lambda text: text.replace('"train_loss"', '"train_lost"'),
        lambda text: text.replace('"started": "', '"started": "on '),
        lambda text: text.replace('"data":', '"date":'),
        lambda text: text.replace('"identity": "', '"identity": "../'),
    ],
)
def test_a_damaged_run_is_named_and_left_in_place(tmp_path: Path, change: Any) -> None:
    run = train_run(replace(SMALL, epochs=1), dataset(), targets())
    folder = RunFolder(tmp_path)
    folder.save(run)
    (good,) = tmp_path.glob("*.json")
    bad = tmp_path / "20200101-damaged.json"
    bad.write_text(change(good.read_text()), encoding="latin-1")
    before = bad.read_bytes()
    assert folder.load() == ([run], [bad.name])
    assert bad.read_bytes() == before


def test_a_run_that_an_earlier_version_stored_is_read(tmp_path: Path) -> None:
    run = train_run(replace(SMALL, epochs=1), dataset(), targets())
    content = json.loads(run.to_json())
    kept = content["settings"]
    kept["objective"], kept["temperature"] = (
        kept.pop("learns_from"),
        kept.pop("method_settings")["temperature"],
    )
    del kept["method"]
    for record in content["epochs"]:
        del record["parts"]
    (tmp_path / run.file_name).write_text(json.dumps(content | {"format": 1}))
    (found,), damaged = RunFolder(tmp_path).load()
    assert damaged == [] and found.settings == run.settings and found.losses == run.losses
    assert found.accuracies == run.accuracies


def test_nothing_but_numbers_is_kept(tmp_path: Path) -> None:
    run = Run(SMALL, "tiny", state="stopped", losses=[(1.0, float("nan"))])
    with pytest.raises(ValueError, match="JSON"):
        RunFolder(tmp_path).save(run)
    assert not list(tmp_path.iterdir())


def test_where_things_are_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KDCOURSE_RUNS", str(tmp_path))
    assert kept_folder() == tmp_path and RunFolder().path == tmp_path / "tuner"
    monkeypatch.delenv("KDCOURSE_RUNS")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert "kdcourse" in kept_folder().parts and kept_folder().name == "runs"


def test_a_guess_survives_and_a_damaged_one_is_told_apart(tmp_path: Path) -> None:
    folder = GuessFolder(tmp_path)
    assert folder.load("a") is None
    folder.save(Guess("a", 72.0, "%"))
    folder.save(Guess("b", "the third"))
    assert folder.load("a") == Guess("a", 72.0, "%") and folder.load("b") == Guess("b", "the third")
    file = tmp_path / "a.json"
    for text in (
        "",
        "{}",
        "[1]",
        json.dumps({"format": 1, "key": "b", "guess": 1, "unit": ""}),
        file.read_text()[:9],
    ):
        file.write_text(text)
        with pytest.raises(ValueError):
            folder.load("a")
        assert file.read_text() == text
    for key in ("", "../a", "a b", "a/b"):
        with pytest.raises(ArgumentError, match="names its file"):
            folder.load(key)
