"""Write grades as tables: for people, for Canvas, for Moodle; and read the points that a marker gave.

A student's text that begins with = or + would be a formula in a spreadsheet; it is written as plain text.
Columns of Canvas: its exporter and importer (lib/gradebook_exporter.rb and gradebook_importer.rb of canvas-lms, 2024):
Student, ID, SIS User ID, SIS Login ID, Section, then 'Title (id)' for each assignment; the second row has the points
possible. Columns of Moodle: its documentation on grade import (4.5), and for the offline grading worksheet of one
assignment mod/assign/feedback/offline/importgradeslib.php: Identifier, Grade and Last modified (grade).
"""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from kdcourse.coursework.records import Account, Assignment, Graded, Mark
from kdcourse.errors import DataError

TO_MARK = "to_mark.csv"
WITHDRAWN = ("-", "−", "–")  # in place of points
HANDED_IN = "handed_in.csv"
_FORMULA = "=+-@\t\r\n＝＋－＠"
Row = list[str]
NONE: Mapping[str, tuple[str, str]] = MappingProxyType({})


@dataclass(frozen=True)
class GivenMark:
    """Hold the points that a person gave for one answer; None withdraws those that a person gave before."""

    student: str
    task: str
    points: float | None
    comment: str = ""


def number(points: float) -> str:
    """Format points as people write them: 3, 2.5, 0.33."""
    return f"{points:.2f}".rstrip("0").rstrip(".")


def failed(graded: Graded, assignment: Assignment) -> bool:
    """Tell whether this student's code could not be judged, for a reason other than the student's work."""
    code = {task.id for task in assignment.tasks if task.kind == "code"}
    return any(mark.points is None and mark.task in code for mark in graded.marks)


def to_read(graded: Graded) -> int:
    """Count the answers that a marker should read: those that wait, and those whose points are in doubt."""
    return sum(mark.points is None or bool(mark.doubt) for mark in graded.marks)


def waiting(graded: Graded) -> int:
    """Count the answers that wait for a marker."""
    return sum(mark.points is None for mark in graded.marks)


# -- our own tables -----------------------------------------------------------------------------


def grades_csv(class_: Sequence[Graded], assignment: Assignment) -> str:
    """Return all students' points per task, for people; an empty cell waits for a marker.

    It begins with the byte-order mark that Excel needs.
    """
    tasks = [task.id for task in assignment.tasks]
    rows = [["student", "name", "points", "of", "percent", "waiting", *tasks, "late", "problems"]]
    for graded in class_:
        marks = {mark.task: mark for mark in graded.marks}
        share = 100 * graded.points / assignment.points if assignment.points else 0.0
        rows.append(
            [
                _defused(graded.student),
                _defused(graded.name),
                number(graded.points),
                number(assignment.points),
                f"{share:.1f}",
                str(waiting(graded)),
                *(_points(marks.get(task)) for task in tasks),
                graded.late,
                _defused(" ".join(graded.problems)),
            ]
        )
    return "\ufeff" + _csv(rows)


def handed_in_csv(accounts: Sequence[Account]) -> str:
    """Return every file that was found among the submissions, its student, and what became of it."""
    rows = [["file", "student", "what became of it"]]
    rows += [[_defused(text) for text in (each.file, each.student, each.what)] for each in accounts]
    return "\ufeff" + _csv(rows)


def to_mark_csv(class_: Sequence[Graded], assignment: Assignment) -> str:
    """Return every answer that a marker should read, with empty columns points and comment to fill in.

    The column now has points that were given before, if they are in doubt, and why. `read_marks` reads the filled-in
    file.
    """
    titles = {task.id: task.title for task in assignment.tasks}
    rows = [["student", "name", "task", "title", "points", "of", "comment", "now", "answer"]]
    for (
        task
    ) in assignment.tasks:  # all answers to one question below each other, so that they are marked alike
        for graded in class_:
            for mark in graded.marks:
                if mark.task == task.id and (mark.points is None or mark.doubt):
                    words = [graded.student, graded.name, mark.task, titles[mark.task]]
                    answer = _defused(mark.text[:30_000])  # a spreadsheet's cell holds 32,767 characters
                    now = f"{_points(mark)}: {mark.doubt}" if mark.doubt else ""
                    rows.append([*map(_defused, words), "", number(mark.of), "", now, answer])
    return "\ufeff" + _csv(rows)


