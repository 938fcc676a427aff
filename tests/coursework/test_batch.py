from __future__ import annotations

import csv
import io
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import psutil
import pytest
from filelock import FileLock
from typer.testing import CliRunner

from kdcourse import cli
from kdcourse.coursework import assignment as room
from kdcourse.coursework import batch as batch_module
from kdcourse.coursework import sandbox
from kdcourse.coursework.assign import assign
from kdcourse.coursework.batch import JOURNAL, grade
from kdcourse.coursework.gradebook import COURSE
from kdcourse.coursework.journal import Journal
from kdcourse.coursework.tables import HANDED_IN, TO_MARK
from kdcourse.errors import ArgumentError, CourseworkError, DataError
from tests.coursework import classes, fakes, tiny
from tests.coursework.fakes import RIGHT, WRONG, grade_class, hand_in, notebook
from tests.coursework.reading import Page, check_sound

api = pytest.importorskip("nbgrader.api")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "handed in"
    place.mkdir()
    return place


@pytest.fixture
def out(tmp_path: Path, empty_gradebook: Path) -> Path:
    place = tmp_path / "graded"
    place.mkdir()
    shutil.copy(empty_gradebook, place / "gradebook.db")
    return place


def points(out: Path) -> dict[str, str]:
    text = (out / "grades.csv").read_text("utf-8-sig")
    return {row["student"]: row["points"] for row in csv.DictReader(io.StringIO(text))}


def orders(folder: Path, name: str) -> str:
    return f"log:{folder.parent / name}"


def tried(folder: Path, name: str) -> int:
    path = folder.parent / name
    return len(path.read_text().split()) if path.exists() else 0


@pytest.mark.slow
def test_a_class_is_graded_into_every_product(folder: Path, out: Path) -> None:
    hand_in(folder, "Ána Núñez", notebook(RIGHT))
    hand_in(folder, "bob", notebook(WRONG))
    hand_in(folder, "cut", notebook(RIGHT)[:150])
    (folder / "photo.jpg").write_bytes(b"")
    batch = grade_class(Path(shutil.make_archive(str(folder), "zip", folder)), out, jobs=2)
    assert batch.graded_now == 3 and points(out) == {"Ana-Nunez": "3", "bob": "0", "cut": "0"}
    with api.Gradebook(f"sqlite:///{out / 'gradebook.db'}", course_id=COURSE) as book:
        assert book.find_submission("week-4", "Ana-Nunez").score == 3
    check_sound(Page((out / "report.html").read_text("utf-8")))
    pages = {path.stem: Page(path.read_text("utf-8")) for path in (out / "feedback").iterdir()}
    assert pages.keys() == {"Ana-Nunez", "bob", "cut"}
    assert "feedback for Ána Núñez" in pages["Ana-Nunez"].text and "temperature ignored" in pages["bob"].text
    assert "ends in the middle" in pages["cut"].text
    assert all("a secret criterion" not in page.source for page in pages.values())
    rows = csv.DictReader(io.StringIO((out / HANDED_IN).read_text("utf-8-sig")))
    assert [(row["student"], row["what became of it"].split()[0]) for row in rows] == [
        ("bob", "graded"),
        ("cut", "graded"),
        ("", "ignored:"),
        ("Ana-Nunez", "graded"),
    ]
    assert (out / "canvas.csv").exists() and (out / "moodle.csv").exists()
    assert any(TO_MARK in note for note in batch.notes)


@pytest.mark.slow
def test_only_what_changed_is_graded_again(folder: Path, out: Path) -> None:
    for name in ("ann", "bob"):
        hand_in(folder, name, notebook(RIGHT, orders=orders(folder, name)))
    grade_class(folder, out)
    assert (tried(folder, "ann"), tried(folder, "bob")) == (1, 1)
    again = grade_class(folder, out)
    assert again.graded_now == 0 and points(out) == {"ann": "3", "bob": "3"}
    hand_in(folder, "bob", notebook(WRONG))
    hand_in(folder, "cid", notebook(RIGHT))
    later = grade_class(folder, out)
    assert later.graded_now == 2 and points(out) == {"ann": "3", "bob": "0", "cid": "3"}
    assert tried(folder, "ann") == 1
    other = replace(fakes.ASSIGNMENT, seed=8)
    assert grade(folder, other, out, progress=False, open_sandbox=fakes.in_process).graded_now == 3


