"""CONTRIBUTING's recipes, followed in a scratch copy: what derives from a new lesson or method is there.

Whatever file a recipe leaves out, the copy lacks.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import nbformat
import pytest

from kdcourse.course import ORDER
from kdcourse.distillation import distil
from tests.distillation.methods.losses import check, pair
from tests.distillation.tiny import dataset, quarter_reader

ROOT = Path(__file__).parents[1]
NAME = f"{len(ORDER):02d}_pruning"

pytestmark = [pytest.mark.slow(seconds=9), pytest.mark.timeout(1200)]

LESSON = """# %% [markdown]
# # Pruning
#
# Weights near zero do little. How many can go?
#
# ## Objectives
#
# - say which share of a network's weights was pruned.
#
# **Builds on:** {{lesson distil}}. Words are in the [glossary](glossary.md).
#
# **Time:** {{reading_minutes}} minutes to read, {{exercise_minutes}} minutes for the exercises; the machine works
# for {{machine_seconds}}.

# %%
from matplotlib.figure import Figure

from kdcourse.course import at_least, check, claim, show
from kdcourse.figures import set_alt_text

# %%
figure = Figure(figsize=(1, 1), dpi=50)
set_alt_text(figure, "An empty square.")
show(figure, "an empty square")
claim("Most weights can go", 0.7 > 0.5, pruned=at_least(0.7, 0.5))

# %% [markdown]
# ### Exercise: the pruned share (easy, 2 minutes)
#
# <details><summary>Hint 1</summary>
#
# What is kept and what is pruned are everything.
#
# </details>

# %%
from kdcourse.course.pruning.exercises import pruned_share

# %%
check("pruned_share", pruned_share)

# %% [markdown]
# ## Recap
#
# Count what is gone.
#
# ## References
#
# - Song Han and others (2015). Learning both Weights and Connections. https://arxiv.org/abs/1506.02626
"""

EXERCISES = '''"""The exercises of Pruning."""

from __future__ import annotations

from kdcourse.checks import Exercise, Mistake, Probe


def pruned_share(kept: int, total: int) -> float:
    """Return the share of weights, 0 to 1, that was pruned."""
    ### BEGIN SOLUTION
    return 1 - kept / total
    ### END SOLUTION


PRUNED_SHARE = Exercise(
    id="pruned_share",
    title="The pruned share of the weights",
    solution=pruned_share,
    vary=lambda draw, kept, total: (kept + draw.whole(1, 9), total + draw.whole(10, 20)),
    probes=(
        Probe((60, 100), "for 60 of 100 kept"),
        Probe((10, 200), "for 10 of 200 kept"),
        Probe((35, 50), "for 35 of 50 kept"),
    ),
    mistakes=(
        Mistake("share kept", lambda kept, total: kept / total, "that is the share that stays."),
        Mistake("percent", lambda kept, total: 100 - 100 * kept / total, "a share lies between 0 and 1."),
        Mistake("number", lambda kept, total: float(total - kept), "that is how many; which share is it?"),
        Mistake("sign lost", lambda kept, total: kept / total - 1, "a share is never below 0."),
        Mistake("of what is kept", lambda kept, total: (total - kept) / kept, "a share of all the weights."),
    ),
)

EXERCISES = (PRUNED_SHARE,)
'''

QUESTIONS = """[[question]]
id = "why_prune"
after = "pruned_share"
title = "Why prune"
minutes = 3
points = 1
prompt = "Why can most weights of a network go?"
rubric = "- 1 point: many are near zero"
answer = "They are so small that the outputs hardly change."
"""

ANSWERS = '''"""Answers in other words than the exercises' own examples, right and wrong."""

from __future__ import annotations

from tests.course.learners import Answers

ANSWERS = Answers()
ANSWERS.add_right("pruned_share", lambda kept, total: (total - kept) / total, lambda k, t: 1.0 - k * (1 / t))
'''

ATTEMPTS = '''"""Answers to pruned_share."""

from __future__ import annotations

from fractions import Fraction

RIGHT = [
    lambda kept, total: 1 - kept / total,
    lambda kept, total: (total - kept) / total,
    lambda kept, total: float(Fraction(total - kept, total)),
    lambda kept, total: 1 - 1 / (total / kept),
    lambda kept, total: sum(1 for place in range(total) if place >= kept) / total,
]

