"""nbval as the tests run it: strict, one process a notebook, away from the user's own files."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
SANITIZE = Path(__file__).with_name("measured.cfg")
# nbval notices a dead kernel only after this time; a processor without AVX trains several times slower than ours.
CELL_SECONDS, NOTEBOOK_SECONDS = 1200, 2400
# The command line of the surrounding pytest, and its coverage, are not for this one. A kernel under coverage would
# be slow, and tests elsewhere see to coverage.
_NOT_PASSED_ON = re.compile(r"PYTEST_|COV_|COVERAGE_")


@dataclass(frozen=True)
class Outcome:
    """How a run ended: its exit code, the cells that passed, and all that was printed."""

    code: int
    passed: int
    text: str


def nbval(notebook: Path, scratch: Path) -> Outcome:
    """Run every cell of ``notebook`` and compare its outputs with the stored ones, to the letter.

    The digits that a claim measured are left out, its words and bound are not (`SANITIZE`). There is no other pattern:
    timings, paths and memory addresses may not be in a stored output in the first place.
    """
    command = [
        sys.executable, "-m", "pytest", "-q", "--nbval", "--nbval-current-env", f"--nbval-cell-timeout={CELL_SECONDS}",
        f"--nbval-sanitize-with={SANITIZE}",
        "--override-ini=addopts=", "-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:cov", str(notebook),
    ]  # fmt: skip
    environment = {name: value for name, value in os.environ.items() if not _NOT_PASSED_ON.match(name)}
    path = os.pathsep.join([str(ROOT), os.environ["PYTHONPATH"]])
    environment |= {"KDCOURSE_RUNS": str(scratch / "runs"), "PYTHONPATH": path}
    done = subprocess.run(
        command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=NOTEBOOK_SECONDS
    )
    text = done.stdout + done.stderr
    passed = re.search(r"(\d+) passed", text)
    return Outcome(done.returncode, int(passed[1]) if passed else 0, text)
