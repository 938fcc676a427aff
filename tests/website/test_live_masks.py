"""Masks in the reader's browser: what the page shows is what PyTorch says, for scenes and for photographs.

`pytest -m browser --no-cov tests/website/test_live_masks.py` runs these alone.
"""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from PIL import Image
from torch import Tensor

pytest.importorskip(
    "playwright", reason='playwright not installed: pip install -e ".[test,browser,site]" -c constraints.txt'
)

from playwright.sync_api import ConsoleMessage, Locator, Page, Route, expect

from kdcourse.data import SegmentationDataset
from kdcourse.evaluation import mean_iou, predict_logits
from tests.website.conftest import AXE_MAIN, IN_BROWSER, Reader
from tools.website.live.frame import FOLDER
from tools.website.live.masks import students

if TYPE_CHECKING:
    from kdcourse.models.unet import UNet

pytestmark = [
    *IN_BROWSER,
    pytest.mark.skipif(not students.stored(), reason=f"no students yet: {students.COMMAND}"),
]

PATH = "live_masks.html"
NAMES = students.NAMES
SIDE = 96
CLOSE = 0.002  # of a share: few pixels have two classes that are almost as likely

# By class, the unlabelled pixels last: shares of the true mask and of both students', null where there is none.
_SHARES = """() => [...document.querySelectorAll('#live-rows tr')].map(row => [...row.cells].slice(1).map(
    cell => cell.dataset.share === '' ? null : Number(cell.dataset.share)))"""
_SMALL = """() => [...document.querySelectorAll('#live :is(button, input, canvas[tabindex]), .live-tabs a')]
    .filter(part => part.checkVisibility() && part.getBoundingClientRect().height < 44)
    .map(part => part.id || part.textContent)"""
_GIVE = """([kind, name, type, content]) => {
    const bytes = Uint8Array.from(atob(content), character => character.charCodeAt(0));
    const given = new DataTransfer();
    given.items.add(new File([bytes], name, {type}));
    const how = {bubbles: true, cancelable: true};
    document.getElementById('live-controls').dispatchEvent(
        kind === 'paste' ? new ClipboardEvent('paste', {...how, clipboardData: given})
                         : new DragEvent(kind, {...how, dataTransfer: given}));
}"""
_PLACES = """() => {
    scrollTo({top: 0, behavior: 'instant'}); // returns a promise in newer browsers
    return Object.fromEntries([...document.querySelectorAll(
    '#live section, #live figure, #live-verdict, #live-least, #what-you-see > h2')].map((part, n) => {
        const {x, y, width, height} = part.getBoundingClientRect();
        return [`${n} ${part.id || part.className || part.tagName}`, [x, y + scrollY, width, height].map(Math.round)];
    }));
}"""


@pytest.fixture(scope="module")
def data() -> SegmentationDataset:
    return students.shown_scenes()


@pytest.fixture(scope="module")
def networks(data: SegmentationDataset) -> dict[str, UNet]:
    return {name: model for name, (model, _) in students.load(data).items()}