@pytest.mark.slow
def test_another_version_of_the_course_grades_anew(
    folder: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hand_in(folder, "ann", notebook(RIGHT))
    grade_class(folder, out)
    monkeypatch.setattr("kdcourse.coursework.journal.__version__", "9.9")
    assert grade_class(folder, out).graded_now == 1


@pytest.mark.slow
def test_points_of_a_reader_come_in_and_stay(folder: Path, out: Path) -> None:
    hand_in(folder, "ann", notebook(RIGHT))
    grade_class(folder, out)
    to_mark = out / TO_MARK
    filled = to_mark.read_text("utf-8-sig").replace("Why soft,,2,,,", "Why soft,1.5,2,Well put,,")
    to_mark.write_text(filled, "utf-8")
    with pytest.raises(
        ArgumentError, match=r"written points into .*to_mark\.csv, and this run would replace"
    ):
        grade_class(folder, out)
    batch = grade_class(folder, out, marks=to_mark)
    assert batch.graded_now == 0 and points(out) == {"ann": "4.5"} and not to_mark.exists()
    assert "Well put" in Page((out / "feedback" / "ann.html").read_text("utf-8")).text
    hand_in(folder, "ann", notebook(WRONG))  # the code is another, the essay the same
    assert not grade_class(folder, out).notes and points(out) == {"ann": "1.5"}


def test_nothing_of_one_submission_stops_the_others(folder: Path, out: Path) -> None:
    hand_in(folder, "a_dies", notebook(RIGHT, orders=f"die {orders(folder, 'dies')}"))
    hand_in(folder, "b_raises", notebook(RIGHT, orders="raise"))
    for name in ("c", "d", "e"):
        hand_in(folder, name, notebook(RIGHT))
    (folder / "f").mkdir()
    batch = grade_class(folder, out, jobs=2)
    assert batch.graded_now == 6
    found = points(out)
    assert [found[name] for name in "cdef"] == ["3", "3", "3", "0"]
    problems = {graded.student: " ".join(graded.problems) for graded in batch.class_}
    assert tried(folder, "dies") == 2 and "ended unexpectedly (exit code 7)" in problems["a_dies"]
    assert "ZeroDivisionError: a mistake of ours" in problems["b_raises"]
    assert all("Run the command again" in problems[name] for name in ("a_dies", "b_raises"))
    assert "a_dies" not in (out / "canvas.csv").read_text("utf-8")
    # What failed through no fault of theirs is tried again, and nothing else.
    hand_in(folder, "b_raises", notebook(RIGHT))
    assert grade_class(folder, out).graded_now == 2
    assert points(out)["b_raises"] == "3"


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["interrupt", "kill"])
def test_a_run_that_is_stopped_in_the_middle_loses_nothing(kind: str, folder: Path, out: Path) -> None:
    names = [f"s{number:02}" for number in range(12)]
    for name in names:
        hand_in(folder, name, notebook(RIGHT, orders=f"slow {orders(folder, name)}"))
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.coursework.fakes", str(folder), str(out)],
        cwd=Path(__file__).parents[2],
        stderr=subprocess.PIPE,
        # Tests that were started in the background ignore Ctrl-C, and hand that on.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL) if os.name == "posix" else None,
    )
    journal = Journal(out / JOURNAL)
    until = time.monotonic() + 120
    while len(journal.read()) < 3:
        assert time.monotonic() < until and process.poll() is None
        time.sleep(0.05)
    family = psutil.Process(process.pid).children(recursive=True)
    assert family
    process.send_signal(signal.SIGINT if kind == "interrupt" else signal.SIGKILL)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == (130 if kind == "interrupt" else -signal.SIGKILL), errors.decode()
    _, alive = psutil.wait_procs(family, timeout=60)
    assert not alive  # no worker is left behind
    done = journal.read()
    assert 3 <= len(done) < 12 and not (out / "grades.csv").exists()
    with (out / JOURNAL).open("ab") as file:
        file.write(b'{"key": "half a li')  # as a crash leaves it
    batch = grade_class(folder, out)
    assert batch.graded_now == 12 - len(done)
    assert points(out) == dict.fromkeys(names, "3")
    assert all(tried(folder, name) == 1 for name in done)


@pytest.mark.slow
def test_a_worker_that_can_never_work_is_told_at_once(folder: Path, out: Path) -> None:
    hand_in(folder, "ann", notebook(RIGHT))
    with pytest.raises(
        DataError, match=r"Grading can't continue: no sandbox here\. Finished submissions are kept"
    ):
        grade_class(folder, out, open_sandbox=cannot_open)
    other = replace(fakes.ASSIGNMENT, tasks=(tiny.ASSIGNMENT.tasks[0],))
    with pytest.raises(DataError, match="no exercise 'softened'"):
        grade(folder, other, out, progress=False, open_sandbox=fakes.in_process)


def cannot_open(unsafe: bool) -> fakes.InProcess:
    raise CourseworkError("no sandbox here.")


@pytest.mark.slow
def test_a_submission_that_never_ends_is_given_up(
    folder: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_module, "_MOST_SECONDS", 0.1)
    hand_in(folder, "slow", notebook(RIGHT))
    monkeypatch.setattr(batch_module, "_CLOSING_SECONDS", 30.0)
    (graded,) = grade_class(folder, out, open_sandbox=very_slow).class_
    assert "it took more than" in graded.problems[0] and graded.marks[0].points is None


class VerySlow(fakes.InProcess):
    def observe(self, *_: object) -> dict[str, object]:
        time.sleep(600)
        return {}


def very_slow(unsafe: bool) -> VerySlow:
    return VerySlow()


