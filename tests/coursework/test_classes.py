"""The class that graders are tested on is what it says, and every way of mangling costs what it says."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from kdcourse.checks import judge, observe
from kdcourse.course import exercise, exercises
from kdcourse.coursework import journal, notebooks
from kdcourse.coursework.batch import JOURNAL
from kdcourse.coursework.finding import find
from kdcourse.coursework.intake import collect
from kdcourse.coursework.records import Answer, Assignment, Graded, Submission, Task
from kdcourse.coursework.tables import HANDED_IN, handed_in_csv
from tests.coursework import classes, mangling, tiny
from tests.coursework.classes import Source, bank, fill, lay, make
from tests.coursework.hostile import HOSTILE
from tests.coursework.mangling import Way, written
from tests.coursework.oddities import ODDITIES, TASK, Oddity

LESSON = "04_soft_targets"
CODE = ("softened_probabilities", "entropy_nats", "soft_gradient")
TASKS = (
    *(Task(name, "code", LESSON, name, 1) for name in CODE),
    Task("why", "written", LESSON, "Why soften?", 3),
)
ASSIGNMENT = Assignment("week-4", "Soft targets", (LESSON,), TASKS, seed=3)


def handed_out() -> dict[str, Any]:
    """A small notebook as `kdcourse assign` makes it."""

    def cell(kind: str, source: str, **nbgrader: Any) -> dict[str, Any]:
        name = nbgrader.get("grade_id", f"{kind}-{abs(hash(source)) % 16**12:012x}")
        made = {
            "cell_type": kind,
            "id": name,
            "source": source,
            "metadata": {"nbgrader": nbgrader} if nbgrader else {},
        }
        return made | ({"execution_count": None, "outputs": []} if kind == "code" else {})

    cells = [
        cell("markdown", "# Lesson 04"),
        cell("code", "import torch\n\nfrom kdcourse.course import check"),
    ]
    for name in CODE:
        parameters = "logits, temperature" if name == CODE[0] else "*given"
        blank = f"def {name}({parameters}):\n    ...  # your turn"
        cells += [
            cell("markdown", f"### Exercise: {name}"),
            cell("code", blank, grade_id=name, solution=True),
            cell("code", f'check("{name}", {name})', grade_id=f"check-{name}", grade=True),
            cell("code", f"table = [{name}] * 10**9\ntable.train()"),
        ]
    cells += [
        cell("markdown", "### Question: Why soften? (5 minutes, 3 points)\n\nSay it.", grade_id="ask-why"),
        cell("markdown", "*Write your answer here, in place of this line.*", grade_id="why", solution=True),
        cell("code", "print('the end')"),
    ]
    return {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}


@pytest.fixture
def release(tmp_path: Path) -> Path:
    folder = tmp_path / "release"
    folder.mkdir()
    (folder / f"{LESSON}.ipynb").write_bytes(written(handed_out()))
    return folder


ANSWERED = {name: next(source for source in bank()[name] if not source.mistake) for name in CODE}
ANSWERED["why"] = Source("Because the others\nsay **nothing**.")


def answers(submission: Submission) -> dict[str, Answer]:
    handed = submission.notebooks.get(LESSON)
    cells = notebooks.read(handed).cells if handed else ()
    return {task.id: find(cells, task, notebooks.read(handed).cells[:0]) for task in TASKS} if handed else {}


@pytest.mark.parametrize("way", mangling.WAYS, ids=lambda way: way.name)
def test_each_way_of_mangling_costs_what_it_says(way: Way, tmp_path: Path) -> None:
    document = fill(handed_out(), ANSWERED)
    lay(
        tmp_path,
        "José Müller",
        0,
        way.mangle(document, f"{LESSON}.ipynb", classes.random.Random(1)),
        "folders",
    )
    lay(tmp_path, "Plain", 1, {f"{LESSON}.ipynb": written(document)}, "folders")
    mangled, plain = collect(tmp_path, ASSIGNMENT).submissions
    assert (mangled.name, plain.name) == ("José Müller", "Plain") and not plain.problems
    expected, found = answers(plain), answers(mangled)
    assert all(answer.fingerprint for answer in expected.values())
    problems = [
        *mangled.problems,
        *(notebooks.read(mangled.notebooks[LESSON]).problems if mangled.notebooks else ()),
    ]
    if way.costs == "all":
        assert problems and not any(answer.fingerprint for answer in found.values())
        return
    for place, task in enumerate(TASKS):
        if way.costs == "some" or (way.costs == "first" and place == 0):
            continue
        assert found[task.id].fingerprint == expected[task.id].fingerprint, task.id
        assert not found[task.id].problem and "train" not in "".join(found[task.id].pieces)
    if way.costs == "first":
        assert found[CODE[0]].problem and not found[CODE[0]].pieces
    if way.costs == "some":
        assert "ends in the middle" in problems[0]
        assert found[CODE[0]].fingerprint == expected[CODE[0]].fingerprint and found["why"].problem


@pytest.mark.parametrize("layout", ["folders", "moodle", "canvas"])
def test_everybody_in_a_class_is_found_with_their_answers(layout: str, tmp_path: Path, release: Path) -> None:
    made = make(tmp_path, ASSIGNMENT, release, students=60, seed=4, layout=layout)
    assert json.loads((tmp_path / "expected.json").read_text(encoding="utf-8"))[0]["name"] == made[0].name
    found = {each.student: each for each in collect(tmp_path / "submissions", ASSIGNMENT).submissions}
    there = {
        each.student: each for each in made if layout != "canvas" or each.kind != "mangled: nothing at all"
    }
    assert set(found) == set(there)
    ids = {each.name: each.student for each in made}
    kinds = {each.kind.split(":")[0].split(" of")[0] for each in made}
    assert kinds == {"usual", "mangled", "hostile", "blank", "copy"}
    for student, expected in there.items():
        if expected.kind.startswith("mangled"):
            continue
        assert found[student].problems == ()
        seen = answers(found[student])
        blank = {name for name, answer in seen.items() if not answer.fingerprint}
        assert blank == {name for name, what in expected.answers.items() if what == "blank"}
        if expected.kind.startswith("copy"):
            twin = answers(found[ids[expected.kind.removeprefix("copy of ")]])
            assert {n: a.fingerprint for n, a in seen.items()} == {n: a.fingerprint for n, a in twin.items()}


def test_a_large_class_has_every_fault_that_was_reported(tmp_path: Path, release: Path) -> None:
    made = make(tmp_path, ASSIGNMENT, release, students=100, seed=4)
    kinds = {each.kind for each in made}
    tricks = {f"hostile: {one.name}" for one in HOSTILE if one.exercise in CODE}
    assert kinds >= tricks | {f"odd: {one.name}" for one in ODDITIES} | {"dated", "robber", *classes.RINGS}
    collected = collect(tmp_path / "submissions", ASSIGNMENT)
    found = {each.student: each for each in collected.submissions}
    assert set(found) == {each.student for each in made}
    assert any("Screenshot" in note for note in collected.notes)
    graded = []
    for expected in made:
        marks = []
        mangled = expected.kind.startswith("mangled")  # which other tests read
        given = {} if mangled else answers(found[expected.student])
        for task in TASKS:
            answer = given.get(task.id)
            right = expected.answers[task.id] == "right" and answer is not None and bool(answer.fingerprint)
            points = None if expected.answers[task.id] == "written" else task.points * right
            marks.append(replace(tiny.right(task.id, task.points), points=points))
        graded.append(Graded(expected.student, expected.name, tuple(marks), (), 0.0))
    # Everybody is found with the answers that they gave; now whoever is treated unfairly is named.
    (tmp_path / "graded").mkdir()
    (tmp_path / "graded" / JOURNAL).write_bytes(
        b"".join(journal._line("", one) for one in graded if one.name != made[0].name)
    )
    (tmp_path / "graded" / HANDED_IN).write_text(handed_in_csv(collected.accounts), "utf-8")
    told = classes.unfair(made, tmp_path / "graded", ASSIGNMENT)
    assert told[0] == f"{made[0].student} ({made[0].kind}) is lost"
    assert not any("right" in text or "blank" in text for text in told if "(usual)" in text)
    assert {"the ring of five was not found", "the large ring was not found"} <= set(told)


@pytest.mark.parametrize("oddity", ODDITIES, ids=lambda one: one.name)
def test_odd_notebooks_are_read_as_they_were_meant(oddity: Oddity, tmp_path: Path) -> None:
    document = fill(handed_out(), {**ANSWERED, TASK: Source(oddity.answer)})
    lay(tmp_path, "Ann", 0, oddity.hand_in(document, f"{LESSON}.ipynb"), "folders")
    (handed,) = collect(tmp_path, ASSIGNMENT).submissions
    modules = {name: file.read().decode() for name, file in handed.modules.items()}
    answer = find(notebooks.read(handed.notebooks[LESSON]).cells, TASKS[0], modules=modules)
    assert answer.called_right
    if oddity.costs == "flagged":
        assert "is not valid Python" in answer.problem
        return
    with played(answer) as function:
        assert judge(exercise(TASK), observe(exercise(TASK), function)).right


@contextmanager
def played(answer: Answer) -> Iterator[Any]:
    """Run an answer's pieces here, with its modules; they are the ones above, and harmless."""
    space: dict[str, Any] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "own_axis", 0, raising=False)
        for name, source in answer.modules:
            module = ModuleType(name)
            exec(source, module.__dict__)
            patch.setitem(sys.modules, name, module)
        patch.setattr(time, "sleep", lambda seconds: None)
        for piece in answer.pieces:
            exec(piece, space)
        yield space[answer.function]


