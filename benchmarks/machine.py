"""Describe the machine of a result; ``python -m benchmarks.machine`` prints it as JSON."""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from pathlib import Path
from typing import Any

import torch


def describe() -> dict[str, Any]:
    """Return processor, cores, threads, versions, and the measured peaks of matrix products in TFLOP/s."""
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "peak_tflops": {
            "float32": matmul_peak(torch.float32) / 1e12,
            "bfloat16": matmul_peak(torch.bfloat16) / 1e12,
        },
    }


def processor() -> str:
    """Return the processor's name, if the system tells it."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    if sys.platform == "darwin":
        import subprocess

        asked = subprocess.run(["sysctl", "-n", "machdep.cpu.brand_string"], capture_output=True, text=True)
        if asked.returncode == 0:
            return asked.stdout.strip()
    return platform.processor() or platform.machine()


def matmul_peak(
    dtype: torch.dtype, device: torch.device | str = "cpu", *, sizes: tuple[int, ...] = (512, 1024, 2048),
    seconds: float = 1.0,
) -> float:  # fmt: skip
    """Measure the fastest square matrix product, in floating-point operations per second.

    Products of growing size are timed, each size for its share of ``seconds``. A size that would take longer than
    ``seconds`` is skipped (bfloat16 is slow where it is emulated).
    """
    best = 0.0
    for size in sizes:
        operations = 2 * size**3
        if best and operations / best > seconds:
            break
        a = torch.randn(size, size, device=device).to(dtype)
        b = torch.randn(size, size, device=device).to(dtype)
        a @ b
        until = time.perf_counter() + seconds / len(sizes)
        while True:
            _synchronise(a)
            start = time.perf_counter()
            a @ b
            _synchronise(a)
            now = time.perf_counter()
            best = max(best, operations / (now - start))
            if now > until:
                break
    return best


def _synchronise(tensor: torch.Tensor) -> None:
    if tensor.device.type == "cuda":
        torch.cuda.synchronize(tensor.device)
    elif tensor.device.type == "mps":
        torch.mps.synchronize()


if __name__ == "__main__":
    print(json.dumps(describe()))
