"""The student in the reader's browser: what the page shows is what PyTorch says, by mouse and by keyboard.

`pytest -m browser --no-cov tests/website/test_live.py` runs these alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import Tensor

pytest.importorskip(
    "playwright", reason='playwright not installed: pip install -e ".[test,browser,site]" -c constraints.txt'
)

from playwright.sync_api import Locator, Page, expect

from kdcourse.data import Dataset, fashion_mnist
from kdcourse.distillation import Ensemble
from kdcourse.evaluation import predict
from kdcourse.runs import recorded
from tests.website.conftest import IN_BROWSER, Reader
from tools.website.live.build import ENGINE, FOLDER, SEED

if TYPE_CHECKING:
    from torch import nn

pytestmark = IN_BROWSER

PATH = "live.html"
READY = "The student is loaded and runs in this browser."
CLOSE = 1e-4  # of a probability

_PROBABILITIES = """column => [...document.querySelectorAll('#live-rows tr')].map(row => {
    const told = row.cells[column].dataset.probability;
    return told === undefined ? null : Number(told);
})"""
_PIXELS = """canvas => {
    const {data} = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
    return Array.from({length: data.length / 4}, (_, at) => data[4 * at]);
}"""
_LOADED = "() => performance.getEntriesByType('resource').map(entry => entry.name)"
_HEAVY = r"onnxruntime/|\.onnx$"
_AXE = """async () => (await axe.run('main', {resultTypes: ['violations']})).violations.map(
    found => `${found.id}: ` + found.nodes.map(node => node.target.join(' ')).join(', '))"""


_IN_VIEW = (
    "part => { const box = part.getBoundingClientRect(); return box.top >= 0 && box.bottom <= innerHeight; }"
)
# What is lower than 44 pixels; of a choice, its label counts.
_SMALL = """() => [...document.querySelectorAll('#live :is(button, input, canvas[tabindex])')]
    .map(part => part.closest('label') ?? part)
    .filter(part => part.checkVisibility() && part.getBoundingClientRect().height < 44)
    .map(part => part.id || part.textContent)"""


@pytest.fixture(scope="module")
def data() -> Dataset:
    return fashion_mnist()


@pytest.fixture(scope="module")
def student(data: Dataset) -> nn.Module:
    return recorded.load(recorded.shipped_folder(), f"distilled_seed{SEED}", data)[0]


@pytest.fixture(scope="module")
def teacher(data: Dataset) -> Ensemble:
    return recorded.ensemble(data)


@pytest.fixture(scope="module")
def live(reader: Reader) -> Iterator[Page]:
    """The page, its student loaded and timed."""
    with reader.page(PATH) as page:
        _start(page)
        yield page


def _start(page: Page) -> None:
    """Press the button and wait until the student answers and is timed."""
    page.locator("#live-go").click()
    _wait_until_ready(page)


def _wait_until_ready(page: Page) -> None:
    expect(page.locator("#live-status")).to_have_text(READY, timeout=120_000)
    expect(page.locator("#live-again")).to_be_enabled(timeout=120_000)


def _garments(page: Page) -> Locator:
    return page.locator("input[name=live-garment]")


def _index(garment: Locator) -> int:
    """Its place in the test set."""
    return int((garment.get_attribute("aria-label") or "").rpartition(" ")[2])


def _shown(page: Page, who: str) -> Tensor | None:
    """The probabilities in the table: float64 [10], or None where there are none."""
    column = {"teacher": 1, "student": 2}[who]
    shares = page.evaluate(_PROBABILITIES, column)
    return None if None in shares else torch.tensor(shares, dtype=torch.float64)


def _wanted(model: nn.Module, images: Tensor, data: Dataset, temperature: float) -> Tensor:
    return (predict(model, images, data).double() / temperature).softmax(1)


def _pick(page: Page, garment: Locator) -> None:
    garment.check()
    name = garment.get_attribute("aria-label") or ""
    expect(page.locator("#live-input")).to_have_attribute("aria-label", name)
    expect(page.locator("#live-verdict")).to_contain_text("The student says")


def _heat(page: Page, temperature: float) -> None:
    """Move the slider of T by keys, from its left end."""
    slider = page.locator("#live-t")
    slider.focus()
    page.keyboard.press("Home")
    for _ in range(round((temperature - 0.5) / 0.5)):
        page.keyboard.press("ArrowRight")
    expect(slider).to_have_value(f"{temperature:g}")


def _pixels(page: Page) -> Tensor:
    """What the picture beside the verdict shows: uint8 [1, 1, 28, 28]."""
    shades = page.locator("#live-input").evaluate(_PIXELS)
    return torch.tensor(shades, dtype=torch.uint8).view(1, 1, 28, 28)


def _canvas(page: Page) -> Locator:
    canvas = page.locator("#live-canvas")
    canvas.scroll_into_view_if_needed()
    return canvas


def _drag(page: Page, begin: tuple[float, float], end: tuple[float, float]) -> None:
    """Draw from one place to another, both in shares of the canvas."""
    box = _canvas(page).bounding_box()
    assert box is not None
    (x0, y0), (x1, y1) = (
        (box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in (begin, end)
    )
    page.mouse.move(x0, y0)
    page.mouse.down()
    page.mouse.move(x1, y1, steps=8)
    page.mouse.up()


def _wait_for_student(page: Page, wanted: Tensor) -> None:
    """Until the student's column shows these probabilities; fails with both where it never does."""
    page.wait_for_function(
        "([column, wanted, close]) => { const found = (" + _PROBABILITIES + ")(column);"
        "return found.every((p, k) => p !== null && Math.abs(p - wanted[k]) <= close); }",
        arg=[2, wanted.tolist(), CLOSE],
        timeout=30_000,
    )


