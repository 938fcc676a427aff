"""Run one side once in this process: ``python -m benchmarks.worker TASK``, JSON in, JSON out."""

from __future__ import annotations

import importlib
import json
import os
import re
import sys
import threading
import traceback
from pathlib import Path
from typing import Any

from benchmarks.harness import Comparison, Measured, NotInstalledError


def run(task: dict[str, Any]) -> dict[str, Any]:
    """Run the side that ``task`` names and return the fields of its `benchmarks.harness.Run`."""
    try:
        measured = _measure(task)
    except NotInstalledError as error:
        return {"status": "not installed", "message": str(error)}
    except Exception as error:
        traceback.print_exc()
        last = traceback.format_exception_only(error)[-1].strip().splitlines()[-1]
        return {"status": "failed", "message": last}
    return {
        "status": "measured",
        "seconds": measured.seconds,
        "accuracy": measured.accuracy,
        "details": measured.details,
        "peak_memory": peak_memory(),
    }


def peak_memory() -> int:
    """Return the peak resident bytes of this process."""
    if sys.platform == "linux":
        # On Linux ru_maxrss starts from the parent's size at the time of the fork.
        status = Path("/proc/self/status").read_text()
        if found := re.search(r"VmHWM:\s+(\d+) kB", status):
            return int(found[1]) * 1024
    if sys.platform == "win32":
        import psutil

        return int(psutil.Process().memory_info().peak_wset)
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _measure(task: dict[str, Any]) -> Measured:
    module = importlib.import_module(task["module"])
    benchmark = next(each for each in module.BENCHMARKS if each.name == task["benchmark"])
    if isinstance(benchmark, Comparison):
        return benchmark.sides[task["side"]](task["settings"])
    measured: Measured = benchmark.side(task["settings"], task["size"])
    return measured


def _end_with_parent() -> None:
    """End this process and its children when stdin closes, which means that the harness has ended."""
    # Not sys.stdin: a thread that waits in it holds a lock that the interpreter needs at exit.
    while os.read(0, 1):
        pass
    import psutil

    for child in psutil.Process().children(recursive=True):
        child.kill()
    os._exit(1)


def main() -> None:
    """Run the task of the first argument; only its JSON is written to stdout."""
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print goes to stderr
    threading.Thread(target=_end_with_parent, daemon=True).start()
    print(json.dumps(run(json.loads(sys.argv[1]))), file=answer, flush=True)


if __name__ == "__main__":
    main()
