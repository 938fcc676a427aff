"""The networks in the reader's browser: what the page shows is what PyTorch says, by mouse, keyboard and address.

`pytest -m browser --no-cov tests/website/test_live.py` runs these alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import Tensor

pytest.importorskip(
    "playwright", reason='playwright not installed: pip install -e ".[test,browser,site]" -c constraints.txt'
)

from playwright.sync_api import Locator, Page, Route, expect

from kdcourse.data import Dataset, fashion_mnist
from kdcourse.evaluation import predict
from kdcourse.runs import recorded
from tests.website.conftest import AXE_MAIN, IN_BROWSER, Reader
from tools.website.live import students
from tools.website.live.build import SEARCHED
from tools.website.live.frame import FOLDER

if TYPE_CHECKING:
    from torch import nn

pytestmark = IN_BROWSER

PATH = "live.html"
STUDENTS = ("plain", "distilled")
MODELS = (*STUDENTS, "teachers")
CLOSE = 1e-4  # of a logit and of a probability

_PIXELS = """canvas => {
    const {data} = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
    return Array.from({length: data.length / 4}, (_, at) => data[4 * at]);
}"""
# By model and class; null where there is none.
_BARS = """() => [1, 2, 3].map(column => Object.fromEntries([...document.querySelectorAll('#live-rows tr')].map(row =>
    [row.cells[0].textContent, Number(row.cells[column].dataset.probability ?? NaN)])))"""
# Row by row: what each bar says, and its length as a share.
_CELLS = """() => [...document.querySelectorAll('#live-rows tr')].map(row => [...row.cells].slice(1).map(cell => {
    const track = cell.querySelector('.live-bar');
    return [cell.textContent, track.firstChild.getBoundingClientRect().width / track.getBoundingClientRect().width];
}))"""
_ANSWERED = """([model, wanted, close]) => {
    const told = document.querySelector(`#live tr[data-model=${model}] .live-says span`).dataset.logits;
    return told !== undefined && JSON.parse(told).every((z, k) => Math.abs(z - wanted[k]) <= close);
}"""
_IN_VIEW = """part => {
    const {top, bottom, left, width, height} = part.getBoundingClientRect();
    const there = document.elementFromPoint(left + width / 2, top + height / 2);
    return top >= 0 && bottom <= innerHeight && part.contains(there);
}"""
# What is lower than 44 pixels; of a choice, its label counts.
_SMALL = """() => [...document.querySelectorAll('#live :is(button, input, canvas[tabindex])')]
    .map(part => part.closest('label') ?? part)
    .filter(part => part.checkVisibility() && part.getBoundingClientRect().height < 44)
    .map(part => part.id || part.textContent)"""
# Where everything is, in the page; but for the rows of bars, which are sorted.
_PLACES = """() => {
    scrollTo({top: 0, behavior: 'instant'}); // returns a promise in newer browsers
    return Object.fromEntries([...document.querySelectorAll(
    '#live section, #live .live-race tr, #live .live-race td, #live-verdict, #live-canvas, #live-t,'
    + '#live-pick fieldset, #what-you-see > h2')].map((part, n) => {
        const {x, y, width, height} = part.getBoundingClientRect();
        return [`${n} ${part.id || part.className || part.parentElement.dataset.model || part.tagName}`,
            [x, y + scrollY, width, height].map(Math.round)];
    }));
}"""


@pytest.fixture(scope="module")
def data() -> Dataset:
    return fashion_mnist()


@pytest.fixture(scope="module")
def networks(data: Dataset) -> dict[str, nn.Module]:
    """By the page's names; the teachers as one."""
    return {name: model for name, (model, _) in students.load(data).items()} | {
        "teachers": recorded.ensemble(data)
    }


@pytest.fixture(scope="module")
def live(reader: Reader) -> Iterator[Page]:
    """The page, students and teachers loaded."""
    with reader.page(PATH) as page:
        _wait_for_students(page)
        _fetch(page)
        yield page


