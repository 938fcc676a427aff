"""The stored margins of the lessons' claims, and the command that measures them."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import nbformat
import pytest

from tools import margins

LEAST_RUNS = 8  # of the nine settings


def _row(setting: str, gain: float, holds: bool = True, apart: float = 1.0) -> dict[str, Any]:
    evidence = {
        "gain": {"value": gain, "low": 1.0, "high": 3.0},
        "a > b": {"value": apart, "low": 0.0, "high": None},
        "seeds": {"value": 5.0},
        "who": {"value": "both"},
    }
    claims = [{"sentence": "It gains", "holds": holds, "evidence": evidence}]
    return {
        "lesson": "tiny", "digest": "d", "setting": setting, "error": None, "differs": [], "claims": claims,
    }  # fmt: skip


# -- what is stored --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    return margins.present(margins.stored(), margins.lessons())


def test_nothing_is_wrong_in_the_stored_runs(rows: list[dict[str, Any]]) -> None:
    assert margins.faults(rows) == []


@pytest.mark.parametrize("lesson", margins.lessons())
def test_every_number_of_every_claim_is_measured(lesson: str, rows: list[dict[str, Any]]) -> None:
    claims = margins.lessons()[lesson]
    assert sum(len(claim.bounds) for claim in claims) > 3
    assert margins.unmeasured(claims, [row for row in rows if row["lesson"] == lesson], LEAST_RUNS) == []


def test_the_table_is_that_of_the_runs(rows: list[dict[str, Any]]) -> None:
    assert margins.TABLE.read_text(encoding="utf-8") == margins.table(rows)


# -- how it is measured ----------------------------------------------------------------------


def test_distance_and_deviation() -> None:
    rows = [_row("1 thread", 1.5), _row("2 threads", 1.5), _row("4 threads", 2.0)]
    gain, apart = margins.margins(rows)
    assert (gain.name, apart.name) == ("gain", "a > b")
    assert gain.deviation == pytest.approx(math.sqrt(0.125))  # 1.5 counts once
    assert gain.distance == 0.5 and gain.deviations == pytest.approx(0.5 / math.sqrt(0.125))
    assert apart.deviation == 0 and apart.deviations == math.inf
    rows.append(_row("2 threads, AVX2", 2.9))
    assert margins.margins(rows)[0].distance == pytest.approx(0.1)  # now the upper bound is the nearer one
    rows.append(_row("1 thread, AVX2", 3.5))
    assert margins.margins(rows)[0].deviations == -math.inf


def test_each_kind_of_fault_is_found() -> None:
    assert margins.faults([_row("1 thread", 2.0), _row("2 threads", 2.1)]) == []
    for row, words in (
        (_row("2 threads", 1.1), "lies 0.2 standard deviations from its bound"),
        (_row("2 threads", 2.1, holds=False), "false: It gains"),
        (_row("2 threads", 2.1, apart=-0.1), "'a > b'"),
        (_row("2 threads", 2.1) | {"error": "ValueError"}, "stopped: ValueError"),
        (_row("2 threads", 2.1) | {"differs": ["print(1)"]}, "prints something else: print(1)"),
    ):
        (found,) = margins.faults([_row("1 thread", 2.0), row])
        assert words in found


def test_the_table_gives_bound_values_deviation_and_distance() -> None:
    rows = [_row("1 thread", 1.5), _row("2 threads", 2.0)]
    at_most = rows[1]["claims"][0]["evidence"] | {"gain": {"value": 2.0, "low": None, "high": 3.0}}
    rows[1]["claims"] = [rows[1]["claims"][0] | {"evidence": at_most}]
    text = margins.table(rows)
    assert "| It gains | `gain` | <= 3 | 1.5 | 2 | 0.35 | 2.8 |" in text
    assert "1 further numbers are the same" in text
    assert "not under 4 threads; 2 threads, bfloat16;" in text and "**1 thread** `OMP_NUM_THREADS=1" in text
    assert "- tiny under 1 thread stopped: ValueError" in margins.table([rows[0] | {"error": "ValueError"}])


def test_of_each_lesson_and_setting_the_last_run_counts(tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl"
    assert margins.stored(path) == []
    rows = [_row("1 thread", 1.5), _row("2 threads", 1.5), _row("1 thread", 2.0)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    assert margins.stored(path) == [rows[2], rows[1]]


CELL = """
better, why = 2.0, "so"
claim(
    f"It is {why}",
    better > 1.5 and all(x < 3 <= 4 for x in (1, 2)) and (better > 9 or True) and not better > 3,
    points=at_least(better, 1),
    seeds=5,
)
claim("Plain ", True)
"""


def test_claims_are_found_in_code() -> None:
    assert [(claim.sentence, claim.bounds) for claim in margins.stated(CELL)] == [
        ("It is ...", {"better > 1.5": (0, None), "x < 3 <= 4": (0, None), "points": (1, None)}),
        ("Plain", {}),
    ]
    ends = "claim('It is', True, a=at_most(a, 3), b=between(b, -1, 2), c=at_least(c, most))"
    assert margins.stated(ends)[0].bounds == {"a": (None, 3), "b": (-1, 2), "c": None}
    assert margins.stated("%matplotlib inline") == []


def test_a_run_counts_for_the_claims_that_a_lesson_makes_now() -> None:
    row = _row("1 thread", 2.0)
    now = margins.stated("claim('It gains', a > b, gain=at_most(gain, 2.5))")
    (kept,) = margins.present([row], {"tiny": now})
    assert kept["claims"][0]["evidence"] == {
        "gain": {"value": 2.0, "low": None, "high": 2.5},
        "a > b": {"value": 1.0, "low": 0.0, "high": None},
    }
    assert margins.unmeasured(now, [kept]) == []
    assert margins.unmeasured(now, [kept], least=2) == ["It gains"]
    rewritten = margins.stated("claim('It wins', a > b, gain=at_least(gain, 1))")
    (kept,) = margins.present([row], {"tiny": rewritten})
    assert kept["claims"][0]["sentence"] == "It wins" and margins.unmeasured(rewritten, [kept]) == []
    for code in (
        "claim('It gains', c > b)",
        "claim('It gains', True, more=at_most(gain, 2))",
        "claim('So', a > c)",
    ):
        now = margins.stated(code)
        assert margins.unmeasured(now, margins.present([row], {"tiny": now})) == [now[0].sentence]
    assert margins.present([row], {"other": now})[0]["claims"] == []


@pytest.mark.slow
def test_a_lesson_is_run_and_its_conditions_noted(tmp_path: Path) -> None:
    from nbformat import v4

    head = "import torch\nfrom kdcourse.course import at_least, claim"
    last = "print(torch.get_num_threads())\nclaim('No', torch.tensor(1.0) > 2)"
    notebook = v4.new_notebook(cells=[v4.new_code_cell(text) for text in (head, CELL, last)])
    stored = "Claim holds: It is so.\n  points: at least 1\n  seeds: 5\nClaim holds: Plain.\n"
    notebook.cells[1].outputs = [v4.new_output("stream", name="stdout", text=stored)]
    path = tmp_path / "07_tiny.ipynb"
    nbformat.write(notebook, path)
    row = margins.run(path, "2 threads")
    assert (row["lesson"], row["setting"], row["error"]) == ("tiny", "2 threads", None)
    assert row["differs"] == ["print(torch.get_num_threads())"]
    assert [(claim["sentence"], claim["holds"]) for claim in row["claims"]] == [
        ("It is so", True),
        ("Plain", True),
        ("No", False),  # and the lesson goes on
    ]
    assert row["claims"][0]["evidence"] == {
        "better > 1.5": {"value": 0.5, "low": 0.0, "high": None},
        "x < 3 <= 4": {"value": 1.0, "low": 0.0, "high": None},
        "points": {"value": 2.0, "low": 1.0, "high": None},
        "seeds": {"value": 5.0},
    }
    assert row["claims"][2]["evidence"] == {
        "torch.tensor(1.0) > 2": {"value": -1.0, "low": 0.0, "high": None}
    }
