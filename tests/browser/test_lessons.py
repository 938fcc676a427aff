"""Lesson 04 and the tuner of lesson 05 as lived: JupyterLab in a browser, widgets used by mouse and by keyboard.

`pytest -m browser --no-cov` runs these alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

pytest.importorskip(
    "playwright", reason='playwright not installed: pip install -e ".[browser]" -c constraints.txt'
)

from playwright.sync_api import Locator, expect

from tests.browser.axe import THEMES, UPSTREAM, nothing_wrong
from tests.browser.driving import Lesson, output, pixels, slider
from tests.website import conftest as website

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext

    from tests.browser.conftest import Server

axe = website.axe  # the program, a fixture
pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(2400)]

# How the cells of lesson 05 begin that its tuner needs. tests/notebooks runs all cells of every lesson.
_FOR_THE_TUNER = (
    r"^from dataclasses import", r"^data = fashion_mnist\(", r"^def distillation_term\(", r"^term = use_answer\(",
    r"^half = few_labels\(",
)  # fmt: skip
_WRAPPED = """labels => labels.map(label => {
    const box = label.getBoundingClientRect(), words = document.createRange();
    words.selectNodeContents(label);
    const text = words.getBoundingClientRect();
    const line = parseFloat(getComputedStyle(label).lineHeight);
    const room = label.closest('.jp-OutputArea-output').getBoundingClientRect();
    return {text: label.innerText, top: box.top, bottom: box.bottom, textTop: text.top, textBottom: text.bottom,
            textRight: text.right, room: room.right, lines: Math.round(box.height / line)};
})"""


@contextmanager
def _opened(name: str, server: Server, browser: BrowserContext, screenshots: Path) -> Iterator[Lesson]:
    page = browser.new_page()
    lesson = Lesson(page, name, screenshots)
    try:
        lesson.open(server.address)
        lesson.keep("opened")
        yield lesson
    finally:
        lesson.keep("left")
        page.close()


@pytest.fixture(scope="module")
def lesson_04(server: Server, browser: BrowserContext, screenshots: Path) -> Iterator[Lesson]:
    """Soft targets, every cell run: code, hints, formulas, tables, figures, widgets, checks."""
    with _opened("04_soft_targets", server, browser, screenshots) as lesson:
        lesson.outcome = lesson.execute("notebook:run-all-cells")
        lesson.wait_until_idle()
        yield lesson


# -- lesson 04 -------------------------------------------------------------------------------


def test_soft_targets_run_without_an_error(lesson_04: Lesson) -> None:
    cells = lesson_04.code()
    assert [cell for cell in cells if cell["errors"]] == []
    assert lesson_04.outcome == "true"
    assert len(cells) > 20
    assert [cell["count"] for cell in cells] == list(range(1, len(cells) + 1))
    expect(lesson_04.page.get_by_text("javascript error")).to_have_count(0)


@pytest.mark.parametrize("theme", THEMES[::-1])  # light for what follows, as JupyterLab begins
def test_nothing_in_a_running_lesson_keeps_anybody_out(lesson_04: Lesson, axe: str, theme: str) -> None:
    found = nothing_wrong(lesson_04, axe, theme)
    # Where JupyterLab has mended something, it needs no excuse any longer.
    assert {*found["excused"]} == {*UPSTREAM}
    assert found["contrasts"] > 10


def test_every_figure_has_its_alt_text(lesson_04: Lesson) -> None:
    figures = lesson_04.page.locator(".jp-RenderedImage img")
    texts = [image.get_attribute("alt") or "" for image in figures.all()]
    assert len(texts) >= 5
    assert min(map(len, texts)) > 60, texts
    index, _ = lesson_04.find(r"widgets\.temperature_explorer\(")
    expect(output(lesson_04.select(index)).get_by_role("img", name="ensemble")).to_be_visible()


def test_the_temperature_slider_changes_what_is_shown(lesson_04: Lesson) -> None:
    index, _ = lesson_04.find(r"widgets\.temperature_explorer\(")
    explorer = output(lesson_04.select(index))
    temperature = explorer.get_by_role("slider", name="Temperature T")
    ensemble = explorer.get_by_role("img", name="ensemble")
    expect(temperature).to_have_attribute("aria-valuetext", "1")
    cold = _nats(ensemble)
    lesson_04.keep("explorer_cold", explorer)

    box = temperature.bounding_box()
    assert box is not None
    temperature.click(position={"x": box["width"] - 2, "y": box["height"] / 2})
    expect(temperature).to_have_attribute("aria-valuetext", "19.7")
    lesson_04.keep("explorer_at_the_end", explorer)
    # Softer answers leave more open, up to log 10 = 2.30 nats.
    assert cold < 1 < _nats(ensemble) <= 2.31

    lesson_04.press("Home")
    expect(temperature).to_have_attribute("aria-valuetext", "0.5")
    for _ in range(20):
        lesson_04.press("ArrowRight")
    expect(temperature).to_have_attribute("aria-valuetext", "1")  # twenty steps to each doubling
    assert _nats(ensemble) == cold
    lesson_04.keep("explorer_by_arrow_keys", explorer)


def _nats(panel: Locator) -> float:
    """Entropy of the soft targets in a panel."""
    return float(re.findall(r"entropy ([\d.]+) nats", panel.get_attribute("aria-label") or "")[-1])


def test_a_prediction_made_by_keyboard_stands_beside_the_truth(lesson_04: Lesson) -> None:
    index, match = lesson_04.find(r'widgets\.predict\(\s*"([\w-]+)",[^,]*,\s*choices=')
    asked = output(lesson_04.select(index))
    guess = asked.locator(".widget-radio-box label").nth(1).inner_text().strip()
    lesson_04.tab_to(asked.get_by_role("radio", name=guess, exact=True))
    lesson_04.press("Space")
    expect(asked.get_by_role("radio", name=guess, exact=True)).to_be_checked()
    lesson_04.tab_to(asked.get_by_role("button", name="That is my prediction"))
    lesson_04.press("Enter")
    expect(asked.get_by_role("status")).to_contain_text(f"Your prediction: {guess}.")
    lesson_04.keep("prediction", asked)

    index, _ = lesson_04.find(rf'widgets\.reveal\("{match[1]}"')
    revealed = output(lesson_04.select(index))
    expect(revealed).to_contain_text("No prediction was made.")
    lesson_04.press("Control+Enter")
    expect(revealed).to_contain_text(re.compile(r"Truth: \S"))
    expect(revealed).to_contain_text(f"Your prediction: {guess}.")
    expect(revealed).to_contain_text(re.compile("You predicted it|The result is another one"))
    lesson_04.keep("guess_beside_truth", revealed)


def test_a_quiz_is_answered_by_keyboard(lesson_04: Lesson) -> None:
    index, _ = lesson_04.find(r"widgets\.quiz\(")
    quiz = output(lesson_04.select(index))
    first = quiz.locator(".widget-radio").first.get_by_role("radio")
    verdict = quiz.get_by_role("status").first
    verdicts: list[str] = []
    for number in range(first.count()):
        lesson_04.tab_to(first.nth(number))
        lesson_04.press("Space")
        expect(first.nth(number)).to_be_checked()
        if verdicts:
            expect(verdict).not_to_have_text(verdicts[-1])
        verdicts.append(verdict.inner_text())
        lesson_04.keep(f"quiz_option_{number + 1}", quiz)
    assert len(verdicts) >= 3
    assert all(re.match(r"(✓ Right|✗ Not this one)\. \w+", text) for text in verdicts), verdicts
    right = sum(text.startswith("✓") for text in verdicts)
    assert 0 < right < len(verdicts)
    expect(quiz.get_by_role("status").last).to_have_text(re.compile(r"1 of [2-9] answered, [01] right\."))


def test_long_options_wrap_on_a_narrow_screen(lesson_04: Lesson) -> None:
    index, _ = lesson_04.find(r"widgets\.quiz\(")
    quiz = output(lesson_04.select(index))
    size = lesson_04.page.viewport_size
    assert size is not None
    lesson_04.page.set_viewport_size({"width": 680, "height": 1400})
    try:
        labels = quiz.locator(".widget-radio-box label")
        expect(labels.first).to_be_visible()
        lesson_04.keep("quiz_narrow", quiz)
        found = labels.evaluate_all(_WRAPPED)
    finally:
        lesson_04.page.set_viewport_size(size)
    assert max(label["lines"] for label in found) > 1
    for label in found:
        inside = label["top"] - 1 <= label["textTop"] and label["textBottom"] <= label["bottom"] + 1
        assert inside and label["textRight"] <= label["room"] + 1, label
    assert all(above["bottom"] <= below["top"] + 1 for above, below in pairwise(found))


# -- lesson 05 -------------------------------------------------------------------------------


def test_the_tuner_trains_stops_and_remembers(
    server: Server, browser: BrowserContext, screenshots: Path
) -> None:
    with _opened("05_distil", server, browser, screenshots) as lesson:
        tuner = _tuner(lesson)
        expect(tuner.get_by_label("Runs").locator("option")).to_have_count(0)
        lesson.keep("tuner", tuner)
        finished = _train(lesson, tuner)
        stopped = _train_and_stop(lesson, tuner)
        assert _kept(tuner) == [stopped, finished]  # the latest first

        lesson.restart()
        tuner = _tuner(lesson)
        expect(tuner.get_by_label("Runs").locator("option")).to_have_count(2)
        assert _kept(tuner) == [stopped, finished]
        tuner.get_by_label("Runs").select_option(finished)
        expect(tuner.get_by_role("table")).to_contain_text(finished.split()[0] + " %")
        expect(_words(tuner)).to_contain_text("1: distilled")
        lesson.keep("tuner_after_a_restart", tuner)


def _tuner(lesson: Lesson) -> Locator:
    """Run the tuner's cell and those before it that it needs."""
    for pattern in (*_FOR_THE_TUNER, r"^widgets\.distillation_tuner\("):
        index, _ = lesson.find(pattern)
        lesson.run(index)
    tuner = output(lesson.select(index))
    expect(_button(tuner, "Train")).to_be_visible()
    return tuner