def test_the_same_seed_gives_the_same_class(tmp_path: Path, release: Path) -> None:
    def files(folder: Path) -> dict[str, bytes]:
        every = sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
        return {str(path.relative_to(folder)): path.read_bytes() for path in every}

    for name in ("one", "two", "three"):
        make(tmp_path / name, ASSIGNMENT, release, students=12, seed=5 if name != "three" else 6)
    assert files(tmp_path / "one") == files(tmp_path / "two") != files(tmp_path / "three")


def test_every_exercise_has_answers_as_text() -> None:
    for name in exercises():
        right = [source for source in bank()[name] if not source.mistake]
        wrong = {source.mistake for source in bank()[name] if source.mistake}
        few = name in ("paired_interval", "wilson_ends")  # whose wrong ones need SciPy
        assert right and (len(wrong) >= 4 or few), name


@pytest.mark.parametrize("name", ["entropy_nats", "fraction_correct"])
def test_answers_as_text_are_judged_as_they_say(name: str) -> None:
    asked = exercise(name)
    for source in bank()[name]:
        space: dict[str, Any] = {}
        exec(compile(source.text, "<answer>", "exec", dont_inherit=True), space)
        verdict = judge(asked, observe(asked, space[name]))
        assert verdict.right == (not source.mistake) and (verdict.mistake or "") == source.mistake, (
            source.text
        )
