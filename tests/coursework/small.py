"""Two lessons of a few cells with exercises of the course, and questions about them, to build assignments from."""

from __future__ import annotations

from pathlib import Path

HEAD = """# %% [markdown]
# # Lesson {number}: {title}
#
# ## Objectives
#
# Reading: {{{{reading_minutes}}}} minutes; exercises: {{{{exercise_minutes}}}} minutes; {{{{machine_seconds}}}}.
# See [lesson 04](04_warm.ipynb), [lesson 05](05_taught.ipynb) and [the last](07_segmentation.ipynb).
#
# **Builds on:** nothing. Words are in the [glossary](glossary.md).

# %%
import torch
import torch.nn.functional as F

from kdcourse import checks
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


# %% exercise="{id}"
{code}


# %%
checks.check("{id}", {id})

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
lesson = "04_warm"
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

[[question]]
id = "why_teach"
lesson = "05_taught"
after = "objective"
title = "Why teach"
minutes = 5
points = 2.5
prompt = "Why not labels alone?"
rubric = "- 2.5 points: a label is a single word"
answer = "A label names one class and no resemblance."
'''


def lesson(number: str, title: str, *tasks: tuple[str, str, str, str]) -> str:
    """The source of a lesson; a task is id, title, difficulty and code."""
    asked = "".join(
        TASK.format(id=name, title=heading, difficulty=hard, code=code) for name, heading, hard, code in tasks
    )
    return HEAD.format(number=number, title=title) + asked + TAIL


def write(folder: Path, questions: str = QUESTIONS) -> Path:
    """Both lessons, their questions and a glossary in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    warm = lesson(
        "04",
        "Warm",
        ("softened_probabilities", "soften", "easy", SOFTEN),
        ("entropy_nats", "entropy", "medium", ENTROPY),
    )
    (folder / "04_warm.py").write_text(warm, encoding="utf-8")
    taught = lesson("05", "Taught", ("objective", "both together", "hard", OBJECTIVE))
    (folder / "05_taught.py").write_text(taught, encoding="utf-8")
    (folder / "questions.toml").write_text(questions, encoding="utf-8")
    (folder / "glossary.md").write_text("# Glossary\n", encoding="utf-8")
    return folder
