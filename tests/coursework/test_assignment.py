from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from kdcourse.course import Course
from kdcourse.coursework import assignment as room
from kdcourse.errors import ArgumentError
from tests.coursework import small


@pytest.fixture
def lessons(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Course:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "own"))
    return small.write(tmp_path / "lessons")


def variant(lessons: Course, text: str) -> Path:
    path = lessons.folder.parent / "variant.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_by_default_everything_counts_in_the_order_of_the_notebook(lessons: Course) -> None:
    planned = room.plan(["1", "00"], course=lessons, seed=3)
    assert (planned.name, planned.title) == ("lessons_00_01", "Lessons 00 and 01")
    assert planned.lessons == ("00_warm", "01_taught") and planned.seed == 3
    assert [(task.id, task.kind, task.points) for task in planned.tasks] == [
        ("softened_probabilities", "code", 1.0),  # easy, medium and hard are worth 1, 2 and 3
        ("entropy_nats", "code", 2.0),
        ("why_warm", "written", 3.0),
        ("objective", "code", 3.0),
        ("why_teach", "written", 2.5),
    ]
    assert planned.points == 11.5
    assert planned.tasks[2].rubric.startswith("- 1 point: small") and not planned.tasks[0].rubric
    one = room.plan(["00_warm"], course=lessons, seed=0)
    assert (one.name, one.title) == ("00_warm", "Warm")


def test_a_variant_chooses(lessons: Course) -> None:
    path = variant(
        lessons,
        'name = "week-4"\ntitle = "Soft"\nlessons = ["00"]\nexercises = ["entropy_nats"]\nseed = 77\n'
        "[points]\nentropy_nats = 2.5\nwhy_warm = 6\n",
    )
    planned = room.read_variant(path, course=lessons)
    assert (planned.name, planned.title, planned.seed) == ("week-4", "Soft", 77)
    assert [(task.id, task.points) for task in planned.tasks] == [("entropy_nats", 2.5), ("why_warm", 6.0)]
    assert planned.tasks[1].rubric.startswith("- 2 points: ")  # the rubric goes with the points
    assert room.read_variant(path, course=lessons, seed=5).seed == 5


def test_a_variant_has_a_deadline_with_its_zone(lessons: Course) -> None:
    head = 'lessons = ["00"]\nseed = 1\n'
    path = variant(lessons, f"{head}due = 2027-09-21T23:59:00+02:00\nlate_penalty = 10\n")
    planned = room.read_variant(path, course=lessons)
    assert (planned.due, planned.late_penalty) == ("2027-09-21T23:59:00+02:00", 10.0)
    room.save(planned, path.with_name("assignment.json"))
    assert room.load(path.with_name("assignment.json")) == planned
    for text, said in {
        "due = 2027-09-21T23:59:00": "time with its zone",
        'due = "2027-09-21"': "time with its zone",
        "late_penalty = 10": "needs a deadline",
        "due = 2027-09-21T23:59:00Z\nlate_penalty = 101": "0 to 100; found 101",
    }.items():
        with pytest.raises(ArgumentError, match=said):
            room.read_variant(variant(lessons, head + text), course=lessons)


def test_a_variant_may_leave_lessons_to_the_command_and_questions_out(lessons: Course) -> None:
    path = variant(lessons, "questions = []\nseed = 1\n")
    assert [task.id for task in room.read_variant(path, ["01"], course=lessons).tasks] == ["objective"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('lesson = "00"', "the unknown key 'lesson'; the keys are name, title, lessons"),
        ("lessons = []", "name at least one, such as 04"),
        ('lessons = "00"', "is not a list of words"),
        ('lessons = ["09"]', "There is no lesson '09'; there are 00_warm, 01_taught"),
        (
            'lessons = ["00"]\nexercises = ["objective"]',
            "no exercise 'objective' in these lessons; there are soft",
        ),
        (
            'lessons = ["00"]\nquestions = ["why_cold"]',
            "no question 'why_cold' in these lessons; there are why_warm",
        ),
        ('lessons = ["00"]\nexercises = []\nquestions = []', "asks nothing"),
        (
            'lessons = ["00"]\n[points]\nobjective = 1',
            "points are given to 'objective', which these lessons don't",
        ),
        (
            'lessons = ["00"]\n[points]\nwhy_warm = -1',
            "points of 'why_warm' must be a number of at least 0; found -1",
        ),
        ('lessons = ["00"]\n[points]\nwhy_warm = nan', "of at least 0; found nan"),
        ('lessons = ["00"]\n[points]\nwhy_warm = true', "of at least 0; found True"),
        ('lessons = ["00"]\npoints = 3', "points must be a table"),
        (
            'lessons = ["00"]\nquestions = []\n[points]\nwhy_warm = 1',
            "'why_warm', which is not among the chosen",
        ),
        ('lessons = ["00"]\nname = "../../etc"', "can't be a folder's name"),
        ('lessons = ["00"]\nname = 4', "name = 4 is not text"),
        ('lessons = ["00"]\nseed = -1', "a whole number from 0 to 2147483647; found -1"),
        ('lessons = ["00"]\nseed = 1.5', "found 1.5"),
        ('lessons = ["00"', "is not TOML"),
    ],
)
def test_what_a_variant_gets_wrong_is_said(text: str, said: str, lessons: Course) -> None:
    path = variant(lessons, text)
    with pytest.raises(ArgumentError) as told:
        room.read_variant(path, course=lessons)
    assert said in str(told.value) and "variant.toml" in str(told.value)


