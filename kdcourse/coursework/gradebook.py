"""Keep marks in nbgrader's gradebook, together with those that a person gave, which every regrading keeps.

The gradebook is nbgrader's own SQLite file, written through `nbgrader.api` 0.9: one notebook per lesson; per exercise a
solution cell (its id) and a grade cell ('check-' and its id); per written question one cell that is both. As in
nbgrader, a manual score replaces the automatic one, and extra credit is added.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import importlib.util
import json
import os
import sqlite3
import sysconfig
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from kdcourse import __version__
from kdcourse.coursework.records import Assignment, Graded, Mark, Member, Task
from kdcourse.coursework.tables import GivenMark, number
from kdcourse.errors import ArgumentError, DataError
from kdcourse.files import write_atomically

COURSE = "kdcourse"
_Key = tuple[str, str]  # student, task
_NAMED_AT_MOST = 5


def require_nbgrader() -> None:
    """Raise ArgumentError with advice if nbgrader isn't installed."""
    if importlib.util.find_spec("nbgrader") is None:
        raise ArgumentError(
            "Grades are kept in nbgrader's gradebook, and nbgrader isn't installed. Install what instructors need: "
            "pip install 'kdcourse[coursework]'"
        )


def record(
    path: Path,
    assignment: Assignment,
    class_: Sequence[Graded],
    given: Sequence[GivenMark] = (),
    seen: Path | None = None,
    members: Sequence[Member] = (),
    counted: Path | None = None,
) -> tuple[list[Graded], list[str]]:
    """Write the automatic marks and those that are ``given``, and read back the points that count now.

    Everything is written in one transaction, or nothing. Importing nbgrader takes seconds: if nothing has changed since
    the last call, neither the arguments nor a file, the results are read from ``counted``.

    Args:
        path: the SQLite file, created if it doesn't exist.
        assignment: what was asked.
        class_: the automatic marks; a mark without points waits for a marker.
        given: marks of a person; each replaces an earlier one of a person for the same answer.
        seen: file that stores the points that a person gave, and for which answer, to detect answers and maxima that
            are changed afterwards, and to restore the points if the gradebook is lost; None: not stored.
        members: get the points of the best submission of their group as automatic ones.
        counted: file that stores the results; None: not stored.

    Returns:
        The class and then the members with the points that count, and notes for the instructor.

    Raises:
        ArgumentError: nbgrader isn't installed.
        DataError: there are marks for a student without a submission, or the file is not a gradebook or is in use.
    """
    require_nbgrader()
    memory = _memory(seen)
    before = {graded.student: graded for graded in class_}
    everybody = [*class_, *(member.graded(before) for member in members)]
    asked = (assignment, everybody, members, given)
    stored = _stored(counted, _key(asked, path, seen))
    if stored is not None:
        points, notes = stored
        return [_with_points(graded, points) for graded in everybody], notes
    known = {graded.student for graded in everybody}
    strangers = sorted({mark.student for mark in given} - known)
    if strangers:
        raise DataError(
            f"There are marks for {_named(strangers)}, who handed in nothing. Compare the names with the column "
            "student of grades.csv; no marks were used."
        )
    api: Any = importlib.import_module("nbgrader.api")
    with _opened(path, api) as book:
        lost = book.db.query(api.Assignment).filter_by(name=assignment.name).one_or_none() is None
        cells, notes = _structure(book, api, assignment)
        rows = _rows(book, api, assignment, everybody, cells)
        restored = []
        if lost and (kept := list(_kept(memory, rows))):
            _write(rows, assignment, everybody, kept)
            restored.append(
                f"{path} had no grades of this assignment: the points that persons gave, for {len(kept)} "
                f"answer{'s' * (len(kept) > 1)}, were taken from {seen}."
            )
        _write(rows, assignment, everybody, given)
        doubts = _doubts(rows, everybody, given, memory)
        notes += _told(doubts)
        now = [_counting(graded, rows, doubts) for graded in class_]
        after = {graded.student: graded for graded in now}
        for copy in [member.graded(after) for member in members]:
            _write_copy(rows, copy)
            now.append(_counting(copy, rows, doubts))
        _write_penalties(rows, now)
        notes += _absent(book, api, assignment, known)
        memory = _remembered(rows, everybody, given, memory)
        book.db.commit()
    if seen is not None and (memory or seen.exists()):
        write_atomically(seen, json.dumps(memory, indent=1, sort_keys=True) + "\n")
    if counted is not None:
        _store(counted, _key(asked, path, seen), now, notes)
    return now, [*restored, *notes]


