"""Figures that stand in for widgets: told in words with their numbers, alike each time, safe from two threads."""

from __future__ import annotations

import math
import threading
from typing import Any

import matplotlib
import pytest
import torch
from matplotlib.figure import Figure

from kdcourse.distillation import entropy, softened
from kdcourse.errors import ArgumentError
from kdcourse.evaluation import member_scores
from kdcourse.figures import (
    RunCurve,
    alt_text,
    card,
    ensemble_members,
    png,
    run_curves,
    softened_bars,
)
from kdcourse.figures.style import STYLE, styled

CLASSES = ("bag", "<coat> & $x^", "a name that goes on and on", "shirt")
GENERATOR = torch.Generator().manual_seed(0)
IMAGE = torch.randint(256, (1, 8, 8), generator=GENERATOR, dtype=torch.uint8)
ROWS = {name: 4 * torch.randn(4, generator=GENERATOR) for name in ("one", "two", "three", "ensemble")}
MEMBERS = torch.randn(3, 50, 4, generator=GENERATOR)
LABELS = MEMBERS[0].argmax(1)
CURVE = RunCurve([(0.5, 2.0), (1.0, 1.5), (1.5, 1.0)], [(1, 0.8125)])


def bars(**change: Any) -> Figure:
    return softened_bars(
        **{
            "image": IMAGE,
            "logits_by_name": ROWS,
            "label": 1,
            "classes": CLASSES,
            "temperature": 2.5,
            **change,
        }
    )


FIGURES = {
    "bars": bars,
    "members": lambda: ensemble_members(member_scores(MEMBERS, LABELS, [0, 2])),
    "runs": lambda: run_curves({"1: $a^": CURVE, "now": RunCurve([], [], "training")}),
    "card": lambda: card("Title", ["a long line " * 30, "$x^ <b>"]),
}


@pytest.mark.parametrize("name", FIGURES)
def test_the_same_figure_gives_the_same_bytes_and_fits_its_page(name: str) -> None:
    figure = FIGURES[name]()
    assert png(figure) == png(FIGURES[name]()) == png(figure)
    page = figure.bbox
    for axes in figure.axes:
        box = axes.get_tightbbox()
        assert box is not None
        assert page.x0 - 1 <= box.x0 and box.x1 <= page.x1 + 1, "something is cut at the side"
        assert page.y0 - 1 <= box.y0 and box.y1 <= page.y1 + 1, "something is cut above or below"
    for text in figure.texts:
        assert text.get_window_extent().x1 <= page.x1


def test_bars_are_the_softened_probabilities() -> None:
    figure = bars()
    panels = figure.axes[1:]
    assert len(panels) == 4
    for axes, (name, logits) in zip(panels, ROWS.items(), strict=True):
        widths = [bar.get_width() for bar in axes.patches]
        torch.testing.assert_close(torch.tensor(widths), softened(logits, 2.5), check_dtype=False)
        nats = float(entropy(logits, 2.5))
        assert axes.get_title(loc="left").startswith(name) and f"{nats:.2f} nats" in axes.get_title(
            loc="left"
        )
        assert ("✓" in axes.get_title(loc="left")) == (int(logits.argmax()) == 1)
        assert f"{name}: {CLASSES[int(logits.argmax())]}" in alt_text(figure)
    assert f"{math.log(4):.2f} nats" in alt_text(figure) and "temperature 2.5" in alt_text(figure)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_bars_of_few_models(count: int) -> None:
    assert len(bars(logits_by_name=dict(list(ROWS.items())[:count])).axes) == count + 1


def test_bars_refuse_what_does_not_fit() -> None:
    for change, message in (
        ({"logits_by_name": {}}, "at least one model"),
        ({"label": 4}, r"0\.\.3"),
        ({"label": -1}, r"0\.\.3"),
        ({"logits_by_name": {"one": torch.zeros(3)}}, "logits of 'one'"),
        ({"logits_by_name": {"one": torch.full((4,), torch.nan)}}, "finite"),
        ({"image": IMAGE.float()}, "uint8"),
        ({"temperature": 0.0}, "above 0"),
    ):
        with pytest.raises(ArgumentError, match=message):
            bars(**change)


