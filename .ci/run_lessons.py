"""Run notebooks in the Python that runs this file, and say of each its seconds, its memory and what is missing.

Used by .ci/colab and .ci/binder. A lesson passes when no cell fails and every cell that has outputs in the stored
notebook has outputs again; whether they are the same to the letter is for nbval, on the versions that CI pins.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import threading
import time
from pathlib import Path

import nbformat
import psutil
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat.v4 import new_code_cell

CELL_SECONDS = 900


class Memory:
    """Looks twice a second at what all processes below the caller of this one hold, and keeps the most."""

    def __init__(self) -> None:
        self.most = 0
        self._over = threading.Event()
        threading.Thread(target=self._look, daemon=True).start()

    def _look(self) -> None:
        caller = psutil.Process(os.getppid())
        while not self._over.wait(0.5):
            held = 0
            for process in caller.children(recursive=True):
                with contextlib.suppress(psutil.Error):
                    held += process.memory_info().rss
            self.most = max(self.most, held)

    def in_gigabytes(self) -> float:
        """The most since the start; looks no further."""
        self._over.set()
        return self.most / 1e9


def run(notebook: Path, after_set_up: str) -> tuple[float, str]:
    """Seconds, and what went wrong; nothing when nothing did."""
    fresh = nbformat.read(notebook, as_version=4)
    speaking = [cell for cell in fresh.cells if cell.cell_type == "code" and cell.outputs]
    for cell in speaking:
        cell.outputs = []
    if after_set_up:
        place = next(number for number, cell in enumerate(fresh.cells) if cell.id == "set-up")
        fresh.cells.insert(place + 1, new_code_cell(after_set_up, id="added"))
    client = NotebookClient(fresh, timeout=CELL_SECONDS, iopub_timeout=60, kernel_name="python3")
    began = time.perf_counter()
    try:
        client.execute()
    except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
        return time.perf_counter() - began, str(error)
    silent = [cell.id for cell in speaking if not cell.outputs]
    return time.perf_counter() - began, f"no output of {', '.join(silent)}" if silent else ""


def main() -> int:
    """Run the notebooks named on the command line; 1 where one of them failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("notebooks", nargs="+", type=Path)
    parser.add_argument("--after-set-up", default="", help="code to run after the first code cell")
    chosen = parser.parse_args()
    failed = 0
    for notebook in chosen.notebooks:
        memory = Memory()
        seconds, wrong = run(notebook, chosen.after_set_up)
        held = f"{memory.in_gigabytes():.1f} GB"
        print(f"{notebook.stem}: {seconds:.0f} s, {held}, {wrong or 'every cell ran'}", flush=True)
        failed += bool(wrong)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
