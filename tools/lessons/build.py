"""Build the notebooks that learners open from the lessons' sources.

    kdcourse/course/TOPIC/lesson.py, exercises.py  ->  notebooks/NN_TOPIC.ipynb

The notebook has blanks where exercises have solutions, every solution folded away below its check, and before its
first code the cell that sets up Google Colab (see `colab`). It is run from top to bottom in a fresh kernel, in an
empty folder, without a network, and stored with its outputs; nothing that changes from run to run is stored. Outputs
depend on code alone: where only prose or the set-up cell has changed, they are replaced and the outputs are kept. A
lesson that stops leaves the old notebook as it was. The builder warns of claims that `tools.margins` hasn't measured.
What learners open is derived from the stored notebooks (see `opened`).
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kdcourse.course import COURSE, Course, Lesson
from kdcourse.course.claims import BUILDING
from kdcourse.course.notebook import (
    LANGUAGE,
    NOTEBOOKS,
    SET_UP,
    fill,
    learners_notebook,
    machine_seconds,
    node,
    stored_notebook,
)
from kdcourse.course.showing import WIDGET_VIEW
from kdcourse.errors import LessonError
from kdcourse.files import write_atomically
from tools import margins
from tools.lessons import colab, opened

CHECKOUT = Path(__file__).resolve().parents[2]
COMMAND = "python -m tools.lessons build"
MOST_BYTES = 1_000_000
MOST_MEMORY = 2e9
CELL_SECONDS = 240
FIRST_FIGURE_SECONDS = 15
MACHINE_SECONDS = (15, 30, 60, 120, 240, 300)  # allowed statements of a lesson's run time

# What no stored output may hold, since it differs from machine to machine or from run to run.
UNSTABLE = {
    "a path": re.compile(r"(?<![\w/:.<])/[\w.+-]+/[\w.+-]+|\b[A-Za-z]:\\|site-packages"),
    "a memory address": re.compile(r"\b0x[0-9a-fA-F]{6,16}\b"),
    "a timing": re.compile(
        r"\d ?(?:ns|µs|μs|us|ms|s|sec|secs|seconds?|minutes?|min)\b|\d(?:it/s|s/it)|CPU times|\b\d+:\d\d:\d\d\b"
    ),
    "a progress bar": re.compile(r"[█▏▎▍▌▋▊▉]|\d%\|"),
}

Say = Callable[[str], None]


@dataclass
class Spent:
    """Record what running a lesson took.

    Attributes:
        seconds: wall time, or processor time where that is less.
        first_figure: the same until the first figure was shown; None if there is none.
        bytes: of memory at most, measured after every cell.
    """

    seconds: float = 0.0
    first_figure: float | None = None
    bytes: int = 0

    def __str__(self) -> str:
        figure = "" if self.first_figure is None else f", first figure after {self.first_figure:.0f} s"
        return f"{self.seconds:.0f} s of machine time{figure}, {self.bytes / 1e6:.0f} MB of memory"


def build(
    words: Sequence[str] = (),
    *,
    course: Course = COURSE,
    notebooks: Path = NOTEBOOKS,
    runs: Path = margins.RUNS,
    force: bool = False,
    say: Say = print,
) -> list[Path]:
    """Build the notebooks that differ from their sources.

    Args:
        words: the lessons wanted, such as "04" or "soft_targets"; none means all.
        course: the lessons.
        notebooks: the folder of what is built.
        runs: the measured margins of claims; of a claim that isn't among them, ``say`` gets a warning.
        force: run them even if nothing changed.
        say: gets one line per lesson.

    Returns:
        The notebooks that were written.

    Raises:
        LessonError: a malformed source, a cell that raises, an output that can't be stored; names lesson and cell.
    """
    written = []
    for lesson in course.lessons(words):
        target = notebooks / f"{lesson.name}.ipynb"
        old = stored_notebook(target)
        new = None if force else renewed(lesson, old)
        if new is None:
            began = time.perf_counter()
            text, spent = make(lesson, said_before=machine_seconds(old))
            took = time.perf_counter() - began
            said = f"built in {took:.0f} s ({spent}), {len(text) / 1e3:.0f} kB"
            if spent.first_figure is not None and spent.first_figure > FIRST_FIGURE_SECONDS:
                said += f"\n  a learner waits more than {FIRST_FIGURE_SECONDS} s for the first figure; move it up."
        else:
            text = _as_text(lesson, new)
            if text == _as_text(lesson, old):
                say(f"{lesson.name}: up to date")
                continue
            said = "text replaced, outputs kept"
        write_atomically(target, text)
        written.append(target)
        say(f"{lesson.name}: {said}")
        for sentence in [] if new else _unmeasured(lesson, runs):
            say(
                f"  how safely this holds elsewhere isn't known, run python -m tools.margins {lesson.name}: {sentence}"
            )
    if course.glossary.is_file() and not _same(course.glossary, notebooks / course.glossary.name):
        write_atomically(notebooks / course.glossary.name, course.glossary.read_text(encoding="utf-8"))
        written.append(notebooks / course.glossary.name)
    for path, text in _forms_to_write(course, notebooks).items():
        write_atomically(path, text)
        written.append(path)
    return written


def _forms_to_write(course: Course, notebooks: Path) -> dict[Path, str]:
    """Return the files for learners that differ from what is stored, with their texts."""
    folder = notebooks / opened.FOLDER
    texts = opened.wanted(notebooks, course.names, course.glossary.name)
    return {
        folder / name: text
        for name, text in texts.items()
        if not (folder / name).is_file() or (folder / name).read_text(encoding="utf-8") != text
    }


def _unmeasured(lesson: Lesson, runs: Path) -> list[str]:
    """Return the claims of a lesson that weren't measured under other settings yet."""
    claims = [claim for cell in lesson.cells if cell.kind == "code" for claim in margins.stated(cell.text)]
    return margins.unmeasured(claims, margins.present(margins.stored(runs), {lesson.topic: claims}))


