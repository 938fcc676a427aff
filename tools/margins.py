"""Measure how safely each claim of the lessons holds, on machines unlike this one.

    python -m tools.margins              run what hasn't been run yet, then write the table
    python -m tools.margins 07 --settings "2 threads"
    python -m tools.margins --jobs 2     two lessons at a time
    python -m tools.margins --table      write the table from the runs stored so far

A claim that holds narrowly here may fail elsewhere: another number of threads or another processor adds numbers in
another order, and training makes a large difference of a small one. So every lesson is run under each of `SETTINGS`.
For each bound of a claim, and each comparison in its condition, the table gives the values, their standard deviation,
and how many standard deviations lie between the bound and the nearest value. `LEAST_DEVIATIONS` are required.

It is the standard deviation of the *distinct* values. Two settings under which a lesson computes the same number to the
last digit are one observation of it, not two; counting both would make the deviation look smaller.

Runs are stored as they end, one line of JSON each, in ``tools/margins.jsonl``; the table is ``tools/margins.md``.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import json
import math
import os
import platform
import re
import statistics
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat

from kdcourse.course.claims import MEASURED

CHECKOUT = Path(__file__).resolve().parents[1]
NOTEBOOKS = CHECKOUT / "notebooks"
RUNS, TABLE = CHECKOUT / "tools" / "margins.jsonl", CHECKOUT / "tools" / "margins.md"
LEAST_DEVIATIONS = 3.0  # that must lie between a bound and the nearest value
CELL_SECONDS = 7200  # a lesser processor is slow

_AVX2 = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"}
_SSE = {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41", "MKL_ENABLE_INSTRUCTIONS": "SSE4_2"}


def _setting(threads: int, precision: str, processor: dict[str, str] | None = None) -> dict[str, str]:
    return {"OMP_NUM_THREADS": str(threads), "KDCOURSE_PRECISION": precision} | (processor or {})


SETTINGS = {
    "2 threads": _setting(2, "float32"),
    "1 thread": _setting(1, "float32"),
    "4 threads": _setting(4, "float32"),
    "2 threads, bfloat16": _setting(2, "bfloat16"),
    "1 thread, bfloat16": _setting(1, "bfloat16"),
    "2 threads, AVX2": _setting(2, "float32", _AVX2),
    "1 thread, AVX2": _setting(1, "float32", _AVX2),
    "2 threads, SSE4": _setting(2, "float32", _SSE),
    "1 thread, SSE4": _setting(1, "float32", _SSE),
}


# -- running a lesson ------------------------------------------------------------------------------------------

# What every lesson's kernel gets to know first: a comparison that also notes how far its sides are apart.
_COMPARED = """
def __compared__(text, signs, *values):
    import json, math, operator, os
    how = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
    result, margins = True, []
    for sign, left, right in zip(signs, values, values[1:]):
        result = result and how[sign](left, right)
        try:
            margins.append(float(left) - float(right) if sign[0] == ">" else float(right) - float(left))
        except (TypeError, ValueError, RuntimeError):
            return result
    if all(map(math.isfinite, margins)):
        with open(os.environ["KDCOURSE_CLAIMS"], "a", encoding="utf-8") as file:
            file.write(json.dumps({"condition": text, "margin": min(margins)}) + "\\n")
    return result
"""
_SIGNS = {ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">="}


def noting(code: str) -> str:
    """Return a cell's code in which the conditions of claims also note how far their sides are apart."""
    try:
        tree = ast.parse(code)
    except SyntaxError:  # a cell of IPython's own language
        return code
    for call in _claims(tree):
        if len(call.args) > 1:
            call.args[1] = _noted(call.args[1])
    return ast.unparse(ast.fix_missing_locations(tree))


