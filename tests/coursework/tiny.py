"""A class of three, marked by hand, for what is written about a class."""

from __future__ import annotations

from kdcourse.coursework.records import Assignment, Graded, Mark, Task

LESSON = "04_soft_targets"
ASSIGNMENT = Assignment(
    "week-4",
    "Soft targets",
    (LESSON,),
    (
        Task("softened", "code", LESSON, "Soften the logits", 3.0),
        Task("cache_key", "code", LESSON, "Name a stored answer", 2.0),
        Task("why-soft", "written", LESSON, "Why soft targets help", 4.0, "- 4: says what they carry"),
    ),
    seed=40_987,
)


def right(task: str, of: float, **more: object) -> Mark:
    return Mark(task, of, of, True, True, None, f"Right ✓ {task}: what was asked for.", **more)  # type: ignore[arg-type]


def wrong(task: str, of: float, mistake: str | None, **more: object) -> Mark:
    return Mark(task, 0.0, of, False, True, mistake, f"Not yet ✗ {task} looks like it.", **more)  # type: ignore[arg-type]


def unread(task: str, of: float, text: str = "They carry more.", **more: object) -> Mark:
    return Mark(task, None, of, False, True, None, "Waits for a reader.", text=text, **more)  # type: ignore[arg-type]


def graded(student: str, name: str, *marks: Mark, problems: tuple[str, ...] = ()) -> Graded:
    return Graded(student, name, marks, problems, 0.5)


def class_of_three() -> list[Graded]:
    return [
        graded(
            "anna.maier_10342",
            "Anna Maier",
            right("softened", 3),
            right("cache_key", 2),
            unread("why-soft", 4),
        ),
        graded(
            "jose_10077",
            "José Ñandú",
            wrong("softened", 3, "T forgotten"),
            right("cache_key", 2),
            unread("why-soft", 4, "Because."),
        ),
        graded(
            "wu",
            "Wu",
            wrong("softened", 3, "T forgotten"),
            wrong("cache_key", 2, None),
            Mark("why-soft", 0.0, 4.0, False, False, None, "There is no answer."),
            problems=("'lesson (1).ipynb' ends in the middle.",),
        ),
    ]
