"""The room itself: its names, what it needs, what it keeps away from."""

from __future__ import annotations

import re
import subprocess
import sys
from html import escape

from kdcourse import widgets
from tests.widgets.tiny import CLASS_NAMES, bundle_of, scenes, task


def test_every_public_name_is_there() -> None:
    assert all(callable(getattr(widgets, name)) for name in widgets.__all__)


def test_without_ipywidgets_the_way_out_is_told() -> None:
    code = "import sys; sys.modules['ipywidgets'] = None; import kdcourse.widgets"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert done.stderr.rstrip().splitlines()[-3:] == [
        "ImportError: kdcourse.widgets needs ipywidgets, which is not installed here. Install it with",
        '    pip install "kdcourse[notebooks]"',
        "and restart the kernel.",
    ]


def test_no_control_shows_the_word_null_for_a_tooltip_and_choices_say_whose_they_are() -> None:
    images, labels, members = task()
    explorer = widgets.temperature_explorer(images, members, labels, CLASS_NAMES)
    browser = widgets.mistake_browser(
        images, labels, CLASS_NAMES, {"teacher": members[0], "student": members[1]}
    )
    pictures, masks, logits, classes = scenes()
    masked = widgets.threshold_explorer(pictures, masks, logits, classes)
    toggles = list(browser.filters.values())
    assert [one.tooltips[1] for one in toggles] == ["teacher is wrong", "student is wrong"]
    sliders = [explorer.temperature, explorer.index, browser.index, browser.temperature, *toggles]
    sliders += [masked.model, masked.label, masked.index, masked.threshold]
    # Under ipywidgets 7 such controls have no tooltip of this name, and show none.
    assert all(getattr(one, "tooltip", "") == "" and one.description for one in sliders)


def test_a_widget_shows_its_figure_with_its_alt_text() -> None:
    explorer = widgets.ensemble_explorer(
        task()[2], task()[1], CLASS_NAMES, names=["<one>", 'the "two"', "three"]
    )
    bundle, metadata = bundle_of(explorer)
    shown = explorer.drawing.value
    assert f'alt="{escape(metadata["image/png"]["alt"])}"' in shown and "&lt;one&gt;" in shown
    assert f"base64,{bundle['image/png']}" in shown
    width, height = re.findall(r'(?:width|height)="(\d+)"', shown)
    assert min(int(width), int(height)) > 100


def test_front_ends_are_modules_without_imports() -> None:
    from kdcourse.widgets import front

    for name in front.MODULES:
        text = front.module(name)
        assert text.count("export default { render };") == 1 and "import " not in text
    assert ".kd-part" in front.style()
