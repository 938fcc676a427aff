"""What language models expect next, and two bumps that one can't cover: numbers, alt text, errors."""

from __future__ import annotations

import pytest
import torch

from kdcourse.errors import ArgumentError
from kdcourse.figures import alt_text, next_tokens, two_bumps
from kdcourse.figures.next_tokens import visible

TOKENS = ("a", " the", "\n", "\x08", "$x$")
LOGITS = torch.tensor([0.0, 3.0, 1.0, -1.0, 2.0])


def test_the_likeliest_tokens_of_the_first_model_are_drawn_for_all() -> None:
    figure = next_tokens("Once upon", {"teacher": LOGITS, "student": LOGITS.flip(0)}, TOKENS, 2.0, top=3)
    said = alt_text(figure)
    shares = (LOGITS / 2).softmax(0)
    assert f"teacher: “␣the” {shares[1]:.3f}, “$x$” {shares[4]:.3f}, “⏎” {shares[2]:.3f}; entropy" in said
    assert f"student: “␣the” {shares[3]:.3f}, “$x$” {shares[0]:.3f}, “⏎” {shares[2]:.3f}; entropy" in said
    nats = -(shares * shares.log()).sum()
    assert (
        f"entropy {nats:.2f} nats" in said
        and "after 'Once upon' at temperature 2, as seen by teacher and student" in said
    )
    widths = [[bar.get_width() for bar in axes.patches] for axes in figure.axes]
    assert widths[0] == pytest.approx(shares[[1, 4, 2]].tolist())
    assert [tick.get_text() for tick in figure.axes[0].get_yticklabels()] == ["␣the", "$x$", "⏎"]


def test_tokens_can_be_seen_and_long_beginnings_end_with_their_last_words() -> None:
    assert [visible(token) for token in (*TOKENS[1:4], "")] == ["␣the", "⏎", "\\x08", "(nothing)"]
    figure = next_tokens(f"{'x' * 60} and then", {"model": LOGITS}, TOKENS)
    assert "…" in figure._suptitle.get_text() and figure._suptitle.get_text().endswith("and then”")


def test_what_next_tokens_refuses() -> None:
    with pytest.raises(ArgumentError, match="found 0 models"):
        next_tokens("a", {}, TOKENS)
    with pytest.raises(ArgumentError, match=r"logits of 'one' must be \[5\], one per token; found \[4\]"):
        next_tokens("a", {"one": LOGITS[:4]}, TOKENS)
    with pytest.raises(ArgumentError, match="top=0"):
        next_tokens("a", {"one": LOGITS}, TOKENS, top=0)


def test_bumps_are_drawn_with_what_lies_between_them() -> None:
    places = torch.linspace(-3, 3, 61)

    def bump(centre: float, width: float) -> torch.Tensor:
        return (-((places - centre) ** 2) / (2 * width**2)).softmax(0)

    target = 0.5 * bump(-2, 0.3) + 0.5 * bump(2, 0.3)
    figure = two_bumps(places, target, {"forward": bump(0, 1.5), "reverse": bump(2, 0.3)})
    said = alt_text(figure)
    low = (target < target.max() / 4) & (places.abs() < 2)
    wide, narrow = (float(bump(*of)[low].sum()) for of in ((0, 1.5), (2, 0.3)))
    assert wide > 0.7 and narrow < 0.1
    assert f"forward is highest at 0.0 and has {wide:.0%} between" in said.replace("-0.0", "0.0")
    assert f"reverse is highest at 2.0 and has {narrow:.0%} between the bumps, from -1.50 to 1.50." in said
    one = {"one": bump(2, 0.3)}
    assert alt_text(two_bumps(places, bump(2, 0.3), one)).endswith("one is highest at 2.0.")
    drawn = {line.get_label(): line.get_ydata() for line in figure.axes[0].lines}
    assert list(drawn["forward"]) == pytest.approx(bump(0, 1.5).tolist())
    with pytest.raises(ArgumentError, match=r"found \[61\], and \[60\] of 'one'"):
        two_bumps(places, target, {"one": target[1:]})
    with pytest.raises(ArgumentError, match="one to 3 fitted distributions; found 0"):
        two_bumps(places, target, {})
