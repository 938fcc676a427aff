from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from kdcourse.course import at_least, at_most, between, claim
from kdcourse.course.claims import BUILDING, GO_ON, MEASURED, RECORD
from kdcourse.errors import ArgumentError


def test_a_claim_prints_its_sentence_and_coarse_evidence(capsys: pytest.CaptureFixture[str]) -> None:
    claim(
        " Two is more than one. ", 2 > 1,
        seeds=5, pictures=10_000, students="plain and distilled", mean_gain=0.4321, loss=-0.0219, large=1234.5,
        nothing=0.0, accuracy=at_least(91.27, 88, "%"), error=at_most(0.011, 0.02), gap=between(0.45, 0.3, 0.6),
    )  # fmt: skip
    assert capsys.readouterr().out == (
        "Claim holds: Two is more than one.\n"
        "  seeds: 5\n"
        "  pictures: 10,000\n"
        "  students: plain and distilled\n"
        "  mean gain: about 0.4\n"
        "  loss: about -0.02\n"
        "  large: about 1000\n"
        "  nothing: 0\n"
        "  accuracy: at least 88 %\n"
        "  error: at most 0.02\n"
        "  gap: between 0.3 and 0.6\n"
    )


def test_a_claim_prints_what_was_measured_and_what_must_hold_on_any_machine(
    capsys: pytest.CaptureFixture[str],
) -> None:
    claim(
        "It gains", True,
        accuracy=at_least(91.27, 88, "%", digits=1), gain=at_least([9.72, 9.9, 10.0], 6, "points", digits=1),
        loss=at_most(-2.4, 0, "points", digits=0), images=between(1234, 1000, 2000, digits=0),
    )  # fmt: skip
    printed = capsys.readouterr().out
    assert printed == (
        "Claim holds: It gains.\n"
        "  accuracy: 91.3 % (at least 88 % on any machine)\n"
        "  gain: +9.9 points over 3 seeds (+9.7, +9.9, +10.0; at least 6 points on any machine)\n"
        "  loss: -2 points (at most 0 points on any machine)\n"
        "  images: 1,234 (between 1000 and 2000 on any machine)\n"
    )
    assert MEASURED.sub("measured", printed) == (
        "Claim holds: It gains.\n"
        "  accuracy: measured (at least 88 % on any machine)\n"
        "  gain: measured; at least 6 points on any machine)\n"
        "  loss: measured (at most 0 points on any machine)\n"
        "  images: measured (between 1000 and 2000 on any machine)\n"
    )
    assert at_least([5, 7], 6).holds and not at_least([5, 6.9], 6).holds
    with pytest.raises(AssertionError, match=r"gain is 5\.5, not at least 6 points"):
        claim("It gains", True, gain=at_least([5, 6], 6, "points", digits=1))
    with pytest.raises(ArgumentError, match="one per seed; found none"):
        at_least([], 6)


def test_nbval_leaves_out_what_was_measured_and_nothing_else() -> None:
    settings = Path(__file__).parents[1] / "notebooks" / "measured.cfg"
    # How nbval reads such a file.
    found = re.findall("^regex: (.*)$\n^replace: (.*)$", settings.read_text(), flags=re.MULTILINE)
    assert found == [(MEASURED.pattern, "measured")]


def test_long_sentences_are_broken_between_words_and_their_later_lines_indented(
    capsys: pytest.CaptureFixture[str],
) -> None:
    claim(
        "Validation loss, of a well-known and far-reaching kind, is " + 9 * "much " + "lower", True, seeds=5
    )
    assert capsys.readouterr().out == (
        "Claim holds: Validation loss, of a well-known and far-reaching kind, is much\n"
        "  much much much much much much much much lower.\n"
        "  seeds: 5\n"
    )
    claim("It is " + 100 * "x", True)  # an address must stay whole
    assert 100 * "x" in capsys.readouterr().out


def test_a_claim_that_is_not_so_stops_with_the_exact_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(
        AssertionError, match=r"does not hold here: One is more.*condition is false; gain = 0\.4321"
    ):
        claim("One is more than two", 1 > 2, gain=0.4321)
    with pytest.raises(
        AssertionError, match=r"accuracy is 87\.9, not at least 88 %; accuracy = 87\.9, seeds = 5"
    ):
        claim("It is good", True, accuracy=at_least(87.9, 88, "%"), seeds=5)
    for bound in (at_most(3, 2), between(1, 2, 3), between(4, 2, 3), at_least(float("nan"), 0)):
        with pytest.raises(AssertionError):
            claim("It is within", True, value=bound)
    with pytest.raises(AssertionError, match="no evidence given"):
        claim("It is so", False)
    assert capsys.readouterr().out == ""
    with pytest.raises(ArgumentError, match="needs a sentence"):
        claim(" ", True)


def test_bounds_include_their_ends() -> None:
    assert at_least(2, 2).holds and at_most(2, 2).holds and between(2, 2, 2).holds


def test_a_number_on_a_knifes_edge_is_refused_when_a_lesson_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(BUILDING, "1")
    for value in (0.25, 0.2499, 0.2501, 0.258, -0.0349, 15.2):
        with pytest.raises(ArgumentError, match=r"'gain' is .*at_least"):
            claim("It is so", True, gain=value)
    for value in (0.20, 0.23, 0.27, 0.3, 1.0, 12.0, 5):
        claim("It is so", True, gain=value)
    monkeypatch.delenv(BUILDING)
    claim("It is so", True, gain=0.25)


def test_a_claim_is_recorded_before_it_may_stop_the_lesson(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "claims.jsonl"
    monkeypatch.setenv(RECORD, str(path))
    claim("All is well ", True, seeds=5, who="both", gain=at_least(2, 1, "%"), loss=between(0.5, 0.25, 1))
    with pytest.raises(AssertionError):
        claim("It is small", True, loss=at_most(2, 1))
    monkeypatch.setenv(GO_ON, "1")
    capsys.readouterr()
    claim("It is false", False)
    assert capsys.readouterr().out.startswith("This does not hold here: It is false")
    assert [json.loads(line) for line in path.read_text().splitlines()] == [
        {
            "sentence": "All is well",
            "holds": True,
            "evidence": {
                "seeds": {"value": 5.0},
                "who": {"value": "both"},
                "gain": {"value": 2.0, "low": 1.0, "high": None},
                "loss": {"value": 0.5, "low": 0.25, "high": 1.0},
            },
        },
        {
            "sentence": "It is small",
            "holds": True,
            "evidence": {"loss": {"value": 2.0, "low": None, "high": 1.0}},
        },
        {"sentence": "It is false", "holds": False, "evidence": {}},
    ]
