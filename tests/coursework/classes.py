"""A class that never was: as many submissions as wanted, with right, wrong and blank answers, mangled and hostile ones.

    python -m tests.coursework.classes OUT --students 300 --seed 0 [--assignment dist/NAME/assignment.json]
    kdcourse grade OUT/submissions --assignment ASSIGNMENT --out GRADED
    python -m tests.coursework.classes OUT --assignment ASSIGNMENT --graded GRADED

Writes OUT/submissions, to be graded, and OUT/expected.json, what each answer is. The same seed gives the same class.
The last command lists whoever got more or less than they deserve, was lost, or should have been pointed out.
"""

from __future__ import annotations

import argparse
import ast
import copy
import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from kdcourse.course import ORDER
from kdcourse.coursework import slicing
from kdcourse.coursework.assignment import load
from kdcourse.coursework.batch import JOURNAL
from kdcourse.coursework.intake import slug, unique
from kdcourse.coursework.journal import Journal
from kdcourse.coursework.records import Assignment, Graded
from kdcourse.coursework.report import alike
from kdcourse.coursework.tables import HANDED_IN, read_table
from tests.coursework import mangling
from tests.coursework.hostile import HOSTILE
from tests.coursework.mangling import Document, Files, Way, flooded, is_task, written
from tests.coursework.oddities import ODDITIES, TASK

ANSWERS = Path(__file__).resolve().parent.parent / "course" / "answers"
USUAL = frozenset(["torch", "math", "numpy", "statistics", "itertools", "functools", "typing", "__future__"])
MANGLED = HOSTILE_SHARE = BLANKS = 0.05
COPIED = 0.03
RINGS = {"ring of five": 5, "large ring": 18, "ring of essays": 6}
SCREENSHOT = "Screenshot_20261129_120000_Chrome.jpg"

FIRST = [
    "Zoë",
    "Anna",
    "José",
    "Ömer",
    "Łucja",
    "Nguyễn Văn",
    "李",
    "Иван",
    "Siobhán",
    "Jean-Luc",
    "Fatima",
    "Björn",
    "Mary Ann",
]
LAST = [
    "Müller",
    "O'Neill",
    "Ñandú",
    "Yılmaz",
    "Wójcik",
    "An",
    "雷",
    "Петров",
    "Ní Bhriain",
    "Picard",
    "al-Sayed",
    "Þór",
    "Smith",
]
PROSE = [
    "At T = 1 nearly all of the probability is on one class, so that the others say nothing.",
    "1. The gradient shrinks as 1 / T squared.\n2. So it is multiplied by T squared.\n\n*That is all.*",
    "Ich bin nicht sicher; vielleicht wegen der Entropie? <b>fett</b> & $x^2$",
]


@dataclass(frozen=True)
class Source:
    """An answer as it stands in a cell; ``mistake`` names what is wrong with it, "" for nothing."""

    text: str
    mistake: str = ""


@dataclass
class Expected:
    """What one submission is.

    Args:
        student: the id that it is given when it is collected.
        name: of the student.
        kind: "usual", "blank", "copy of ...", "mangled: ...", "hostile: ...", "odd: ...", "dated" (the folder's name
            ends in a date), "robber" (hands in for another as well), "ring ..." (with answers in common).
        costs: what the mangling costs, see `Way`.
        answers: task -> "right", "blank", "hostile", "written", or the name of a mistake.
    """

    student: str
    name: str
    kind: str = "usual"
    costs: str = "nothing"
    answers: dict[str, str] = field(default_factory=dict)


# -- answers as text ------------------------------------------------------------------------------


@cache
def bank() -> dict[str, tuple[Source, ...]]:
    """Every exercise's right and wrong answers, as the tests of the lessons have them."""
    found: dict[str, list[Source]] = {}
    for topic in ORDER:
        text = (ANSWERS / f"{topic}.py").read_text(encoding="utf-8")
        statements = slicing.parse([(1, text)]).statements
        for exercise, mistake, value in _given(text):
            source = _source(exercise, value, statements)
            if source:
                found.setdefault(exercise, []).append(Source(source, mistake))
    return {exercise: tuple(sources) for exercise, sources in found.items()}


