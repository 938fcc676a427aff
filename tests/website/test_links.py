"""The check of links: it sees what leads nowhere and what comes from elsewhere, and lets the rest be."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.website.links import problems


@pytest.fixture
def small(tmp_path: Path) -> Path:
    (tmp_path / "deep").mkdir()
    (tmp_path / "a b.png").touch()
    (tmp_path / "look.css").write_text("p { background: url(data:x) } q { background: url('a b.png') }")
    (tmp_path / "index.html").write_text('<h1 id="top">A</h1><a href="deep/one.html#end">on</a>')
    (tmp_path / "deep" / "one.html").write_text(
        '<link rel="stylesheet" href="../look.css"><link rel="canonical" href="https://x.org/"><p id="end">'
        '<img src="../a%20b.png"><a href="https://x.org/y#z">out</a><a href="..">up</a><a href="#end">here</a>'
        '<a href="mailto:a@b.org">write</a><img src="data:image/png;base64,AA">'
    )
    return tmp_path


def test_a_sound_site_has_no_problems(small: Path) -> None:
    assert problems(small) == []


@pytest.mark.parametrize(
    ("html", "said"),
    [
        ('<a href="gone.html">', "index.html links to gone.html, which doesn't exist"),
        (
            '<a href="deep/one.html#gone">',
            "index.html links to deep/one.html#gone, but there is no such anchor",
        ),
        ('<a href="#gone">', "index.html links to #gone, but there is no such anchor"),
        ('<a href="../outside.html">', "index.html links to ../outside.html, which doesn't exist"),
        ('<a href="https:oops">', "index.html has the link 'https:oops', which is not an address"),
        ('<img src="gone.png">', "index.html loads gone.png, which doesn't exist"),
        (
            '<script src="https://cdn.x/y.js"></script>',
            "index.html loads https://cdn.x/y.js from another server",
        ),
        ('<script src="//cdn.x/y.js"></script>', "index.html loads //cdn.x/y.js from another server"),
        (
            '<link rel="stylesheet" href="https://x/y.css">',
            "index.html loads https://x/y.css from another server",
        ),
        ('<link rel="preconnect" href="https://x">', "index.html loads https://x from another server"),
        (
            '<img srcset="a%20b.png 1x, https://x/z.png 2x">',
            "index.html loads https://x/z.png from another server",
        ),
        ("<style>@import 'https://x/y.css';</style>", "index.html loads https://x/y.css from another server"),
        (
            '<p style="background: url(https://x/y.png)">',
            "index.html loads https://x/y.png from another server",
        ),
        ('<iframe src="https://x/"></iframe>', "index.html loads https://x/ from another server"),
    ],
)
def test_what_is_wrong_is_named(small: Path, html: str, said: str) -> None:
    with (small / "index.html").open("a") as page:
        page.write(html)
    assert problems(small) == [said]


def test_a_style_sheet_may_not_load_from_elsewhere(small: Path) -> None:
    (small / "look.css").write_text(
        "@font-face { src: url(https://fonts.x/a.woff2) } p { background: url(b.png) }"
    )
    assert problems(small) == [
        "look.css loads https://fonts.x/a.woff2 from another server", "look.css loads b.png, which doesn't exist",
    ]  # fmt: skip
