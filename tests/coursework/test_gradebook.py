from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from kdcourse.coursework import gradebook
from kdcourse.coursework.gradebook import record
from kdcourse.coursework.records import Graded, Member
from kdcourse.coursework.tables import GivenMark
from kdcourse.errors import ArgumentError, DataError
from tests.coursework import tiny

api = pytest.importorskip("nbgrader.api")
ANNA = "anna.maier_10342"
CLASS = tiny.class_of_three()


@pytest.fixture
def absent(tmp_path: Path) -> Path:
    return tmp_path / "results of week 4?" / "gradebook.db"  # a name that no address could hold unquoted


@pytest.fixture
def path(absent: Path, empty_gradebook: Path) -> Path:
    absent.parent.mkdir()
    shutil.copy(empty_gradebook, absent)
    return absent


@pytest.fixture
def seen(tmp_path: Path) -> Path:
    return tmp_path / "read.json"


def opened(path: Path, course: str = gradebook.COURSE) -> Iterator[object]:
    from sqlalchemy.engine import URL

    with api.Gradebook(URL.create("sqlite", database=str(path)), course_id=course) as book:
        yield book


@pytest.mark.slow
def test_nbgrader_finds_assignment_students_scores_and_comments(absent: Path) -> None:
    now, notes = record(absent, tiny.ASSIGNMENT, CLASS)
    assert [graded.points for graded in now] == [5, 2, 0] and not notes
    for book in opened(absent):
        asked = book.find_assignment("week-4")
        assert asked.max_score == 9 and [one.name for one in asked.notebooks] == [tiny.LESSON]
        assert book.find_grade_cell("check-softened", tiny.LESSON, "week-4").max_score == 3
        assert book.find_grade_cell("why-soft", tiny.LESSON, "week-4").cell_type == "markdown"
        anna = book.find_submission("week-4", ANNA)
        assert (anna.score, anna.code_score, anna.max_written_score) == (5, 5, 4)
        assert anna.needs_manual_grade
        jose = book.find_grade("check-softened", tiny.LESSON, "week-4", "jose_10077")
        assert jose.auto_score == 0 and jose.failed_tests and not jose.needs_manual_grade
        comment = book.find_comment("softened", tiny.LESSON, "week-4", "jose_10077")
        assert comment.comment == "Not yet ✗ softened looks like it."
        assert not book.find_submission("week-4", "wu").needs_manual_grade  # blank: nothing to read
        assert book.find_student("jose_10077").last_name == "Ñandú"
        assert {student.id for student in book.students} == {ANNA, "jose_10077", "wu"}
        assert sorted(one["score"] for one in book.submission_dicts("week-4")) == [0, 2, 5]


def test_a_person_s_points_count_and_outlive_regrading(path: Path, seen: Path) -> None:
    given = [GivenMark(ANNA, "why-soft", 3.5, "Good"), GivenMark("jose_10077", "softened", 1, "nearly")]
    now, _ = record(path, tiny.ASSIGNMENT, CLASS, given, seen)
    assert [graded.points for graded in now] == [8.5, 3, 0]
    assert now[0].marks[2].comment == "Good" and now[1].marks[0].points == 1
    for _ in range(2):
        again, notes = record(path, tiny.ASSIGNMENT, CLASS, [], seen)
        assert again == now and not notes
    for book in opened(path):
        assert book.find_submission("week-4", ANNA).score == 8.5
        assert not book.find_submission("week-4", ANNA).needs_manual_grade
        assert book.find_comment("why-soft", tiny.LESSON, "week-4", ANNA).comment == "Good"
        assert book.find_grade("check-softened", tiny.LESSON, "week-4", "jose_10077").auto_score == 0


