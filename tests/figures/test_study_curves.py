from __future__ import annotations

import pytest

from kdcourse.errors import ArgumentError
from kdcourse.figures import StudyPoint, alt_text, study_curves, study_points

LINES = {
    "true labels": [StudyPoint(100, 0.71, (0.69, 0.73)), StudyPoint(5_000, 0.89, (0.885, 0.895))],
    "teachers' answers": [StudyPoint(5_000, 0.906)],
}


def test_every_number_is_in_the_alt_text_and_every_line_has_a_look_of_its_own() -> None:
    run = {"true labels": [StudyPoint(550, 0.82, (0.81, 0.83))]}
    figure = study_curves(LINES, x="images", title="A student", teacher=0.944, beside=run)
    assert alt_text(figure) == (
        "A student: test accuracy by number of images. true labels: 100 71.00 % (69.00 to 73.00), 5,000 89.00 % (88.50 "
        "to 89.50). teachers' answers: 5,000 90.60 %. true labels, this run: 550 82.00 % (81.00 to 83.00). Ensemble: "
        "94.40 %."
    )
    (axes,) = figure.axes
    drawn = {line.get_label(): line for line in axes.lines if not str(line.get_label()).startswith("_")}
    assert list(drawn) == [*LINES, "true labels, this run"]
    assert [line.get_marker() for line in drawn.values()] == ["o", "^", "o"]
    assert drawn["true labels, this run"].get_markerfacecolor() == "none"
    assert list(drawn["true labels"].get_ydata()) == [71, 89]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["100", "5,000"]
    assert axes.get_ylim()[1] > 94.4


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ({}, "nothing to draw"),
        ({"a": []}, "nothing to draw"),
        ({"a": [StudyPoint(0, 0.5)]}, "x must be above 0"),
        ({"a": [StudyPoint(1, 50.0)]}, "Divide percentages by 100"),
    ],
)
def test_what_cannot_be_drawn_is_refused(lines: dict[str, list[StudyPoint]], says: str) -> None:
    with pytest.raises(ArgumentError, match=says):
        study_curves(lines, x="images", title="A student")


def test_results_of_a_run_belong_to_a_line() -> None:
    with pytest.raises(ArgumentError, match="beside must name lines, true labels"):
        study_curves(LINES, x="images", title="A student", beside={"labels": [StudyPoint(550, 0.82)]})


def test_the_axis_and_the_alt_text_name_the_split() -> None:
    figure = study_curves(LINES, x="bits", title="A student", split="validation")
    assert figure.axes[0].get_ylabel() == "validation accuracy (%), axis cut"
    assert "validation accuracy by number of bits" in alt_text(figure) and "test" not in alt_text(figure)


def test_a_linear_axis_is_labelled_in_full() -> None:
    lines = {"pruned": [StudyPoint(50, 0.9), StudyPoint(75, 0.8), StudyPoint(90, 0.5)]}
    figure = study_curves(lines, x="share removed (%)", title="A student", linear=True)
    [axes] = figure.axes
    assert axes.get_xlabel() == "share removed (%)" and axes.get_xscale() == "linear"
    assert "test accuracy against share removed (%). pruned: 50 90.00 %" in alt_text(figure)


def test_points_of_stored_lines_have_intervals_cut_to_shares() -> None:
    entry = {"x": 550, "accuracy": 0.98, "low": 0.95, "high": 1.01, "seeds": 5}
    assert study_points({"true labels": [entry]}) == {"true labels": [StudyPoint(550, 0.98, (0.95, 1.0))]}