def _row(page: Page, model: str, part: str) -> Locator:
    return page.locator(f'#live tr[data-model="{model}"] .live-{part}')


def _wait_for_students(page: Page) -> None:
    for name in STUDENTS:
        expect(_row(page, name, "ms")).to_have_text(re.compile("ms"), timeout=120_000)


def _fetch(page: Page) -> None:
    """Press the button and wait until the teachers answer."""
    page.locator("#live-fetch").click()
    _wait_for_teachers(page)


def _wait_for_teachers(page: Page) -> None:
    expect(_row(page, "teachers", "ms")).to_have_text(re.compile("ms"), timeout=240_000)


def _garments(page: Page) -> Locator:
    return page.locator("input[name=live-garment]")


def _index(garment: Locator) -> int:
    """Its place in the test set."""
    return int(garment.get_attribute("value") or "")


def _shown(page: Page, data: Dataset) -> Tensor:
    """The probabilities of the bars: float64 [3, 10], NaN where there is none."""
    bars = page.evaluate(_BARS)
    return torch.tensor(
        [[column[name] if column[name] is not None else float("nan") for name in data.classes] for column in bars]
    )  # fmt: skip


def _wait_for(
    page: Page, networks: dict[str, nn.Module], images: Tensor, data: Dataset, models: tuple[str, ...] = MODELS
) -> None:  # fmt: skip
    """Until these models have given PyTorch's logits for one image."""
    for name in models:
        wanted = predict(networks[name], images, data)[0].tolist()
        page.wait_for_function(_ANSWERED, arg=[name, wanted, CLOSE], timeout=60_000)


def _heat(page: Page, temperature: float) -> None:
    """Move the slider of T by keys, from its left end."""
    slider = page.locator("#live-t")
    slider.focus()
    page.keyboard.press("Home")
    for _ in range(round((temperature - 0.5) / 0.5)):
        page.keyboard.press("ArrowRight")
    expect(slider).to_have_value(f"{temperature:g}")


def _pixels(page: Page) -> Tensor:
    """What is on the canvas: uint8 [1, 1, 28, 28]."""
    return torch.tensor(page.locator("#live-canvas").evaluate(_PIXELS), dtype=torch.uint8).view(1, 1, 28, 28)


