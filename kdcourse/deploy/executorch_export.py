"""Write a student as a program for ExecuTorch, PyTorch's runtime on phones and small boards, and run such a program."""

from __future__ import annotations

import importlib
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import torch
from packaging.version import Version
from torch import Tensor, nn

from kdcourse.deploy.onnx_export import (
    Exportable,
    ask,
    brief,
    check_arguments,
    copy_of,
    largest_difference,
    quiet,
    random_images,
)
from kdcourse.errors import ArgumentError

_OLDEST = "1.0"  # the first release whose interface is promised to stay
_CURE = "\n    pip install --upgrade executorch"
_TOLERANCE = 1e-4  # as in `kdcourse.deploy.export_onnx`
FACTS = "kdcourse_facts"  # the method that returns classes, normalisation and notes


def export_executorch(
    model: nn.Module,
    *,
    image_shape: tuple[int, int, int],
    classes: Sequence[str],
    mean: Sequence[float],
    std: Sequence[float],
    notes: Mapping[str, Any] | None = None,
) -> bytes:
    """Return the content of a ``.pte`` file for ExecuTorch (https://executorch.ai), in float, after comparing answers.

    Its method ``forward`` takes one image, uint8 [1, C, H, W] with values 0 to 255, not normalised, and returns logits
    float32 [1, classes]: memory is planned when the file is written, and for one image it is smallest. Layers are run
    by the backend XNNPACK, which the device's runtime must contain, the rest by ExecuTorch's portable kernels. The
    method ``kdcourse_facts`` takes nothing and returns classes, mean, std and notes as JSON.

    Args:
        model: float32 [B, C, H, W] -> logits [B, classes]; it isn't changed.
        image_shape, classes, mean, std, notes: see `kdcourse.deploy.export_onnx`.

    Raises:
        ArgumentError: arguments that don't fit one another or the model; a model that can't be written, or whose file
            answers otherwise than PyTorch.
        ImportError: executorch is missing, too old, or made for another torch; says what to install.
    """
    check_arguments(image_shape, classes, mean, std)
    check_executorch()
    twin = Exportable(copy_of(model), mean, std).eval()
    images = random_images(5, image_shape, seed=0)
    answers = torch.cat([ask(twin, image, classes) for image in images.split(1)])
    facts = {"classes": list(classes), "mean": list(mean), "std": list(std), **(notes or {})}
    content = _translated(twin, images[:1], facts)
    try:
        difference = largest_difference(ExecutorchFile(content).logits(images), answers)
    except Exception as error:  # the runtime raises errors of its own kinds
        raise ArgumentError(f"ExecuTorch can't run the exported file: {brief(error)}.") from error
    if not difference <= _TOLERANCE:
        raise ArgumentError(
            f"The file for ExecuTorch answers otherwise than the model: its logits are {difference:.1e} of the largest "
            f"one apart, {_TOLERANCE:.0e} allowed. A model must give the same answer twice: look for random numbers in "
            "its forward pass."
        )
    return content


def check_executorch() -> str:
    """Return the version of executorch, or raise ImportError with a cure if it is missing or can't be used."""
    try:
        found = version("executorch")
    except PackageNotFoundError as error:
        raise ImportError(
            "Writing for ExecuTorch needs executorch, which is not installed here. Install it with\n"
            "    pip install executorch"
        ) from error
    if Version(found) < Version(_OLDEST):
        raise ImportError(
            f"executorch {found} is too old; {_OLDEST} or newer is needed. Install it with{_CURE}"
        )
    try:
        with _quiet():
            importlib.import_module("executorch.exir")
            importlib.import_module("executorch.runtime")
            importlib.import_module("executorch.backends.xnnpack.partition.xnnpack_partitioner")
    except (ImportError, OSError) as error:
        raise ImportError(
            f"executorch {found} can't be used with torch {torch.__version__}: {brief(error)}. Each release is "
            f"compiled against one release of torch. Install one that fits with{_CURE}"
        ) from error
    return found


class ExecutorchFile:
    """Hold a program of ExecuTorch that takes one image of ``pixels``; it is run on the CPU with one thread.

    The number of threads is the process's: other programs of ExecuTorch in it get one thread as well.

    Raises:
        ImportError: executorch is missing or can't be used; says what to install.
    """

    def __init__(self, content: bytes) -> None:
        self.version = check_executorch()
        with _quiet():
            library: Any = importlib.import_module("executorch.extension.pybindings.portable_lib")
            runtime: Any = importlib.import_module("executorch.runtime")
            if library._threadpool_get_thread_count() != 1:
                library._unsafe_reset_threadpool(1)
            self._program = runtime.Runtime.get().load_program(content)
            self._forward = self._program.load_method("forward")

    def logits(self, images: Tensor) -> Tensor:
        """Return logits: uint8 [N, C, H, W] -> float32 [N, classes]."""
        return torch.from_numpy(np.concatenate([self._run(image.numpy()) for image in images.split(1)]))

    def facts(self) -> dict[str, Any]:
        """Return classes, mean, std and notes."""
        found: dict[str, Any] = json.loads(self._program.load_method(FACTS).execute(())[0])
        return found

    def _run(self, pixels: np.ndarray) -> np.ndarray:
        found: np.ndarray = self._forward.execute((torch.from_numpy(pixels),))[0].numpy()
        return found


def _translated(model: Exportable, image: Tensor, facts: Mapping[str, Any]) -> bytes:
    exir: Any = importlib.import_module("executorch.exir")
    xnnpack: Any = importlib.import_module("executorch.backends.xnnpack.partition.xnnpack_partitioner")
    try:
        with _quiet():
            # XNNPACK, because the portable kernels took nearly 100 times as long for a student of 17,000 parameters.
            program = exir.to_edge_transform_and_lower(
                torch.export.export(model, (image,)), partitioner=[xnnpack.XnnpackPartitioner()],
                constant_methods={FACTS: json.dumps(facts)},
            )  # fmt: skip
            content: bytes = program.to_executorch().buffer
    except Exception as error:  # torch and executorch raise errors of many kinds here
        raise ArgumentError(
            f"ExecuTorch can't take this model: {brief(error)}. Usual causes: an operator that it lacks, branches that "
            "depend on the images' values."
        ) from error
    return bytes(content)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence messages to developers of exporters, as executorch and torchao write them through the root logger too."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with quiet():
            yield
    finally:
        logging.disable(level)
