"""From a lesson's source to the notebook that learners open.

    lessons/NN_name.py  ->  notebooks/NN_name.ipynb

The notebook has blanks where the source has solutions, every solution folded away below its check, and before its
first code the cell that sets up Google Colab (see `colab`). It is run from top to bottom in a fresh kernel, in an
empty folder, with the way to the network closed, and stored with its outputs; nothing that changes from run to run
goes in. A lesson that stops leaves the old notebook as it was.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kdcourse.errors import LessonError
from kdcourse.files import write_atomically
from kdcourse.lessons import colab
from kdcourse.lessons.claims import BUILDING
from kdcourse.lessons.showing import WIDGET_VIEW
from kdcourse.lessons.source import GLOSSARY, Cell, Exercise, Lesson, read, sources

CHECKOUT = Path(__file__).resolve().parents[2]
LESSONS, NOTEBOOKS = CHECKOUT / "lessons", CHECKOUT / "notebooks"
UNCOMPARED = "uncompared.toml"
MOST_BYTES = 1_000_000
MOST_MEMORY = 2e9
LANGUAGE = {
    "file_extension": ".py",
    "mimetype": "text/x-python",
    "name": "python",
    "pygments_lexer": "ipython3",
}
CELL_SECONDS = 240
FIRST_FIGURE_SECONDS = 15
MACHINE_SECONDS = (15, 30, 60, 120, 240)  # what a lesson may say of its own duration
# A lesson takes 60 s at the most; one that trains two segmentation students may take four minutes.
MOST_SECONDS, MOST_SECONDS_OF = 60, {"07_segmentation": 240}
_FORMAT = 1  # of the notebooks; another number makes all of them out of date

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


@dataclass(frozen=True)
class Uncompared:
    """A cell whose output nbval doesn't compare, and why."""

    lesson: str
    cell: str
    reason: str


@dataclass
class Spent:
    """What running a lesson took.

    ``seconds`` of the clock, or of the processor where those are fewer; the same until the first figure stood
    there (None: there is none); ``bytes`` of memory at most, as seen after every cell.
    """

    seconds: float = 0.0
    first_figure: float | None = None
    bytes: int = 0

    def __str__(self) -> str:
        figure = "" if self.first_figure is None else f", first figure after {self.first_figure:.0f} s"
        return f"{self.seconds:.0f} s of machine time{figure}, {self.bytes / 1e6:.0f} MB of memory"


def build(
    numbers: Sequence[str] = (),
    *,
    lessons: Path = LESSONS,
    notebooks: Path = NOTEBOOKS,
    force: bool = False,
    say: Say = print,
) -> list[Path]:
    """Build the notebooks whose source has changed since they were built.

    Args:
        numbers: of the lessons wanted, such as "04"; none means all.
        lessons, notebooks: the folders of the sources and of what is made from them.
        force: build them even if nothing changed.
        say: gets one line a lesson.

    Returns:
        The notebooks that were written.

    Raises:
        LessonError: a malformed source, a cell that raises, an output that can't be stored; names lesson and cell.
    """
    excluded = uncompared(lessons)
    written = []
    for path in _wanted(lessons, numbers):
        lesson = read(path)
        target = notebooks / f"{lesson.name}.ipynb"
        old = stored_notebook(target)
        if not force and old is not None and _differences(lesson, old, excluded) == []:
            say(f"{lesson.name}: in step")
            continue
        began = time.perf_counter()
        text, spent = make(lesson, excluded, said_before=machine_seconds(old))
        write_atomically(target, text)
        written.append(target)
        say(
            f"{lesson.name}: built in {time.perf_counter() - began:.0f} s ({spent}), {len(text) / 1e3:.0f} kB"
        )
        if spent.first_figure is not None and spent.first_figure > FIRST_FIGURE_SECONDS:
            say(f"  a learner waits more than {FIRST_FIGURE_SECONDS} s for the first figure; move it up.")
    glossary = lessons / GLOSSARY
    if glossary.is_file() and not _same(glossary, notebooks / GLOSSARY):
        write_atomically(notebooks / GLOSSARY, glossary.read_text(encoding="utf-8"))
        written.append(notebooks / GLOSSARY)
    return written