def _given(text: str) -> Iterator[tuple[str, str, ast.expr]]:
    """Exercise, mistake and expression of each answer in ``right(...)`` and ``wrong(...)``."""
    for statement in ast.parse(text).body:
        match statement:
            case ast.Expr(
                value=ast.Call(
                    func=ast.Name(id=kind), args=[ast.Constant(value=str(exercise)), *rest], keywords=named
                )
            ):
                if kind == "right":
                    yield from ((exercise, "", value) for value in rest)
                for keyword in named if kind == "wrong" else []:
                    if keyword.arg is not None:
                        yield exercise, keyword.arg.replace("_", " "), keyword.value
                    elif isinstance(keyword.value, ast.Dict):
                        for key, value in zip(keyword.value.keys, keyword.value.values, strict=True):
                            if isinstance(key, ast.Constant):
                                yield exercise, str(key.value).replace("_", " "), value


def _source(exercise: str, value: ast.expr, statements: Sequence[slicing.Statement]) -> str:
    """The cell that a student would have written; "" for answers that use what a student would not."""
    definition: ast.stmt
    match value:
        case ast.Lambda():
            definition = ast.FunctionDef(exercise, value.args, [ast.Return(value.body)], [])
        case ast.Name(id=name):
            named = [
                s.node for s in statements if isinstance(s.node, ast.FunctionDef) and s.node.name == name
            ]
            if not named:
                return ""
            definition = copy.deepcopy(named[0])
            definition.name = exercise
        case _:
            return ""
    text = ast.unparse(ast.fix_missing_locations(definition))
    (root,) = slicing.parse([(2, text)]).statements
    pieces = slicing.needed(root, [*statements, root])
    libraries = [piece.node for piece in pieces if piece.imports]
    for library in libraries:
        name = library.module if isinstance(library, ast.ImportFrom) else library.names[0].name  # type: ignore[attr-defined]
        if (name or "").split(".")[0] not in USUAL:
            return ""
    return "\n\n\n".join(piece.text for piece in pieces)


# -- a class --------------------------------------------------------------------------------------


