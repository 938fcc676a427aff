"""The page for marking shows what a marker needs, harms nobody, and saves a table that comes back."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace

from kdcourse.coursework.finding import find
from kdcourse.coursework.marking_page import marking_page
from kdcourse.coursework.notebooks import Cell
from kdcourse.coursework.records import Task
from tests.coursework import tiny
from tests.coursework.reading import Page

PICTURE = "data:image/png;base64,iVBORw0KGgo="
ASKED = Task("why", "written", tiny.LESSON, "Why?", 3)


def test_each_answer_stands_with_rubric_and_pictures() -> None:
    anna, jose, wu = tiny.class_of_three()
    anna = replace(anna, marks=(*anna.marks[:2], replace(anna.marks[2], pictures=(PICTURE,))))
    wu = replace(wu, marks=(replace(wu.marks[0], points=2.5, doubt="given out of 2"), *wu.marks[1:]))
    page = Page(marking_page([anna, jose, wu], tiny.ASSIGNMENT))
    assert (
        not page.faults
        and "says what they carry" in page.text
        and "Now 2.5 points: given out of 2." in page.text
    )
    answers = [(one["data-student"], one["data-task"]) for one in page.all("section")]
    assert answers == [("wu", "softened"), ("anna.maier_10342", "why-soft"), ("jose_10077", "why-soft")]
    assert [image["src"] for image in page.all("img")] == [PICTURE]
    assert [field["data-of"] for field in page.all("input") if field.get("class") == "points"] == [
        "3",
        "4",
        "4",
    ]


def test_words_of_students_do_nothing_and_only_our_script_runs() -> None:
    evil = "</pre></script><script>alert(1)</script><img src=x onerror=alert(1)>"
    class_ = [tiny.graded(evil, evil, replace(tiny.unread("why-soft", 4, evil), doubt=evil))]
    page = Page(marking_page(class_, tiny.ASSIGNMENT))
    assert not page.faults and len(page.all("script")) == 1 and not page.all("img")
    assert not [name for _, named in page.tags for name in named if name.startswith("on") or name == "style"]
    script = re.search(r"<script>(.*)</script>", page.source, re.DOTALL)
    assert script is not None
    digest = base64.b64encode(hashlib.sha256(script[1].encode()).digest()).decode()
    policy = page.all("meta")[1]["content"]
    assert (
        policy is not None
        and policy.endswith(f"script-src 'sha256-{digest}'")
        and "default-src 'none'" in policy
    )


def test_pasted_pictures_are_taken_out_of_the_text() -> None:
    text = f"See ![a](attachment:my%20plot.png) and ![b]({PICTURE}), ![gone](attachment:gone.png)."
    cells = [Cell(1, "markdown", text, ("why",), (), (("my plot.png", "data:image/jpeg;base64,AAAA"),))]
    answer = find(cells, ASKED)
    assert answer.pictures == ("data:image/jpeg;base64,AAAA", PICTURE)
    assert answer.text == "See [picture 1] and [picture 2], ![gone](attachment:gone.png)."
    assert "can't be shown here" in answer.note
    other = find([replace(cells[0], pictures=(("my plot.png", "data:image/jpeg;base64,BBBB"),))], ASKED)
    assert other.fingerprint != answer.fingerprint