def test_opening_the_page_loads_neither_student_nor_engine_and_shows_the_first_garments_answers(
    reader: Reader, site: Path, data: Dataset, student: nn.Module, teacher: Ensemble
) -> None:
    with reader.page(PATH) as page:
        size = sum(path.stat().st_size for path in (site / ENGINE).iterdir())
        go = page.locator("#live-go")
        expect(go).to_have_text(f"Start the student ({size / 1e6:.1f} MB)")
        expect(page.locator("#live-verdict")).to_contain_text("The student said when this page was built")
        image = data.test.images[_index(_garments(page).first)].unsqueeze(0)
        for temperature in (1.0, 4.0):
            _heat(page, temperature)
            for who, model in (("student", student), ("teacher", teacher)):
                shown = _shown(page, who)
                assert shown is not None
                assert (shown - _wanted(model, image, data, temperature)[0]).abs().max() < CLOSE
        page.wait_for_load_state("networkidle")
        assert [address for address in page.evaluate(_LOADED) if re.search(_HEAVY, address)] == []
        go.focus()
        page.keyboard.press("Enter")
        expect(_garments(page).first).to_be_focused()  # the button goes, the place in the page doesn't
        _wait_until_ready(page)
        expect(page.locator("#live-verdict")).to_contain_text("The student says")
        assert len([address for address in page.evaluate(_LOADED) if re.search(_HEAVY, address)]) == 4


@pytest.mark.parametrize("way", ["picking", "drawing"])
def test_the_first_picture_that_is_wanted_loads_the_student_and_tells_how_far_it_is(
    reader: Reader, data: Dataset, student: nn.Module, way: str
) -> None:
    held: list[Any] = []
    page = reader.context.new_page()
    try:
        page.route("**/*.wasm", lambda route: held.append(route))
        page.goto(reader.address + PATH)
        expect(page.locator("#live-go")).to_be_visible()
        assert held == []
        if way == "picking":
            _garments(page).nth(4).check()
        else:
            _drag(page, (0.2, 0.2), (0.8, 0.8))
        expect(page.locator("#live-progress")).to_be_visible()
        expect(page.locator("#live-verdict")).to_contain_text("The student is being loaded.")
        expect(page.locator("#live-go")).to_be_hidden()
        assert (_shown(page, "teacher") is None) == (way == "drawing") and _shown(page, "student") is None
        page.wait_for_timeout(100)  # lets the browser ask; it asks once
        [request] = held
        request.continue_()
        _wait_until_ready(page)
        expect(page.locator("#live-progress")).to_be_hidden()
        assert page.locator("#live-progress").evaluate("bar => bar.value") > 0.99
        expect(page.locator("#live-verdict")).not_to_contain_text("being loaded")
        _wait_for_student(page, _wanted(student, _pixels(page), data, 1.0)[0])
    finally:
        page.close()