def _points(mark: Mark | None) -> str:
    return "" if mark is None or mark.points is None else number(mark.points)


# -- points given by a person -------------------------------------------------------------------


def read_marks(path: Path, assignment: Assignment) -> list[GivenMark]:
    """Read points from a table with the columns student, task, points and optionally comment.

    Rows without points are skipped, so a half-filled `to_mark_csv` is fine; other columns are ignored. A minus sign in
    the column points withdraws what a person gave: then the points of the automatic check count again, if any.

    Raises:
        DataError: the file can't be read, lacks a column or names an unknown task, points aren't a number from 0 to
            the task's points, or one answer has two different ones. The error names the rows; nothing is read.
    """
    header, rows = read_table(path)
    columns = {name.strip().casefold(): place for place, name in enumerate(header)}
    missing = [name for name in ("student", "task", "points") if name not in columns]
    if missing:
        raise DataError(
            f"{path} lacks the column{'s' * (len(missing) > 1)} {', '.join(missing)}; found "
            f"{', '.join(header) or 'none'}. Its first line must be: student,task,points,comment"
        )
    of = {task.id: task.points for task in assignment.tasks}
    marks: dict[tuple[str, str], GivenMark] = {}
    faults = []
    for line, row in enumerate(rows, start=2):
        student, task, text = (_undefused(_cell(row, columns[n])) for n in ("student", "task", "points"))
        if not text:
            continue
        points = None if text in WITHDRAWN else _number(text)
        if not student or task not in of:
            faults.append(f"row {line}: {f'no task {task!r}' if student else 'no student'}")
        elif text not in WITHDRAWN and (points is None or not 0 <= points <= of[task]):
            faults.append(
                f"row {line}: {text!r} is not a number from 0 to {number(of[task])} (or - to withdraw points)"
            )
        else:
            given = GivenMark(student, task, points, _undefused(_cell(row, columns.get("comment"))))
            if marks.setdefault((student, task), given) != given:
                faults.append(f"row {line}: {student} has {task} twice, with different points or comments")
    if faults:
        more = f" and {len(faults) - 8} more" if len(faults) > 8 else ""
        raise DataError(
            f"{path} has {'; '.join(faults[:8])}{more}. Fix these rows and run the command again; no points "
            f"of the file were used. The tasks are {', '.join(of)}."
        )
    return list(marks.values())


def filled_in(path: Path) -> bool:
    """Tell whether somebody has written points into the `to_mark_csv` at ``path``."""
    if not path.exists():
        return False
    header, rows = read_table(path)
    return "points" in header and any(_cell(row, header.index("points")) for row in rows)


# -- Canvas -------------------------------------------------------------------------------------


