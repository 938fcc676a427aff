"""The learner's folder: lessons are copied to it, and what the learner has changed is never lost."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from kdcourse.errors import LessonError
from kdcourse.lab import lessons, told
from kdcourse.lab.lessons import Copy, hand_out, older, set_aside, stamped

NAME = "05_distil.ipynb"


def _release(folder: Path, **texts: str) -> Path:
    """A folder of forms, as an installation has them."""
    folder.mkdir()
    for name, text in texts.items():
        (folder / f"{name}.ipynb").write_text(stamped(f'{{"text": "{text}", "version": ""}}'))
    return folder


@pytest.fixture
def first(tmp_path: Path) -> Path:
    return _release(tmp_path / "first", **{"00_start_here": "begin", "05_distil": "distil"})


@pytest.fixture
def second(tmp_path: Path) -> Path:
    return _release(tmp_path / "second", **{"00_start_here": "begin", "05_distil": "distil better"})


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    return tmp_path / "a home" / "lessons"


def _states(copies: list[Copy]) -> list[str]:
    return [copy.state for copy in copies]


def _work(file: Path) -> str:
    """Change a lesson as a learner does; return what it holds now."""
    file.write_text(file.read_text().replace("distil", "my answer", 1))
    return file.read_text()


def test_the_lessons_are_copied_once_and_found_again_as_they_were_left(first: Path, mine: Path) -> None:
    assert _states(hand_out(mine, first)) == ["new", "new"]
    assert (mine / NAME).read_bytes() == (first / NAME).read_bytes()
    work = _work(mine / NAME)
    (mine / "notes.ipynb").write_text("mine")
    assert _states(hand_out(mine, first)) == ["same", "same"]
    assert (mine / NAME).read_text() == work and (mine / "notes.ipynb").read_text() == "mine"


def test_a_lesson_that_was_deleted_is_copied_again(first: Path, mine: Path) -> None:
    hand_out(mine, first)
    (mine / NAME).unlink()
    assert _states(hand_out(mine, first)) == ["same", "new"]


def test_a_newer_version_replaces_only_what_nobody_has_changed(first: Path, second: Path, mine: Path) -> None:
    hand_out(mine, first)
    assert _states(hand_out(mine, second)) == ["same", "updated"]
    assert (mine / NAME).read_bytes() == (second / NAME).read_bytes() and older(mine, second) == []
    work = _work(mine / NAME)
    assert _states(hand_out(mine, first)) == ["same", "older"]
    assert older(mine, first) == [mine / NAME]
    assert (mine / NAME).read_text() == work


def test_a_file_without_a_version_is_the_learners(first: Path, mine: Path) -> None:
    mine.mkdir(parents=True)
    (mine / NAME).write_text("{}")
    assert _states(hand_out(mine, first)) == ["new", "same"] and (mine / NAME).read_text() == "{}"


def test_changed_files_are_set_aside_each_under_a_name_of_its_own(
    first: Path, second: Path, mine: Path
) -> None:
    hand_out(mine, first)
    work = _work(mine / NAME)
    aside = set_aside(mine / NAME, second)
    assert (aside.name, aside.read_text()) == ("05_distil_before.ipynb", work)
    assert (mine / NAME).read_bytes() == (second / NAME).read_bytes()
    again = _work(mine / NAME)
    aside = set_aside(mine / NAME, first)
    assert (aside.name, aside.read_text()) == ("05_distil_before_2.ipynb", again)
    assert (mine / "05_distil_before.ipynb").read_text() == work


def test_the_learner_is_told_what_happened(mine: Path) -> None:
    states = {"a.ipynb": "new", "b.ipynb": "updated", "c.ipynb": "older", "d.ipynb": "same"}
    assert told([Copy(mine / name, state) for name, state in states.items()], mine) == [
        f"Your lessons are in {mine}.",
        "Added: a.ipynb.",
        "Replaced by a newer version, since you hadn't changed it: b.ipynb.",
        "There is a newer version of c.ipynb. Your file is left as it is. `kdcourse doctor --fix --notebooks "
        f"'{mine}'` renames it and puts the new version in its place.",
    ]
    assert told([Copy(mine / "d.ipynb", "same")], mine) == [f"Your lessons are in {mine}."]


def test_the_folder_is_the_same_wherever_the_command_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KDCOURSE_LESSONS", raising=False)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    assert lessons.own_folder() == tmp_path / "kdcourse-lessons"
    monkeypatch.setenv("KDCOURSE_LESSONS", str(tmp_path / "elsewhere"))
    assert lessons.own_folder() == tmp_path / "elsewhere"


def test_an_installed_package_has_lessons_of_its_own(
    first: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lessons, "FORMS", tmp_path / "site-packages" / "notebooks" / "open")
    monkeypatch.setattr(lessons, "SHIPPED", first)
    assert lessons.forms() == first
    monkeypatch.setattr(lessons, "SHIPPED", tmp_path / "gone")
    with pytest.raises(LessonError, match=r"(?s)There are no lessons in .*install kdcourse again"):
        lessons.forms()
    (tmp_path / "site-packages" / "notebooks").mkdir(parents=True)
    with pytest.raises(LessonError, match="git restore notebooks"):
        lessons.forms()


@pytest.mark.skipif(
    sys.platform == "win32" or os.geteuid() == 0, reason="whoever runs this may write anywhere"
)
def test_a_folder_that_cannot_be_written_is_refused(first: Path, mine: Path) -> None:
    mine.mkdir(parents=True, mode=0o500)
    with pytest.raises(LessonError, match="KDCOURSE_LESSONS"):
        hand_out(mine, first)


def test_a_folder_below_a_file_is_refused(first: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LessonError, match=r"can't be copied to .*--notebooks"):
        hand_out(tmp_path / "file" / "lessons", first)


def test_text_that_cannot_be_stamped_is_refused() -> None:
    with pytest.raises(ValueError, match="found it 2 times"):
        stamped('{"version": "", "version": ""}')