def test_every_garment_has_its_true_name_and_pytorchs_probabilities(
    live: Page, data: Dataset, student: nn.Module, teacher: Ensemble
) -> None:
    _heat(live, 2.0)
    garments = _garments(live).all()
    index = torch.tensor([_index(garment) for garment in garments])
    assert len(set(index.tolist())) == len(garments) >= 30
    images, labels = data.test.images[index], data.test.labels[index]
    wanted = {"student": _wanted(student, images, data, 2.0), "teacher": _wanted(teacher, images, data, 2.0)}
    for n, garment in enumerate(garments):
        true = data.classes[labels[n]]
        assert (garment.get_attribute("aria-label") or "").startswith(f"{true}, test image")
        _pick(live, garment)
        _wait_for_student(live, wanted["student"][n])
        assert (_pixels(live)[0] == images[n]).all()
        for who in ("student", "teacher"):
            shown = _shown(live, who)
            assert shown is not None
            assert (shown - wanted[who][n]).abs().max() < CLOSE
        verdict = live.locator("#live-verdict").inner_text()
        answers = {who: data.classes[wanted[who][n].argmax()] for who in wanted}
        assert f"The student says: {answers['student']}," in verdict
        assert f"The teacher says: {answers['teacher']}," in verdict
        assert ("Right." in verdict) == (answers["student"] == true)
        assert (f"Wrong: it is {true}." in verdict) == (answers["student"] != true)
        hard = garment.evaluate("garment => garment.parentElement.id") == "live-hard"
        assert not hard or answers["student"] != true


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0, 20.0])
def test_probabilities_follow_the_temperature(
    live: Page, data: Dataset, student: nn.Module, teacher: Ensemble, temperature: float
) -> None:
    garment = _garments(live).nth(6)
    _pick(live, garment)
    _heat(live, temperature)
    images = data.test.images[_index(garment)].unsqueeze(0)
    for who, model in (("student", student), ("teacher", teacher)):
        shown = _shown(live, who)
        assert shown is not None
        assert (shown - _wanted(model, images, data, temperature)[0]).abs().max() < CLOSE
        assert float(shown.sum()) == pytest.approx(1)
    expect(live.locator("#live-caption")).to_contain_text(f"T = {temperature:.1f}")
    expect(live.locator("#live-t")).to_have_attribute("aria-valuetext", f"T = {temperature:.1f}")


def test_numbers_and_marks_say_what_bars_show(live: Page, data: Dataset) -> None:
    _pick(live, _garments(live).nth(9))
    _heat(live, 3.0)
    for column, who in ((1, "teacher"), (2, "student")):
        shares = _shown(live, who)
        assert shares is not None
        rows = live.locator("#live-rows tr")
        for k, share in enumerate(shares.tolist()):
            cell = rows.nth(k).locator("th, td").nth(column)
            assert float(cell.inner_text().replace("answer", "").strip("<> %\u00a0\n")) == pytest.approx(
                100 * share, abs=0.1
            )
            bar = cell.locator(".live-bar")
            width = bar.evaluate(
                "bar => bar.firstChild.getBoundingClientRect().width / bar.getBoundingClientRect().width"
            )
            assert width == pytest.approx(share, abs=0.02)
            assert ("answer" in cell.inner_text()) == (k == shares.argmax())
    assert live.locator("#live-rows th", has_text="true").all_inner_texts() == [f"{data.classes[9]} true"]
    looks = [
        live.locator(f"#live-rows td:nth-child({column}) .live-bar span").first.evaluate(
            "bar => getComputedStyle(bar).backgroundImage"
        )
        for column in (2, 3)
    ]
    assert "gradient" in looks[0] and looks[1] == "none"  # hatched, plain


def test_garments_and_temperature_by_keyboard_alone(live: Page) -> None:
    _pick(live, _garments(live).first)
    _garments(live).first.focus()
    live.keyboard.press("ArrowRight")
    second = _garments(live).nth(1)
    expect(second).to_be_focused()
    expect(second).to_be_checked()
    expect(live.locator("#live-input")).to_have_attribute(
        "aria-label", second.get_attribute("aria-label") or ""
    )
    reached = []
    for _ in range(12):  # one stop for all garments, then every control in turn
        live.keyboard.press("Tab")
        reached.append(live.evaluate("() => document.activeElement.id || document.activeElement.name"))
    wanted = ["live-canvas", "live-shade", "live-width", "live-clear", "live-copy", "live-t", "live-again"]
    assert [each for each in reached if each in wanted] == wanted