def canvas_csv(
    class_: Sequence[Graded],
    assignment: Assignment,
    export: Path | None = None,
    ids: Mapping[str, tuple[str, str]] = NONE,
) -> tuple[str, list[str]]:
    """Return the table that Canvas' gradebook imports, and notes for the instructor.

    With ``export``, a gradebook exported by Canvas, its students and its column for this assignment are used. Rows are
    matched by Canvas' ID, by login or SIS ID, then by name; students without a certain match are named in the notes.
    Only the columns that identify students and the one of this assignment are written, so that the import changes
    nothing else. Without ``export``, Canvas finds students by ``ids`` (student -> Canvas' number and login, either of
    them may be ""), or else has to find them by login (the student's id) or name.

    Raises:
        DataError: ``export`` is not a gradebook of Canvas, or several of its columns may be the assignment's.
    """
    if export is None:
        rows = [
            ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", _column(assignment.title)],
            ["    Points Possible", "", "", "", "", number(assignment.points)],
        ]
        rows += [
            [_defused(graded.name), _defused(own), "", _defused(login), "", number(graded.points)]
            for graded in class_
            for own, login in [ids.get(graded.student, ("", graded.student))]
            if not failed(graded, assignment)
        ]
        return _csv(rows), []
    header, body = read_table(export)
    section = next((place for place, name in enumerate(header) if name.strip() == "Section"), None)
    if section is None or "ID" not in header[:section]:
        raise DataError(
            f"{export} is not a gradebook exported by Canvas: it has no columns ID and Section among "
            f"{', '.join(header[:8]) or 'none'}. In Canvas choose Gradebook, Export, Export Entire Gradebook."
        )
    column, notes = _canvas_column(header, section, assignment, export)
    name = header[column] if column is not None else _column(assignment.title)
    students = [row for row in body if _cell(row, header.index("ID"))]
    possible = next((row for row in body if "Points Possible" in _cell(row, 0)), [])
    scale, said = _scale(_cell(possible, column), assignment, f"the column {name!r} of {export.name}")
    places = {word: header.index(word) for word in header[: section + 1]}
    matched, unsure = match(
        class_,
        [
            Person(
                numbers=(_cell(row, places["ID"]),),
                logins=tuple(_cell(row, places[w]) for w in ("SIS Login ID", "SIS User ID") if w in places),
                name=_canvas_name(row, places),
            )
            for row in students
        ],
        export.name,
    )
    rows = [[*header[: section + 1], name]]
    rows.append(["    Points Possible", *[""] * section, number(assignment.points * scale)])
    for place, row in enumerate(students):
        now, graded = _cell(row, column), matched.get(place)
        if graded is not None and failed(graded, assignment):
            graded = None
        if graded is not None and now.upper() in ("EX", "N/A"):
            said.append(f"{graded.name} ({graded.student}) has {now} in Canvas, which was kept.")
            graded = None
        padded = [*row, *[""] * len(header)][: section + 1]
        rows.append([*padded, now if graded is None else number(graded.points * scale)])
    return _csv(rows), notes + said + unsure


def _canvas_column(
    header: Row, section: int, assignment: Assignment, export: Path
) -> tuple[int | None, list[str]]:
    """Return the place of the assignment's column in an export, or None if there is none yet; and notes."""
    wanted = {_folded(assignment.title), _folded(assignment.name)}
    places = [
        place
        for place in range(section + 1, len(header))
        if _folded(re.sub(r"\s*\(\d+\)\s*$", "", header[place])) in wanted
    ]
    if len(places) > 1:
        raise DataError(
            f"{export} has {len(places)} columns that may be this assignment's: "
            f"{', '.join(header[place] for place in places)}. Delete all but one from a copy of the file."
        )
    if places:
        return places[0], []
    return None, [
        f"{export.name} has no column {assignment.title!r}: Canvas will offer to create a new assignment of that name."
    ]


def _canvas_name(row: Row, places: dict[str, int]) -> str:
    if "Student" in places:
        return _cell(row, places["Student"])
    return " ".join(_cell(row, places[word]) for word in ("FirstName", "LastName") if word in places)


def _column(title: str) -> str:
    """Return a title as a column's name; Canvas takes a number in parentheses at its end for an assignment's id."""
    return _defused(re.sub(r"\((\d+)\)\s*$", r"[\1]", " ".join(title.split())))


# -- Moodle -------------------------------------------------------------------------------------