# -- the file -----------------------------------------------------------------------------------


@contextmanager
def _opened(path: Path, api: Any) -> Iterator[Any]:
    """Open the gradebook; what wasn't committed is rolled back at the end."""
    from sqlalchemy.engine import URL
    from sqlalchemy.exc import DatabaseError, OperationalError

    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with _scripts_on_path():
            book = api.Gradebook(URL.create("sqlite", database=str(path)), course_id=_course(path))
        try:
            yield book
        finally:
            book.db.rollback()
            book.close()
    except (OperationalError, sqlite3.OperationalError) as error:
        raise DataError(
            f"The gradebook {path} can't be written: {_reason(error)}. Close other programs that have it open "
            "(nbgrader's formgrader, a database browser), check that the disk isn't full, and run the command again: "
            "finished submissions aren't graded again."
        ) from error
    except (DatabaseError, sqlite3.DatabaseError) as error:
        raise DataError(
            f"{path} is not a gradebook of this nbgrader: {_reason(error)}. It was not changed. Move it away, or name "
            "another file with --gradebook; for a gradebook of an older nbgrader run 'nbgrader db upgrade'."
        ) from error


@contextmanager
def _scripts_on_path() -> Iterator[None]:
    """Put this Python's scripts on the PATH: nbgrader runs the program alembic to create a file."""
    before = os.environ.get("PATH", "")
    os.environ["PATH"] = os.pathsep.join([sysconfig.get_path("scripts"), before])
    try:
        yield
    finally:
        os.environ["PATH"] = before


def _reason(error: Exception) -> str:
    return str(getattr(error, "orig", None) or error)


def _course(path: Path) -> str:
    """Return the course of a gradebook; given another name, nbgrader would add a second course."""
    if not path.exists() or not path.stat().st_size:
        return COURSE
    connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
    try:
        found = connection.execute("SELECT id FROM course ORDER BY id").fetchall()
    finally:
        connection.close()
    return str(found[0][0]) if found else COURSE


# -- what was asked -----------------------------------------------------------------------------


def _grade_cell(task: Task) -> str:
    return f"check-{task.id}" if task.kind == "code" else task.id


def _structure(book: Any, api: Any, assignment: Assignment) -> tuple[dict[str, tuple[Any, Any]], list[str]]:
    """Return task -> grade cell and solution cell, created if missing; and notes on cells that are left over."""
    db = book.db
    asked = db.query(api.Assignment).filter_by(name=assignment.name).one_or_none()
    if asked is None:
        asked = api.Assignment(name=assignment.name, course_id=book.course_id)
        db.add(asked)
    notebooks = {notebook.name: notebook for notebook in asked.notebooks}
    for lesson in assignment.lessons:
        if lesson not in notebooks:
            notebooks[lesson] = api.Notebook(name=lesson, assignment=asked)
            db.add(notebooks[lesson])
    db.flush()
    cells: dict[str, tuple[Any, Any]] = {}
    for task in assignment.tasks:
        home = notebooks[task.lesson]
        grade = _found_or_new(db, api.GradeCell, home, _grade_cell(task), _worth(task))
        solution = _found_or_new(db, api.SolutionCell, home, task.id, {})
        for key, value in _worth(task).items():
            setattr(grade, key, value)
        cells[task.id] = grade, solution
    db.flush()
    return cells, _left_over(db, api, asked, {grade.id for grade, _ in cells.values()})