def _drag(page: Page, begin: tuple[float, float], end: tuple[float, float]) -> None:
    """Draw from one place to another, both in shares of the canvas."""
    canvas = page.locator("#live-canvas")
    canvas.evaluate("canvas => canvas.scrollIntoView({block: 'end'})")
    box = canvas.bounding_box()
    assert box is not None
    (x0, y0), (x1, y1) = (
        (box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in (begin, end)
    )
    page.mouse.move(x0, y0)
    page.mouse.down()
    page.mouse.move(x1, y1, steps=8)
    page.mouse.up()


@contextmanager
def _without_network(page: Page) -> Iterator[None]:
    page.context.set_offline(True)
    try:
        yield
    finally:
        page.context.set_offline(False)


# -- numbers -----------------------------------------------------------------------------------------


def test_opening_the_page_answers_with_both_students_and_fetches_no_teacher(
    reader: Reader, site: Path, data: Dataset, networks: dict[str, nn.Module]
) -> None:
    with reader.page(PATH) as page:
        _wait_for_students(page)
        image = _pixels(page)
        _wait_for(page, networks, image, data, STUDENTS)
        shown = _shown(page, data)
        for row, name in zip(shown, STUDENTS, strict=False):
            assert (row - predict(networks[name], image, data)[0].softmax(0)).abs().max() < CLOSE
        assert shown[2].isnan().all()
        expect(page.locator("#live-verdict")).to_contain_text("only the distilled student is right")
        loaded = page.evaluate("() => performance.getEntriesByType('resource').map(entry => entry.name)")
        names = {address.rpartition("/")[2] for address in loaded if "_static/live/" in address}
        assert {"plain.safetensors", "distilled.safetensors", "live.json"} <= names
        assert not any("teacher" in name for name in names)
        assert sum((site / FOLDER / name).stat().st_size for name in names) < 400_000
        assert not any(address.endswith((".wasm", ".onnx")) for address in loaded)


def test_every_test_image_has_its_true_name_and_pytorchs_logits(
    live: Page, data: Dataset, networks: dict[str, nn.Module]
) -> None:
    garments = _garments(live).all()
    index = torch.tensor([_index(garment) for garment in garments])
    assert len(set(index.tolist())) == len(garments) >= 20
    answers = {name: predict(networks[name], data.test.images[index], data).argmax(1) for name in MODELS}
    for n, garment in enumerate(garments):
        label = int(data.test.labels[index[n]])
        name = f"{data.classes[label]}, test image {index[n]}"
        assert garment.get_attribute("aria-label") == name
        garment.check()
        expect(live.locator("#live-canvas")).to_have_attribute("aria-label", name)
        assert (_pixels(live)[0] == data.test.images[index[n]]).all()
        _wait_for(live, networks, data.test.images[index[n]].unsqueeze(0), data)
        for model in MODELS:
            says = _row(live, model, "says")
            expect(says).to_contain_text(data.classes[answers[model][n]])
            expect(says.get_by_role("img")).to_have_attribute(
                "aria-label", "right" if answers[model][n] == label else "wrong"
            )
        group = garment.evaluate("garment => garment.parentElement.id").removeprefix("live-")
        right = {name: bool(answers[name][n] == label) for name in STUDENTS}
        assert group == "first" or (right[group] and sum(right.values()) == 1)
        assert index[n] < SEARCHED
        if sum(answers[model][n] == label for model in MODELS) == 1:
            expect(live.locator("#live-verdict")).to_contain_text("right. Distilled: 1/")


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0, 20.0])
def test_bars_follow_the_temperature_and_are_sorted(
    live: Page, data: Dataset, networks: dict[str, nn.Module], temperature: float
) -> None:
    garment = _garments(live).nth(6)
    garment.check()
    images = data.test.images[_index(garment)].unsqueeze(0)
    _wait_for(live, networks, images, data)
    _heat(live, temperature)
    shown = _shown(live, data)
    for row, name in zip(shown, MODELS, strict=True):
        wanted = (predict(networks[name], images, data)[0].double() / temperature).softmax(0)
        assert (row - wanted).abs().max() < CLOSE
    order = [data.classes.index(name) for name in live.locator("#live-rows th").all_inner_texts()]
    assert order == shown[2].argsort(descending=True).tolist()
    cells = live.evaluate(_CELLS)
    for place, k in enumerate(order):
        for row, (text, length) in zip(shown, cells[place], strict=True):
            assert float(text.strip("<> %\u00a0\n")) == pytest.approx(100 * float(row[k]), abs=0.1)
            assert length == pytest.approx(float(row[k]), abs=0.02)
    expect(live.locator("#live-t")).to_have_attribute("aria-valuetext", f"T = {temperature:.1f}")
    expect(live.locator("#live-caption")).to_contain_text(f"T = {temperature:.1f}")