def check(course: Course = COURSE, notebooks: Path = NOTEBOOKS) -> list[str]:
    """Return how notebooks differ from their sources, one sentence each; nothing is run.

    Raises:
        LessonError: a malformed source.
    """
    found = []
    for lesson in course.lessons():
        old = stored_notebook(notebooks / f"{lesson.name}.ipynb")
        new = renewed(lesson, old)
        if old is None:
            found.append(f"{lesson.name}: there is no notebook, or none that can be read")
        elif new is None:
            found.append(f"{lesson.name}: its code is not that of the source")
        elif _as_text(lesson, new) != _as_text(lesson, old):
            found.append(f"{lesson.name}: its text is not that of the source")
    for notebook in sorted(notebooks.glob("*.ipynb")):
        if notebook.stem not in course.names:
            found.append(f"{notebook.stem}: there is no lesson that this notebook was built from")
    if course.glossary.is_file() and not _same(course.glossary, notebooks / course.glossary.name):
        found.append(f"{course.glossary.name}: the copy beside the notebooks is not that of the lessons")
    named = {sentence.partition(":")[0] for sentence in found}
    for path in _forms_to_write(course, notebooks):
        if path.stem not in named:
            found.append(f"{opened.FOLDER}/{path.name}: what learners open is not what is stored")
    for form in sorted((notebooks / opened.FOLDER).glob("*.ipynb")):
        if form.stem not in course.names:
            found.append(f"{opened.FOLDER}/{form.name}: there is no lesson of this name")
    return found


def renewed(lesson: Lesson, old: Any) -> Any:
    """Return the lesson's notebook with the outputs of a stored one; None where its code has to be run.

    That is where there is no stored notebook, or the two differ in code; other than that of the set-up cell, which does
    nothing here (a test holds that).
    """
    said = machine_seconds(old)
    if not said:
        return None
    new = learners_notebook(lesson, colab.set_up())
    ours, theirs = ([cell for cell in one.cells if cell.cell_type == "code"] for one in (new, old))
    if [cell.source for cell in ours if cell.id != SET_UP] != [
        cell.source for cell in theirs if cell.id != SET_UP
    ]:
        return None
    for cell, stored in zip(ours, theirs, strict=True):
        cell.outputs, cell.execution_count = stored.outputs, stored.execution_count
    _complete(lesson, new, said)
    return new


