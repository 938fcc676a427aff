from __future__ import annotations

import base64
import builtins
import math
import sys
from types import ModuleType
from typing import Any

import IPython.display
import ipywidgets
import pytest
from matplotlib.figure import Figure

from kdcourse.course import live_loss, progress_bar, show, show_here
from kdcourse.course.showing import WIDGET_VIEW
from kdcourse.errors import ArgumentError
from kdcourse.figures import set_alt_text


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    found: list[tuple[dict[str, Any], dict[str, Any]]] = []

    def display(bundle: dict[str, Any], metadata: dict[str, Any] | None = None, raw: bool = False) -> None:
        assert raw
        found.append((bundle, metadata or {}))

    monkeypatch.setattr(IPython.display, "display", display)
    return found


def _figure(words: str | None = "A square of 91.27 % grey.") -> Figure:
    figure = Figure(figsize=(1, 1), dpi=50)
    if words:
        set_alt_text(figure, words)
    return figure


def test_a_figure_comes_with_its_alt_text_and_words(
    shown: list[tuple[dict[str, Any], dict[str, Any]]], capsys: pytest.CaptureFixture[str]
) -> None:
    show(_figure(), "a square,\n  mostly grey.")
    ((bundle, metadata),) = shown
    assert base64.b64decode(bundle["image/png"]).startswith(b"\x89PNG")
    assert metadata == {"image/png": {"alt": "A square of 91.27 % grey."}}
    # The words are what is compared: the digits of the alt text are one machine's own.
    assert bundle["text/plain"] == "Figure: a square, mostly grey."
    assert capsys.readouterr().out == "Figure: a square, mostly grey.\n"


def test_long_words_of_a_figure_are_broken_alike_where_they_stand_for_it_and_below_it(
    shown: list[tuple[dict[str, Any], dict[str, Any]]], capsys: pytest.CaptureFixture[str]
) -> None:
    show(_figure(), "squares that are " + 20 * "very " + "grey.")
    ((bundle, _),) = shown
    printed = capsys.readouterr().out
    assert printed == bundle["text/plain"] + "\n"  # the website leaves out what its caption says already
    assert [len(line) <= 78 for line in printed.splitlines()] == [True, True]
    assert " ".join(printed.split()) == "Figure: squares that are " + 20 * "very " + "grey."


def test_a_figure_without_words_is_refused(shown: list[tuple[dict[str, Any], dict[str, Any]]]) -> None:
    with pytest.raises(ArgumentError, match="carries no alt text"):
        show(_figure(None), "a square")
    with pytest.raises(ArgumentError, match="needs words"):
        show(_figure(), " \n")
    assert shown == []


def test_what_is_true_of_one_machine_alone_is_in_the_widget_alone(
    shown: list[tuple[dict[str, Any], dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[ipywidgets.HTML] = []
    real = ipywidgets.HTML
    monkeypatch.setattr(ipywidgets, "HTML", lambda text: made.append(real(text)) or made[-1])
    show_here("The time it took", "3.1 s in <here> & there")
    ((bundle, _),) = shown
    assert set(bundle) == {"text/plain", WIDGET_VIEW}
    assert bundle["text/plain"].startswith("The time it took: different on every machine")
    assert bundle[WIDGET_VIEW]["model_id"] == made[0].model_id
    assert "3.1 s in &lt;here&gt; &amp; there" in made[0].value


def test_a_progress_bar_counts_its_steps_and_stores_its_title_alone(
    shown: list[tuple[dict[str, Any], dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[ipywidgets.IntProgress] = []
    real = ipywidgets.IntProgress
    monkeypatch.setattr(ipywidgets, "IntProgress", lambda **how: made.append(real(**how)) or made[-1])
    step = progress_bar("first student", 3)
    ((bundle, _),), (bar,) = shown, made
    assert bundle["text/plain"] == "first student: a progress bar, shown when you run this cell."
    assert bundle[WIDGET_VIEW]["model_id"] == bar.model_id
    assert (bar.value, bar.max, bar.description) == (0, 3, "first student")
    step(0, 0, 0.5)
    assert bar.value == 1
    step(0, 1, 0.5)
    step(1, 0, 0.5)
    assert bar.value == 3
    with pytest.raises(ArgumentError, match="at least one step; found 0"):
        progress_bar("none", 0)


def test_a_live_curve_grows_with_every_loss_and_stores_its_title_alone(
    shown: list[tuple[dict[str, Any], dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[ipywidgets.HTML] = []
    real = ipywidgets.HTML
    monkeypatch.setattr(ipywidgets, "HTML", lambda text: made.append(real(text)) or made[-1])
    step = live_loss("a < b", 4)
    ((bundle, _),), (curve,) = shown, made
    assert bundle["text/plain"] == "a < b: a curve of the loss, shown when you run this cell."
    assert 'points=""' in curve.value and "a &lt; b: step 0 of 4" in curve.value
    step(2.0)
    assert 'points="120.0,0.0"' in curve.value
    for loss in (1.0, math.nan, 0.5):
        step(loss)
    assert 'points="120.0,0.0 240.0,60.0 480.0,90.0"' in curve.value
    assert "step 4 of 4, loss 0.50 nats" in curve.value
    with pytest.raises(ArgumentError, match="at least one step; found 0"):
        live_loss("none", 0)


def test_without_ipywidgets_it_is_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = builtins.__import__

    def without(name: str, *args: Any) -> ModuleType:
        if name == "ipywidgets":
            raise ImportError(name)
        return real(name, *args)

    monkeypatch.delitem(sys.modules, "ipywidgets")
    monkeypatch.setattr(builtins, "__import__", without)
    show_here("The time it took", "3.1 s")
    progress_bar("first student", 3)(0, 0, 0.5)  # nothing to show
    live_loss("first student", 3)(0.5)
    assert capsys.readouterr().out == "3.1 s\n"