def test_lessons_are_named_once(lessons: Course) -> None:
    path = variant(lessons, 'lessons = ["00"]')
    with pytest.raises(ArgumentError, match="not in both"):
        room.read_variant(path, ["01"], course=lessons)
    with pytest.raises(ArgumentError, match=r"none\.toml can't be read: No such file"):
        room.read_variant(lessons.folder / "none.toml", course=lessons)


def test_the_seed_is_the_instructors_own(
    lessons: Course, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = room.plan(["00"], course=lessons).seed
    assert room.plan(["00"], course=lessons).seed == first  # and so is every rebuild
    assert room.plan(["00"], name="retake", course=lessons).seed != first
    assert 0 <= first <= room.MOST_SEED
    secret = tmp_path / "own" / "kdcourse" / "instructor-secret"
    assert secret.stat().st_mode & 0o077 == 0  # nobody else on the machine reads it
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "others"))
    assert room.plan(["00"], course=lessons).seed != first


def test_where_no_secret_can_be_kept_a_seed_is_asked_for(
    lessons: Course, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "file"))
    with pytest.raises(ArgumentError, match="Give a seed instead: --seed"):
        room.plan(["00"], course=lessons)
    assert room.plan(["00"], course=lessons, seed=8).seed == 8


def test_an_assignment_is_kept_and_read_again(lessons: Course, tmp_path: Path) -> None:
    planned = room.plan(["00", "01"], title="Wärme – 温度", course=lessons, seed=3)
    path = tmp_path / "kept" / "assignment.json"
    room.save(planned, path)
    assert room.load(path) == planned


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content.pop("seed"),
        lambda content: content.update(tasks=[{"id": "x"}]),
        lambda content: content.update(more=1),
        lambda content: content.update(format=2),
        lambda content: content.pop("format"),
    ],
)
def test_a_file_that_is_no_assignment_is_refused(change: object, lessons: Course, tmp_path: Path) -> None:
    path = tmp_path / "assignment.json"
    content = json.loads(room.as_json(room.plan(["00"], course=lessons, seed=3)))
    change(content)  # type: ignore[operator]
    path.write_text(json.dumps(content))
    with pytest.raises(ArgumentError, match=r"assignment\.json"):
        room.load(path)


def test_no_file_half_a_file_and_a_list_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "assignment.json"
    with pytest.raises(ArgumentError, match="can't be read"):
        room.load(path)
    for text in ('{"format": 1, "na', "[]", "\udcff".encode(errors="surrogateescape").decode("latin-1")):
        path.write_text(text)
        with pytest.raises(ArgumentError, match="is not an assignment"):
            room.load(path)


def test_attempts_and_points_per_test_case_are_planned(tmp_path: Path) -> None:
    variant = tmp_path / "v.toml"
    variant.write_text('lessons = ["04"]\nattempts = "latest"\npartial_credit = ["soft_gradient"]\n', "utf-8")
    planned = room.read_variant(variant, seed=1)
    assert planned.attempts == "latest" and [task.id for task in planned.tasks if task.partial] == [
        "soft_gradient"
    ]
    assert "points per test case" in room.listing(planned)
    room.save(planned, tmp_path / "assignment.json")
    assert room.load(tmp_path / "assignment.json") == planned
    assert room.plan(["04"], seed=1).attempts == "fullest" and not any(
        t.partial for t in room.plan(["04"], seed=1).tasks
    )
    variant.write_text('lessons = ["02"]\npartial_credit = true\n', "utf-8")
    in_part = {
        task.id: task.partial for task in room.read_variant(variant, seed=1).tasks if task.kind == "code"
    }
    assert any(in_part.values()) and not in_part["diagnose"]  # three possible answers: a guess would pay


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('attempts = "first"', "attempts must be one of fullest, latest, best; found 'first'"),
        ("attempts = 3", "attempts = 3 is not text"),
        ('partial_credit = ["entropy"]', "'entropy', which is not among the chosen exercises"),
        ('partial_credit = "all"', "partial_credit = 'all' is not a list"),
        ('partial_credit = ["diagnose"]', "'diagnose', which has so few possible answers"),
    ],
)
def test_unknown_attempts_and_exercises_are_refused(text: str, said: str, tmp_path: Path) -> None:
    variant = tmp_path / "v.toml"
    variant.write_text(f'lessons = ["02", "04"]\n{text}\n', "utf-8")
    with pytest.raises(ArgumentError, match=re.escape(said)):
        room.read_variant(variant, seed=1)
