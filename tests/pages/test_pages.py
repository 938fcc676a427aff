"""The kit of all pages: values are shown and do nothing, the policy admits one style sheet, colours have contrast."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from jinja2 import UndefinedError

import kdcourse.pages
from kdcourse.pages import clean, render

STYLE = Path(kdcourse.pages.__file__).with_name("style.css").read_text(encoding="utf-8")
PAGE = """{% extends "base.html" %}
{% import "kit.html" as kit %}
{% block title %}{{ words }}{% endblock %}
{% block main %}<h1 id="{{ words }}">{{ kit.name(words) }}</h1>
{% call kit.table(words, [words, [words, words]]) %}<tr><th scope="row">{{ words }}</th><td>1</td></tr>{% endcall %}
{{ kit.cards([[words, words, words]]) }}{{ kit.pairs(words, [[words, words]]) }}{{ kit.command(words) }}
{{ kit.figure({"name": words, "title": words, "source": words, "width": 1, "height": 1, "alt": words}, words) }}
{% endblock %}"""


@pytest.fixture
def page(tmp_path: Path) -> Path:
    path = tmp_path / "page.html"
    path.write_text(PAGE, encoding="utf-8")
    return path


def tags(source: str) -> list[str]:
    found: list[str] = []
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attributes: found.append(f"{tag} {[name for name, _ in attributes]}")  # type: ignore[method-assign]
    parser.feed(source)
    return found


@pytest.mark.parametrize(
    "evil", ["<script>alert(1)</script>", '" onload="alert(1)', "{{ policy }}{% raw %}", "</style><b>", "&lt;b&gt;"]
)  # fmt: skip
def test_words_are_shown_by_every_macro_and_do_nothing(evil: str, page: Path) -> None:
    source = render(page, words=evil)
    assert tags(source) == tags(render(page, words="harmless"))
    escaped = evil.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&#34;")
    assert source.count(escaped) == render(page, words="harmless").count("harmless") > 20


def test_words_are_cleaned_wherever_they_stand(page: Path) -> None:
    source = render(page, words="a\u202eb\0\ud83d")
    assert source.count("a\ufffdb\ufffd?") > 20 and not re.search("[\u202e\0\ud83d]", source)


def test_a_value_that_is_missing_is_an_error_and_no_gap(page: Path) -> None:
    with pytest.raises(UndefinedError, match="words"):
        render(page)


def test_text_never_runs_against_its_direction_nor_holds_control_characters() -> None:
    assert clean("a\u202eb\u2067c\0d\x85e\ud83dx") == "a\ufffdb\ufffdc\ufffdd\ufffde?x"
    assert clean("tab\tline\n é 漢 😀") == "tab\tline\n é 漢 😀"


def test_the_policy_lets_one_style_sheet_through_and_nothing_else(page: Path) -> None:
    source = render(page, words="words")
    style = re.search(r"<style>(.*?)</style>", source, re.DOTALL)
    assert style is not None and style[1] == STYLE
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in source
    assert "prefers-color-scheme: dark" in style[1]


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_both_themes_have_contrast(theme: int) -> None:
    colours = dict(
        re.findall(r"--(\w+): (#[0-9a-f]{6})", re.findall(r":root \{(.*?)\}", STYLE, re.DOTALL)[theme])
    )
    for letters in ("ink", "quiet", "accent"):
        assert contrast(colours[letters], colours["paper"]) >= 7, letters
        assert contrast(colours[letters], colours["tint"]) >= 7, letters
    for ground in ("paper", "tint"):
        assert contrast(colours["line"], colours[ground]) >= 3, ground


def contrast(one: str, other: str) -> float:
    """WCAG 2.2, relative luminance and contrast ratio."""

    def luminance(colour: str) -> float:
        parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)
