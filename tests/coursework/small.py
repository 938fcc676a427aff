"""Two lessons of a few cells with exercises of the course, and questions about them, to build assignments from."""

from __future__ import annotations

from pathlib import Path

from kdcourse.course import Course

HEAD = """# %% [markdown]
# # {title}
#
# ## Objectives
#
# Reading: {{{{reading_minutes}}}} minutes; exercises: {{{{exercise_minutes}}}} minutes; {{{{machine_seconds}}}}.
# See {{{{lesson warm}}}}, {{{{lesson taught}}}} and [the last](07_segmentation.ipynb).
#
# **Builds on:** nothing. Words are in the [glossary](glossary.md).

# %%
import torch
import torch.nn.functional as F

from kdcourse.course import check
from kdcourse.distillation import kd_divergence

"""

TASK = """# %% [markdown]
# ### Exercise: {title} ({difficulty}, 3 minutes)
#
# <details><summary>Hint 1</summary>
#
# Think.
#
# </details>


# %%
from kdcourse.course.{topic}.exercises import {id}

# %%
check("{id}", {id})

"""

TAIL = """# %% [markdown]
# ## Recap
#
# That was all.
#
# ## References
#
# - Author (2015). Title. https://example.org/title
"""

SOFTEN = '''def softened_probabilities(logits: torch.Tensor, temperature: float) -> torch.Tensor:
    """Probabilities [B, C]."""
    ### BEGIN SOLUTION
    probabilities = torch.softmax(logits / temperature, dim=1)
    ### END SOLUTION
    return probabilities'''

ENTROPY = '''def entropy_nats(probabilities: torch.Tensor) -> torch.Tensor:
    """Entropy [B] of probabilities [B, C]."""
    ### BEGIN SOLUTION
    logarithms = torch.where(probabilities > 0, probabilities, 1.0).log()
    ### END SOLUTION
    ### BEGIN SOLUTION
    nats = -(probabilities * logarithms).sum(dim=1)
    return nats
    ### END SOLUTION'''

OBJECTIVE = '''def objective(student_logits, teacher_logits, labels, temperature, alpha):
    """alpha * distillation term + (1 - alpha) * cross-entropy."""
    ### BEGIN SOLUTION
    soft = kd_divergence(student_logits, teacher_logits, temperature)
    return alpha * soft + (1 - alpha) * F.cross_entropy(student_logits, labels)
    ### END SOLUTION'''

QUESTIONS = '''
[[question]]
id = "why_warm"
after = "entropy_nats"
title = "Why warm | up"
minutes = 4
points = 3
prompt = "Why is a temperature above 1 of use?"
rubric = """
- 1 point: small probabilities become visible
- 2 points: the order of the classes stays,
  and says so in words
"""
answer = "Because dark knowledge lies far behind the decimal point."
'''

MORE_QUESTIONS = """
[[question]]
id = "why_teach"
after = "objective"
title = "Why teach"
minutes = 5
points = 2.5
prompt = "Why not labels alone?"
rubric = "- 2.5 points: a label is a single word"
answer = "A label names one class and no resemblance."
"""


def lesson(
    course: Course, topic: str, title: str, *tasks: tuple[str, str, str, str], questions: str = ""
) -> None:
    """Write a lesson; a task is id, title, difficulty and code."""
    folder = course.folder / topic
    folder.mkdir(parents=True)
    asked = "".join(
        TASK.format(topic=topic, id=name, title=heading, difficulty=hard) for name, heading, hard, _ in tasks
    )
    (folder / "lesson.py").write_text(HEAD.format(title=title) + asked + TAIL, encoding="utf-8")
    code = "\n\n\n".join(code for *_, code in tasks)
    (folder / "exercises.py").write_text(f'"""Exercises."""\n\n{code}\n', encoding="utf-8")
    if questions:
        (folder / "questions.toml").write_text(questions, encoding="utf-8")


def write(folder: Path, questions: str = QUESTIONS, more_questions: str = MORE_QUESTIONS) -> Course:
    """Two lessons, their questions and a glossary in ``folder``."""
    course = Course(folder, ("warm", "taught"))
    soften = ("softened_probabilities", "soften", "easy", SOFTEN)
    entropy = ("entropy_nats", "entropy", "medium", ENTROPY)
    lesson(course, "warm", "Warm", soften, entropy, questions=questions)
    objective = ("objective", "both together", "hard", OBJECTIVE)
    lesson(course, "taught", "Taught", objective, questions=more_questions)
    course.glossary.write_text("# Glossary\n", encoding="utf-8")
    return course
