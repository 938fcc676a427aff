"""The page 'What can I do in ten minutes?' runs, and its outputs are those of its code."""

from __future__ import annotations

import re

import pytest

from tools.executed import PAGE, digest_in, digest_of, executed
from tools.readme.pages import ROOT

SMALLER = {
    "labels=550": "labels=50",
    "unlabelled=5_500": "unlabelled=100",
    "epochs=40": "epochs=1",
    "epochs=4\n": "epochs=1\n",
    "pocket_60k": "pocket_2k",
    "test = images.test": "test = images.test.subset(range(200))",
}


def stored() -> str:
    return PAGE.read_text(encoding="utf-8")


def test_outputs_are_those_of_todays_code() -> None:
    assert digest_in(stored()) == digest_of(stored()), "run python -m tools.executed"
    figures = re.findall(rf"!\[[^\]]{{40,}}\]\({PAGE.stem}/(\w+\.png)\)", stored())
    assert sorted(figures) == sorted(path.name for path in PAGE.with_suffix("").iterdir()) and figures


@pytest.mark.slow
def test_the_code_runs_and_what_it_says_and_draws_stands_below_it() -> None:
    page = stored()
    for usual, less in SMALLER.items():
        assert usual in page
        page = page.replace(usual, less)
    page, figures = executed(page, PAGE.stem)
    assert digest_in(page) == digest_of(page) != digest_in(stored())
    assert "\n```text\n50 images with a label, 100 without\n" in page
    assert re.search(r"```text\nplain: \d+\.\d% \(\d+\.\d% to \d+\.\d%\)\ndistilled: ", page)
    assert re.search(r"```text\n\d+ kB of flash, \d+ kB of memory\n\d+ s for all", page)
    assert list(figures) == ["answers.png", "board.png", "differ.png"]
    assert all(content.startswith(b"\x89PNG") for content in figures.values())


def test_the_page_is_found_from_the_readme_and_in_the_websites_navigation() -> None:
    assert "(docs/ten_minutes.md)" in (ROOT / "README.md").read_text(encoding="utf-8")
    assert "\nten_minutes\n" in (ROOT / "tools/website/pages/index.md").read_text(encoding="utf-8")