@pytest.fixture(scope="module")
def live(reader: Reader) -> Iterator[Page]:
    """The page with its students; its console stays without errors."""
    errors: list[str] = []

    def listen(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            errors.append(message.text)

    with reader.page(PATH) as page:
        page.on("console", listen)
        _wait(page)
        yield page
        assert errors == []


def _wait(page: Page) -> None:
    """Until both students have answered."""
    for name in NAMES:
        expect(_row(page, name, "ms")).to_have_text(re.compile("ms"), timeout=120_000)


def _row(page: Page, name: str, part: str) -> Locator:
    return page.locator(f'#live tr[data-model="{name}"] .live-{part}')


def _tiles(page: Page) -> Locator:
    return page.locator("input[name=live-scene]:not([value=photo])")


def _probabilities(networks: dict[str, UNet], image: Tensor, data: SegmentationDataset) -> dict[str, Tensor]:
    """PyTorch's probabilities for one image uint8 [3, H, W]: [C, H, W] by name."""
    return {name: predict_logits(model, image[None], data)[0].softmax(0) for name, model in networks.items()}


def _wait_for(page: Page, masks: list[Tensor | None], classes: int) -> None:
    """Until the shares of the true mask and of both students' are these; 255 is unlabelled, None is no mask."""
    wanted = []
    for mask in masks:
        counts = None if mask is None else torch.bincount(mask.flatten().long(), minlength=256)
        shares = None if counts is None else (counts[[*range(classes), 255]] / counts.sum()).tolist()
        wanted.append([None] * (classes + 1) if shares is None else shares)
    page.wait_for_function(
        f"""wanted => ({_SHARES})().every((row, k) => row.every((share, n) => share === wanted[n][k]
            || (share !== null && wanted[n][k] !== null && Math.abs(share - wanted[n][k]) < {CLOSE})))""",
        arg=wanted,
        timeout=60_000,
    )


def _photograph(image: Tensor) -> bytes:
    """A PNG whose centred square is this image uint8 [3, 96, 96], every pixel four times as wide and high."""
    pixels = image.permute(1, 2, 0).repeat_interleave(4, 0).repeat_interleave(4, 1)
    wide = torch.zeros(pixels.shape[0], pixels.shape[1] + 200, 3, dtype=torch.uint8)
    wide[:, :, 0] = 255  # red beside the square
    wide[:, 100:-100] = pixels
    stream = io.BytesIO()
    Image.fromarray(wide.numpy()).save(stream, "PNG")
    return stream.getvalue()


def _give(page: Page, kind: str, name: str, type_: str, content: bytes) -> None:
    """Drop or paste a file."""
    page.evaluate(_GIVE, [kind, name, type_, base64.b64encode(content).decode()])


# -- numbers -----------------------------------------------------------------------------------------


def test_opening_the_page_shows_a_scene_and_both_masks_and_loads_little(reader: Reader, site: Path) -> None:
    with reader.page(PATH) as page:
        _wait(page)
        expect(page.locator("#live-verdict")).to_contain_text("Test scene 0: ")
        expect(_tiles(page).first).to_be_checked()
        loaded = page.evaluate("() => performance.getEntriesByType('resource').map(entry => entry.name)")
        names = {address.rpartition("/")[2] for address in loaded if "_static/live/" in address}
        assert {"masks_plain.safetensors", "masks_distilled.safetensors", "masks.json"} <= names
        assert not names & {"live.js", "live.json", "plain.safetensors"}
        assert sum((site / FOLDER / name).stat().st_size for name in names) < 600_000


def test_every_scene_has_its_true_mask_and_pytorchs_masks_and_iou(
    live: Page, data: SegmentationDataset, networks: dict[str, UNet]
) -> None:
    tiles = _tiles(live).all()
    assert len({tile.get_attribute("value") for tile in tiles}) == len(tiles) >= 6
    classes = len(data.classes)
    for tile in tiles:
        place = int(tile.get_attribute("value") or "")
        truth = data.test.masks[place]
        things = [data.classes[k] for k in truth.unique().tolist() if k]
        name = tile.get_attribute("aria-label") or ""
        assert name.startswith(f"Test scene {place}: ") and all(thing in name for thing in things)
        tile.check()
        found = _probabilities(networks, data.test.images[place], data)
        masks = {name: p.argmax(0) for name, p in found.items()}
        _wait_for(live, [truth, *masks.values()], classes)
        iou = {name: mean_iou(mask[None], truth[None], classes) for name, mask in masks.items()}
        for name in NAMES:
            cell = _row(live, name, "own-iou")
            assert float(cell.get_attribute("data-iou") or "") == pytest.approx(iou[name], abs=0.01)
            caption = live.locator(f'#live [data-mask="{name}"] figcaption')
            expect(caption).to_contain_text(f"IoU\u00a0{cell.inner_text()}")
            words = live.locator(f'#live [data-mask="{name}"] canvas').get_attribute("aria-label") or ""
            assert "background" in words and "%" in words
        group = tile.evaluate("tile => tile.parentElement.id").removeprefix("live-")
        if group != "first":
            other = {"plain": "distilled", "distilled": "plain"}[group]
            assert iou[group] > iou[other]
            expect(live.locator("#live-verdict")).to_contain_text(f"the {group} student is ahead by")


def test_sizes_times_and_iou_of_all_scenes_are_those_of_the_files(live: Page, site: Path) -> None:
    told = json.loads((site / FOLDER / "masks.json").read_text())["models"]
    for name in NAMES:
        size = (site / FOLDER / told[name]["file"]).stat().st_size
        assert size < 60_000
        assert _row(live, name, "size").inner_text().replace("\u00a0", " ") == f"{round(size / 1e3)} kB"
        assert float(_row(live, name, "ms").get_attribute("data-ms") or 0) > 0
        reached = _row(live, name, "all-iou").inner_text().replace("\u00a0", " ")
        assert reached == f"{100 * told[name]['iou']:.1f} %"


def test_confidence_leaves_pixels_unlabelled(
    live: Page, data: SegmentationDataset, networks: dict[str, UNet]
) -> None:
    _tiles(live).nth(1).check()
    slider = live.locator("#live-least")
    slider.focus()
    live.keyboard.press("Home")
    for _ in range(12):
        live.keyboard.press("ArrowRight")
    expect(slider).to_have_attribute("aria-valuetext", "0.60")
    masks = []
    for p in _probabilities(networks, data.test.images[1], data).values():
        most, mask = p.max(0)
        masks.append(torch.where(most < 0.6, 255, mask))
    assert all((mask == 255).any() for mask in masks)
    _wait_for(live, [data.test.masks[1], *masks], len(data.classes))
    live.keyboard.press("Home")


# -- one pixel ---------------------------------------------------------------------------------------


def test_a_pixels_classes_are_named_under_the_pointer_and_by_keys(
    live: Page, data: SegmentationDataset, networks: dict[str, UNet]
) -> None:
    _tiles(live).nth(2).check()
    found = _probabilities(networks, data.test.images[2], data)
    _wait_for(live, [data.test.masks[2], *(p.argmax(0) for p in found.values())], len(data.classes))
    canvas = live.locator('#live [data-mask="distilled"] canvas')
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    assert box is not None
    live.mouse.move(box["x"] + box["width"] * 60.5 / SIDE, box["y"] + box["height"] * 30.5 / SIDE)
    words = live.locator("#live-pixel")
    expect(words).to_contain_text("Row 31, column 61.")
    expect(words).to_have_attribute("aria-live", "off")
    picture = live.locator("#live-picture")
    picture.focus()
    for key in ("ArrowDown", "Shift+ArrowLeft", "ArrowLeft", "ArrowUp", "ArrowUp"):
        live.keyboard.press(key)
    row, column = 30 - 1, 60 - 8 - 1
    expect(words).to_contain_text(f"Row {row + 1}, column {column + 1}. True: ")
    expect(words).to_have_attribute("aria-live", "polite")
    said = words.inner_text()
    assert f"True: {data.classes[int(data.test.masks[2, row, column])]}." in said
    for name in NAMES:
        p = found[name][:, row, column]
        share = 100 * float(p.max())
        told = ">\u00a099" if 99.5 < share < 100 else f"{share:.0f}"  # nothing uncertain is called certain
        assert f"{name.capitalize()}: {data.classes[int(p.argmax())]}, {told}" in said


# -- photographs -------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["choose", "drop", "paste"])
def test_a_photograph_is_cropped_scaled_and_answered_as_by_pytorch(
    live: Page, data: SegmentationDataset, networks: dict[str, UNet], way: str
) -> None:
    _tiles(live).first.check()
    image = data.test.images[7 + ("choose", "drop", "paste").index(way)]
    content, name = _photograph(image), f"{way}.png"
    asked: list[str] = []

    def listen(request: object) -> None:
        asked.append(str(request))

    live.on("request", listen)
    if way == "choose":
        with live.expect_file_chooser() as chooser:
            live.locator("#live-choose").click()
        chooser.value.set_files([{"name": name, "mimeType": "image/png", "buffer": content}])
    else:
        _give(live, way, name, "image/png", content)
    expect(live.locator("#live-picture")).to_have_attribute("aria-label", re.compile(f'photograph "{name}"'))
    masks = [p.argmax(0) for p in _probabilities(networks, image, data).values()]
    _wait_for(live, [None, *masks], len(data.classes))
    expect(live.locator("#live-verdict")).to_contain_text("nobody drew a true mask")
    expect(live.locator('#live [data-mask="truth"]')).to_contain_text("not known")
    expect(live.locator("#live-photo")).to_be_checked()
    for student in NAMES:
        expect(_row(live, student, "own-iou")).to_have_text("–")
    live.remove_listener("request", listen)
    assert [each for each in asked if "data:" not in each and "blob:" not in each] == []  # nothing leaves
    _tiles(live).first.check()  # and back
    expect(live.locator("#live-verdict")).to_contain_text("Test scene 0")
    live.locator("#live-photo").check()
    _wait_for(live, [None, *masks], len(data.classes))


@pytest.mark.parametrize("way", ["choose", "drop"])
def test_a_file_that_is_no_image_is_refused_and_what_was_shown_stays(live: Page, way: str) -> None:
    _tiles(live).nth(3).check()
    expect(live.locator("#live-verdict")).to_contain_text("Test scene 3")
    before = live.evaluate(_SHARES)
    if way == "choose":
        live.locator("#live-file").set_input_files(
            [{"name": "notes.txt", "mimeType": "text/plain", "buffer": b"no image"}]
        )
    else:
        _give(live, "drop", "notes.txt", "text/plain", b"no image")
    refused = live.locator("#live-refused")
    expect(refused).to_contain_text('"notes.txt" can\'t be shown')
    expect(refused).to_contain_text("type: text/plain")
    expect(refused).to_contain_text("PNG, JPEG or WebP")
    expect(refused).to_have_attribute("role", "alert")
    assert live.evaluate(_SHARES) == before
    expect(_tiles(live).nth(3)).to_be_checked()
    _tiles(live).nth(2).check()
    expect(refused).to_be_hidden()


def test_a_browser_that_hides_pixels_is_told_of(reader: Reader, data: SegmentationDataset) -> None:
    with reader.page(PATH) as page:
        _wait(page)
        page.evaluate("""() => {
            const read = OffscreenCanvasRenderingContext2D.prototype.getImageData;
            OffscreenCanvasRenderingContext2D.prototype.getImageData = function (...where) {
                const found = read.apply(this, where);
                crypto.getRandomValues(found.data);
                return found;
            };
        }""")
        _give(page, "drop", "shirt.png", "image/png", _photograph(data.test.images[0]))
        expect(page.locator("#live-refused")).to_contain_text("doesn't let pages read an image's pixels")
        expect(page.locator("#live-photo")).to_be_disabled()
        expect(page.locator("#live-verdict")).to_contain_text("Test scene 0")


# -- the network goes and comes ----------------------------------------------------------------------


@pytest.mark.parametrize("file", ["masks.json", "masks_distilled.safetensors", "masks_network.js"])
def test_files_that_did_not_come_are_fetched_again(reader: Reader, file: str) -> None:
    with reader.page_that_misses(file, PATH) as page:
        expect(page.locator("#live-trouble")).to_contain_text("The students could not be loaded")
        page.locator("#live-retry").click()
        _wait(page)
        expect(page.locator("#live-trouble")).to_be_hidden()


def test_page_works_without_a_network_once_it_is_loaded(
    live: Page, data: SegmentationDataset, networks: dict[str, UNet]
) -> None:
    live.context.set_offline(True)
    try:
        _give(live, "drop", "offline.png", "image/png", _photograph(data.test.images[11]))
        masks = [p.argmax(0) for p in _probabilities(networks, data.test.images[11], data).values()]
        _wait_for(live, [None, *masks], len(data.classes))
    finally:
        live.context.set_offline(False)


# -- nothing jumps, and nobody is kept out -----------------------------------------------------------


@pytest.mark.parametrize("width", [1280, 360])
def test_nothing_moves_when_masks_come(reader: Reader, width: int) -> None:
    held: list[Route] = []
    page = reader.context.new_page()
    try:
        page.set_viewport_size({"width": width, "height": 900})
        page.route("**/masks.json", lambda route: held.append(route))
        page.goto(reader.address + PATH, wait_until="domcontentloaded")
        while not held:
            page.wait_for_timeout(50)
        before = page.evaluate(_PLACES)
        for route in held:
            route.continue_()
        _wait(page)
        assert page.evaluate(_PLACES) == before
        page.locator("#live-picture").focus()
        page.keyboard.press("ArrowLeft")
        assert page.evaluate(_PLACES) == before
    finally:
        page.close()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 360])