def check(lessons: Path = LESSONS, notebooks: Path = NOTEBOOKS) -> list[str]:
    """What is out of step between sources and notebooks, one sentence each; nothing is run.

    Raises:
        LessonError: a malformed source or list of uncompared cells.
    """
    found = []
    excluded = uncompared(lessons)
    paths = sources(lessons)
    for path in paths:
        old = stored_notebook(notebooks / f"{path.stem}.ipynb")
        if old is None:
            found.append(f"{path.stem}: there is no notebook, or none that can be read")
        else:
            found += [f"{path.stem}: {text}" for text in _differences(read(path), old, excluded)]
    names = {path.stem for path in paths}
    for notebook in sorted(notebooks.glob("*.ipynb")):
        if notebook.stem not in names:
            found.append(f"{notebook.stem}: there is no lesson that this notebook was built from")
    for entry in excluded:
        if entry.lesson not in names:
            found.append(f"{UNCOMPARED}: there is no lesson {entry.lesson!r}")
    if (lessons / GLOSSARY).is_file() and not _same(lessons / GLOSSARY, notebooks / GLOSSARY):
        found.append(f"{GLOSSARY}: the copy beside the notebooks is not that of the lessons")
    return found


def uncompared(lessons: Path = LESSONS) -> list[Uncompared]:
    """The cells that ``uncompared.toml`` lists.

    Raises:
        LessonError: not TOML, or an entry without lesson, cell or reason.
    """
    path = lessons / UNCOMPARED
    if not path.is_file():
        return []
    try:
        entries = tomllib.loads(path.read_text(encoding="utf-8")).get("cell", [])
        return [Uncompared(entry["lesson"], entry["cell"], entry["reason"].strip()) for entry in entries]
    except (tomllib.TOMLDecodeError, KeyError, TypeError, AttributeError) as error:
        raise LessonError(
            f"{UNCOMPARED} can't be used ({error}); it holds [[cell]] tables with lesson, cell and reason."
        ) from None


def make(lesson: Lesson, excluded: Sequence[Uncompared] = (), said_before: int = 0) -> tuple[str, Spent]:
    """The lesson's notebook, run, as text; and what that took.

    Args:
        lesson: as `read` gives it.
        excluded: cells that need not be comparable.
        said_before: the limit of machine seconds that the present notebook states; kept where still about right,
            so that building again on a busier machine doesn't change the text.

    Raises:
        LessonError: see `build`.
    """
    import nbformat

    notebook = learners_notebook(lesson, excluded, set_up=True)
    spent = _run(lesson, notebook)
    if spent.bytes > MOST_MEMORY:
        raise LessonError(
            f"{lesson.name} took {spent.bytes / 1e9:.1f} GB of memory, where {MOST_MEMORY / 1e9:.0f} GB is the most. "
            "Free what is no longer needed, or look at fewer pictures at once."
        )
    limit = _limit(lesson, spent.seconds, said_before)
    fill(notebook, lesson, limit)
    notebook.metadata.kdcourse.machine_seconds = limit
    _normalise(lesson, notebook)
    nbformat.validate(notebook)
    text = str(nbformat.writes(notebook)).rstrip("\n") + "\n"
    if len(text.encode()) > MOST_BYTES:
        raise LessonError(
            f"{lesson.name}: the notebook would have {len(text.encode()):,} bytes, where {MOST_BYTES:,} is the most. "
            "Show fewer or smaller figures."
        )
    return text, spent