def test_drawing_is_answered_as_by_pytorch_and_has_no_teacher(
    live: Page, data: Dataset, student: nn.Module
) -> None:
    _heat(live, 1.0)
    live.locator("#live-clear").click()
    expect(live.locator("#live-verdict")).to_have_text("Pick a garment or draw one.")
    _drag(live, (0.5, 0.15), (0.5, 0.85))
    _drag(live, (0.2, 0.3), (0.8, 0.3))
    drawn = _pixels(live)
    assert drawn.max() == 255 and 60 < int((drawn > 128).sum()) < 400
    assert drawn[0, 0, 14, 14] == 255 and drawn[0, 0, 8, 7] == 255 and drawn[0, 0, 27, 0] == 0
    _wait_for_student(live, _wanted(student, drawn, data, 1.0)[0])
    assert _shown(live, "teacher") is None
    expect(live.locator("#live-verdict")).to_contain_text("teachers are not in this page")
    expect(live.locator("input[name=live-garment]:checked")).to_have_count(0)
    assert live.locator("#live-canvas").evaluate(_PIXELS) == drawn.flatten().tolist()


def test_strokes_can_be_taken_back_rubbed_out_and_cleared(
    live: Page, data: Dataset, student: nn.Module
) -> None:
    live.locator("#live-clear").click()
    _drag(live, (0.2, 0.5), (0.8, 0.5))
    first = _pixels(live)
    _drag(live, (0.5, 0.2), (0.5, 0.8))
    second = _pixels(live)
    assert not torch.equal(first, second)
    live.locator("#live-undo").click()
    assert torch.equal(_pixels(live), first)
    _wait_for_student(live, _wanted(student, first, data, float(live.locator("#live-t").input_value()))[0])
    live.get_by_label("eraser").check()
    _drag(live, (0.5, 0.5), (1.0, 0.5))
    assert 0.2 < float(_pixels(live).sum() / first.sum()) < 0.8
    live.get_by_label("light").check()
    live.locator("#live-clear").click()
    assert _pixels(live).sum() == 0 and _shown(live, "student") is None
    live.locator("#live-undo").click()  # clearing can be taken back too
    assert _pixels(live).sum() > 0


def test_pen_is_moved_by_keys(live: Page, data: Dataset, student: nn.Module) -> None:
    live.locator("#live-clear").click()
    live.locator("#live-width").fill("1")
    _canvas(live).focus()
    for key in ("ArrowLeft", "ArrowLeft", " ", "ArrowRight", "ArrowRight", "ArrowDown", " ", "ArrowDown"):
        live.keyboard.press(key)
    drawn = _pixels(live)
    assert 3 <= int((drawn == 255).sum()) <= 5
    _wait_for_student(live, _wanted(student, drawn, data, float(live.locator("#live-t").input_value()))[0])
    live.keyboard.press("Tab")
    live.locator("#live-width").fill("4")


def test_drawing_may_start_from_a_garment(live: Page, data: Dataset) -> None:
    garment = _garments(live).nth(2)
    _pick(live, garment)
    live.locator("#live-copy").click()
    assert torch.equal(_pixels(live)[0], data.test.images[_index(garment)])
    assert _shown(live, "teacher") is None  # from now on it is a drawing
    expect(live.locator("#live-input")).to_have_attribute("aria-label", "Your drawing")


def test_size_and_time_are_those_of_the_file_and_of_this_machine(
    live: Page, site: Path, data: Dataset
) -> None:
    size = (site / FOLDER / "student.onnx").stat().st_size
    assert size < 200_000
    expect(live.locator("#live-model")).to_have_attribute("data-bytes", str(size))
    expect(live.locator("#live-model")).to_contain_text(f"{round(size / 1000)} kB, 16,794 weights")
    expect(live.locator("#live-engine")).to_contain_text("on one thread")
    assert live.evaluate("() => crossOriginIsolated") is False  # and no server needs to send special headers
    before = float(live.locator("#live-latency").get_attribute("data-ms") or 0)
    assert 0 < before < 60_000
    live.locator("#live-again").click()
    expect(live.locator("#live-again")).to_be_enabled(timeout=120_000)
    again = float(live.locator("#live-latency").get_attribute("data-ms") or 0)
    assert again > 0 and again != before
    assert f"{len(data.test):,} images" in live.locator("#live-accuracy").inner_text()


