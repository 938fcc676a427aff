"""A small lesson that runs in seconds without torch or pictures, to put the builder to the test."""

from __future__ import annotations

from pathlib import Path

from kdcourse.course import Course, Lesson

SOURCE = '''# %% [markdown]
# # Twice
#
# ## Objectives
#
# Reading: {{reading_minutes}} minutes; exercises: {{exercise_minutes}} minutes; machine: {{machine_seconds}}.
#
# - double a number,
#   whatever it is;
# - say what twice is.
#
# **Builds on:** nothing. Words are in the [glossary](glossary.md).

# %%
import os

from kdcourse.course import at_least, claim


def check(name, answer):
    """Stands in for the course's own."""
    print(f"{name}: not attempted yet" if answer(3) is None else f"{name}: right")


# %% name="facts"
print("six times seven:", 42)
claim("Seven is more than six", 7 > 6, difference=at_least(1, 0.5))

# %%
7 * 6

# %% name="picture"
from matplotlib.figure import Figure

from kdcourse.figures import set_alt_text
from kdcourse.course import show, show_here

figure = Figure(figsize=(1, 1), dpi=50)
set_alt_text(figure, "An empty square.")
show(figure, "an empty square")
show_here("The working folder", os.getcwd())

# %% [markdown]
# ### Exercise: twice (easy, 2 minutes)
#
# Write a function that doubles.
#
# <details><summary>Hint 1</summary>
#
# Add.
#
# </details>

# %%
from kdcourse.course.twice.exercises import twice

# %%
check("twice", twice)

# %% [markdown]
# ## Recap
#
# Twice is twice.
#
# ## References
#
# - Author (2015). Title. https://example.org/title
'''

EXERCISES = '''"""The exercise of Twice."""

def twice(number: float) -> float:
    """Two times ``number``."""
    ### BEGIN SOLUTION
    total = number
    ### END SOLUTION
    del total
    ### BEGIN SOLUTION
    total = 2 * number
    return total
    ### END SOLUTION


def _helper() -> None:
    pass
'''


def write(folder: Path, source: str = SOURCE, topic: str = "twice", exercises: str = EXERCISES) -> Course:
    """A course of this one lesson, in ``folder``."""
    (folder / topic).mkdir(parents=True, exist_ok=True)
    (folder / topic / "lesson.py").write_text(source, encoding="utf-8")
    (folder / topic / "exercises.py").write_text(exercises, encoding="utf-8")
    return Course(folder, (topic,))


def lesson(folder: Path, source: str = SOURCE, exercises: str = EXERCISES) -> Lesson:
    """The lesson, written and read."""
    return write(folder, source, exercises=exercises).lesson("twice")


def changed(old: str, new: str, source: str = SOURCE) -> str:
    """The source with ``old``, which must be there, replaced."""
    assert old in source, old
    return source.replace(old, new)