WRONG = {
    f"{power} of it, {name}": lambda kept, total, power=power, part=part: part(kept, total) ** power
    for power in (1, 2, 3, 0.5)
    for name, part in {
        "kept": lambda kept, total: kept / total,
        "percent": lambda kept, total: 100 - 100 * kept / total,
        "number": lambda kept, total: float(total - kept),
        "of what is kept": lambda kept, total: (total - kept) / kept,
        "all over kept": lambda kept, total: total / kept,
    }.items()
}
'''

DERIVED = f"""
import json
from pathlib import Path

from typer.testing import CliRunner

from kdcourse import cli
from kdcourse.course import lessons
from tools.readme.lessons import table
from tools.website.lessons import page
from tools.website.pages import lesson_cards

print(json.dumps({{"lessons": [lesson.name for lesson in lessons()], "row": table().splitlines()[-1]}}))
shown = page(json.loads(Path("notebooks/{NAME}.ipynb").read_text(encoding="utf-8")), "{NAME}")
print(json.dumps({{"title": shown.title, "cards": lesson_cards([shown])}}))
told = CliRunner().invoke(cli.app, ["assign", "pruning", "--seed", "1", "--out", "dist"])
print(json.dumps({{"assign": told.exit_code, "said": told.output}}))
"""

METHOD = """
import json

import torch

from kdcourse.distillation import distil, methods
from quarters import Teacher, dataset, quarter_reader
from tools.website.pages import distillation_methods

student = Teacher(1)
before = student.head.weight.clone()
history = distil(
    student, quarter_reader(), dataset(), method="example", alpha=0.5, epochs=1, batch_size=35, learning_rate=0.1,
    seed=0, progress=False,
)
print(json.dumps({
    "listed": "example" in methods.names("labels"),
    "title": methods.describe("example").title,
    "page": distillation_methods(),
    "parts": list(history.epochs[0].parts),
    "moved": not torch.equal(before, student.head.weight),
}))
"""


def _run(scratch: Path, *command: str) -> str:
    path = os.pathsep.join([str(scratch), str(ROOT / "tests" / "without")])
    environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *command], cwd=scratch, env=environment, capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _copy(to: Path) -> Path:
    # Compiled modules stay good, since a copy is as old as its original; "*.pyc.*" is one that a process is writing.
    left_out = shutil.ignore_patterns("results", "*.pyc.*")
    for name in ("kdcourse", "tools", "benchmarks", "notebooks"):
        shutil.copytree(ROOT / name, to / name, ignore=left_out)
    shutil.copytree(ROOT / "tests" / "course", to / "tests" / "course", ignore=left_out)
    shutil.copy(ROOT / "tests" / "__init__.py", to / "tests")
    shutil.copy(ROOT / "pyproject.toml", to)
    (to / "data").symlink_to(ROOT / "data")
    return to


@pytest.fixture(scope="module")
def with_lesson(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy to which a lesson was added as CONTRIBUTING says, and built."""
    scratch = _copy(tmp_path_factory.mktemp("lesson"))
    files = {
        "kdcourse/course/TOPIC/lesson.py": LESSON,
        "kdcourse/course/TOPIC/exercises.py": EXERCISES,
        "kdcourse/course/TOPIC/questions.toml": QUESTIONS,
        "tests/course/answers/TOPIC.py": ANSWERS,
        "tests/course/attempts/EXERCISE.py": ATTEMPTS,
    }
    for name, text in files.items():
        path = scratch / name.replace("TOPIC", "pruning").replace("EXERCISE", "pruned_share")
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    order = scratch / "kdcourse" / "course" / "order.py"
    lines = order.read_text(encoding="utf-8").replace(
        f'    "{ORDER[-1]}",\n', f'    "{ORDER[-1]}",\n    "pruning",\n'
    )
    order.write_text(lines, encoding="utf-8")
    guide = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").split("## A lesson")[1].split("\n## ")[0]
    assert set(re.findall(r"^\d\. `([^`]+)`", guide, flags=re.MULTILINE)) == {
        *files,
        "kdcourse/course/order.py",
    }
    said = _run(scratch, "-m", "tools.lessons", "build", "pruning")
    assert said.startswith(f"{NAME}: built in ")
    return scratch


def test_a_new_lesson_is_a_notebook_with_blanks_checks_outputs_and_a_folded_solution(
    with_lesson: Path,
) -> None:
    notebook = nbformat.read(with_lesson / "notebooks" / f"{NAME}.ipynb", as_version=4)
    cells = {cell.id: cell for cell in notebook.cells}
    assert notebook.cells[0].source.startswith(f"# Lesson {len(ORDER):02d}: Pruning\n")
    assert "[lesson 05](05_distil.ipynb)" in notebook.cells[0].source
    assert cells["exercise-pruned_share"].source.endswith("return ...  # your turn")
    assert "return 1 - kept / total" in cells["solution-pruned_share"].source
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    assert any("Claim holds: Most weights can go." in output.get("text", "") for output in outputs)
    assert any("Not attempted yet" in output.get("text", "") for output in outputs)


@pytest.mark.skipif(find_spec("nbgrader") is None, reason="needs nbgrader")
def test_a_new_lesson_is_a_row_of_the_readme_a_page_and_an_assignment(with_lesson: Path) -> None:
    found: dict[str, object] = {}
    for line in _run(with_lesson, "-c", DERIVED).splitlines():
        found |= json.loads(line)
    assert found["lessons"] == [*(f"{number:02d}_{topic}" for number, topic in enumerate(ORDER)), NAME]
    row = str(found["row"])
    assert f"[{len(ORDER):02d} Pruning](notebooks/open/{NAME}.ipynb)" in row and "weights was pruned" in row
    assert found["title"] == f"Lesson {len(ORDER):02d}: Pruning" and NAME in str(found["cards"])
    assert found["assign"] == 0, found["said"]
    made = with_lesson / "dist" / NAME
    release = (made / "release" / f"{NAME}.ipynb").read_text(encoding="utf-8")
    assert "Why can most weights" in release and "...  # your turn" in release
    assert "1 - kept / total" not in release and "hardly change" not in release
    assert "1 - kept / total" in (made / "solutions" / f"{NAME}.ipynb").read_text(encoding="utf-8")


def test_the_tests_of_lessons_try_the_new_exercise(with_lesson: Path) -> None:
    command = ["-m", "pytest", "-q", "--override-ini=addopts=", "-p", "no:cacheprovider", "-p", "no:xdist"]
    said = _run(with_lesson, *command, "tests/course", "-k", "pruned_share or pruning")
    assert re.search(r"^[89] passed|^\d\d passed", said, flags=re.MULTILINE), said


def _methods() -> list[str]:
    """Return the code of CONTRIBUTING's examples of methods, the second as it continues the first one's imports."""
    guide = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").split("## A method")[1].split("\n## ")[0]
    return re.findall(r"```python\n(.*?)```", guide, flags=re.DOTALL)


def test_the_examples_of_methods_pass_what_is_asked_of_methods() -> None:
    names: dict[str, Any] = {}
    for code in _methods():
        exec(code, names)
    check(names["squared_difference"], lambda z, v: float(((z - v) ** 2).mean()), pair((5, 4)))
    trained = distil(
        quarter_reader(), quarter_reader(), dataset(), method=names["Projected"](), alpha=0.0,
        weights={"projected": 1.0}, epochs=2, batch_size=35, learning_rate=0.1, seed=0, progress=False,
    )  # fmt: skip
    first, last = (trained.epochs[at].parts["projected"] for at in (0, -1))
    assert last < first


def test_a_new_method_is_one_file(tmp_path: Path) -> None:
    """CONTRIBUTING's own example, as a file of the package."""
    shutil.copytree(ROOT / "kdcourse", tmp_path / "kdcourse", ignore=shutil.ignore_patterns("__pycache__"))
    path = tmp_path / "kdcourse" / "distillation" / "methods" / "example.py"
    path.write_text(_methods()[0], encoding="utf-8")
    shutil.copytree(ROOT / "tools", tmp_path / "tools", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "tests" / "distillation" / "tiny.py", tmp_path / "quarters.py")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    found = json.loads(_run(tmp_path, "-c", METHOD).splitlines()[-1])
    assert found["listed"] and found["title"] in found["page"]
    assert "example" in found["parts"] and found["moved"]
