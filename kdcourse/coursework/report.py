"""Write the report on a class: distribution of points, hardest tasks, most common mistakes, and what needs a look."""

from __future__ import annotations

import ast
import math
import statistics
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

from kdcourse.coursework.records import Assignment, Graded, Mark, Task
from kdcourse.coursework.tables import failed, number, waiting
from kdcourse.pages import render

_TEMPLATE = Path(__file__).with_name("report.html")
_HIGHEST_BAR = 160  # pixels


def report(
    class_: Sequence[Graded],
    assignment: Assignment,
    pages: Mapping[str, str] | None = None,
    absent: Sequence[Graded] = (),
) -> str:
    """Return the report as HTML in one file, for the instructor alone.

    Args:
        class_: all students.
        assignment: what was asked.
        pages: student -> address of the feedback page, to link to.
        absent: who is in the roster and handed in nothing; they count in no figure.
    """
    lost = [graded for graded in class_ if failed(graded, assignment)]
    judged = [graded for graded in class_ if not failed(graded, assignment)]
    points = [graded.points for graded in judged]
    return render(
        _TEMPLATE,
        title=assignment.title,
        of=assignment.points,
        class_=class_,
        failed=lost,
        troubled=[graded for graded in class_ if graded.problems],
        points=sorted(points),
        mean=statistics.fmean(points) if points else None,
        median=statistics.median(points) if points else None,
        waiting={graded.student: waiting(graded) for graded in class_},
        not_marked=sum(map(waiting, judged)),
        hardest=[(task.title, part) for task, part in hardest(judged, assignment) if task.kind == "code"][:1],
        bars=_bars(spread(judged, assignment)) if judged and assignment.points else [],
        tasks=_tasks(judged, assignment),
        titles={task.id: task.title for task in assignment.tasks},
        mistakes=commonest(judged),
        groups=alike(class_, assignment),
        flagged=[(graded, mark) for graded in class_ for mark in graded.marks if mark.flag],
        students={graded.student: graded for graded in class_},
        pages=pages or {},
        absent=absent,
        late=[graded for graded in class_ if graded.late],
        number=number,
    )


def _bars(counts: Sequence[int]) -> list[dict[str, float]]:
    """Return the bars of the histogram: lower limit in percent, students, height in pixels."""
    return [
        {"low": 10 * place, "count": count, "height": round(_HIGHEST_BAR * count / max(counts), 1)}
        for place, count in enumerate(counts)
    ]


def _tasks(class_: Sequence[Graded], assignment: Assignment) -> list[dict[str, object]]:
    """Return the tasks, the hardest first, with the numbers of students who got all points, fewer, and so on."""
    shares = {task.id: (task, share) for task, share in hardest(class_, assignment)}
    unmarked = [(task, None) for task in assignment.tasks if task.id not in shares]
    rows: list[dict[str, object]] = []
    for task, share in [*shares.values(), *unmarked]:
        marks = _of(class_, task)
        marked = [(mark, mark.points) for mark in marks if mark.points is not None]
        numbers = [
            sum(points >= mark.of for mark, points in marked),
            sum(mark.attempted and points < mark.of for mark, points in marked),
            sum(not mark.attempted for mark in marks),
            len(marks) - len(marked),
        ]
        rows.append({"title": task.title, "id": task.id, "share": share, "numbers": numbers})
    return rows


def spread(class_: Sequence[Graded], assignment: Assignment) -> list[int]:
    """Count the students with 0 to 10 % of the points, 10 to 20 %, ... 90 to 100 %; a limit counts in the upper bin."""
    counts = [0] * 10
    for graded in class_:
        counts[min(max(int(10 * graded.points / assignment.points + 1e-9), 0), 9)] += 1
    return counts


def hardest(class_: Sequence[Graded], assignment: Assignment) -> list[tuple[Task, float]]:
    """Return the fully marked tasks with the share of their points that the class has, the lowest share first."""
    shares = []
    for task in assignment.tasks:
        marks = _of(class_, task)
        if marks and task.points and all(mark.points is not None for mark in marks):
            shares.append((task, sum(mark.points or 0.0 for mark in marks) / (len(marks) * task.points)))
    return sorted(shares, key=lambda pair: pair[1])


def commonest(class_: Sequence[Graded]) -> list[tuple[str, str, int]]:
    """Return task, mistake and the number of students who made it, the most common first."""
    counts = Counter((mark.task, mark.mistake) for graded in class_ for mark in graded.marks if mark.mistake)
    return [(task, mistake or "", count) for (task, mistake), count in counts.most_common()]


@dataclass(frozen=True)
class Alike:
    """Hold students with the same unusual answers; ``shared`` is the most that two of them have in common."""

    students: tuple[str, ...]
    shared: int
    tasks: tuple[str, ...]