def _noted(node: ast.expr) -> ast.expr:
    """Replace comparisons that must all be true for ``node`` to be true; leave what stands below not, or, any."""
    if isinstance(node, ast.BoolOp) and isinstance(node.op, ast.And):
        node.values = [_noted(value) for value in node.values]
    elif isinstance(node, ast.Compare) and all(type(sign) in _SIGNS for sign in node.ops):
        signs = ast.Tuple([ast.Constant(_SIGNS[type(sign)]) for sign in node.ops], ast.Load())
        sides = [node.left, *node.comparators]
        return ast.Call(
            ast.Name("__compared__", ast.Load()), [ast.Constant(ast.unparse(node)), signs, *sides], []
        )
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "all":
        for part in node.args:
            if isinstance(part, ast.GeneratorExp):
                part.elt = _noted(part.elt)
    return node


def _claims(tree: ast.AST) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "claim":
            yield node


def run(path: Path, setting: str) -> dict[str, Any]:
    """Run a lesson's code cells in a fresh kernel under a setting; return what is stored of it.

    ``claims``: each claim's sentence, whether it held, and its evidence, conditions among it. ``differs``: the first
    line of each cell whose printed output isn't what the notebook stores. ``error``: what stopped the lesson, or None.
    """
    import torch
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError

    code = code_cells(path)
    cells = [nbformat.v4.new_code_cell(_COMPARED)]
    cells += [nbformat.v4.new_code_cell(noting(cell.source), metadata=cell.metadata) for cell in code]
    notebook = nbformat.v4.new_notebook(cells=cells)
    closed = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    began, error = time.perf_counter(), None
    with tempfile.TemporaryDirectory(prefix="kdcourse-margins-") as folder:
        record = Path(folder, "claims.jsonl")
        own = {
            "KDCOURSE_CLAIMS": str(record),
            "KDCOURSE_CLAIMS_GO_ON": "1",
            "KDCOURSE_RUNS": str(Path(folder, "runs")),
        }
        own |= {"PYTHONPATH": str(CHECKOUT), "OMP_WAIT_POLICY": "passive"}
        client = NotebookClient(
            notebook, kernel_name="python3", timeout=CELL_SECONDS, startup_timeout=300, coalesce_streams=True,
            store_widget_state=False, resources={"metadata": {"path": folder}},
        )  # fmt: skip
        try:
            client.execute(env=os.environ | closed | own | SETTINGS[setting])
        except CellExecutionError as stopped:  # a kernel that dies says nothing about the lesson
            # The traceback above its last line names paths of this machine.
            error = re.sub(r"\x1b\[[0-9;]*m", "", str(stopped)).strip().splitlines()[-1][-400:]
        lines = record.read_text(encoding="utf-8").splitlines() if record.exists() else []
    compared = [
        old.source.strip().splitlines()[0]
        for old, new in zip(code, notebook.cells[1:], strict=True)
        if "nbval-ignore-output" not in old.metadata.get("tags", ()) and _printed(old) != _printed(new)
    ]
    return {
        "lesson": topic(path),
        "digest": digest(code),
        "setting": setting,
        "processor": platform.processor() or platform.machine(),
        "torch": torch.__version__.split("+")[0],
        "seconds": round(time.perf_counter() - began),
        "error": error,
        "differs": compared if error is None else [],
        "claims": gathered(map(json.loads, lines)),
    }


def gathered(lines: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Join what a lesson recorded: conditions become evidence of the claim that follows them.

    Where a condition was tried several times for one claim, the smallest margin counts.
    """
    claims, margins = [], dict[str, float]()
    for line in lines:
        if "condition" in line:
            text = line["condition"]
            margins[text] = min(margins.get(text, math.inf), line["margin"])
            continue
        for text, margin in margins.items():
            line["evidence"][text] = {"value": margin, "low": 0.0, "high": None}
        for part in line["evidence"].values():
            if not isinstance(part["value"], str):
                part["value"] = float(f"{part['value']:.7g}")
        claims.append(line)
        margins = {}
    return claims


def _printed(cell: Any) -> list[str]:
    """Return what nbval would compare of a cell's outputs."""
    texts = []
    for output in cell.get("outputs", ()):
        if output.output_type == "stream" and output.name == "stdout":
            texts.append(output.text)
        elif "text/plain" in output.get("data", {}):
            texts.append(output.data["text/plain"])
    return [MEASURED.sub("measured", text) for text in texts]


def code_cells(path: Path) -> list[Any]:
    """Return the code cells of a stored notebook."""
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]