def test_page_keeps_nobody_out(
    reader: Reader, data: SegmentationDataset, axe: str, theme: str, width: int
) -> None:
    with reader.page(PATH, theme, width, 844) as page:
        _wait(page)
        page.evaluate(axe)
        assert page.evaluate(AXE_MAIN) == []
        page.locator("#live-least").fill("0.5")
        _give(page, "drop", "shirt.png", "image/png", _photograph(data.test.images[0]))
        expect(page.locator("#live-verdict")).to_contain_text("nobody drew a true mask")
        _give(page, "drop", "notes.txt", "text/plain", b"no image")
        expect(page.locator("#live-refused")).to_be_visible()
        assert page.evaluate(AXE_MAIN) == []


@pytest.mark.parametrize("width", [360, 320])
def test_on_a_phone_nothing_is_too_small_or_too_wide(reader: Reader, width: int) -> None:
    with reader.page(PATH, width=width, height=740) as page:
        _wait(page)
        assert page.evaluate(_SMALL) == []
        assert page.evaluate("() => document.documentElement.scrollWidth <= window.innerWidth")


def test_controls_are_reached_by_keyboard_in_their_order(live: Page) -> None:
    _tiles(live).first.check()
    _tiles(live).first.focus()
    live.keyboard.press("ArrowRight")
    expect(_tiles(live).nth(1)).to_be_checked()
    reached = []
    for _ in range(3):  # all scenes are one stop
        live.keyboard.press("Tab")
        reached.append(live.evaluate("() => document.activeElement.id"))
    assert reached == ["live-choose", "live-picture", "live-least"]