def moodle_csv(
    class_: Sequence[Graded], assignment: Assignment, worksheet: Path | None = None
) -> tuple[str, list[str]]:
    """Return the table that Moodle imports, and notes for the instructor.

    With ``worksheet``, the offline grading worksheet of a Moodle assignment, its columns Grade and Feedback comments
    are filled in. Rows are matched by the number in Identifier, which is also in the names of the folders that Moodle
    exports, then by e-mail or name. Without ``worksheet``, the table is for Grades, Import, CSV file, where Username
    is mapped to the field that holds your students' ids.

    Raises:
        DataError: ``worksheet`` is not a grading worksheet.
    """
    if worksheet is None:
        column = f"Assignment: {' '.join(assignment.title.split())}"
        rows = [["Username", "Full name", f"{column} (Real)", f"{column} (Feedback)"]]
        rows += [
            [
                _defused(graded.student),
                _defused(graded.name),
                number(graded.points),
                _in_brief(graded, assignment),
            ]
            for graded in class_
            if not failed(graded, assignment)
        ]
        return _csv(rows), []
    header, body = read_table(worksheet)
    places = {name.strip().casefold(): place for place, name in enumerate(header)}
    missing = [name for name in ("Identifier", "Grade") if name.casefold() not in places]
    if missing:
        raise DataError(
            f"{worksheet} is not a grading worksheet: it lacks {' and '.join(missing)}; found "
            f"{', '.join(header) or 'nothing'}. In Moodle, set to English, open the assignment and choose "
            "'Download grading worksheet' (its setting 'Offline grading worksheet' must be on)."
        )
    identifier, grade = places["identifier"], places["grade"]
    comments, allowed = places.get("feedback comments"), places.get("grade can be changed")
    matched, notes = match(
        class_,
        [
            Person(
                numbers=tuple(re.findall(r"\d+$", _cell(row, identifier))),
                logins=(_cell(row, places.get("email address")),),
                name=_cell(row, places.get("full name")),
            )
            for row in body
        ],
        worksheet.name,
    )
    said: list[str] = []
    for place, graded in matched.items():
        row = body[place]
        row += [""] * (len(header) - len(row))
        if failed(graded, assignment):
            continue
        if _cell(row, allowed).casefold() == "no":
            said.append(
                f"Moodle doesn't let the grade of {graded.name} ({graded.student}) be changed; it was left as it is."
            )
            continue
        most = _cell(row, places.get("maximum grade"))
        scale, said_scale = _scale(most, assignment, worksheet.name)
        said += [note for note in said_scale if note not in said]
        row[grade] = number(graded.points * scale)
        if comments is not None and not _cell(row, comments):
            row[comments] = _in_brief(graded, assignment)
    return _csv([header, *body]), said + notes


def _in_brief(graded: Graded, assignment: Assignment) -> str:
    """Return feedback in one line, without anything that a student wrote."""
    titles = {task.id: task.title for task in assignment.tasks}
    missed = [titles[mark.task] for mark in graded.marks if mark.points is not None and mark.points < mark.of]
    text = f"{number(graded.points)} of {number(assignment.points)} points."
    if graded.late:
        text += f" {graded.late}."
    if missed:
        text += f" Points were lost at: {'; '.join(missed)}."
    if waiting(graded):
        text += f" Not marked yet: {waiting(graded)}."
    return text + " See your feedback page for details."


# -- matching rows and students -----------------------------------------------------------------


@dataclass(frozen=True)
class Person:
    """Hold what identifies the student of a row."""

    numbers: tuple[str, ...] = ()
    logins: tuple[str, ...] = ()
    name: str = ""


def match(
    class_: Sequence[Graded],
    people: Sequence[Person],
    file: str,
    advice: str = "enter these points by hand",
) -> tuple[dict[int, Graded], list[str]]:
    """Match rows and students, each at most once, by the most reliable field; and name those without a match."""
    matched: dict[int, Graded] = {}
    notes: list[str] = []
    left = list(class_)
    for mine, theirs in _FIELDS:
        rows: dict[str, set[int]] = {}
        for place, person in enumerate(people):
            for key in theirs(person) if place not in matched else ():
                rows.setdefault(key, set()).add(place)
        fits = {
            graded.student: set().union(*(rows.get(key, set()) for key in mine(graded))) for graded in left
        }
        claims: dict[int, list[str]] = {}
        for student, places in fits.items():
            for place in places:
                claims.setdefault(place, []).append(student)
        for graded in [graded for graded in left if fits[graded.student]]:
            left.remove(graded)
            places = fits[graded.student]
            rivals = sorted({one for place in places for one in claims[place]} - {graded.student})
            if len(places) == 1 and not rivals:
                matched[places.pop()] = graded
                continue
            where = f"{len(places)} rows" if len(places) > 1 else "a row"
            others = f", as {', '.join(rivals)} does" if rivals else ""
            notes.append(f"{graded.name} ({graded.student}) matches {where} of {file}{others}: {advice}.")
    notes += [f"{graded.name} ({graded.student}) is in no row of {file}: {advice}." for graded in left]
    return matched, notes


def _numbers(graded: Graded) -> set[str]:
    return set(re.findall(r"(?<![A-Za-z0-9])\d+(?![A-Za-z0-9])", graded.student.replace("_", " ")))