def make(
    out: Path, assignment: Assignment, release: Path, students: int, seed: int, layout: str = "folders"
) -> list[Expected]:
    """Write a class.

    Args:
        out: gets ``submissions`` and ``expected.json``.
        assignment: what was asked.
        release: the folder of the notebooks that students got.
        students: how many.
        seed: of all that is left to chance.
        layout: "folders", "moodle" or "canvas".
    """
    chance = random.Random(seed)
    blank = {
        name: json.loads((release / f"{name}.ipynb").read_text(encoding="utf-8"))
        for name in assignment.lessons
    }
    found: list[Expected] = []
    copied: tuple[str, dict[str, Source]] | None = None
    tasks = {task.id for task in assignment.tasks}
    tricks = [trick for trick in HOSTILE if trick.exercise in tasks]
    # Harmless and costly ways in turn, so that a small class has both.
    ways, hostile = _in_turn(mangling.WAYS[::2] + mangling.WAYS[1::2]), _in_turn(tricks)
    everything = students >= 100
    odd, rings = iter(ODDITIES), dict[str, dict[str, Source]]()
    kinds = _kinds(students, len(tricks) if everything else 0, chance, everything)
    for number, (kind, name) in enumerate(zip(kinds, _names(students, chance), strict=True)):
        if kind == "dated" and layout == "folders":
            name = f"{name}_2026_11_29"
        expected = Expected(_student(name, number, layout), name, kind)
        answers = {} if kind == "blank" else _answers(assignment, chance)
        if kind == "copy":
            expected.kind = f"copy of {copied[0]}" if copied else "usual"
            answers = copied[1] if copied else answers
        way: Way | None = None
        if kind == "mangled":
            way = next(ways)
            expected.kind, expected.costs = f"mangled: {way.name}", way.costs
        if kind == "hostile" and (trick := next(hostile, None)) is not None:
            answers = {**answers, trick.exercise: Source(trick.source, "hostile")}
            expected.kind = f"hostile: {trick.name}"
        oddity = next(odd, None) if kind == "odd" else None
        if oddity is not None:
            answers = {**answers, TASK: Source(oddity.answer)}
            expected.kind, expected.costs = f"odd: {oddity.name}", oddity.costs
        if kind in RINGS:
            answers = {**answers, **rings.setdefault(kind, _of_ring(kind, assignment, chance))}
        expected.answers = {task.id: _expected(answers.get(task.id), task.kind) for task in assignment.tasks}
        files: Files = {}
        for lesson, document in blank.items():
            filled = fill(document, answers)
            file = f"{lesson}.ipynb"
            if way:
                files |= way.mangle(filled, file, chance)
            elif oddity and TASK in expected.answers:
                files |= oddity.hand_in(filled, file)
            else:
                files[file] = written(filled)
            if kind == "robber" and copied:
                forged = [f"{copied[0]}/{file}", f"{slug(copied[0])}_1001_9009_{file}"]
                files["more.zip"] = mangling.zipped(dict.fromkeys(forged, written(document)))
        lay(out / "submissions", name, number, files, layout)
        found.append(expected)
        if kind == "usual":
            copied = (name, answers)
    if everything and layout == "folders":
        (out / "submissions" / SCREENSHOT).write_bytes(b"\xff\xd8")
    for expected, student in zip(found, unique([(each.student, each.name) for each in found]), strict=True):
        expected.student = student
    (out / "expected.json").write_text(
        json.dumps([asdict(each) for each in found], indent=1, ensure_ascii=False), encoding="utf-8"
    )
    return found


def _in_turn(items: Sequence[Any]) -> Iterator[Any]:
    while items:
        yield from items


def _kinds(students: int, hostile: int, chance: random.Random, everything: bool) -> list[str]:
    hostile = max(hostile, round(HOSTILE_SHARE * students))
    kinds = ["mangled"] * round(MANGLED * students) + ["hostile"] * hostile
    kinds += ["blank"] * round(BLANKS * students) + ["copy"] * round(COPIED * students)
    if everything:
        kinds += ["odd"] * len(ODDITIES) + ["dated"] * 3 + ["robber"] * 3
        kinds += [kind for kind, count in RINGS.items() for _ in range(count)]
    kinds += ["usual"] * (students - len(kinds))
    chance.shuffle(kinds)
    return kinds


def _names(students: int, chance: random.Random) -> list[str]:
    every = [f"{first} {last}" for first in FIRST for last in LAST]
    chance.shuffle(every)
    return [
        every[n] if n < len(every) else f"{every[n % len(every)]} {n // len(every) + 1}"
        for n in range(students)
    ]


def _answers(assignment: Assignment, chance: random.Random) -> dict[str, Source]:
    """One student's, blanks left out: most are right, many wrong in a known way."""
    found: dict[str, Source] = {}
    for task in assignment.tasks:
        luck = chance.random()
        if task.kind == "written":
            if luck < 0.9:
                found[task.id] = Source(f"{chance.choice(PROSE)}\n\nMeasured: {luck:.6f}.")
            continue
        right = [source for source in bank()[task.id] if not source.mistake]
        wrong = [source for source in bank()[task.id] if source.mistake]
        if luck < 0.92:
            found[task.id] = chance.choice(right if luck < 0.7 or not wrong else wrong)
    return found