def test_tabs_lead_to_the_other_page_and_back(reader: Reader) -> None:
    with reader.page("live.html") as page:
        tabs = page.locator(".live-tabs a")
        expect(tabs).to_have_count(2)
        expect(tabs.nth(0)).to_have_attribute("aria-current", "page")
        tabs.nth(1).click()
        page.wait_for_url(f"**/{PATH}")
        expect(page.locator('.live-tabs a[aria-current="page"]')).to_have_attribute("href", PATH)
        page.locator(".live-tabs a").nth(0).click()
        page.wait_for_url("**/live.html")


def test_page_is_in_the_navigation_and_on_the_first_page(site: Path) -> None:
    text = (site / "index.html").read_text(encoding="utf-8")
    assert text.count(f'href="{PATH}"') >= 2 and f'class="course-button" href="{PATH}"' in text


def test_page_that_was_opened_as_a_file_says_what_to_do(reader: Reader, site: Path) -> None:
    page = reader.context.new_page()
    try:
        page.route("file://**", lambda route: route.continue_())
        page.goto((site / PATH).as_uri())
        expect(page.locator("#live-trouble")).to_contain_text("python -m http.server")
        expect(page.locator("#live-trouble")).to_contain_text(f"http://localhost:8000/{PATH}")
        expect(page.locator("#live-controls")).to_be_hidden()
    finally:
        page.close()


def test_without_javascript_the_page_says_so(site: Path) -> None:
    text = (site / PATH).read_text(encoding="utf-8")
    text = text.partition("<noscript><style>")[2].partition("</noscript>")[0]
    assert "JavaScript, which is disabled in your browser" in text
    assert "#live-controls { display: none" in text
