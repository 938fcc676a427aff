"""The report on a class: how points are spread, what was hard, which mistakes were common, what needs a look."""

from __future__ import annotations

import math
import statistics
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from kdcourse.coursework.page import items, name, page, safe, table
from kdcourse.coursework.records import Assignment, Graded, Mark, Task
from kdcourse.coursework.tables import failed, number, waiting

_MOST_MISTAKES = 15


def report(class_: Sequence[Graded], assignment: Assignment, pages: Mapping[str, str] | None = None) -> str:
    """The report as HTML in one file, for the instructor alone.

    Args:
        class_: everybody.
        assignment: what was asked.
        pages: student -> address of the feedback page, to link to.
    """
    judged = [graded for graded in class_ if not failed(graded, assignment)]
    body = [
        f"<h1>{safe(assignment.title)}: report on the class</h1>",
        f"<p>{_summary(class_, assignment)}</p>",
    ]
    if judged and assignment.points:
        body += ["<h2>How the points are spread</h2>", _histogram(judged, assignment)]
    body += [*_attention(class_, assignment), *_tasks(judged, assignment), *_mistakes(judged, assignment)]
    body += [*_alike(class_, assignment), *_problems(class_)]
    body += ["<h2>Everybody</h2>", _everybody(class_, assignment, pages or {})]
    return page(f"{assignment.title}: report on the class", "\n".join(body))


# -- numbers ------------------------------------------------------------------------------------


def spread(class_: Sequence[Graded], assignment: Assignment) -> list[int]:
    """How many have 0 to 10 % of the points, 10 to 20 %, ... 90 to 100 %; a limit belongs to the upper one."""
    counts = [0] * 10
    for graded in class_:
        counts[min(max(int(10 * graded.points / assignment.points + 1e-9), 0), 9)] += 1
    return counts


def hardest(class_: Sequence[Graded], assignment: Assignment) -> list[tuple[Task, float]]:
    """Tasks that are all marked, with the share of their points that the class has, the lowest first."""
    shares = []
    for task in assignment.tasks:
        marks = _of(class_, task)
        if marks and task.points and all(mark.points is not None for mark in marks):
            shares.append((task, sum(mark.points or 0.0 for mark in marks) / (len(marks) * task.points)))
    return sorted(shares, key=lambda pair: pair[1])


def commonest(class_: Sequence[Graded]) -> list[tuple[str, str, int]]:
    """Task, mistake and how many made it, the commonest first."""
    counts = Counter((mark.task, mark.mistake) for graded in class_ for mark in graded.marks if mark.mistake)
    return [(task, mistake or "", count) for (task, mistake), count in counts.most_common()]


@dataclass(frozen=True)
class Alike:
    """Students with the same unusual answers; ``shared`` is the most that two of them have in common."""

    students: tuple[str, ...]
    shared: int
    tasks: tuple[str, ...]