def make(lesson: Lesson, said_before: int = 0) -> tuple[str, Spent]:
    """Run a lesson, and return its notebook as text, and what that took.

    Args:
        lesson: as a `Course` reads it.
        said_before: the limit of machine seconds that the present notebook states; kept where still about right,
            so that building again on a busier machine doesn't change the text.

    Raises:
        LessonError: see `build`.
    """
    notebook = learners_notebook(lesson, colab.set_up())
    spent = _run(lesson, notebook)
    if spent.bytes > MOST_MEMORY:
        raise LessonError(
            f"{lesson.name} took {spent.bytes / 1e9:.1f} GB of memory, where {MOST_MEMORY / 1e9:.0f} GB is the most. "
            "Free what is no longer needed, or look at fewer images at once."
        )
    _complete(lesson, notebook, _limit(lesson, spent.seconds, said_before))
    _normalise(lesson, notebook)
    return _as_text(lesson, notebook), spent


def _complete(lesson: Lesson, notebook: Any, limit: int) -> None:
    """Fill in the times, and keep the limit where `machine_seconds` finds it."""
    fill(notebook, lesson, limit)
    notebook.metadata.kdcourse.machine_seconds = limit


def _as_text(lesson: Lesson, notebook: Any) -> str:
    import nbformat

    nbformat.validate(notebook)
    text = str(nbformat.writes(notebook)).rstrip("\n") + "\n"
    if len(text.encode()) > MOST_BYTES:
        raise LessonError(
            f"{lesson.name}: the notebook would have {len(text.encode()):,} bytes, where {MOST_BYTES:,} is the most. "
            "Show fewer or smaller figures."
        )
    return text


def _run(lesson: Lesson, notebook: Any) -> Spent:
    """Execute every cell."""
    import psutil
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    started: list[str] = []
    spent = Spent()
    manager = _kernel_manager()

    def before(cell: Any, cell_index: int) -> None:
        if cell.cell_type == "code":
            started.append(cell.id)

    def after(cell: Any, cell_index: int, execute_reply: Any) -> None:
        kernel = psutil.Process(manager.provisioner.pid)
        # On a busy machine the clock runs on while the lesson waits for its turn.
        spent.seconds = min(time.perf_counter() - began, sum(kernel.cpu_times()[:4]))
        spent.bytes = max(spent.bytes, kernel.memory_info().rss)
        if spent.first_figure is None and any(
            "image/png" in output.get("data", {}) for output in cell.outputs
        ):
            spent.first_figure = spent.seconds

    with tempfile.TemporaryDirectory(prefix="kdcourse-lesson-") as folder:
        empty = Path(folder, "empty")
        empty.mkdir()
        client = NotebookClient(
            notebook,
            km=manager,
            timeout=CELL_SECONDS,
            startup_timeout=120,
            record_timing=False,
            store_widget_state=False,
            coalesce_streams=True,
            resources={"metadata": {"path": str(empty)}},
            on_cell_start=before,
            on_cell_executed=after,
        )
        began = time.perf_counter()
        try:
            client.execute(env=_environment(Path(folder, "runs")))
        except CellExecutionError as error:
            raise _bad(lesson, code, len(started), f"{error.ename}: {error.evalue}") from None
        except CellTimeoutError:
            raise _bad(lesson, code, len(started), f"it took longer than {CELL_SECONDS} s") from None
        except DeadKernelError:
            raise _bad(lesson, code, len(started), "the kernel died (out of memory?)") from None
    return spent


def _kernel_manager() -> Any:
    """A kernel of this very Python, whatever kernels are installed under the name python3."""
    from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
    from jupyter_client.manager import AsyncKernelManager

    class Here(KernelSpecManager):
        def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
            command = [
                sys.executable,
                "-m",
                "ipykernel_launcher",
                "-f",
                "{connection_file}",
                "--log-level=40",
            ]
            return KernelSpec(argv=command, display_name="Python 3 (ipykernel)", language="python")

    return AsyncKernelManager(kernel_name="python3", kernel_spec_manager=Here())