def _worth(task: Task) -> dict[str, Any]:
    return {"max_score": task.points, "cell_type": "code" if task.kind == "code" else "markdown"}


def _found_or_new(db: Any, kind: Any, notebook: Any, name: str, more: dict[str, Any]) -> Any:
    cell = db.query(kind).filter_by(notebook_id=notebook.id, name=name).one_or_none()
    if cell is None:
        cell = kind(name=name, notebook=notebook, **more)
        db.add(cell)
    return cell


def _left_over(db: Any, api: Any, asked: Any, wanted: set[str]) -> list[str]:
    """Remove grade cells of tasks that are no longer asked, unless a person gave points there."""
    notes = []
    for notebook in asked.notebooks:
        for cell in list(notebook.grade_cells):
            if cell.id in wanted:
                continue
            if any(grade.manual_score is not None for grade in cell.grades):
                notes.append(
                    f"{cell.name} is no longer asked, but a person gave points there: it still counts in the gradebook."
                )
                continue
            for grade in list(cell.grades):
                db.delete(grade)
            db.flush()
            db.delete(cell)
    db.flush()
    return notes


# -- what was handed in -------------------------------------------------------------------------


def _rows(
    book: Any,
    api: Any,
    assignment: Assignment,
    class_: Sequence[Graded],
    cells: dict[str, tuple[Any, Any]],
) -> dict[_Key, tuple[Any, Any]]:
    """Return (student, task) -> the row of the grade and the row of the comment, created if missing."""
    db = book.db
    asked = db.query(api.Assignment).filter_by(name=assignment.name).one()
    students = {student.id: student for student in db.query(api.Student)}
    submissions = {one.student_id: one for one in asked.submissions}
    grades = {
        (row.notebook_id, row.cell_id): row
        for row in db.query(api.Grade).filter(
            api.Grade.cell_id.in_([grade.id for grade, _ in cells.values()])
        )
    }
    comments = {
        (row.notebook_id, row.cell_id): row
        for row in db.query(api.Comment).filter(
            api.Comment.cell_id.in_([one.id for _, one in cells.values()])
        )
    }
    handed: dict[_Key, Any] = {}
    for graded in class_:
        if graded.student not in students:
            first, _, last = graded.name.rpartition(" ")
            db.add(api.Student(id=graded.student, first_name=first, last_name=last))
        if graded.student not in submissions:
            submissions[graded.student] = api.SubmittedAssignment(assignment=asked, student_id=graded.student)
            db.add(submissions[graded.student])
        there = {one.notebook_id: one for one in submissions[graded.student].notebooks}
        for notebook in asked.notebooks:
            if notebook.id not in there:
                there[notebook.id] = api.SubmittedNotebook(
                    notebook=notebook, assignment=submissions[graded.student]
                )
                db.add(there[notebook.id])
            handed[graded.student, notebook.id] = there[notebook.id]
    db.flush()
    rows: dict[_Key, tuple[Any, Any]] = {}
    for graded in class_:
        for task, (cell, solution) in cells.items():
            notebook = handed[graded.student, cell.notebook_id]
            grade = grades.get((notebook.id, cell.id))
            if grade is None:
                grade = api.Grade(cell_id=cell.id, notebook=notebook)
                db.add(grade)
            comment = comments.get((notebook.id, solution.id))
            if comment is None:
                comment = api.Comment(cell_id=solution.id, notebook=notebook)
                db.add(comment)
            rows[graded.student, task] = grade, comment
    return rows


def _write(
    rows: dict[_Key, tuple[Any, Any]],
    assignment: Assignment,
    class_: Sequence[Graded],
    given: Iterable[GivenMark],
) -> None:
    code = {task.id for task in assignment.tasks if task.kind == "code"}
    for student, mark in _marks(class_):
        grade, comment = rows[student, mark.task]
        grade.auto_score = mark.points
        comment.auto_comment = mark.message if mark.task in code else None
    for one in given:
        grade, comment = rows[one.student, one.task]
        grade.manual_score = one.points
        comment.manual_comment = None if one.points is None else one.comment or comment.manual_comment
    for grade, _ in rows.values():
        grade.needs_manual_grade = grade.auto_score is None and grade.manual_score is None