def learners_notebook(lesson: Lesson, excluded: Sequence[Uncompared] = (), *, set_up: bool = False) -> Any:
    """The notebook as learners find it: blanks, folded solutions, no outputs, times not filled in.

    Args:
        lesson: as `read` gives it.
        excluded: cells whose outputs nbval is not to compare.
        set_up: put `set_up_cell` before the first code; without it, cells and folded solutions stand one to one
            with the lesson's own.

    Raises:
        LessonError: ``excluded`` names a cell that the lesson doesn't have.
    """
    from nbformat import v4

    left = {entry.cell for entry in excluded if entry.lesson == lesson.name}
    unknown = sorted(left - {cell.name for cell in lesson.cells if cell.kind == "code"} - {""})
    if unknown:
        raise LessonError(f"{UNCOMPARED}: {lesson.name} has no code cell named {unknown[0]!r}.")
    exercises = {exercise.place: exercise for exercise in lesson.exercises}
    solutions = {exercise.check: exercise for exercise in lesson.exercises if exercise.blanks}
    names = _Names()
    cells = []
    for cell in lesson.cells:
        if set_up and cell.kind == "code":
            cells.append(set_up_cell())
            set_up = False
        text = exercises[cell.place].given if cell.place in exercises else cell.text
        metadata: dict[str, Any] = {"exercise": cell.exercise} if cell.exercise else {}
        if cell.name and cell.name in left:
            metadata["tags"] = ["nbval-ignore-output"]
        if cell.text.startswith("widgets.quiz("):  # its code gives the answers away: JupyterLab folds it
            metadata["jupyter"] = {"source_hidden": True}
        new = v4.new_markdown_cell if cell.kind == "markdown" else v4.new_code_cell
        cells.append(new(text, metadata=metadata, id=names.of(cell)))
        if cell.place in solutions:
            exercise = solutions[cell.place]
            metadata = {"solution": exercise.id}
            cells.append(
                v4.new_markdown_cell(_folded(exercise), metadata=metadata, id=f"solution-{exercise.id}")
            )
    notebook = v4.new_notebook(cells=cells)
    notebook.nbformat_minor = 5
    notebook.metadata = node(
        {
            "kdcourse": {"source": f"lessons/{lesson.name}.py", "digest": _digest(lesson, left)},
            "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
            "language_info": LANGUAGE,
        }
    )
    return notebook


def set_up_cell() -> Any:
    """What installs the course on Google Colab, and does nothing elsewhere."""
    from nbformat import v4

    return v4.new_code_cell(colab.set_up(), metadata=node(colab.METADATA), id=colab.CELL)


def node(content: dict[str, Any]) -> Any:
    """A dictionary as nbformat holds it: its entries are attributes as well."""
    from nbformat import from_dict

    return from_dict(content)


class _Names:
    """Ids of cells: what a cell is called, else a digest of what it says; the same whenever it is built."""

    def __init__(self) -> None:
        self._seen: dict[str, int] = {}

    def of(self, cell: Cell) -> str:
        digest = hashlib.sha256(f"{cell.kind}\n{cell.text}".encode()).hexdigest()[:12]
        name = cell.name or (f"exercise-{cell.exercise}" if cell.exercise else f"{cell.kind}-{digest}")
        count = self._seen[name] = self._seen.get(name, 0) + 1
        return name if count == 1 else f"{name}-{count}"


def _folded(exercise: Exercise) -> str:
    return (
        f"<details>\n<summary>Solution</summary>\n\n```python\n{exercise.solution.strip()}\n```\n\n</details>"
    )


def _digest(lesson: Lesson, left: set[str]) -> str:
    return hashlib.sha256(f"{_FORMAT} {colab.set_up()} {lesson.digest} {sorted(left)}".encode()).hexdigest()


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
    """What the kernel sees: this package, no network, nobody's predictions, and that a lesson is being built."""
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
    most = MOST_SECONDS_OF.get(lesson.name, MOST_SECONDS)
    if seconds > most:
        raise LessonError(
            f"{lesson.name} ran for {seconds:.0f} s, where {most} s is the most. Train less in it."
        )
    return next(limit for limit in MACHINE_SECONDS if seconds <= limit)


def fill(notebook: Any, lesson: Lesson, limit: int) -> None:
    """Put the times into the prose that names them; ``limit``: the most seconds that the machine takes."""
    values = {
        "reading_minutes": str(lesson.reading_minutes),
        "exercise_minutes": str(lesson.exercise_minutes),
        "machine_seconds": machine_time(limit),
    }
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = re.sub(r"\{\{\s*(\w+)\s*\}\}", lambda found: values[found[1]], cell.source)