def topic(path: Path) -> str:
    """Return a lesson's name without its number, which may change: ``segmentation``."""
    return re.sub(r"^\d+_", "", path.stem)


def digest(code: Sequence[Any]) -> str:
    """Return a digest of a lesson's code cells."""
    return hashlib.sha256("\0".join(cell.source for cell in code).encode()).hexdigest()[:12]


# -- what was found --------------------------------------------------------------------------------------------


@dataclass
class Margin:
    """One number behind a claim: its values by setting, and its bounds (None: there is none at that end)."""

    lesson: str
    sentence: str
    name: str
    low: float | None
    high: float | None
    values: dict[str, float] = field(default_factory=dict)

    @property
    def deviation(self) -> float:
        """Return the standard deviation of the distinct values; 0 where there is only one."""
        distinct = sorted(set(self.values.values()))
        return statistics.stdev(distinct) if len(distinct) > 1 else 0.0

    @property
    def distance(self) -> float:
        """Return the distance from the nearest value to the bound, negative where the value lies outside."""
        gaps = [value - self.low for value in self.values.values() if self.low is not None]
        gaps += [self.high - value for value in self.values.values() if self.high is not None]
        return min(gaps, default=math.inf)

    @property
    def deviations(self) -> float:
        """Return how many standard deviations the bound lies from the nearest value."""
        if self.distance < 0:
            return -math.inf
        return self.distance / self.deviation if self.deviation > 0 else math.inf


def stored(path: Path = RUNS) -> list[dict[str, Any]]:
    """Return the runs stored so far: of each lesson and setting the last."""
    if not path.exists():
        return []
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    return list({(row["lesson"], row["setting"]): row for row in rows}.values())


def margins(rows: Sequence[dict[str, Any]]) -> list[Margin]:
    """Return every bound and comparison of every claim, with its values under all settings that were run.

    The bounds are those of the last run; a claim is known by its lesson, its sentence and the evidence's name.
    """
    found: dict[tuple[str, str, str], Margin] = {}
    for row in rows:
        for claim in row["claims"]:
            for name, part in claim["evidence"].items():
                low, high = part.get("low"), part.get("high")
                if low is None and high is None:
                    continue
                key = (row["lesson"], claim["sentence"], name)
                margin = found.setdefault(key, Margin(*key, low, high))
                margin.low, margin.high = low, high
                margin.values[row["setting"]] = part["value"]
    return list(found.values())