@pytest.mark.slow(seconds=30)
def test_a_real_class_in_the_real_sandbox(tmp_path: Path, out: Path) -> None:
    if why := sandbox.available():
        pytest.skip(why)
    asked = room.plan(["04"], seed=11)
    release = assign(asked, tmp_path / "dist") / "release"
    class_ = classes.make(tmp_path / "class", asked, release, students=24, seed=5, layout="moodle")
    batch = grade(tmp_path / "class" / "submissions", asked, out, progress=False, release=release)
    found = {graded.student: graded for graded in batch.class_}
    assert found.keys() == {one.student for one in class_}
    for one in class_:
        if one.costs != "nothing":
            continue
        marks = {mark.task: mark for mark in found[one.student].marks}
        for task, what in one.answers.items():
            if what == "right":
                assert marks[task].right and marks[task].points == marks[task].of, (one, marks[task])
            elif what == "written":
                assert marks[task].points is None
            elif what != "hostile":
                assert (marks[task].points, marks[task].mistake) == (0, None if what == "blank" else what)
    for path in [*(out / "feedback").iterdir(), out / "report.html"]:
        check_sound(Page(path.read_text("utf-8")))
    assert (
        grade(tmp_path / "class" / "submissions", asked, out, progress=False, release=release).graded_now == 0
    )


# -- what is refused before anything is run -----------------------------------------------------


def test_what_cannot_work_is_refused_before_it_costs_an_hour(folder: Path, out: Path, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="no folder"):
        grade_class(tmp_path / "absent", out)
    with pytest.raises(ArgumentError, match="inside the submissions"):
        grade_class(tmp_path, out)
    with pytest.raises(ArgumentError, match="--jobs must be at least 1"):
        grade_class(folder, out, jobs=0)
    with pytest.raises(DataError, match="can't be read"):
        grade_class(folder, out, canvas=tmp_path / "absent.csv")
    with pytest.raises(DataError, match="holds no submissions"):
        grade_class(folder, out)
    hand_in(folder, "ann", notebook(RIGHT))
    with FileLock(out / ".lock"), pytest.raises(DataError, match="Another run is using"):
        grade_class(folder, out)


def test_without_a_sandbox_it_refuses_and_says_why(
    folder: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hand_in(folder, "ann", notebook(RIGHT))
    monkeypatch.setattr("kdcourse.coursework.sandbox.available", lambda: "Bubblewrap is missing.")
    with pytest.raises(ArgumentError, match=r"Bubblewrap is missing\. Without a sandbox .* pass --unsafe"):
        grade_class(folder, out, open_sandbox=None)
    assert not (out / JOURNAL).exists()


def test_the_command_says_what_it_did_and_errors_in_a_line(
    folder: Path, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_module, "_sandbox", fakes.in_process_of)
    monkeypatch.setattr(batch_module, "_require_sandbox", lambda unsafe: None)
    hand_in(folder, "ann", notebook(RIGHT))
    room.save(fakes.ASSIGNMENT, tmp_path / "assignment.json")
    command = ["grade", str(folder), "--assignment", str(tmp_path / "assignment.json"), "--out", str(out)]
    told = CliRunner().invoke(cli.app, [*command, "--jobs", "1"])
    assert told.exit_code == 0, told.output
    assert (
        "1 graded, in" in told.output
        and "report.html" in told.output
        and "note: 1 answer waits" in told.output
    )
    told = CliRunner().invoke(cli.app, command)
    assert "0 graded, 1 as before" in told.output
    told = CliRunner().invoke(cli.app, [*command, "--attempts", "latest"])
    assert "0 graded, 1 as before" in told.output  # one notebook: nothing to choose
    told = CliRunner().invoke(cli.app, [*command, "--attempts", "first"])
    assert told.exit_code == 2 and "one of fullest, latest, best; found 'first'" in told.output
    told = CliRunner().invoke(cli.app, [*command, "--marks", str(tmp_path / "none.csv")])
    assert told.exit_code == 2 and told.output.startswith("error: ")


# -- the journal --------------------------------------------------------------------------------


def test_a_journal_survives_what_a_crash_leaves_and_stays_small(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j.jsonl")
    assert journal.read() == {} and journal.tidied() == {}
    anna, jose, _ = tiny.class_of_three()
    journal.add("k1", anna)
    whole = journal.path.read_bytes()
    for cut in range(len(whole)):  # killed at any moment of writing a second line
        journal.path.write_bytes(whole + whole[:cut])
        journal.add("k2", jose)
        found = journal.read()
        assert found[jose.student] == ("k2", jose) and found[anna.student] == ("k1", anna)
        if cut > 40:
            break
    journal.add("k3", jose)
    assert journal.tidied()[jose.student] == ("k3", jose)
    assert journal.path.read_bytes().count(b"\n") == 2 == len(journal.read())


def test_lines_of_another_format_are_passed_over(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j.jsonl")
    journal.path.write_bytes(b'[]\n{"key": 1}\n{"key": "k", "graded": {"student": 3}}\n\xff\xfe\n\n')
    assert journal.read() == {}


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="needs Linux")
def test_there_is_a_job_a_core_and_never_more_than_work() -> None:
    cores = len(os.sched_getaffinity(0))
    assert batch_module._jobs(None, 1000) == cores
    assert batch_module._jobs(8, 3) == 3 and batch_module._jobs(8, 0) == 1
