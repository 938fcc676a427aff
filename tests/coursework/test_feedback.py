from __future__ import annotations

import re
from dataclasses import replace

import pytest

from kdcourse.coursework.feedback import feedback, file_names, result
from kdcourse.coursework.records import Mark
from kdcourse.pages import clean
from tests.coursework import tiny
from tests.coursework.reading import Page, check_sound

EVIL = (
    "<script>alert(1)</script>",
    "</pre></code></title><img src=x onerror=alert(1)>",
    "\"><svg onload=alert(1)><style>*{display:none}</style>",
    "'); </style><iframe srcdoc='<script>1</script>'>",
    "<!--", "]]>", "&lt;b&gt;", "<a href='javascript:alert(1)'>x</a>", "<base href=//evil>",
    "\u202egnp.exe \u2066x", "\0\x1b[31m\x9f", "\ud800 half", "\ufeffx\ufffe",
)  # fmt: skip


def page_of(text: str) -> Page:
    """A page on which ``text`` stands wherever words of a student's can stand."""
    marks = (
        Mark("softened", 0.0, 3.0, False, True, text, text, "id", text, "f", text),
        tiny.unread("why-soft", 4, text),
    )
    return Page(feedback(replace(tiny.graded("x", text, *marks), problems=(text,)), tiny.ASSIGNMENT))


def test_a_page_is_sound_and_says_what_there_is() -> None:
    for graded in tiny.class_of_three():
        page = Page(feedback(graded, tiny.ASSIGNMENT))
        check_sound(page)
        assert f"Soft targets: feedback for {graded.name}" in page.text
    anna, jose, wu = (Page(feedback(one, tiny.ASSIGNMENT)).text for one in tiny.class_of_three())
    assert "5 of 9 points so far; 1 answer is not marked yet." in anna and "They carry more." in anna
    assert "not yet ✗" in jose and "right ✓" in jose and "not marked yet" in jose
    assert "ends in the middle" in wu and "0 of 9 points." in wu and "not attempted ○" in wu


@pytest.mark.parametrize("evil", EVIL, ids=[ascii(text)[:20] for text in EVIL])
def test_whatever_a_student_writes_is_shown_and_does_nothing(evil: str) -> None:
    page, harmless = page_of(evil), page_of("harmless")
    check_sound(page)
    assert [tag for tag, _ in page.tags] == [tag for tag, _ in harmless.tags]
    assert page.text.count(clean(evil).strip()) >= 6  # title, heading, problem, message, comment, two answers
    page.source.encode()  # can be written to a file


def test_no_rubric_and_no_seed_reaches_a_student() -> None:
    page = feedback(tiny.class_of_three()[0], tiny.ASSIGNMENT)
    assert "says what they carry" not in page and str(tiny.ASSIGNMENT.seed) not in page


def test_a_very_long_answer_is_cut_and_that_is_said() -> None:
    mark = tiny.unread("why-soft", 4, "long " * 10_000)
    page = Page(feedback(tiny.graded("x", "X", mark), tiny.ASSIGNMENT))
    assert "Only the first 20,000 characters" in page.text and len(page.source) < 30_000


@pytest.mark.parametrize(
    ("points", "right", "attempted", "words"),
    [
        (None, False, True, "not marked yet"),
        (3.0, True, True, "right ✓"),
        (3.0, False, True, "full points"),
        (1.0, False, True, "in part"),
        (1.0, True, True, "in part"),
        (0.0, False, True, "not yet ✗"),
        (0.0, False, False, "not attempted ○"),
    ],
)
def test_results_in_words(points: float | None, right: bool, attempted: bool, words: str) -> None:
    assert result(Mark("t", points, 3.0, right, attempted, None, "")) == words


def test_files_are_named_safely_and_apart_everywhere() -> None:
    names = file_names(
        ["anna", "Anna", "con", "../../etc/passwd", "a" * 200, "ok-1_2.b", ".hidden", "trailing."]
    )
    assert names["anna"] == "anna.html" and names["ok-1_2.b"] == "ok-1_2.b.html"
    assert len({name.casefold() for name in names.values()}) == 8
    assert all(re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,90}\.html", name) for name in names.values())
    assert names["con"] != "con.html"