def faults(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Return what is wrong in the stored runs, one sentence each: errors, false claims, other outputs, near bounds."""
    found = []
    for row in rows:
        where = f"{row['lesson']} under {row['setting']}"
        if row["error"]:
            found.append(f"{where} stopped: {row['error']}")
        found += [f"{where}: false: {claim['sentence']}" for claim in row["claims"] if not claim["holds"]]
        found += [f"{where}: a cell prints something else: {line}" for line in row["differs"]]
    for margin in margins(rows):
        if margin.deviations < LEAST_DEVIATIONS:
            found.append(
                f"{margin.lesson}: {margin.name!r} of '{margin.sentence}' lies {margin.deviations:.1f} standard "
                "deviations from its bound"
            )
    return found


@dataclass(frozen=True)
class Stated:
    """A claim as a lesson's code has it.

    Attributes:
        sentence: with dots for what the code computes.
        pattern: what fits the sentence that was recorded.
        bounds: of its evidence and conditions by name: lower and upper end; None where there is none, or where it is
            computed and only a run can tell.
    """

    sentence: str
    pattern: re.Pattern[str]
    bounds: dict[str, tuple[float | None, float | None] | None]


def stated(code: str) -> list[Stated]:
    """Return the claims in a cell's code."""
    try:
        tree = ast.parse(code)
    except SyntaxError:
        return []
    found = []
    for call in _claims(tree):
        parts = call.args[0].values if isinstance(call.args[0], ast.JoinedStr) else [call.args[0]]
        texts = [str(part.value) if isinstance(part, ast.Constant) else None for part in parts]
        pattern = "".join(".*" if text is None else re.escape(text) for text in texts).strip()
        bounds: dict[str, tuple[float | None, float | None] | None] = {}
        for condition in ast.walk(_noted(call.args[1]) if len(call.args) > 1 else ast.Pass()):
            if isinstance(condition, ast.Call) and ast.unparse(condition.func) == "__compared__":
                bounds[ast.literal_eval(condition.args[0])] = (0.0, None)
        for part in call.keywords:
            if part.arg and isinstance(part.value, ast.Call):
                kind = ast.unparse(part.value.func)
                ends = [_literal(end) for end in part.value.args[1:3]]
                if kind in ("at_least", "at_most", "between"):
                    both = {"at_least": (ends[0], None), "at_most": (None, ends[0])}.get(
                        kind, (ends[0], ends[-1])
                    )
                    bounds[part.arg] = both if any(end is not None for end in both) else None
        sentence = "".join("..." if text is None else text for text in texts).strip()
        found.append(Stated(sentence, re.compile(pattern + r"\s*"), bounds))
    return found


def _literal(node: ast.expr) -> float | None:
    try:
        return float(ast.literal_eval(node))
    except (ValueError, TypeError):
        return None


def present(rows: Sequence[dict[str, Any]], lessons: dict[str, list[Stated]]) -> list[dict[str, Any]]:
    """Return what the runs say of the claims that lessons make now, with the bounds that these have now.

    A claim is known by its sentence, or, where that was rewritten, by the names of its numbers. So a run counts for as
    long as these stay, however the code around them, or a bound, has changed since.
    """
    kept = []
    for row in rows:
        now = lessons.get(row["lesson"], [])
        said = [claim["sentence"] for claim in row["claims"]]
        rewritten = [new for new in now if not any(new.pattern.fullmatch(sentence) for sentence in said)]
        claims = []
        for claim in row["claims"]:
            same = [new for new in now if new.pattern.fullmatch(claim["sentence"])]
            alike = [new for new in rewritten if new.bounds and new.bounds.keys() <= claim["evidence"].keys()]
            if not same and len(alike) == 1:
                same, claim = alike, claim | {"sentence": alike[0].sentence}
            if same:
                evidence = {name: part for name, part in claim["evidence"].items() if name in same[0].bounds}
                for name, part in evidence.items():
                    if (ends := same[0].bounds[name]) is not None:
                        evidence[name] = part | {"low": ends[0], "high": ends[1]}
                claims.append(claim | {"evidence": evidence})
        kept.append(row | {"claims": claims})
    order = [*lessons, *(row["lesson"] for row in rows)]
    return sorted(kept, key=lambda row: order.index(row["lesson"]))


def unmeasured(claims: Iterable[Stated], rows: Sequence[dict[str, Any]], least: int = 1) -> list[str]:
    """Return the claims that have a number measured in fewer than ``least`` runs.

    Args:
        claims: of the lesson.
        rows: its runs, as `present` returns them.
        least: runs that count as measured.
    """
    measured = margins(rows)
    return [
        claim.sentence
        for claim in claims
        if any(
            not any(
                margin.name == name
                and claim.pattern.fullmatch(margin.sentence)
                and len(margin.values) >= least
                for margin in measured
            )
            for name in claim.bounds
        )
    ]


def lessons(notebooks: Path = NOTEBOOKS) -> dict[str, list[Stated]]:
    """Return the claims of every notebook, by the lesson's topic."""
    return {
        topic(path): [claim for cell in code_cells(path) for claim in stated(cell.source)]
        for path in sorted(notebooks.glob("*.ipynb"))
    }


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Return the table that people read, in Markdown."""
    settings = [name for name in SETTINGS if any(row["setting"] == name for row in rows)]
    lines = [
        "# Margins of the lessons' claims",
        "",
        "Written by `python -m tools.margins` from `margins.jsonl`, which holds every run. A row is one number of a",
        "claim: a bound among its evidence, or a comparison in its condition (then the number is how far the sides",
        "are apart, and the bound is 0). *SD* is the standard deviation of the distinct values; two settings that",
        "compute the same number are one observation. *Distance* is how many standard deviations lie between the bound",
        f"and the nearest value; {LEAST_DEVIATIONS:g} are required. Numbers that are the same under all settings are",
        "only counted.",
        "",
    ]
    lines += [
        "Settings: " + "; ".join(f"**{name}** `{_shell(SETTINGS[name])}`" for name in settings) + ".",
        "",
    ]
    for lesson in dict.fromkeys(row["lesson"] for row in rows):
        own = [row for row in rows if row["lesson"] == lesson]
        missing = [name for name in SETTINGS if name not in {row["setting"] for row in own}]
        lines += [f"## {lesson}", ""]
        lines += [
            f"Run under {len(own)} settings" + (f"; not under {'; '.join(missing)}." if missing else "."),
            "",
        ]
        wrong = [fault for fault in faults(own) if "from its bound" not in fault]
        lines += [f"- {fault}" for fault in wrong] + [""] * bool(wrong)
        found = margins(own)
        varying = [margin for margin in found if margin.deviation > 0]
        if varying:
            lines += [
                "| claim | number | bound | lowest | highest | SD | distance (SD) |",
                "|---|---|---|---|---|---|---|",
            ]
        for margin in sorted(varying, key=lambda margin: margin.deviations):
            low, high = min(margin.values.values()), max(margin.values.values())
            signs = ((">=", margin.low), ("<=", margin.high))
            ends = [f"{sign} {bound:g}" for sign, bound in signs if bound is not None]
            name = margin.name.replace("|", "\\|")
            lines.append(
                f"| {margin.sentence} | `{name}` | {', '.join(ends)} | {low:.4g} | {high:.4g} | {margin.deviation:.2g} "
                f"| {margin.deviations:.1f} |"
            )
        lines += ["", f"{len(found) - len(varying)} further numbers are the same under all settings.", ""]
    return "\n".join(lines).rstrip() + "\n"


def _shell(environment: dict[str, str]) -> str:
    return " ".join(f"{name}={value}" for name, value in environment.items())


def _of(rows: Sequence[dict[str, Any]], lesson: str, setting: str) -> list[dict[str, Any]]:
    """Return the run of a lesson under a setting, if it is stored and went to its end."""
    return [
        row for row in rows
        if (row["lesson"], row["setting"]) == (lesson, setting) and row["error"] is None
    ]  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what isn't stored yet, write the table, and print what is wrong."""
    parser = argparse.ArgumentParser(prog="python -m tools.margins", description=__doc__.split("\n")[0])
    parser.add_argument("lessons", nargs="*", help="numbers or topics of lessons, such as 07; none means all")
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, default=list(SETTINGS), metavar="NAME")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="run N lessons at a time")
    parser.add_argument("--table", action="store_true", help="run nothing, only write the table")
    chosen = parser.parse_args(arguments)
    paths = [
        path for path in sorted(NOTEBOOKS.glob("*.ipynb"))
        if not chosen.lessons or {path.stem, path.stem[:2], topic(path)} & set(chosen.lessons)
    ]  # fmt: skip
    claims = lessons()
    measured = present(stored(), claims)
    jobs = [
        (path, setting)
        for setting in chosen.settings
        for path in paths
        if unmeasured(claims[topic(path)], _of(measured, topic(path), setting))
    ]
    if not chosen.table:
        with ThreadPoolExecutor(max(1, chosen.jobs)) as pool:
            for running in as_completed([pool.submit(run, *job) for job in jobs]):
                row = running.result()
                with RUNS.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(row) + "\n")
                ended = "stopped" if row["error"] else "to its end"
                print(f"{row['lesson']}, {row['setting']}: {row['seconds']} s, {ended}", flush=True)
    rows = present(stored(), claims)
    TABLE.write_text(table(rows), encoding="utf-8")
    print("\n".join(faults(rows)) or f"All is well in {len(rows)} runs.")


if __name__ == "__main__":
    main()
