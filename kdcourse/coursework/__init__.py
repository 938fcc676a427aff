"""Make assignments from lessons, and grade whole classes in a sandbox."""

from kdcourse.coursework.assignment import load, plan, read_variant, save
from kdcourse.coursework.records import Answer, Assignment, Graded, Handed, Mark, Submission, Task

__all__ = [
    "Answer",
    "Assignment",
    "Graded",
    "Handed",
    "Mark",
    "Submission",
    "Task",
    "load",
    "plan",
    "read_variant",
    "save",
]