def _of_ring(kind: str, assignment: Assignment, chance: random.Random) -> dict[str, Source]:
    """Return the answers that a ring has in common: an essay, or wrong ones to the last two exercises, or to all."""
    if kind == "ring of essays":
        task = next(task for task in assignment.tasks if task.kind == "written")
        return {task.id: Source("The very same words, copied from one page into six notebooks.")}
    code = [task.id for task in assignment.tasks if task.kind == "code"]
    wrong = {name: [source for source in bank()[name] if source.mistake] for name in code}
    return {name: chance.choice(wrong[name]) for name in (code if kind == "ring of five" else code[-2:])}


def _expected(source: Source | None, kind: str) -> str:
    if source is None:
        return "blank"
    return "written" if kind == "written" else source.mistake or "right"


def fill(document: Document, answers: dict[str, Source]) -> Document:
    """A notebook as it was handed out, with answers in it, and as it looks after it was run."""
    document = copy.deepcopy(document)
    count = 0
    for cell in document["cells"]:
        name = cell["metadata"].get("nbgrader", {}).get("grade_id", "")
        if name in answers and (is_task(cell) or cell["cell_type"] == "markdown"):
            cell["source"] = answers[name].text.splitlines(keepends=True)
        if cell["cell_type"] == "code":
            count += 1
            cell["execution_count"] = count
            asked = name.removeprefix("check-")
            right = asked in answers and not answers[asked].mistake
            output: dict[str, Any] = {
                "name": "stdout",
                "output_type": "stream",
                "text": [f"Right ✓ {asked}: what was asked for.\n" if right else f"[{count}]\n"],
            }
            cell["outputs"] = [output]
    return document


# -- what became of it ----------------------------------------------------------------------------


def unfair(made: Sequence[Expected], graded: Path, assignment: Assignment) -> list[str]:
    """List who got more or less than they deserve, was lost, or should have been pointed out."""
    class_ = {one.student: one for _, one in Journal(graded / JOURNAL).read().values()}
    found = [f"{one.student} ({one.kind}) is lost" for one in made if one.student not in class_]
    found += [f"{student} is nobody" for student in class_.keys() - {one.student for one in made}]
    for one in made:
        if one.student in class_:
            found += [f"{one.student} ({one.kind}), {text}" for text in _unfair(one, class_[one.student])]
    listed = read_table(graded / HANDED_IN)[1]
    found += [f"{row[0]} has no account" for row in listed if not row[2]]
    groups = [set(group.students) for group in alike(list(class_.values()), assignment)]
    for ring in RINGS:
        members = {one.student for one in made if one.kind == ring}
        if members and not any(members <= group for group in groups):
            found.append(f"the {ring} was not found")
    for page in [*(graded / "feedback").glob("*.html"), graded / "report.html", graded / "to_mark.html"]:
        text = page.read_text(encoding="utf-8") if page.exists() else ""
        if "<script>alert" in text or "<img src=x" in text:
            found.append(f"{page.name} has a student's script")
    return found


def _unfair(one: Expected, graded: Graded) -> Iterator[str]:
    """Say what is wrong with one student's marks."""
    tricks = {f"hostile: {trick.name}": trick for trick in HOSTILE}
    first = next(iter(one.answers))
    if one.costs == "all" and not graded.problems:
        yield "nobody was told that nothing could be read"
    for mark in graded.marks:
        answer = one.answers[mark.task]
        if one.costs == "some" or (one.costs == "first" and mark.task == first):
            continue
        deserved = 0.0 if one.costs == "all" else {"right": mark.of, "written": None}.get(answer, 0.0)
        if answer == "hostile":
            # No more than the honest part of the answer: a trick may cost it.
            deserved = min(mark.points or 0.0, mark.of if tricks[one.kind].honest else 0.0)
            if one.kind == "hostile: the course's own function" and not mark.flag:
                yield f"{mark.task}: not flagged"
        elif one.costs == "flagged" and mark.task == TASK:
            deserved = 0.0
            if "Python" not in mark.flag + mark.message or not mark.flag:
                yield f"{mark.task}: not flagged"
        if mark.points != deserved:
            yield f"{mark.task} ({answer}): {mark.points} points, not {deserved}. {mark.message}"
        if (
            answer not in ("right", "blank", "written", "hostile")
            and one.costs == "nothing"
            and mark.mistake != answer
        ):
            yield f"{mark.task}: called {mark.mistake}, not {answer}"


