"""Run ONNX files with onnxruntime, and compare the times of two files of any kind."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from time import get_clock_info, perf_counter, thread_time
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from kdcourse.deploy.onnx_export import OUTPUT, check_packages

_BATCH = 250
_ROUNDS, _CALLS = 40, 10


class OnnxFile:
    """Hold a session of onnxruntime on the CPU for a file's content that takes ``pixels``, with one thread.

    Raises:
        ImportError: onnxruntime is missing; says how to install it.
    """

    def __init__(self, content: bytes) -> None:
        check_packages("onnxruntime")
        runtime: Any = importlib.import_module("onnxruntime")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        self.version = runtime.__version__
        self._session = runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])

    def logits(self, images: Tensor) -> Tensor:
        """Return logits: uint8 [N, C, H, W] -> float32 [N, classes]."""
        return torch.from_numpy(np.concatenate([self._run(batch.numpy()) for batch in images.split(_BATCH)]))

    def _run(self, pixels: np.ndarray) -> np.ndarray:
        found: np.ndarray = self._session.run([OUTPUT], {"pixels": pixels})[0]
        return found


class Runnable(Protocol):
    """Describe a file that is ready to run in one thread: `OnnxFile` or `ExecutorchFile`."""

    def _run(self, pixels: np.ndarray) -> np.ndarray: ...


@dataclass(frozen=True)
class Times:
    """Hold milliseconds for one image of two files, and the ratio of the second to the first: median and quartiles."""

    first_ms: float
    second_ms: float
    ratio: float
    ratio_quartiles: tuple[float, float]


def compare_times(first: Runnable, second: Runnable, image: Tensor) -> Times:
    """Time two files on one image uint8 [1, C, H, W], in turn, so that other programs slow both alike.

    The time is the thread's processor time where the system counts it in microseconds, and the clock's elsewhere.
    """
    clock = thread_time if get_clock_info("thread_time").resolution <= 1e-6 else perf_counter
    pixels, seconds = image.numpy(), np.empty((2, _ROUNDS))
    for part in range(-1, _ROUNDS):  # the first round warms up
        for which, file in enumerate((first, second)):
            start = clock()
            for _ in range(_CALLS):
                file._run(pixels)
            seconds[which, max(part, 0)] = (clock() - start) / _CALLS
    low, middle, high = np.quantile(seconds[1] / seconds[0], [0.25, 0.5, 0.75])
    ms = 1e3 * np.median(seconds, axis=1)
    return Times(float(ms[0]), float(ms[1]), float(middle), (float(low), float(high)))
