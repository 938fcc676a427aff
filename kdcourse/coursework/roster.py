"""Compare a class with its roster: who handed in nothing, who works in a group, who was late, and the platform's ids.

A roster is a table with the column name or student, and any of these:

    student     the id in grades.csv, or a login
    number      the learning platform's number of the student
    group       members of a group who hand in nothing get the marks of the one who does
    handed_in   when, such as 2026-12-07T08:30+01:00
    due         a deadline of their own, in place of the assignment's
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from kdcourse.coursework.intake import slug
from kdcourse.coursework.records import Assignment, Graded, Mark, Member
from kdcourse.coursework.tables import Person, match, number, read_table
from kdcourse.errors import DataError

_COLUMNS = ("student", "name", "number", "group", "handed_in", "due")
_NOTHING = "Nothing was handed in."


@dataclass(frozen=True)
class Enrolled:
    """Hold one row of a roster; ``handed_in`` and ``due`` have a time zone, or are None."""

    student: str
    name: str
    number: str
    group: str
    handed_in: datetime | None
    due: datetime | None


@dataclass(frozen=True)
class Joined:
    """Hold a class with its roster.

    Args:
        class_: who handed in, with penalties for lateness.
        members: who is in the group of one of these.
        absent: who handed in nothing, with 0 points.
        people: student -> the row of the roster.
        notes: sentences for the instructor.
    """

    class_: tuple[Graded, ...]
    members: tuple[Member, ...] = ()
    absent: tuple[Graded, ...] = ()
    people: tuple[tuple[str, Enrolled], ...] = ()
    notes: tuple[str, ...] = ()


def read_roster(path: Path) -> list[Enrolled]:
    """Read a roster.

    Raises:
        DataError: the file can't be read, has neither a column student nor name, or a time is not one with a zone.
    """
    header, rows = read_table(path)
    places = {name.strip().casefold(): place for place, name in enumerate(header)}
    if not {"student", "name"} & places.keys():
        raise DataError(
            f"{path} has neither a column student nor a column name; found {', '.join(header) or 'nothing'}. The "
            f"columns of a roster are {', '.join(_COLUMNS)}."
        )
    found = []
    for line, row in enumerate(rows, start=2):
        student, name, own, group, handed_in, due = (
            row[places[column]].strip() if places.get(column, len(row)) < len(row) else ""
            for column in _COLUMNS
        )
        handed = _time(handed_in, f"{path}, row {line}, handed_in")
        extended = _time(due, f"{path}, row {line}, due")
        if student or name:
            found.append(Enrolled(student, name or student, own, group, handed, extended))
    return found


def _time(text: str, where: str) -> datetime | None:
    if not text:
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        time = None
    if time is None or time.tzinfo is None:
        raise DataError(f"{where}: {text!r} is not a time with a zone; write it as 2026-12-07T08:30+01:00.")
    return time


def join(class_: Sequence[Graded], roster: Sequence[Enrolled], assignment: Assignment, file: str) -> Joined:
    """Join a class with its roster; ``file`` names it in notes."""
    people = [Person((one.number,), (one.student,), one.name) for one in roster]
    matched, unsure = match(class_, people, file, "look at this row yourself")
    row_of = {graded.student: roster[place] for place, graded in matched.items()}
    notes = list(unsure)
    done = []
    for graded in class_:
        one = row_of.get(graded.student)
        done.append(_with_lateness(graded, one, assignment) if one is not None else graded)
    if assignment.due and (unknown := [g.student for g in done if not _is_known(row_of.get(g.student))]):
        notes.append(
            f"No time in {file}, therefore no penalty: {', '.join(unknown[:5])}{', ...' * (len(unknown) > 5)}."
        )
    left = [one for place, one in enumerate(roster) if place not in matched]
    taken = {graded.student.casefold() for graded in class_}
    groups: dict[str, list[str]] = {}
    for student, one in row_of.items():
        groups.setdefault(one.group, []).append(student)
    members, absent = [], []
    for one in left:
        student = _id(one, taken)
        row_of[student] = one
        senders = groups.get(one.group, []) if one.group else []
        if senders:
            members.append(Member(student, one.name, one.group, tuple(senders)))
        else:
            marks = tuple(
                Mark(task.id, 0.0, task.points, False, False, None, _NOTHING) for task in assignment.tasks
            )
            absent.append(Graded(student, one.name, marks, (_NOTHING,), 0.0))
    if absent:
        notes.append(f"{len(absent)} of {len(roster)} in {file} handed in nothing; see the report.")
    return Joined(tuple(done), tuple(members), tuple(absent), tuple(row_of.items()), tuple(notes))


def _id(one: Enrolled, taken: set[str]) -> str:
    """Return an id that nobody has yet, and add it to those that are taken."""
    wanted = slug(one.student or one.name) + (f"_{one.number}" if one.number and not one.student else "")
    found, count = wanted, 1
    while found.casefold() in taken:
        count += 1
        found = f"{wanted}-{count}"
    taken.add(found.casefold())
    return found


def _is_known(one: Enrolled | None) -> bool:
    return one is not None and one.handed_in is not None


def _with_lateness(graded: Graded, one: Enrolled, assignment: Assignment) -> Graded:
    due = one.due or (datetime.fromisoformat(assignment.due) if assignment.due else None)
    if due is None or one.handed_in is None or one.handed_in <= due:
        return graded
    days = math.ceil((one.handed_in - due) / timedelta(days=1))
    lost = min(100.0, days * assignment.late_penalty)
    late = (
        f"Handed in {_shown(one.handed_in, due)}, due {_shown(due, due)}: {days} day{'s' * (days > 1)} late, "
        f"-{number(lost)} %"
    )
    return replace(graded, late=late, share=1.0 - lost / 100)


def _shown(time: datetime, zone: datetime) -> str:
    """Return a time in the deadline's zone."""
    return time.astimezone(zone.tzinfo).strftime("%Y-%m-%d %H:%M UTC%z")