def test_points_and_extra_credit_given_in_nbgrader_are_read_back(path: Path, seen: Path) -> None:
    record(path, tiny.ASSIGNMENT, CLASS, [], seen)
    for book in opened(path):
        grade = book.find_grade("why-soft", tiny.LESSON, "week-4", ANNA)
        grade.manual_score, grade.extra_credit = 2.0, 0.5
        book.find_comment("why-soft", tiny.LESSON, "week-4", ANNA).manual_comment = "by formgrader"
        book.db.commit()
    now, _ = record(path, tiny.ASSIGNMENT, CLASS, [], seen)
    assert now[0].points == 7.5 and now[0].marks[2].comment == "by formgrader"


def test_an_answer_changed_after_it_was_read_keeps_its_points_and_is_named(path: Path, seen: Path) -> None:
    record(path, tiny.ASSIGNMENT, CLASS, [GivenMark(ANNA, "why-soft", 3)], seen)
    changed = replace(CLASS[0], marks=(*CLASS[0].marks[:2], tiny.unread("why-soft", 4, "Now another.")))
    for _ in range(2):  # said until somebody reads it
        now, notes = record(path, tiny.ASSIGNMENT, [changed, *CLASS[1:]], [], seen)
        assert now[0].points == 8 and len(notes) == 1
        assert f"{ANNA} (why-soft)" in notes[0] and "points were kept" in notes[0]
    for book in opened(path):
        assert book.find_submission("week-4", ANNA).needs_manual_grade
    given = [GivenMark(ANNA, "why-soft", 3)]
    assert record(path, tiny.ASSIGNMENT, [changed, *CLASS[1:]], given, seen)[1] == []
    assert record(path, tiny.ASSIGNMENT, [changed, *CLASS[1:]], [], seen)[1] == []


def test_marks_for_a_stranger_are_refused_and_nothing_is_taken(path: Path) -> None:
    record(path, tiny.ASSIGNMENT, CLASS)
    given = [GivenMark(ANNA, "why-soft", 3), GivenMark("nobody", "why-soft", 3)]
    with pytest.raises(DataError, match="marks for nobody, who handed in nothing"):
        record(path, tiny.ASSIGNMENT, CLASS, given)
    assert record(path, tiny.ASSIGNMENT, CLASS)[0][0].points == 5


def test_code_that_could_not_be_judged_waits_for_a_person(path: Path) -> None:
    ours = replace(CLASS[0], marks=(replace(CLASS[0].marks[0], points=None), *CLASS[0].marks[1:]))
    record(path, tiny.ASSIGNMENT, [ours])
    for book in opened(path):
        grade = book.find_grade("check-softened", tiny.LESSON, "week-4", ANNA)
        assert grade.needs_manual_grade and grade.auto_score is None


def test_other_points_a_new_task_and_one_taken_out_are_followed(path: Path) -> None:
    record(path, tiny.ASSIGNMENT, CLASS, [GivenMark(ANNA, "why-soft", 3)])
    one, two, _ = tiny.ASSIGNMENT.tasks
    new = replace(two, id="added", title="Added")
    other = replace(tiny.ASSIGNMENT, tasks=(replace(one, points=6.0), new))
    class_ = [tiny.graded(ANNA, "Anna Maier", tiny.right("softened", 6), tiny.right("added", 2))]
    now, notes = record(path, other, class_)
    assert now[0].points == 8
    # A person's points are never thrown away; a machine's for what is no longer asked are.
    assert any("why-soft is no longer asked" in note for note in notes)
    for book in opened(path):
        asked = {
            cell.name: cell.max_score for cell in book.find_assignment("week-4").notebooks[0].grade_cells
        }
        assert asked == {"check-softened": 6, "check-added": 2, "why-soft": 4}
        assert book.find_submission("week-4", ANNA).score == 8 + 3


def test_who_is_missing_this_time_keeps_the_grades_and_is_named(path: Path) -> None:
    record(path, tiny.ASSIGNMENT, CLASS)
    _, notes = record(path, tiny.ASSIGNMENT, CLASS[:1])
    assert notes[0].startswith("jose_10077, wu have grades from an earlier run")
    for book in opened(path):
        assert book.find_submission("week-4", "jose_10077").score == 2