def _names(text: str) -> set[str]:
    """Return the spellings of a name on learning platforms: in either order, or as one word."""
    words = re.findall(r"\w+", _folded(text).replace("_", " "))
    if not words:
        return set()
    last, _, first = text.partition(",")
    turned = re.findall(r"\w+", _folded(f"{first} {last}").replace("_", " "))
    return {" ".join(sorted(words)), "".join(words), "".join(turned)}


def _folded(text: str) -> str:
    plain = unicodedata.normalize("NFKD", text)
    kept = "".join(letter for letter in plain if not unicodedata.combining(letter))
    return " ".join(kept.casefold().split())


def _my_names(graded: Graded) -> set[str]:
    return _names(graded.name) | _names(re.sub(r"\d+", " ", graded.student))


def _logins(person: Person) -> set[str]:
    found = {login.casefold() for login in person.logins if login}
    return found | {login.partition("@")[0] for login in found}


# From the most to the least reliable. A short number alone may be part of a nickname.
_FIELDS: tuple[tuple[Callable[[Graded], set[str]], Callable[[Person], set[str]]], ...] = (
    (
        lambda graded: {f"{n}|{name}" for n in _numbers(graded) for name in _my_names(graded)},
        lambda person: {f"{n}|{name}" for n in person.numbers for name in _names(person.name)},
    ),
    (
        lambda graded: {n for n in _numbers(graded) if len(n) > 3 or n == graded.student},
        lambda person: set(person.numbers) - {""},
    ),
    (lambda graded: {graded.student.casefold()}, _logins),
    (_my_names, lambda person: _names(person.name)),
)


def _scale(most: str, assignment: Assignment, where: str) -> tuple[float, list[str]]:
    """Return the factor from our points to those of a column that has another maximum, and a note if it isn't 1."""
    value = _number(most) if most else None
    if value is None or value <= 0 or not assignment.points or value == assignment.points:
        return 1.0, []
    return value / assignment.points, [
        f"{where} is out of {number(value)}, the assignment out of {number(assignment.points)}: points were scaled."
    ]


# -- reading and writing ------------------------------------------------------------------------


def read_table(path: Path) -> tuple[Row, list[Row]]:
    """Read header and rows of a table as spreadsheets save it: commas, semicolons or tabs; UTF-8, UTF-16 or cp1252.

    Raises:
        DataError: the file doesn't exist or is not text.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} can't be read: {error.strerror or error}. Check the name.") from None
    text = _decoded(data, path)
    first = text.partition("\n")[0]
    separator = max(",;\t", key=first.count)
    try:
        csv.field_size_limit(2**30)  # an essay in a cell
        rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=separator))
    except csv.Error as error:
        raise DataError(f"{path} is not a table of comma-separated values: {error}.") from None
    rows = [row for row in rows if any(cell.strip() for cell in row)]
    return ([cell.strip() for cell in rows[0]], rows[1:]) if rows else ([], [])


def _decoded(data: bytes, path: Path) -> str:
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16", "replace")
    if b"\0" in data:
        raise DataError(f"{path} isn't text. Save the table as CSV, comma separated, UTF-8.")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace")  # what spreadsheets on Windows write by default


def _csv(rows: Iterable[Sequence[str]]) -> str:
    buffer = io.StringIO(newline="")
    csv.writer(buffer, lineterminator="\r\n").writerows(rows)
    return buffer.getvalue()


def _defused(text: str) -> str:
    """Return ``text`` such that no spreadsheet takes part of it for a formula (OWASP, CSV injection).

    A spreadsheet that was told another separator than the comma begins cells within the text.
    """
    text = re.sub(r"([;|\t\r\n] *)(?=[=+\-@＝＋－＠])", r"\1'", text)
    return f"'{text}" if text.lstrip(" ")[:1] in tuple(_FORMULA) else text


def _undefused(text: str) -> str:
    return text[1:] if text[:1] == "'" and text[1:].lstrip(" ")[:1] in tuple(_FORMULA) else text


def _cell(row: Sequence[str], place: int | None) -> str:
    return row[place].strip() if place is not None and place < len(row) else ""


def _number(text: str) -> float | None:
    """Parse a number with a decimal point or a decimal comma; None if it is something else."""
    if not re.fullmatch(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)", text.strip()):
        return None
    return float(text.strip().replace(",", "."))
