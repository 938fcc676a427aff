from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from matplotlib.figure import Figure

from kdcourse.errors import ArgumentError
from kdcourse.figures import alt_text, class_gains, right_of_hundred

PAIR = {"plain student": [0.5, 0.9, 0.75], "distilled student": [0.7, 0.85, 0.95]}
GAINS, CLASSES = [20.0, -5.0, 20.4], ["ant", "bee", "cat"]


def squares(figure: Figure) -> list[tuple[int, int]]:
    """Return how many squares are filled and how many crosses there are, panel by panel."""
    found = []
    for axes in figure.axes:
        filled, empty, crosses = (len(each.get_offsets()) for each in axes.collections)
        assert filled + empty == 100 and empty == crosses
        found.append((filled, crosses))
    return found


def test_every_mistake_of_a_hundred_is_a_crossed_square() -> None:
    figure = right_of_hundred({"plain student": 0.807, "distilled student": 0.9082, "both": 1.0})
    assert squares(figure) == [(81, 19), (91, 9), (100, 0)]
    labels = [axes.get_xlabel() for axes in figure.axes]
    assert labels == [
        "80.7 % right\n19 of 100 wrong",
        "90.8 % right\n9 of 100 wrong",
        "100.0 % right\n0 of 100 wrong",
    ]
    assert "distilled student 90.8 % right, 9 of 100 wrong" in alt_text(figure)


def test_classes_are_sorted_by_gain_which_is_printed_as_given() -> None:
    figure = class_gains(PAIR, GAINS, CLASSES)
    (axes,) = figure.axes
    assert [text.get_text() for text in axes.get_yticklabels()] == ["cat", "ant", "bee"]
    assert [text.get_text() for text in axes.texts] == ["+20 points", "+20 points", "-5 points"]
    plain, distilled = axes.get_lines()
    assert list(plain.get_xdata()) == [75, 50, 90] and plain.get_marker() != distilled.get_marker()
    assert list(distilled.get_xdata()) == [95, 70, 85]
    assert "cat from 75 % to 95 %, +20 points; ant from 50 % to 70 %, +20 points; bee" in alt_text(figure)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: right_of_hundred({}), "one to four models; found 0"),
        (lambda: right_of_hundred({"a": 80.7}), "Divide percentages by 100"),
        (lambda: right_of_hundred({"a": float("nan")}), "'a' has nan"),
        (lambda: class_gains({"a": [0.5]}, [1], ["x"]), "compares two models"),
        (lambda: class_gains(PAIR, GAINS, ["x"]), "each of the 1 classes"),
        (lambda: class_gains(PAIR, [1, 2, 300], CLASSES), "'gains' needs a value from -100 to 100"),
        (lambda: class_gains(PAIR | {"plain student": [50, 90, 75]}, GAINS, CLASSES), "from 0 to 1"),
    ],
)
def test_what_will_not_do_is_named(call: Callable[[], Any], says: str) -> None:
    with pytest.raises(ArgumentError, match=says):
        call()