def test_a_course_s_own_gradebook_is_used_as_it_is(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE course SET id = 'kd 101'")
    for book in opened(path, "kd 101"):
        book.add_student(ANNA, first_name="Anna Lena", last_name="Maier", email="a@u.edu")
        book.add_assignment("week-3")
    record(path, tiny.ASSIGNMENT, CLASS)
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT id FROM course").fetchall() == [("kd 101",)]
    for book in opened(path, "kd 101"):
        assert book.find_student(ANNA).first_name == "Anna Lena"
        assert {"week-3", "week-4"} <= {one.name for one in book.assignments}


def test_what_is_no_gradebook_is_left_as_it_is(path: Path) -> None:
    path.write_text("a letter, and no database at all, long enough to be looked at" * 20)
    with pytest.raises(DataError, match="is not a gradebook"):
        record(path, tiny.ASSIGNMENT, CLASS)
    assert path.read_text().startswith("a letter")


@pytest.mark.slow
def test_a_gradebook_in_use_is_told_and_nothing_is_half_written(path: Path) -> None:
    record(path, tiny.ASSIGNMENT, CLASS)
    before = path.read_bytes()
    connection = sqlite3.connect(path)
    connection.execute("BEGIN IMMEDIATE")
    try:
        with pytest.raises(DataError, match=r"can't be written: database is locked\. Close"):
            record(path, tiny.ASSIGNMENT, CLASS, [GivenMark(ANNA, "why-soft", 1)])
    finally:
        connection.close()
    assert path.read_bytes() == before
    assert record(path, tiny.ASSIGNMENT, CLASS)[0][0].points == 5


def test_without_nbgrader_the_advice_is_what_to_install(
    absent: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gradebook.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ArgumentError, match=r"kdcourse\[coursework\]"):
        record(absent, tiny.ASSIGNMENT, CLASS)
    assert not absent.exists()


def test_an_override_is_withdrawn(path: Path, seen: Path) -> None:
    given = [GivenMark("jose_10077", "softened", 3, "kind"), GivenMark(ANNA, "why-soft", 3, "good")]
    assert [one.points for one in record(path, tiny.ASSIGNMENT, CLASS, given, seen)[0]] == [8, 5, 0]
    back = [GivenMark("jose_10077", "softened", None), GivenMark(ANNA, "why-soft", None)]
    now, _ = record(path, tiny.ASSIGNMENT, CLASS, back, seen)
    assert [one.points for one in now] == [5, 2, 0]
    assert now[0].marks[2].points is None and now[0].marks[2].comment == "" == now[1].marks[0].comment
    assert record(path, tiny.ASSIGNMENT, CLASS, [], seen)[0] == now and seen.read_text() == "{}\n"


def test_points_that_no_longer_fit_the_maximum_are_pointed_out_until_somebody_looks(
    path: Path, seen: Path
) -> None:
    record(path, tiny.ASSIGNMENT, CLASS, [GivenMark(ANNA, "why-soft", 2.5)], seen)
    one, two, three = tiny.ASSIGNMENT.tasks
    for of, points in (
        (2.0, "given out of 4 points, now out of 2"),
        (5.0, "given out of 4 points, now out of 5"),
    ):
        other = replace(tiny.ASSIGNMENT, tasks=(one, two, replace(three, points=of)))
        class_ = [replace(CLASS[0], marks=(*CLASS[0].marks[:2], tiny.unread("why-soft", of)))]
        now, notes = record(path, other, class_, [], seen)
        assert now[0].marks[2].doubt == points and f"{ANNA} (why-soft: {points})" in notes[0]
    record(path, other, class_, [GivenMark(ANNA, "why-soft", 3)], seen)
    assert record(path, other, class_, [], seen)[0][0].marks[2].doubt == ""
    small = replace(tiny.ASSIGNMENT, tasks=(one, two, replace(three, points=2.0)))
    class_ = [replace(CLASS[0], marks=(*CLASS[0].marks[:2], tiny.unread("why-soft", 2.0)))]
    assert "more than the 2 points" in record(path, small, class_)[0][0].marks[2].doubt


def test_points_of_a_person_outlive_the_gradebook(path: Path, seen: Path, empty_gradebook: Path) -> None:
    given = [GivenMark(ANNA, "why-soft", 3.5, "Good"), GivenMark("jose_10077", "why-soft", 1)]
    before, _ = record(path, tiny.ASSIGNMENT, CLASS, given, seen)
    shutil.copy(empty_gradebook, path)
    changed = [CLASS[0], replace(CLASS[1], marks=(*CLASS[1].marks[:2], tiny.unread("why-soft", 4, "New.")))]
    now, notes = record(path, tiny.ASSIGNMENT, [*changed, CLASS[2]], [], seen)
    assert [one.points for one in now] == [one.points for one in before] and now[0] == before[0]
    assert "for 2 answers, were taken from" in notes[0] and "jose_10077 (why-soft)" in notes[1]


# -- groups, lateness, and a second call with nothing new -----------------------------------------

IDA = Member("ida", "Ida Lee", "A", ("jose_10077", ANNA))


def test_members_of_a_group_have_the_points_of_its_best_submission(path: Path, seen: Path) -> None:
    now, _ = record(path, tiny.ASSIGNMENT, CLASS, [GivenMark(ANNA, "why-soft", 3, "Good")], seen, [IDA])
    assert [one.student for one in now] == [*(one.student for one in CLASS), "ida"]
    assert now[3].points == now[0].points == 8 and now[3].marks[2].comment == "Good"
    for book in opened(path):
        ida = book.find_submission("week-4", "ida")
        assert ida.score == 8 and not ida.needs_manual_grade
        assert book.find_student("ida").last_name == "Lee"
    # A person may give a member other points, which outlive the next call.
    record(path, tiny.ASSIGNMENT, CLASS, [GivenMark("ida", "why-soft", 1)], seen, [IDA])
    assert [one.points for one in record(path, tiny.ASSIGNMENT, CLASS, [], seen, [IDA])[0]] == [8, 2, 0, 6]
    for book in opened(path):
        assert book.find_submission("week-4", "ida").score == 6


def test_the_gradebook_holds_what_lateness_costs(path: Path) -> None:
    late = replace(CLASS[0], share=0.8)
    assert record(path, tiny.ASSIGNMENT, [late, *CLASS[1:]])[0][0].points == 4
    for book in opened(path):
        assert book.find_submission("week-4", ANNA).late_submission_penalty == pytest.approx(1)
    record(path, tiny.ASSIGNMENT, CLASS)  # the instructor has extended the deadline
    for book in opened(path):
        assert book.find_submission("week-4", ANNA).late_submission_penalty == 0


def test_a_call_with_nothing_new_does_not_open_the_gradebook(
    path: Path, seen: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = tmp_path / "counted.json"
    given = [GivenMark(ANNA, "why-soft", 3.5, "Good"), GivenMark("jose_10077", "softened", 2.5)]

    def call(class_: list[Graded] = CLASS) -> tuple[list[Graded], list[str]]:
        return record(path, tiny.ASSIGNMENT, class_, given, seen, [IDA], counted)

    first = call()
    opens: list[Path] = []
    opened_before = gradebook._opened
    monkeypatch.setattr(gradebook, "_opened", lambda at, api: opens.append(at) or opened_before(at, api))
    assert call() == first and not opens
    # Whatever changes is seen: a mark, the gradebook itself, what is remembered, a damaged file.
    call([replace(CLASS[0], name="Anna M."), *CLASS[1:]])
    assert len(opens) == 1
    assert call() == first and len(opens) == 2 and call() == first and len(opens) == 2
    for book in opened(path):
        book.find_grade("why-soft", tiny.LESSON, "week-4", ANNA).extra_credit = 1
        book.db.commit()
    assert call()[0][0].points == first[0][0].points + 1 and len(opens) == 3
    seen.unlink()
    call()
    counted.write_text('{"key": 1')
    call()
    path.unlink()
    call()
    assert len(opens) == 6