# -- on the disk ----------------------------------------------------------------------------------


def _student(name: str, number: int, layout: str) -> str:
    if layout == "folders":
        return slug(name)
    return f"{slug(name if layout == 'moodle' else _canvas(name))}_{1000 + number}"


def _canvas(name: str) -> str:
    """As Canvas has it in names of files: last name first, without spaces."""
    return "".join(c for c in "".join(reversed(name.lower().split(" "))) if c.isalnum())


def lay(folder: Path, name: str, number: int, files: Files, layout: str) -> None:
    """Put one student's files where a learning platform puts them."""
    number += 1000
    if layout == "folders":
        base, before = folder / name, ""
    elif layout == "moodle":
        base, before = folder / f"{name}_{number}_assignsubmission_file_", ""
    else:
        base, before = folder, f"{_canvas(name)}_{number}_{9 * number}_"
    base.mkdir(parents=True, exist_ok=True)
    for file, content in files.items():
        path = base / f"{before}{file.replace('/', '_') if before else file}"
        path.parent.mkdir(parents=True, exist_ok=True)
        if file.endswith("@"):
            path.with_name(path.name[:-1]).symlink_to(content.decode())
        else:
            path.write_bytes(content)


def flood(out: Path, assignment: Assignment, release: Path, megabytes: int) -> None:
    """One more student, with that much output in the first lesson's notebook."""
    lesson = assignment.lessons[0]
    document = json.loads((release / f"{lesson}.ipynb").read_text(encoding="utf-8"))
    answers = _answers(assignment, random.Random(0))
    path = out / "submissions" / "Flora Flood_999_assignsubmission_file_" / f"{lesson}.ipynb"
    path.parent.mkdir(parents=True)
    with path.open("wb") as file:
        file.writelines(flooded(fill(document, answers), megabytes))


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Make a class of submissions.")
    parser.add_argument("out", type=Path)
    parser.add_argument("--students", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--assignment", type=Path, help="assignment.json; by default one of lesson 04 is built"
    )
    parser.add_argument("--layout", choices=["folders", "moodle", "canvas"], default="folders")
    parser.add_argument(
        "--flood", type=int, default=0, metavar="MB", help="one more notebook with that much output"
    )
    parser.add_argument("--graded", type=Path, help="grades of a class that was made before, to be compared")
    asked = parser.parse_args()
    path = asked.assignment
    if asked.graded:
        made = [
            Expected(**one) for one in json.loads((asked.out / "expected.json").read_text(encoding="utf-8"))
        ]
        found = unfair(made, asked.graded, load(path or next((asked.out / "dist").glob("*/assignment.json"))))
        print("\n".join(found) or f"All {len(made)} got what they deserve.")
        raise SystemExit(bool(found))
    if path is None:
        from kdcourse.coursework.assign import assign
        from kdcourse.coursework.assignment import plan

        path = assign(plan(["04"], seed=20_261_123), asked.out / "dist") / "assignment.json"
    assignment, release = load(path), path.parent / "release"
    made = make(asked.out, assignment, release, asked.students, asked.seed, asked.layout)
    if asked.flood:
        flood(asked.out, assignment, release, asked.flood)
    print(
        f"{len(made)} submissions in {asked.out / 'submissions'}, what they are in {asked.out / 'expected.json'}."
    )
    print(f"Grade them: kdcourse grade {asked.out / 'submissions'} --assignment {path}")


if __name__ == "__main__":
    main()