def machine_time(limit: int) -> str:
    """How a lesson states what its machine takes, such as "under 30 s"."""
    return f"under {limit} s" if limit <= 60 else f"under {limit // 60} minutes"


def _normalise(lesson: Lesson, notebook: Any) -> None:
    """Leave nothing that changes from run to run or from machine to machine; refuse what can't be left out."""
    notebook.metadata.language_info = node(LANGUAGE)  # the kernel adds its own version to it
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for number, cell in enumerate(code, start=1):
        cell.metadata.pop("execution", None)
        ignored = "nbval-ignore-output" in cell.metadata.get("tags", ())
        for output in cell.outputs:
            data = output.get("data", {})
            # A widget lives as long as its kernel; what stands in for it is stored.
            if data.pop(WIDGET_VIEW, None) is not None and not data:
                raise _bad(lesson, code, number, "its widget has no text that stands in for it")
            if "image/png" in data:
                _give_alt_text(lesson, code, number, output)
            if output.output_type == "stream" and output.name == "stderr" and not ignored:
                raise _bad(lesson, code, number, f"it wrote to stderr: {output.text.strip()[:200]}")
            if (found := unstable(output, timings=not ignored)) is not None:
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
                lesson, code, number, "its picture has no alt text; display it with kdcourse.lessons.show"
            )
        picture["alt"] = words


def unstable(output: Any, timings: bool = True) -> str | None:
    """What there is in a stored output's text that other runs or machines would not show, or None.

    Args:
        output: one output of a code cell.
        timings: look for timings and progress bars as well as for paths and addresses.
    """
    data = output.get("data", {})
    texts = [output.get("text", "")] + [value for kind, value in data.items() if kind.startswith("text/")]
    for what, pattern in UNSTABLE.items():
        if not timings and what in ("a timing", "a progress bar"):
            continue
        for text in texts:
            if found := pattern.search(text):
                line = text[: found.end()].splitlines()[-1].strip()
                return f"{what} ({line[-60:]!r})"
    return None


def _differences(lesson: Lesson, old: Any, excluded: Sequence[Uncompared]) -> list[str]:
    """How a stored notebook differs from the one that its source would give, outputs apart."""
    new = learners_notebook(lesson, excluded, set_up=True)
    said = machine_seconds(old)
    if old.metadata.get("kdcourse", {}).get("digest") != new.metadata.kdcourse.digest or not said:
        return ["the source changed since the notebook was built"]
    fill(new, lesson, said)
    ours = [(cell.cell_type, cell.get("id"), cell.source, cell.metadata) for cell in new.cells]
    theirs = [(cell.cell_type, cell.get("id"), cell.source, cell.metadata) for cell in old.cells]
    return [] if ours == theirs else ["the notebook was edited by hand; edit the source in its place"]


def machine_seconds(notebook: Any) -> int:
    """What a stored notebook says that its machine takes at most; 0 where there is none."""
    return 0 if notebook is None else int(notebook.metadata.get("kdcourse", {}).get("machine_seconds", 0))


def stored_notebook(path: Path) -> Any:
    """A notebook on disk; None where there is none that can be read."""
    import nbformat

    try:
        return nbformat.read(path, as_version=4)
    except (OSError, ValueError, nbformat.reader.NotJSONError, nbformat.ValidationError):
        return None


def _wanted(lessons: Path, numbers: Sequence[str]) -> list[Path]:
    found = sources(lessons)
    if not numbers:
        return found
    chosen = []
    for number in numbers:
        matching = [path for path in found if path.stem == number or path.stem[:2] == number.zfill(2)]
        if not matching:
            known = ", ".join(path.stem for path in found) or "none"
            raise LessonError(f"There is no lesson {number!r} in {lessons}; found {known}.")
        chosen += matching
    return chosen


def _same(one: Path, other: Path) -> bool:
    return other.is_file() and one.read_bytes() == other.read_bytes()