def _counting(graded: Graded, rows: dict[_Key, tuple[Any, Any]], doubts: Mapping[_Key, str]) -> Graded:
    marks = []
    for mark in graded.marks:
        grade, comment = rows[graded.student, mark.task]
        points = grade.manual_score if grade.manual_score is not None else grade.auto_score
        if points is not None:
            points += grade.extra_credit or 0.0
        doubt = doubts.get((graded.student, mark.task), "")
        said = comment.manual_comment or mark.comment
        marks.append(replace(mark, points=points, comment=said, doubt=doubt))
    return replace(graded, marks=tuple(marks))


def _write_copy(rows: dict[_Key, tuple[Any, Any]], copy: Graded) -> None:
    """Write the points of a member of a group, whose answers a marker doesn't see."""
    for mark in copy.marks:
        grade, comment = rows[copy.student, mark.task]
        grade.auto_score, grade.needs_manual_grade = mark.points, False
        comment.auto_comment = mark.comment or comment.auto_comment


def _write_penalties(rows: dict[_Key, tuple[Any, Any]], class_: Sequence[Graded]) -> None:
    """Write what lateness costs; nbgrader subtracts it when it exports grades."""
    for graded in class_:
        lost: dict[Any, float] = {}
        for mark in graded.marks:
            notebook = rows[graded.student, mark.task][0].notebook
            lost[notebook] = lost.get(notebook, 0.0) + (mark.points or 0.0) * (1.0 - graded.share)
        for notebook, points in lost.items():
            if (notebook.late_submission_penalty or 0.0) != points:
                notebook.late_submission_penalty = points


def _marks(class_: Sequence[Graded]) -> Iterator[tuple[str, Mark]]:
    return ((graded.student, mark) for graded in class_ for mark in graded.marks)


# -- results of the last call -------------------------------------------------------------------

_Points = dict[str, list[Any]]  # "student/task" -> points, comment, doubt


def _key(asked: tuple[Any, ...], path: Path, seen: Path | None) -> str:
    """Return a digest of everything that the results depend on."""
    digest = hashlib.sha256()
    for text in (__version__, importlib.metadata.version("nbgrader"), str(path.resolve()), repr(asked)):
        digest.update(text.encode("utf-8", "replace") + b"\0")
    for file in (Path(__file__), path, seen):
        there = file is not None and file.is_file()
        digest.update(hashlib.sha256(file.read_bytes()).digest() if file is not None and there else b"none")
    return digest.hexdigest()


def _stored(counted: Path | None, key: str) -> tuple[_Points, list[str]] | None:
    """Return the results of the last call if it had this key."""
    try:
        content = json.loads(counted.read_text(encoding="utf-8")) if counted is not None else {}
        return (content["points"], content["notes"]) if content["key"] == key else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _store(counted: Path, key: str, class_: Sequence[Graded], notes: Sequence[str]) -> None:
    points = {
        f"{student}/{mark.task}": [mark.points, mark.comment, mark.doubt] for student, mark in _marks(class_)
    }
    write_atomically(counted, json.dumps({"key": key, "points": points, "notes": notes}) + "\n")


def _with_points(graded: Graded, stored: _Points) -> Graded:
    marks = []
    for mark in graded.marks:
        points, comment, doubt = stored[f"{graded.student}/{mark.task}"]
        marks.append(replace(mark, points=points, comment=comment, doubt=doubt))
    return replace(graded, marks=tuple(marks))


# -- points of a person that are in doubt ---------------------------------------------------------

_Memory = dict[str, dict[str, Any]]  # "student/task" -> points, comment, maximum and digest of the answer