@pytest.mark.parametrize(("theme", "width"), [("light", 1280), ("dark", 390)])
def test_page_keeps_nobody_out(reader: Reader, axe: str, theme: str, width: int) -> None:
    with reader.page(PATH, theme, width, 844) as page:
        page.evaluate(axe)
        assert page.evaluate(_AXE) == []
        _start(page)
        _pick(page, _garments(page).first)
        assert page.evaluate(_AXE) == []
        _drag(page, (0.3, 0.3), (0.7, 0.7))
        assert page.evaluate(_AXE) == []
        assert page.evaluate("() => document.documentElement.scrollWidth <= window.innerWidth")


def test_on_a_phone_the_answer_stays_in_view(reader: Reader) -> None:
    with reader.page(PATH, width=390, height=844) as page:
        _start(page)
        _pick(page, _garments(page).nth(5))
        assert page.locator("#live-verdict").evaluate(_IN_VIEW)


def test_beside_the_pictures_the_answers_stay_in_view(reader: Reader) -> None:
    with reader.page(PATH, width=1440, height=900) as page:
        _start(page)
        _canvas(page)
        _drag(page, (0.2, 0.2), (0.8, 0.8))
        for part in ("#live-verdict", "#live-t", "#live-rows"):
            assert page.locator(part).evaluate(_IN_VIEW), part


def test_on_a_phone_everything_is_large_enough_for_a_thumb_and_drawing_does_not_scroll(
    reader: Reader,
) -> None:
    with reader.page(PATH, width=390, height=844) as page:
        expect(page.locator("#live-go")).to_be_visible()
        small = page.evaluate(_SMALL)
        assert small == []
        assert (
            page.locator("#live-canvas").evaluate("canvas => getComputedStyle(canvas).touchAction") == "none"
        )


def test_without_webassembly_the_page_says_so_and_the_teacher_still_answers(
    reader: Reader, data: Dataset, teacher: Ensemble
) -> None:
    page = reader.context.new_page()
    try:
        page.add_init_script("delete window.WebAssembly")
        page.goto(reader.address + PATH)
        expect(page.get_by_role("alert")).to_contain_text("needs WebAssembly")
        expect(page.locator("#live-status")).to_be_hidden()
        expect(page.locator("#live-draw")).to_be_hidden()
        expect(page.locator("#live-go")).to_be_hidden()
        garment = _garments(page).nth(3)
        garment.check()
        expect(page.locator("#live-verdict")).to_contain_text("The teacher says")
        expect(page.locator("#live-verdict")).not_to_contain_text("student")
        shown = _shown(page, "teacher")
        assert shown is not None
        wanted = _wanted(teacher, data.test.images[_index(garment)].unsqueeze(0), data, 1.0)[0]
        assert (shown - wanted).abs().max() < CLOSE
        assert _shown(page, "student") is None
    finally:
        page.close()


@pytest.mark.parametrize("lost", ["**/student.onnx", "**/ort.wasm.min.js", "**/*.wasm"])
def test_a_part_that_does_not_arrive_is_told(reader: Reader, lost: str) -> None:
    page = reader.context.new_page()
    try:
        page.route(lost, lambda route: route.fulfill(status=404, body="gone"))
        page.goto(reader.address + PATH)
        page.locator("#live-go").click()
        expect(page.get_by_role("alert")).to_contain_text("The student could not be started", timeout=120_000)
        expect(page.locator("#live-progress")).to_be_hidden()
        expect(page.locator("#live-verdict")).not_to_contain_text("being loaded")
        expect(page.locator("#live-verdict")).to_contain_text("The teacher says")
    finally:
        page.close()


def test_opened_as_a_file_the_page_says_what_to_do(reader: Reader, site: Path) -> None:
    page = reader.context.new_page()
    try:
        page.route("file://**", lambda route: route.continue_())
        page.goto((site / PATH).as_uri())
        expect(page.get_by_role("alert")).to_contain_text("python -m http.server")
        expect(page.locator("#live-controls")).to_be_hidden()
    finally:
        page.close()


def test_without_javascript_the_page_says_so(site: Path) -> None:
    text = (site / PATH).read_text(encoding="utf-8")
    assert (
        "JavaScript, which is disabled in your browser"
        in text.partition("<noscript><p")[2].partition("</noscript>")[0]
    )
