from __future__ import annotations

import pytest

from kdcourse.errors import ArgumentError
from kdcourse.figures import alt_text, paired_differences

BEFORE, AFTER = [0.80, 0.82, 0.81], [0.83, 0.83, 0.83]


def test_rings_are_the_seeds_and_the_diamond_their_mean() -> None:
    axes = paired_differences({"better": (BEFORE, AFTER), "worse": (AFTER, BEFORE)}).axes[0]
    rings, bar, diamond = axes.lines[:3]
    assert rings.get_xdata() == pytest.approx([3, 1, 2])
    assert diamond.get_xdata() == pytest.approx([2])
    # t = 4.303 at 2 degrees of freedom, s = 1, n = 3
    assert bar.get_xdata() == pytest.approx([2 - 4.3027 / 3**0.5, 2 + 4.3027 / 3**0.5], rel=1e-4)
    assert axes.lines[3].get_xdata() == pytest.approx([-3, -1, -2])
    assert [label.get_text() for label in axes.get_yticklabels()] == ["better", "worse"]
    assert axes.get_ylim()[0] > axes.get_ylim()[1], "the first comparison stands on top"


def test_the_words_say_where_the_interval_lies() -> None:
    far = [value + 0.1 for value in BEFORE]
    words = alt_text(
        paired_differences({"up": (BEFORE, far), "down": (far, BEFORE), "unclear": (BEFORE, AFTER)})
    )
    assert "up: three seeds, mean +10.00, interval +10.00 to +10.00, above 0." in words
    assert "down: three seeds, mean -10.00, interval -10.00 to -10.00, below 0." in words
    assert "unclear: three seeds, mean +2.00, interval -0.48 to +4.48, around 0." in words


def test_the_score_is_called_by_its_name() -> None:
    for score in ("accuracy", "mean IoU"):
        named = {} if score == "accuracy" else {"score": score}
        figure = paired_differences({"better": (BEFORE, AFTER)}, **named)
        assert figure.axes[0].get_xlabel().startswith(f"difference in {score} (percentage points)")
        assert alt_text(figure).startswith(f"Differences in {score} over paired seeds")
    with pytest.raises(ArgumentError, match=r"\(mean IoU\) are shares"):
        paired_differences({"percent": ([80.0, 81.0], [82.0, 83.0])}, score="mean IoU")


@pytest.mark.parametrize(
    "comparisons",
    [{}, {"one": ([0.8], [0.9])}, {"unequal": (BEFORE, AFTER[:2])}, {"percent": ([80.0, 81.0], [82.0, 83.0])}]
)  # fmt: skip
def test_what_cannot_be_compared_is_refused(comparisons: dict[str, tuple[list[float], list[float]]]) -> None:
    with pytest.raises(ArgumentError):
        paired_differences(comparisons)


def test_a_comparison_of_rings_only_has_no_interval() -> None:
    figure = paired_differences({"luck": (AFTER, BEFORE), "gain": (BEFORE, AFTER)}, rings_only=["luck"])
    _, *gain = [line for line in figure.axes[0].lines if line.get_linestyle() != "--"]
    assert len(gain) == 3 and {float(y) for line in gain for y in line.get_ydata()} == {1.2, 0.88}
    assert [text.get_text() for text in figure.legends[0].texts] == ["one seed", "95 % interval", "mean"]
    words = alt_text(figure)
    assert "luck: " in words and "interval" not in words.split("luck: ")[1].split("gain: ")[0]