def _environment(runs: Path) -> dict[str, str]:
    """Return the kernel's environment: this package, no network, no stored predictions, and the flag of a build."""
    closed = "http://127.0.0.1:9"  # the port of `discard`, where nothing listens
    paths = [str(CHECKOUT), *filter(None, [os.environ.get("PYTHONPATH")])]
    own = {"PYTHONPATH": os.pathsep.join(paths), BUILDING: "1", "KDCOURSE_RUNS": str(runs)}
    own["OMP_WAIT_POLICY"] = "passive"  # threads that wait for one another don't count as working
    return (
        os.environ | own | dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), closed)
    )


def _bad(lesson: Lesson, code: Sequence[Any], number: int, why: str) -> LessonError:
    start = code[number - 1].source.strip().splitlines()[0][:60]
    plain = re.sub(r"\x1b\[[0-9;]*m", "", why).strip()
    return LessonError(f"{lesson.name}, code cell {number} ({start!r}): {plain}")


def _limit(lesson: Lesson, seconds: float, said_before: int) -> int:
    """The round number of seconds that the lesson states, at least ``seconds``."""
    for position, limit in enumerate(MACHINE_SECONDS):
        below = MACHINE_SECONDS[position - 1] if position else 0
        if limit == said_before and 0.6 * below < seconds <= limit:
            return limit
    if seconds > lesson.most_seconds:
        raise LessonError(
            f"{lesson.name} ran for {seconds:.0f} s, where {lesson.most_seconds} s is the most. Train less in it."
        )
    return next(limit for limit in MACHINE_SECONDS if seconds <= limit)


def _normalise(lesson: Lesson, notebook: Any) -> None:
    """Leave nothing that changes from run to run or from machine to machine; refuse what can't be left out."""
    notebook.metadata.language_info = node(LANGUAGE)  # the kernel adds its own version to it
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for number, cell in enumerate(code, start=1):
        cell.metadata.pop("execution", None)
        for output in cell.outputs:
            data = output.get("data", {})
            # A widget lives as long as its kernel; what stands in for it is stored.
            if data.pop(WIDGET_VIEW, None) is not None and not data:
                raise _bad(lesson, code, number, "its widget has no text that stands in for it")
            if "image/png" in data:
                _give_alt_text(lesson, code, number, output)
            if output.output_type == "stream" and output.name == "stderr":
                raise _bad(lesson, code, number, f"it wrote to stderr: {output.text.strip()[:200]}")
            if (found := unstable(output)) is not None:
                raise _bad(
                    lesson,
                    code,
                    number,
                    f"its output holds {found}; show it with show_here, or round it away",
                )


def _give_alt_text(lesson: Lesson, code: Sequence[Any], number: int, output: Any) -> None:
    """Every picture says in words what it shows: by itself, or else by the text that stands beside it."""
    output.data["image/png"] = output.data["image/png"].replace("\n", "")
    words = str(output.data.get("text/plain", ""))
    picture = output.metadata.setdefault("image/png", node({}))
    if not picture.get("alt"):
        if not words or words.startswith("<"):
            raise _bad(
                lesson, code, number, "its picture has no alt text; display it with kdcourse.course.show"
            )
        picture["alt"] = words


def unstable(output: Any) -> str | None:
    """Return what in an output's text other runs or machines would not show, or None.

    Args:
        output: one output of a code cell.
    """
    data = output.get("data", {})
    texts = [output.get("text", "")] + [value for kind, value in data.items() if kind.startswith("text/")]
    for what, pattern in UNSTABLE.items():
        for text in texts:
            if found := pattern.search(text):
                line = text[: found.end()].splitlines()[-1].strip()
                return f"{what} ({line[-60:]!r})"
    return None


def _same(one: Path, other: Path) -> bool:
    return other.is_file() and one.read_bytes() == other.read_bytes()
