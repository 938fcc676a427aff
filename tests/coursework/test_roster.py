"""Nobody who is enrolled is forgotten, groups share their marks, and lateness costs what the assignment says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from kdcourse.coursework import tables
from kdcourse.coursework.feedback import feedback
from kdcourse.coursework.records import Assignment
from kdcourse.coursework.report import report
from kdcourse.coursework.roster import Joined, join, read_roster
from kdcourse.errors import DataError
from tests.coursework import tiny
from tests.coursework.reading import Page, check_sound
from tests.coursework.test_tables import rows

CLASS = tiny.class_of_three()
DUE = replace(tiny.ASSIGNMENT, due="2026-11-29T23:59:00+01:00", late_penalty=20.0)


def joined(tmp_path: Path, text: str, assignment: Assignment = tiny.ASSIGNMENT) -> Joined:
    path = tmp_path / "roster.csv"
    path.write_text(text, "utf-8")
    return join(CLASS, read_roster(path), assignment, path.name)


def test_who_handed_in_nothing_is_named_and_has_0_points(tmp_path: Path) -> None:
    text = "Name;Student\nAnna Maier;anna.maier_10342\nJosé Ñandú;\nWu;wu\nIda Lee;il44\nWu;\n"
    found = joined(tmp_path, text)
    assert [one.student for one in found.class_] == [one.student for one in CLASS] and not found.members
    assert [(one.student, one.name, one.points) for one in found.absent] == [
        ("il44", "Ida Lee", 0),
        ("Wu-2", "Wu", 0),
    ]
    assert found.notes == ("2 of 5 in roster.csv handed in nothing; see the report.",)
    table = rows(tables.grades_csv([*found.class_, *found.absent], tiny.ASSIGNMENT))
    assert (table[3]["student"], table[3]["points"], table[3]["problems"]) == (
        "il44",
        "0",
        "Nothing was handed in.",
    )
    page = Page(report(found.class_, tiny.ASSIGNMENT, absent=found.absent))
    check_sound(page)
    assert "3 submissions" in page.text and "Ida Lee (il44), Wu (Wu-2)." in page.text


def test_who_is_not_enrolled_is_named_and_kept(tmp_path: Path) -> None:
    found = joined(tmp_path, "student\nwu\n")
    assert len(found.class_) == 3 and len(found.notes) == 2
    assert (
        found.notes[0]
        == "Anna Maier (anna.maier_10342) is in no row of roster.csv: look at this row yourself."
    )


def test_members_of_a_group_have_its_marks(tmp_path: Path) -> None:
    text = "name,group\nAnna Maier,A\nJosé Ñandú,A\nWu,B\nIda Lee,A\nBo Ek,\nCy Fu,B\n"
    found = joined(tmp_path, text)
    ida, cy = (member.graded({one.student: one for one in CLASS}) for member in found.members)
    assert (ida.name, ida.points, cy.points) == ("Ida Lee", 5, 0)  # of the best of the group
    assert ida.problems[0] == "Handed in by Anna Maier for the group A." and not any(
        m.fingerprint for m in ida.marks
    )
    assert [one.name for one in found.absent] == ["Bo Ek"]


def test_each_started_day_costs_its_part_and_the_zones_are_said(tmp_path: Path) -> None:
    text = (
        "name,handed_in,due\n"
        "Anna Maier,2026-11-29T22:59:00+00:00,\n"  # on time to the second
        "José Ñandú,2026-11-30T23:00:00Z,\n"  # a day and a minute
        "Wu,2026-12-24T00:00Z,2026-12-24T00:00Z\n"  # a deadline of their own
    )
    found = joined(tmp_path, text, DUE)
    assert [one.points for one in found.class_] == [5, 1.2, 0] and not found.notes
    late = "Handed in 2026-12-01 00:00 UTC+0100, due 2026-11-29 23:59 UTC+0100: 2 days late, -40 %"
    assert [one.late for one in found.class_] == ["", late, ""]
    assert rows(tables.grades_csv(found.class_, DUE))[1]["late"] == late
    assert late in Page(feedback(found.class_[1], DUE)).text and late in report(found.class_, DUE)
    much = joined(tmp_path, "name,handed_in\nAnna Maier,2027-11-29T22:59Z\n", DUE)
    assert much.class_[0].points == 0
    assert much.notes[-1] == "No time in roster.csv, therefore no penalty: jose_10077, wu."


@pytest.mark.parametrize("time", ["yesterday", "2026-11-29T12:00", "29.11.2026"])
def test_a_time_without_a_zone_is_refused(time: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"row 2, handed_in: .* is not a time with a zone; write it as 2026"):
        joined(tmp_path, f"name,handed_in\nWu,{time}\n")
    with pytest.raises(DataError, match="neither a column student nor a column name; found a, b"):
        joined(tmp_path, "a,b\n1,2\n")


def test_canvas_finds_students_by_the_platforms_ids() -> None:
    ids = {"jose_10077": ("10077", ""), "wu": ("", "wu@u.edu")}
    anna, jose, wu = rows(tables.canvas_csv(CLASS, tiny.ASSIGNMENT, None, ids)[0])[1:]
    assert [(one["ID"], one["SIS Login ID"]) for one in (anna, jose, wu)] == [
        ("", "anna.maier_10342"),
        ("10077", ""),
        ("", "wu@u.edu"),
    ]