def _train(lesson: Lesson, tuner: Locator) -> str:
    """Train with the settings that the lesson begins with; the run as it is kept."""
    before = pixels(tuner.locator("img"))
    expect(_button(tuner, "Stop")).to_be_disabled()
    tuner.get_by_role("checkbox", name=re.compile("plain twin")).uncheck()  # which would take as long again
    _button(tuner, "Train").click()
    expect(tuner.get_by_role("status")).to_contain_text(re.compile(r"Finished: .*accuracy: \d\d\.\d\d %"))
    expect(tuner.get_by_label("Runs").locator("option")).to_have_count(1)
    expect(_last_row(tuner)).to_contain_text(re.compile(r"\d\d\.\d\d %\s*finished"))
    expect(_words(tuner)).to_contain_text("1: distilled")
    expect(_button(tuner, "Stop")).to_be_disabled()
    lesson.keep("tuner_trained", tuner)
    assert pixels(tuner.locator("img")) != before
    [run] = _kept(tuner)
    assert re.match(r"\d\d\.\d\d % after epoch \d+: distilled T=\S+ alpha=", run)
    assert float(run.split()[0]) > 60  # of ten classes
    return run


def _train_and_stop(lesson: Lesson, tuner: Locator) -> str:
    """Train for as many epochs as can be chosen, and stop on the way; the run as it is kept."""
    handle, _, readout = slider(tuner, "Epochs")
    few = readout.inner_text()
    handle.focus()
    lesson.press("End")
    expect(readout).not_to_have_text(few)
    epochs = readout.inner_text()
    _button(tuner, "Train").click()
    expect(tuner.get_by_role("status")).to_contain_text(re.compile("^Training: "))
    bar = tuner.locator(".progress-bar")
    lesson.page.wait_for_function("bar => parseFloat(bar.style.width) > 1", arg=bar.element_handle())
    expect(_words(tuner)).to_contain_text("now: distilled")
    lesson.keep("tuner_under_way", tuner)
    _button(tuner, "Stop").click()
    expect(tuner.get_by_role("status")).to_contain_text(re.compile("^Stopped: "))
    expect(tuner.get_by_label("Runs").locator("option")).to_have_count(2)
    expect(_last_row(tuner)).to_contain_text(re.compile(rf"\d+ of {epochs}.*stopped"))
    expect(_words(tuner)).to_contain_text(re.compile("2: distilled.*: stopped"))
    expect(_button(tuner, "Stop")).to_be_disabled()
    expect(_button(tuner, "Train")).to_be_enabled()
    lesson.keep("tuner_stopped", tuner)
    done = re.search(rf"(\d+) of {epochs}", _last_row(tuner).inner_text())
    assert done and int(done[1]) < int(epochs)
    assert float(bar.evaluate("bar => parseFloat(bar.style.width)")) < 100
    return _kept(tuner)[0]


def _button(tuner: Locator, name: str) -> Locator:
    return tuner.get_by_role("button", name=name, exact=True)


def _last_row(tuner: Locator) -> Locator:
    """Of the table of chosen runs, the latest."""
    return tuner.get_by_role("table").get_by_role("row").last


def _words(widget: Locator) -> Locator:
    """A widget's figure in words; they change once the picture has."""
    return widget.locator("details").last


def _kept(tuner: Locator) -> list[str]:
    """The runs on offer, in words."""
    options = tuner.get_by_label("Runs").locator("option")
    return list(options.evaluate_all("options => options.map(option => option.value)"))
