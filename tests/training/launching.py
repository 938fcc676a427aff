"""Start a program as `accelerate launch` does, in two CPU processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def in_two_processes(*program: str) -> str:
    """Run a script, or ``-m`` and a module, with its arguments, to its end; return what it printed."""
    # --cpu would start a single process (several need MPI); --multi_gpu starts as many as asked for, GPUs or none,
    # and fit(device="cpu") keeps them on the CPU. Port 0 takes one that is free.
    command = [
        sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2",
        "--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0",
        *program,
    ]  # fmt: skip
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True,
    ) as launcher:  # fmt: skip
        try:
            said, _ = launcher.communicate(timeout=280)
        except BaseException:
            os.killpg(launcher.pid, signal.SIGKILL)  # the processes that it started, too
            raise
    assert launcher.returncode == 0, said[-3000:]
    return said
