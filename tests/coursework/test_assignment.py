from __future__ import annotations

import json
from pathlib import Path

import pytest

from kdcourse.coursework import assignment as room
from kdcourse.errors import ArgumentError
from tests.coursework import small


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "own"))
    return small.write(tmp_path / "lessons")


def variant(folder: Path, text: str) -> Path:
    path = folder.parent / "variant.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_by_default_everything_counts_in_the_order_of_the_notebook(folder: Path) -> None:
    planned = room.plan(["5", "04"], folder=folder, seed=3)
    assert (planned.name, planned.title) == ("lessons_04_05", "Lessons 04 and 05")
    assert planned.lessons == ("04_warm", "05_taught") and planned.seed == 3
    assert [(task.id, task.kind, task.points) for task in planned.tasks] == [
        ("softened_probabilities", "code", 1.0),  # easy, medium and hard are worth 1, 2 and 3
        ("entropy_nats", "code", 2.0),
        ("why_warm", "written", 3.0),
        ("objective", "code", 3.0),
        ("why_teach", "written", 2.5),
    ]
    assert planned.points == 11.5
    assert planned.tasks[2].rubric.startswith("- 1 point: small") and not planned.tasks[0].rubric
    one = room.plan(["04_warm"], folder=folder, seed=0)
    assert (one.name, one.title) == ("04_warm", "Warm")


def test_a_variant_chooses(folder: Path) -> None:
    path = variant(
        folder,
        'name = "week-4"\ntitle = "Soft"\nlessons = ["04"]\nexercises = ["entropy_nats"]\nseed = 77\n'
        "[points]\nentropy_nats = 2.5\nwhy_warm = 6\n",
    )
    planned = room.read_variant(path, folder=folder)
    assert (planned.name, planned.title, planned.seed) == ("week-4", "Soft", 77)
    assert [(task.id, task.points) for task in planned.tasks] == [("entropy_nats", 2.5), ("why_warm", 6.0)]
    assert planned.tasks[1].rubric.startswith("- 2 points: ")  # the rubric goes with the points
    assert room.read_variant(path, folder=folder, seed=5).seed == 5


def test_a_variant_may_leave_lessons_to_the_command_and_questions_out(folder: Path) -> None:
    path = variant(folder, "questions = []\nseed = 1\n")
    assert [task.id for task in room.read_variant(path, ["05"], folder=folder).tasks] == ["objective"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('lesson = "04"', "the unknown key 'lesson'; the keys are name, title, lessons"),
        ("lessons = []", "name at least one, such as 04"),
        ('lessons = "04"', "is not a list of words"),
        ('lessons = ["09"]', "There is no lesson '09'; there are 04_warm, 05_taught"),
        (
            'lessons = ["04"]\nexercises = ["objective"]',
            "no exercise 'objective' in these lessons; there are soft",
        ),
        (
            'lessons = ["04"]\nquestions = ["why_cold"]',
            "no question 'why_cold' in these lessons; there are why_warm",
        ),
        ('lessons = ["04"]\nexercises = []\nquestions = []', "asks nothing"),
        (
            'lessons = ["04"]\n[points]\nobjective = 1',
            "points are given to 'objective', which these lessons don't",
        ),
        (
            'lessons = ["04"]\n[points]\nwhy_warm = -1',
            "points of 'why_warm' must be a number of at least 0; found -1",
        ),
        ('lessons = ["04"]\n[points]\nwhy_warm = nan', "from 0 on; found nan"),
        ('lessons = ["04"]\n[points]\nwhy_warm = true', "from 0 on; found True"),
        ('lessons = ["04"]\npoints = 3', "points must be a table"),
        (
            'lessons = ["04"]\nquestions = []\n[points]\nwhy_warm = 1',
            "'why_warm', which is not among the chosen",
        ),
        ('lessons = ["04"]\nname = "../../etc"', "can't name a folder"),
        ('lessons = ["04"]\nname = 4', "name = 4 is not text"),
        ('lessons = ["04"]\nseed = -1', "a whole number from 0 to 2147483647; found -1"),
        ('lessons = ["04"]\nseed = 1.5', "found 1.5"),
        ('lessons = ["04"', "is not TOML"),
    ],
)
def test_what_a_variant_gets_wrong_is_said(text: str, said: str, folder: Path) -> None:
    path = variant(folder, text)
    with pytest.raises(ArgumentError) as told:
        room.read_variant(path, folder=folder)
    assert said in str(told.value) and "variant.toml" in str(told.value)


def test_lessons_are_named_once(folder: Path) -> None:
    path = variant(folder, 'lessons = ["04"]')
    with pytest.raises(ArgumentError, match="not in both"):
        room.read_variant(path, ["05"], folder=folder)
    with pytest.raises(ArgumentError, match=r"none\.toml can't be read: No such file"):
        room.read_variant(folder / "none.toml", folder=folder)


def test_the_seed_is_the_instructors_own(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = room.plan(["04"], folder=folder).seed
    assert room.plan(["04"], folder=folder).seed == first  # and so is every rebuild
    assert room.plan(["04"], name="retake", folder=folder).seed != first
    assert 0 <= first <= room.MOST_SEED
    secret = tmp_path / "own" / "kdcourse" / "instructor-secret"
    assert secret.stat().st_mode & 0o077 == 0  # nobody else on the machine reads it
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "others"))
    assert room.plan(["04"], folder=folder).seed != first


def test_where_no_secret_can_be_kept_a_seed_is_asked_for(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "file"))
    with pytest.raises(ArgumentError, match="State a seed of your own instead: --seed"):
        room.plan(["04"], folder=folder)
    assert room.plan(["04"], folder=folder, seed=8).seed == 8


def test_an_assignment_is_kept_and_read_again(folder: Path, tmp_path: Path) -> None:
    planned = room.plan(["04", "05"], title="Wärme – 温度", folder=folder, seed=3)
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
def test_a_file_that_is_no_assignment_is_refused(change: object, folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "assignment.json"
    content = json.loads(room.as_json(room.plan(["04"], folder=folder, seed=3)))
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