def test_slider_redraws_at_once(live: Page) -> None:
    times = live.evaluate("""() => Array.from({length: 15}, (_, n) => {
        const [slider, begin] = [document.getElementById('live-t'), performance.now()];
        slider.value = 1 + n;
        slider.dispatchEvent(new Event('input'));
        document.getElementById('live-rows').getBoundingClientRect();
        return performance.now() - begin;
    })""")
    assert sorted(times)[len(times) // 2] < 50


def test_drawing_is_answered_as_by_pytorch(live: Page, data: Dataset, networks: dict[str, nn.Module]) -> None:
    live.locator("#live-clear").click()
    expect(live.locator("#live-verdict")).to_have_text("Draw something, or pick a test image.")
    _drag(live, (0.5, 0.15), (0.5, 0.85))
    _drag(live, (0.2, 0.3), (0.8, 0.3))
    drawn = _pixels(live)
    assert drawn.max() == 255 and 60 < int((drawn > 128).sum()) < 400
    assert drawn[0, 0, 14, 14] == 255 and drawn[0, 0, 8, 7] == 255 and drawn[0, 0, 27, 0] == 0
    _wait_for(live, networks, drawn, data)
    expect(live.locator("#live input[name=live-garment]:checked")).to_have_count(0)
    expect(live.locator("#live-canvas")).to_have_attribute("aria-label", "Your drawing")
    expect(live.locator("#live .live-mark")).to_have_count(0)  # nobody knows what it is


# -- the race ----------------------------------------------------------------------------------------


def test_sizes_times_and_accuracies_are_those_of_the_files_and_of_this_machine(
    live: Page, site: Path, data: Dataset
) -> None:
    told = json.loads((site / FOLDER / "live.json").read_text())["models"]
    for model in MODELS:
        files = [site / FOLDER / file["name"] for file in told[model]["files"]]
        size = sum(file.stat().st_size for file in files)
        words = f"{round(size / 1e3)} kB" if size < 1e6 else f"{size / 1e6:.1f} MB"
        assert _row(live, model, "size").inner_text().replace("\u00a0", " ") == words
        assert float(_row(live, model, "ms").get_attribute("data-ms") or 0) > 0
        right = _row(live, model, "right").inner_text().replace("\u00a0", " ")
        assert right == f"{100 * told[model]['accuracy']:.1f} %"
    assert told["distilled"]["accuracy"] > told["plain"]["accuracy"] + 0.05
    assert live.evaluate("() => crossOriginIsolated") is False  # and no server needs to send special headers


def test_race_takes_longer_for_who_is_slower_and_stands_still_where_motion_is_unwanted(live: Page) -> None:
    garment = _garments(live).first
    garment.check()
    expect(live.locator("#live-again")).to_be_enabled()
    for motion, count in (("no-preference", 3), ("reduce", 0)):
        live.emulate_media(reduced_motion=motion)
        lanes = live.evaluate("""() => {
            document.getElementById('live-again').click();
            return ['plain', 'distilled', 'teachers'].map(model => {
                const row = document.querySelector(`#live tr[data-model=${model}]`);
                const lane = row.querySelector('.live-lane');
                const length = Number(lane.style.width.replace('%', ''));
                return [Number(row.querySelector('.live-ms').dataset.ms), length,
                    lane.getAnimations().map(each => each.effect.getTiming().duration)];
            });
        }""")
        slowest = max(ms for ms, _, _ in lanes)
        assert sum(len(durations) for _, _, durations in lanes) == count
        for ms, length, durations in lanes:
            assert length == pytest.approx(100 * ms / slowest, abs=0.5)
            for duration in durations:
                assert duration == pytest.approx(2000 * ms / slowest, rel=0.05, abs=5)
    live.emulate_media(reduced_motion="no-preference")


def test_networks_differ_by_pattern_too(live: Page) -> None:
    looks = [
        _row(live, model, "lane").evaluate("lane => getComputedStyle(lane).backgroundImage")
        for model in MODELS
    ]
    assert "linear-gradient" in looks[0] and looks[1] == "none" and "radial-gradient" in looks[2]


# -- drawing -----------------------------------------------------------------------------------------


def test_test_images_and_temperature_by_keyboard_alone(live: Page) -> None:
    _garments(live).first.check()
    _garments(live).first.focus()
    live.keyboard.press("ArrowRight")
    second = _garments(live).nth(1)
    expect(second).to_be_focused()
    expect(second).to_be_checked()
    expect(live.locator("#live-canvas")).to_have_attribute(
        "aria-label", second.get_attribute("aria-label") or ""
    )
    live.locator("#live-canvas").focus()
    reached = []
    for _ in range(8):  # one stop for all garments, then every control in turn
        live.keyboard.press("Tab")
        reached.append(live.evaluate("() => document.activeElement.id || document.activeElement.name"))
    controls = ("shade", "width", "undo", "clear", "again", "share", "t", "garment")
    assert reached == [f"live-{control}" for control in controls]


def test_strokes_can_be_taken_back_rubbed_out_and_cleared(
    live: Page, data: Dataset, networks: dict[str, nn.Module]
) -> None:
    garment = _garments(live).nth(2)
    garment.check()
    live.locator("#live-clear").click()
    _drag(live, (0.2, 0.5), (0.8, 0.5))
    first = _pixels(live)
    _drag(live, (0.5, 0.2), (0.5, 0.8))
    assert not torch.equal(_pixels(live), first)
    live.locator("#live-undo").click()
    assert torch.equal(_pixels(live), first)
    _wait_for(live, networks, first, data)
    live.get_by_label("eraser").check()
    _drag(live, (0.5, 0.5), (1.0, 0.5))
    assert 0.2 < float(_pixels(live).sum() / first.sum()) < 0.8
    live.get_by_label("light").check()
    live.locator("#live-clear").click()
    assert _pixels(live).sum() == 0 and _shown(live, data).isnan().all()
    for _ in range(4):  # clearing, erasing, the first stroke and the first clearing can be taken back
        live.locator("#live-undo").click()
    expect(garment).to_be_checked()
    assert torch.equal(_pixels(live)[0], data.test.images[_index(garment)])


def test_pen_is_moved_by_keys(live: Page, data: Dataset, networks: dict[str, nn.Module]) -> None:
    live.locator("#live-clear").click()
    live.locator("#live-width").fill("1")
    live.locator("#live-canvas").focus()
    for key in ("ArrowLeft", "ArrowLeft", " ", "ArrowRight", "ArrowRight", "ArrowDown", " ", "ArrowDown"):
        live.keyboard.press(key)
    live.keyboard.press("Tab")  # the dot that shows the pen goes
    drawn = _pixels(live)
    assert 3 <= int((drawn == 255).sum()) <= 5
    _wait_for(live, networks, drawn, data)
    live.locator("#live-width").fill("4")


def test_drawing_may_start_from_a_test_image(live: Page, data: Dataset) -> None:
    garment = _garments(live).nth(2)
    garment.check()
    _drag(live, (0.9, 0.02), (0.98, 0.02))
    before, after = data.test.images[_index(garment)].int(), _pixels(live)[0].int()
    assert (after[:, 8:, :20] - before[:, 8:, :20]).abs().max() <= 9  # 16 shades
    expect(garment).not_to_be_checked()  # from now on it is a drawing


# -- the address -------------------------------------------------------------------------------------


def test_link_brings_drawing_answers_and_temperature_to_another_page(
    live: Page, reader: Reader, data: Dataset, networks: dict[str, nn.Module]
) -> None:
    reader.context.grant_permissions(["clipboard-read", "clipboard-write"])
    live.locator("#live-clear").click()
    _drag(live, (0.2, 0.2), (0.8, 0.8))
    _heat(live, 2.5)
    drawn = _pixels(live)
    live.locator("#live-share").click()
    expect(live.locator("#live-verdict")).to_contain_text("The link is copied")
    link = live.evaluate("() => navigator.clipboard.readText()")
    assert link == live.url and len(link) < 800
    with reader.page(link.removeprefix(reader.address)) as other:
        _wait_for_students(other)
        assert torch.equal(_pixels(other), drawn)
        expect(other.locator("#live-t")).to_have_value("2.5")
        _wait_for(other, networks, drawn, data, STUDENTS)
        garment = _garments(other).nth(3)
        garment.check()
        other.wait_for_url(f"**/{PATH}#garment={_index(garment)}&t=2.5")
        other.reload()
        expect(_garments(other).nth(3)).to_be_checked()
        # What the page was about to write into the address must not win over what the visitor goes to.
        other.evaluate(
            "hash => { const was = location.href; location.hash = hash; history.replaceState(null, '', was); }",
            link.partition("#")[2],
        )
        expect(other.locator("#live-canvas")).to_have_attribute("aria-label", "Your drawing")
        assert torch.equal(_pixels(other), drawn)


@pytest.mark.parametrize(
    ("address", "problem"),
    [
        ("drawing=AAAA", "The drawing in this address is damaged"),
        ("drawing=%C3%A4&t=3", "The drawing in this address is damaged"),
        ("garment=99999", "doesn't have the test image"),
        ("t=1000", ""),
        ("what-you-see", ""),
    ],
)
def test_damaged_addresses_are_told_and_show_a_test_image(reader: Reader, address: str, problem: str) -> None:
    with reader.page(f"{PATH}#{address}") as page:
        expect(page.locator("#live-verdict")).to_contain_text(problem or "only the distilled student")
        _wait_for_students(page)
        expect(page.locator("input[name=live-garment]:checked")).to_have_count(1)
        expect(page.locator("#live-t")).to_have_value("3" if "t=3" in address else "1")


# -- the network goes and comes ----------------------------------------------------------------------


def test_page_works_without_a_network_once_it_is_loaded(
    live: Page, data: Dataset, networks: dict[str, nn.Module]
) -> None:
    with _without_network(live):
        live.locator("#live-clear").click()
        _drag(live, (0.3, 0.2), (0.7, 0.9))
        _wait_for(live, networks, _pixels(live), data)


def test_teachers_are_fetched_when_the_network_is_back(
    reader: Reader, data: Dataset, networks: dict[str, nn.Module]
) -> None:
    with reader.page(PATH) as page:
        _wait_for_students(page)
        with _without_network(page):
            page.locator("#live-fetch").click()
            expect(page.locator("#live-verdict")).to_contain_text("The teachers could not be fetched")
            button = page.locator("#live-fetch")
            expect(button).to_have_text("Try again")
            button.click()
            expect(button).to_be_enabled()  # it never goes for good
            _drag(page, (0.3, 0.2), (0.7, 0.9))
            _wait_for(page, networks, _pixels(page), data, STUDENTS)
        _wait_for_teachers(page)  # nobody pressed anything
        _wait_for(page, networks, _pixels(page), data)


def test_interrupted_fetching_goes_on_with_the_file_that_is_missing(reader: Reader) -> None:
    asked: list[str] = []
    held: list[Route] = []

    def answer(route: Route) -> None:
        name = route.request.url.rpartition("/")[2]
        asked.append(name)
        if name != "teacher_3.safetensors":
            route.continue_()
        elif asked.count(name) == 1:
            held.append(route)
        else:
            route.continue_()

    with reader.page(PATH) as page:
        _wait_for_students(page)
        page.route("**/teacher_*.safetensors", answer)
        page.locator("#live-fetch").click()
        progress = page.locator("#live-progress")
        expect(progress).to_be_visible()
        page.wait_for_function("() => document.getElementById('live-progress').value > 0.39")
        assert 0.39 < progress.evaluate("bar => bar.value") < 0.42
        expect(_row(page, "teachers", "size")).to_have_text("3.6 of 9.0 MB")
        while not held:
            page.wait_for_timeout(50)
        held[0].abort("connectionreset")
        expect(page.locator("#live-fetch")).to_have_text("Try again")
        _fetch(page)
        expect(progress).to_be_hidden()
    assert [name[8] for name in asked] == ["1", "2", "3", "3", "4", "5"]


def test_students_that_did_not_come_are_fetched_again(reader: Reader) -> None:
    with reader.page_that_misses("distilled.safetensors", PATH) as page:
        expect(page.get_by_role("alert")).to_contain_text("The students could not be loaded")
        page.locator("#live-retry").click()
        _wait_for_students(page)
        expect(page.locator("#live-trouble")).to_be_hidden()


# -- nothing jumps, and nobody is kept out -----------------------------------------------------------


@pytest.mark.parametrize("width", [1280, 390])
def test_nothing_moves_when_answers_come(reader: Reader, width: int) -> None:
    held: list[Route] = []
    page = reader.context.new_page()
    places: dict[str, Any] = {}

    def same(when: str) -> None:
        now = page.evaluate(_PLACES)
        assert {name: (before, now[name]) for name, before in places.items() if before != now[name]} == {}, (
            when
        )

    steps: dict[str, Callable[[], Any]] = {
        "students answer": lambda: _wait_for_students(page),
        "teachers are fetched": lambda: page.locator("#live-fetch").click(),
        "teachers answer": lambda: _wait_for_teachers(page),
        "the race is over": lambda: page.wait_for_timeout(2200),
        "T rises": lambda: _heat(page, 6),
        "nothing drawn": lambda: page.locator("#live-clear").click(),
        "an ankle boot": lambda: _garments(page).nth(9).check(),
    }
    try:
        page.set_viewport_size({"width": width, "height": 900})
        page.route("**/live.json", lambda route: held.append(route))
        page.goto(reader.address + PATH, wait_until="domcontentloaded")
        while not held:
            page.wait_for_timeout(50)
        places |= page.evaluate(_PLACES)
        for route in held:
            route.continue_()
        for when, step in steps.items():
            step()
            same(when)
    finally:
        page.close()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_page_keeps_nobody_out(reader: Reader, axe: str, theme: str, width: int) -> None:
    with reader.page(PATH, theme, width, 844) as page:
        _wait_for_students(page)
        page.evaluate(axe)
        assert page.evaluate(AXE_MAIN) == []
        _fetch(page)
        _drag(page, (0.3, 0.3), (0.7, 0.7))
        page.wait_for_timeout(2200)  # the race
        assert page.evaluate(AXE_MAIN) == []


@pytest.mark.parametrize("width", [390, 320])
def test_on_a_phone_the_race_stays_in_view_and_nothing_is_too_small_or_too_wide(
    reader: Reader, width: int
) -> None:
    with reader.page(PATH, width=width, height=844) as page:
        _wait_for_students(page)
        assert page.evaluate(_SMALL) == []
        assert page.evaluate("() => document.documentElement.scrollWidth <= window.innerWidth")
        touch = page.locator("#live-canvas").evaluate("canvas => getComputedStyle(canvas).touchAction")
        assert touch == "none"  # drawing doesn't scroll
        for place in (0, 9, -1):
            garment = _garments(page).nth(place)
            garment.check()
            assert _row(page, "distilled", "says").evaluate(_IN_VIEW)
            assert garment.evaluate(_IN_VIEW)
        page.locator("#live-t").focus()
        assert page.locator("#live-t").evaluate(_IN_VIEW)


def test_beside_the_drawing_the_answers_are_in_view(reader: Reader) -> None:
    with reader.page(PATH, width=1280, height=900) as page:
        _wait_for_students(page)
        for part in ("#live-canvas", "#live-verdict", "#live-t", "#live-fetch"):
            assert page.locator(part).evaluate(_IN_VIEW), part


def test_page_that_was_opened_as_a_file_says_what_to_do(reader: Reader, site: Path) -> None:
    page = reader.context.new_page()
    try:
        page.route("file://**", lambda route: route.continue_())
        page.goto((site / PATH).as_uri())
        expect(page.get_by_role("alert")).to_contain_text("python -m http.server")
        expect(page.locator("#live-controls")).to_be_hidden()
    finally:
        page.close()


def test_without_javascript_the_page_says_so(site: Path) -> None:
    text = (
        (site / PATH)
        .read_text(encoding="utf-8")
        .partition("<noscript><style>")[2]
        .partition("</noscript>")[0]
    )
    assert (
        "JavaScript, which is disabled in your browser" in text and "#live-controls { display: none" in text
    )