def alike(class_: Sequence[Graded], assignment: Assignment) -> list[Alike]:
    """Groups whose answers agree where hardly anybody else's do; the most telling first.

    An answer is telling when at most four students, or one in twenty, have it: right answers that are short are
    written alike by many. Two students are set side by side for a telling written answer that both have; when all
    that both answered agrees, two of it telling; and when they agree so much that by chance, had each answer been
    drawn from the class's, there would be less than one such pair. Names of variables, comments and layout don't
    count (`Answer.fingerprint`).
    """
    rare = max(4, len(class_) // 20)
    written = {task.id for task in assignment.tasks if task.kind == "written"}
    prints = {
        graded.student: {mark.task: mark.fingerprint for mark in graded.marks if mark.fingerprint}
        for graded in class_
    }
    holders: dict[tuple[str, str], list[str]] = defaultdict(list)
    for student, answers in prints.items():
        for answer in answers.items():
            holders[answer].append(student)
    telling: dict[tuple[str, str], list[str]] = defaultdict(list)
    for (task, _), students in holders.items():
        if 2 <= len(students) <= rare:
            for pair in combinations(students, 2):
                telling[pair].append(task)
    pairs = {}
    for (one, other), tasks in telling.items():
        both = prints[one].keys() & prints[other].keys()
        same = [task for task in both if prints[one][task] == prints[other][task]]
        chance = math.prod(len(holders[task, prints[one][task]]) / len(class_) for task in same)
        unlikely = chance * len(class_) ** 2 / 2 < 1 and len(tasks) >= 2
        if set(tasks) & written or (len(tasks) >= 2 and len(same) == len(both)) or unlikely:
            pairs[one, other] = tasks
    return sorted(_groups(pairs), key=lambda group: (-group.shared, group.students))


def _groups(pairs: Mapping[tuple[str, str], Sequence[str]]) -> list[Alike]:
    """Pairs that hang together, as groups."""
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


# -- words --------------------------------------------------------------------------------------


def _summary(class_: Sequence[Graded], assignment: Assignment) -> str:
    judged = [graded.points for graded in class_ if not failed(graded, assignment)]
    text = f"<strong>{len(class_)} submissions</strong>, out of {number(assignment.points)} points."
    if judged:
        text += (
            f" Mean {number(statistics.fmean(judged))}, median {number(statistics.median(judged))}, from "
            f"{number(min(judged))} to {number(max(judged))}."
        )
    unread = sum(waiting(graded) for graded in class_ if not failed(graded, assignment))
    if unread:
        text += f" {unread} written answers wait for a reader; all points are points so far."
    tasks = [(task, share) for task, share in hardest(class_, assignment) if task.kind == "code"]
    if tasks:
        text += f" Hardest exercise: {safe(tasks[0][0].title)}, {100 * tasks[0][1]:.0f} % of its points."
    return text


def _histogram(class_: Sequence[Graded], assignment: Assignment) -> str:
    counts = spread(class_, assignment)
    most, bottom, high = max(counts), 190, 160
    words = "; ".join(f"{10 * n} to {10 * n + 10} %: {count}" for n, count in enumerate(counts))
    parts = [
        '<svg role="img" viewBox="0 0 640 240" width="640" height="240" aria-labelledby="spread-title spread-desc">',
        '<title id="spread-title">Students by share of the points</title>',
        f'<desc id="spread-desc">Bars. Students with so many percent of the points: {words}.</desc>',
    ]
    for place, count in enumerate(counts):
        left, tall = 20 + 60 * place, round(high * count / most, 1)
        parts.append(f'<rect x="{left + 5}" y="{bottom - tall}" width="50" height="{tall}"/>')
        parts.append(
            f'<text x="{left + 30}" y="{bottom - tall - 6}" text-anchor="middle">{count or ""}</text>'
        )
        parts.append(f'<text x="{left}" y="{bottom + 18}" text-anchor="middle">{10 * place}</text>')
    parts += [
        f'<text x="620" y="{bottom + 18}" text-anchor="middle">100</text>',
        f'<line x1="20" y1="{bottom}" x2="620" y2="{bottom}"/>',
        f'<text x="320" y="{bottom + 40}" text-anchor="middle">percent of the points; number of students above</text>',
        "</svg>",
    ]
    return "\n".join(parts)


def _attention(class_: Sequence[Graded], assignment: Assignment) -> list[str]:
    troubled = [graded for graded in class_ if failed(graded, assignment)]
    if not troubled:
        return []
    return [
        "<h2>Not graded, through no fault of the student's</h2>",
        "<p>Run the same command again: these alone are graded anew. Where that doesn't help, mark them by hand "
        "(--marks).</p>",
        items(f"{_who(graded)}: {name(' '.join(graded.problems))}" for graded in troubled),
    ]


def _tasks(class_: Sequence[Graded], assignment: Assignment) -> list[str]:
    shares = hardest(class_, assignment)
    known = {task.id for task, _ in shares}
    rows = []
    for task, share in [*shares, *((task, None) for task in assignment.tasks if task.id not in known)]:
        marks = _of(class_, task)
        rows.append(
            [
                safe(task.title),
                safe(task.id),
                "–" if share is None else f"{100 * share:.0f} %",
                str(sum(mark.points is not None and mark.points >= mark.of for mark in marks)),
                str(
                    sum(
                        mark.points is not None and mark.attempted and mark.points < mark.of for mark in marks
                    )
                ),
                str(sum(not mark.attempted for mark in marks)),
                str(sum(mark.points is None for mark in marks)),
            ]
        )
    header = ["Task", "Id", "Share of points", "All points", "Less", "Not attempted", "Waits"]
    return ["<h2>Tasks, the hardest first</h2>", table("Tasks", header, rows, numbers=range(2, 7))]


def _mistakes(class_: Sequence[Graded], assignment: Assignment) -> list[str]:
    found = commonest(class_)
    if not found:
        return []
    titles = {task.id: task.title for task in assignment.tasks}
    rows = [[safe(mistake), safe(titles.get(task, task)), str(count)] for task, mistake, count in found]
    more = (
        f"<p>{len(rows) - _MOST_MISTAKES} rarer ones are left out.</p>" if len(rows) > _MOST_MISTAKES else ""
    )
    return [
        "<h2>Commonest mistakes</h2>",
        table("Mistakes", ["Looks like", "Task", "Students"], rows[:_MOST_MISTAKES], numbers=(2,)),
        more,
    ]


def _alike(class_: Sequence[Graded], assignment: Assignment) -> list[str]:
    groups = alike(class_, assignment)
    titles = {task.id: task.title for task in assignment.tasks}
    names = {graded.student: _who(graded) for graded in class_}
    rule = (
        "<p>Answers of these students agree, but for names of variables, comments and layout, where at most four "
        "students or one in twenty wrote the same. That is a reason to look and to ask, not a proof: friends who "
        "learn together write alike, and so do those who read the same page.</p>"
    )
    shown = items(
        f"{', '.join(names[student] for student in group.students)}: {group.shared} unusual "
        f"answer{'s' * (group.shared > 1)} alike ({safe(', '.join(titles[task] for task in group.tasks))})"
        for group in groups
    )
    return ["<h2>Identical submissions</h2>", *([rule, shown] if groups else ["<p>None stand out.</p>"])]


def _problems(class_: Sequence[Graded]) -> list[str]:
    troubled = [graded for graded in class_ if graded.problems]
    if not troubled:
        return []
    return [
        "<h2>What could not be read, or was set aside</h2>",
        items(f"{_who(graded)}: {name(' '.join(graded.problems))}" for graded in troubled),
    ]


def _everybody(class_: Sequence[Graded], assignment: Assignment, pages: Mapping[str, str]) -> str:
    rows = []
    for graded in class_:
        who = name(graded.name)
        if graded.student in pages:
            who = f'<a href="{safe(pages[graded.student])}">{who}</a>'
        points = "–" if failed(graded, assignment) else number(graded.points)
        rows.append([who, safe(graded.student), points, str(waiting(graded))])
    return table("Points of everybody", ["Name", "Id", "Points", "Wait"], rows, numbers=(2, 3))


def _who(graded: Graded) -> str:
    return f"{name(graded.name)} ({safe(graded.student)})"