def test_members_are_told_with_their_numbers() -> None:
    scores = member_scores(MEMBERS, LABELS, [0, 2], "probabilities")
    figure = ensemble_members(scores, ["ann", "bob", "cy"])
    text = alt_text(figure)
    assert "ann and cy, mean of probabilities" in text and "ann 100.00 %" in text
    assert f"Accuracy {100 * scores.accuracy:.2f} %" in text
    cells = [text.get_text() for text in figure.axes[2].texts]
    assert cells[1] == f"{100 * float(scores.disagreement[0, 1]):.1f}" and cells[0] == "–"
    assert "no disagreement" in alt_text(ensemble_members(member_scores(MEMBERS, LABELS, [1])))
    with pytest.raises(ArgumentError, match="3 members"):
        ensemble_members(scores, ["ann"])


def test_runs_are_told_whatever_their_state() -> None:
    text = alt_text(run_curves({"a": CURVE, "b": RunCurve([], [], "training")}))
    assert "a: training loss now 1.00, validation accuracy 81.25 % after one epoch." in text
    assert "b: training." in text
    begun = run_curves({"b": RunCurve([], [], "training")}).axes[1]
    assert (begun.get_xlim(), begun.get_ylim()) == ((0, 1), (0, 100))
    with pytest.raises(ArgumentError, match="found 0"):
        run_curves({})
    with pytest.raises(ArgumentError, match="found 7"):
        run_curves({str(n): CURVE for n in range(7)})


def test_a_diverged_run_leaves_the_others_their_room() -> None:
    wild = RunCurve([(0.5, 2.0), (1.0, 3e4), (1.5, 1e31)], [(1, 0.1)], "diverged")
    figure = run_curves({"a": CURVE, "b": wild})
    loss = figure.axes[0]
    assert loss.get_ylim() == (0, pytest.approx(2.6))
    cross = loss.lines[-1]
    assert list(cross.get_xdata()) == [1.5] and list(cross.get_ydata()) == [pytest.approx(2.6)]
    assert "b: diverged, training loss at last 1e+31, validation accuracy 10.00 %" in alt_text(figure)
    assert any("b (diverged)" in text.get_text() for text in figure.legends[0].get_texts())
    for losses, end in ((wild.losses, 2.6), ([(0.1, 5.0)], 6.5)):
        alone = run_curves({"b": RunCurve(losses, [], "diverged")})
        assert alone.axes[0].get_ylim() == (0, pytest.approx(end))
    at_once = run_curves({"b": RunCurve([], [], "diverged")})
    assert len(at_once.axes[0].lines) == 1 and "b: diverged." in alt_text(at_once)
    without = run_curves({"a": CURVE, "b": RunCurve(wild.losses, [], "stopped")})
    assert without.axes[0].get_ylim()[1] > 1e31


def test_a_card_needs_a_title() -> None:
    assert alt_text(card("A", ["b", "c"])) == "A b c"
    with pytest.raises(ArgumentError, match="needs a title"):
        card(" ", [])


def test_two_threads_never_mix_up_the_settings_of_matplotlib() -> None:
    key, ours = "axes.titleweight", STYLE["axes.titleweight"]
    before = matplotlib.rcParams[key]
    inside, leave = threading.Event(), threading.Event()
    seen: list[str] = []

    def first() -> None:
        with styled():
            inside.set()
            leave.wait(30)

    def second() -> None:
        with styled():
            seen.append(matplotlib.rcParams[key])

    threads = [threading.Thread(target=work) for work in (first, second)]
    threads[0].start()
    assert inside.wait(30)
    threads[1].start()
    threads[1].join(0.05)
    assert seen == [], "both are inside at once"
    leave.set()
    for thread in threads:
        thread.join(30)
    assert seen == [ours] and matplotlib.rcParams[key] == before != ours