def _doubts(
    rows: dict[_Key, tuple[Any, Any]],
    class_: Sequence[Graded],
    given: Sequence[GivenMark],
    memory: _Memory,
) -> dict[_Key, str]:
    """Return why points that a person gave should be looked at again, and flag them for nbgrader."""
    fresh = {(mark.student, mark.task) for mark in given}
    found: dict[_Key, str] = {}
    for student, mark in _marks(class_):
        grade, _ = rows[student, mark.task]
        if grade.manual_score is None or (student, mark.task) in fresh:
            continue
        before = memory.get(f"{student}/{mark.task}", {})
        same = before.get("points") == grade.manual_score
        of = before.get("of", mark.of)
        if same and before["answer"] != _digest(mark):
            found[student, mark.task] = CHANGED
        elif same and of != mark.of:
            found[student, mark.task] = f"given out of {number(of)} points, now out of {number(mark.of)}"
        elif grade.manual_score > mark.of:
            found[student, mark.task] = f"more than the {number(mark.of)} points of the task"
        else:
            continue
        grade.needs_manual_grade = True
    return found


CHANGED = "the answer was changed afterwards"


def _told(doubts: Mapping[_Key, str]) -> Iterator[str]:
    changed = [f"{student} ({task})" for (student, task), why in doubts.items() if why == CHANGED]
    if changed:
        yield (
            f"Answers were changed after a person gave points: {_named(changed)}. The points were kept; please check "
            "them."
        )
    others = [f"{student} ({task}: {why})" for (student, task), why in doubts.items() if why != CHANGED]
    if others:
        yield f"Points of a person may not fit any more: {_named(others)}. They were kept; please check them."


def _kept(memory: _Memory, rows: Mapping[_Key, Any]) -> Iterator[GivenMark]:
    """Yield the marks of persons that are remembered, for students and tasks that exist."""
    for key, value in memory.items():
        student, _, task = key.rpartition("/")
        if (student, task) in rows:
            yield GivenMark(student, task, value["points"], value.get("comment", ""))


def _remembered(
    rows: dict[_Key, tuple[Any, Any]],
    class_: Sequence[Graded],
    given: Sequence[GivenMark],
    memory: _Memory,
) -> _Memory:
    """Return which points a person gave for which answer, to be stored."""
    memory, fresh = dict(memory), {(mark.student, mark.task) for mark in given}
    for student, mark in _marks(class_):
        grade, comment = rows[student, mark.task]
        key, points = f"{student}/{mark.task}", grade.manual_score
        if points is None:
            memory.pop(key, None)
        elif (student, mark.task) in fresh or memory.get(key, {}).get("points") != points:
            memory[key] = {"points": points, "of": mark.of, "answer": _digest(mark)}
        if points is not None:
            memory[key]["comment"] = comment.manual_comment or ""
    return memory


def _memory(seen: Path | None) -> dict[str, dict[str, Any]]:
    try:
        content = json.loads(seen.read_text(encoding="utf-8")) if seen is not None else {}
    except (OSError, ValueError):
        return {}
    sound = isinstance(content, dict) and all(
        isinstance(value, dict) and {"points", "answer"} <= value.keys() for value in content.values()
    )
    return content if sound else {}


def _digest(mark: Mark) -> str:
    return hashlib.sha256(mark.text.encode("utf-8", "replace")).hexdigest()


def _absent(book: Any, api: Any, assignment: Assignment, known: set[str]) -> list[str]:
    rows = (
        book.db.query(api.SubmittedAssignment.student_id)
        .join(api.Assignment, api.Assignment.id == api.SubmittedAssignment.assignment_id)
        .filter(api.Assignment.name == assignment.name)
    )
    absent = sorted({row[0] for row in rows} - known)
    if not absent:
        return []
    return [
        f"{_named(absent)} {'have' if len(absent) > 1 else 'has'} grades from an earlier run, but no submission in "
        "this folder: kept in the gradebook, left out of the tables and the report."
    ]


def _named(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_NAMED_AT_MOST])
    return shown if len(names) <= _NAMED_AT_MOST else f"{shown} and {len(names) - _NAMED_AT_MOST} more"