def alike(class_: Sequence[Graded], assignment: Assignment) -> list[Alike]:
    """Find groups whose answers agree where hardly any other student's do, those with most in common first.

    An answer is rare when at most four students, or one in twenty, have it: many students write the same short correct
    answer. Two students are paired in three cases: they share a rare written answer; all answers that both gave agree
    and two of them are rare; or they share two rare answers and agree so often that fewer than one such pair would be
    expected by chance, if each answer were drawn at random from those of the class. Names of variables, comments and
    layout don't count (`Answer.fingerprint`). Where a single exercise is asked, its answer is as telling as a written
    one if it is long. Larger groups are found by `_rings`.
    """
    rare = max(4, len(class_) // 20)
    written = {task.id for task in assignment.tasks if task.kind == "written"}
    code = [task.id for task in assignment.tasks if task.kind == "code"]
    long = {
        (mark.task, mark.fingerprint)
        for graded in class_
        for mark in graded.marks
        if [mark.task] == code and _length(mark.text) >= _LONG
    }
    prints = {
        graded.student: {mark.task: mark.fingerprint for mark in graded.marks if mark.fingerprint}
        for graded in class_
    }
    holders: dict[tuple[str, str], list[str]] = defaultdict(list)
    for student, answers in prints.items():
        for answer in answers.items():
            holders[answer].append(student)
    shared: dict[tuple[str, str], list[str]] = defaultdict(list)
    for (task, _), students in holders.items():
        if 2 <= len(students) <= rare:
            for pair in combinations(students, 2):
                shared[pair].append(task)
    pairs = {}
    for (one, other), tasks in shared.items():
        both = prints[one].keys() & prints[other].keys()
        same = [task for task in both if prints[one][task] == prints[other][task]]
        chance = math.prod(len(holders[task, prints[one][task]]) / len(class_) for task in same)
        unlikely = chance * len(class_) ** 2 / 2 < 1 and len(tasks) >= 2
        telling = any(task in written or (task, prints[one][task]) in long for task in tasks)
        if telling or (len(tasks) >= 2 and len(same) == len(both)) or unlikely:
            pairs[one, other] = tasks
    groups = _groups(pairs)
    groups += [ring for ring in _rings(prints, holders, written, long) if len(ring.students) > rare]
    return sorted(groups, key=lambda group: (-group.shared, group.students))


_LONG = 150  # characters of an answer, as Python's own formatter writes it: about five lines
_MOST_COMBINED = 8  # answers of which every half is compared; of more, all but one


def _length(text: str) -> int:
    """Return the length of an answer without comments, docstrings and layout."""
    with suppress(SyntaxError, ValueError, RecursionError, MemoryError):
        tree = ast.parse(text)
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef) and ast.get_docstring(node, clean=False) is not None:
                node.body = node.body[1:] or [ast.Pass()]
        return len(ast.unparse(tree))
    return 0


def _rings(
    prints: Mapping[str, Mapping[str, str]],
    holders: Mapping[tuple[str, str], Sequence[str]],
    written: Set[str],
    long: Set[tuple[str, str]],
) -> list[Alike]:
    """Find large groups: with one essay or long answer, or with the same code in at least half of the tasks.

    The number of students who agree with the first in these tasks by chance is Poisson distributed, if each answer is
    drawn at random from those outside of the group; a group is reported if fewer than 1 in 100 such classes had one.
    What more than a third of the class wrote is the usual answer.
    """
    usual = len(prints) / 3
    found = [
        Alike(tuple(sorted(students)), 1, (answer[0],))
        for answer, students in holders.items()
        if answer[0] in written or (answer in long and len(students) <= usual)
    ]
    together: dict[tuple[tuple[str, str], ...], list[str]] = defaultdict(list)
    for student, answers in prints.items():
        code = sorted(answer for answer in answers.items() if answer[0] not in written)
        fewest = (len(code) + 1) // 2 if len(code) <= _MOST_COMBINED else len(code) - 1
        for count in range(max(2, fewest), len(code) + 1):
            for some in combinations(code, count):
                together[some].append(student)
    # The tasks in which exactly these students agree: the most of them.
    closed = {
        tuple(students): some for some, students in sorted(together.items(), key=lambda item: len(item[0]))
    }
    rings: list[Alike] = []
    for students, code_of_all in closed.items():
        others = len(prints) - len(students) + 1
        expected = others * math.prod((len(holders[one]) - len(students) + 1) / others for one in code_of_all)
        if 1 < len(students) <= usual and _at_least(len(students) - 1, expected) * len(together) < 0.01:
            rings.append(Alike(students, len(code_of_all), tuple(task for task, _ in code_of_all)))
    # Of rings within each other, the largest: its members share the fewest tasks.
    rings.sort(key=lambda ring: -len(ring.students))
    for ring in rings:
        if not any(set(ring.students) <= set(larger.students) for larger in found if len(larger.tasks) > 1):
            found.append(replace(ring, students=tuple(sorted(ring.students))))
    return found


def _at_least(count: int, mean: float) -> float:
    """Return the probability of ``count`` or more under a Poisson distribution."""
    term, below = math.exp(-mean), 0.0
    for n in range(1, count + 1):
        below += term
        term *= mean / n
    return 1.0 - below


def _groups(pairs: Mapping[tuple[str, str], Sequence[str]]) -> list[Alike]:
    """Join pairs that have a student in common into groups."""
    group_of: dict[str, set[str]] = {}
    for one, other in pairs:
        joined = group_of.get(one, {one}) | group_of.get(other, {other})
        for student in joined:
            group_of[student] = joined
    groups = {id(group): group for group in group_of.values()}.values()
    found = []
    for group in groups:
        inside = [tasks for (one, _), tasks in pairs.items() if one in group]
        tasks = tuple(dict.fromkeys(task for tasks in inside for task in tasks))
        found.append(Alike(tuple(sorted(group)), max(map(len, inside)), tasks))
    return found


def _of(class_: Sequence[Graded], task: Task) -> list[Mark]:
    return [mark for graded in class_ for mark in graded.marks if mark.task == task.id]
