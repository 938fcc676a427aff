"""Place a run on one CPU, a GPU, or several processes, through Hugging Face accelerate."""

from __future__ import annotations

import atexit
import gc
import os
import re
import sys
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from kdcourse.errors import ArgumentError

# Set by accelerate's and PyTorch's launchers, and by MPI's: how many processes there are.
_WORLD_SIZES = ("WORLD_SIZE", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MV2_COMM_WORLD_SIZE")


def parse_device(device: str) -> tuple[str, int | None]:
    """Return kind and number (``None`` where there is none) of ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.

    Raises:
        ArgumentError: anything else.
    """
    found = re.fullmatch(r"(auto|cpu|cuda|mps)|(cuda):([0-9]{1,3})", device, re.ASCII)
    if found is None:
        raise ArgumentError(
            f"device must be auto, cpu, cuda, cuda:N (such as cuda:1) or mps; found {device!r}."
        )
    return (found[1], None) if found[1] else (found[2], int(found[3]))


_Choice = TypeVar("_Choice")


def _leave_the_others() -> None:
    """Take this process out of the group, which ends the threads that talk to the others.

    Left to run while Python shuts down, such a thread aborts the process as soon as it drops a tensor
    (https://github.com/pytorch/pytorch/pull/179291). After an error, what is on its way may never arrive: no waiting.
    """
    if torch.distributed.is_initialized() and not hasattr(sys, "last_value"):
        gc.collect()  # models whose wrappers hold the group
        torch.distributed.destroy_process_group()


class Placement:
    """Hold the device of this process and its part in the work.

    accelerate is loaded where several processes were launched, and only there: it takes seconds to
    import, and a process on its own has nothing to share.

    Args:
        device: ``auto`` (the accelerator that PyTorch finds, or the CPU), ``cpu``, ``cuda``, ``cuda:N``
            (the GPU of number N, from 0) or ``mps``. Where several processes were launched, each takes its own GPU.

    Raises:
        ArgumentError: a device that is unknown or not there; ``cuda:N`` with several processes.
    """

    def __init__(self, device: str = "auto") -> None:
        kind, number = parse_device(device)
        if kind == "cuda" and not torch.cuda.is_available():
            raise ArgumentError(
                f"device={device!r} was requested, and PyTorch found no CUDA GPU. Use device='auto'."
            )
        if number is not None and number >= torch.cuda.device_count():
            raise ArgumentError(
                f"device={device!r} was requested, and PyTorch found {torch.cuda.device_count()} CUDA GPU(s), "
                "numbered from 0. Take a lower number."
            )
        if device == "mps" and not torch.backends.mps.is_available():
            raise ArgumentError(
                "device='mps' was requested, and PyTorch found no Apple GPU. Use device='auto'."
            )
        self.rank, self.world, self.is_main = 0, 1, True
        if any(int(os.environ.get(name) or 1) > 1 for name in _WORLD_SIZES):
            if number is not None:
                raise ArgumentError(
                    f"device={device!r} names one GPU for several processes, which need one each. Take device='cuda', "
                    "and choose the GPUs with CUDA_VISIBLE_DEVICES."
                )
            from accelerate import Accelerator

            if not torch.distributed.is_initialized():
                # Loaded when there is a group, it would keep that group in the defaults of its functions, for good.
                from torch.distributed import nn as _  # noqa: F401

                atexit.register(_leave_the_others)
            self._accelerator = Accelerator(cpu=device == "cpu", mixed_precision="no")
            self.device: torch.device = self._accelerator.device
            self.rank = self._accelerator.process_index
            self.world = self._accelerator.num_processes
            self.is_main = self._accelerator.is_main_process
        elif device == "auto":
            self.device = torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
        else:
            self.device = torch.device(device)

    def wrap(self, model: nn.Module) -> nn.Module:
        """Return the model whose gradients are averaged over all processes; in a single process, the model itself."""
        if self.world == 1:
            return model
        wrapped: nn.Module = self._accelerator.prepare_model(model)
        return wrapped

    def share(self, tensors: Iterable[Tensor]) -> None:
        """Give every process the main one's values of ``tensors``, which `wrap` doesn't see."""
        if self.world > 1:
            from accelerate.utils import broadcast

            for tensor in tensors:
                tensor.data.copy_(broadcast(tensor.data))

    def backward(self, loss: Tensor, further: Sequence[Tensor] = ()) -> None:
        """Compute gradients, averaged over all processes: the wrapped model's, and those of ``further`` tensors."""
        if self.world == 1:
            loss.backward()
            return
        self._accelerator.backward(loss)
        for tensor in further:
            # One that this process's loss didn't reach takes part all the same: the others wait for it.
            gradient = torch.zeros_like(tensor) if tensor.grad is None else tensor.grad
            tensor.grad = self._accelerator.reduce(gradient, reduction="mean")

    def total(self, sums: Sequence[float]) -> list[float]:
        """Return sums over all processes."""
        if self.world == 1:
            return list(sums)
        parts = torch.tensor(sums, dtype=torch.float64, device=self.device)
        added: list[float] = self._accelerator.reduce(parts, reduction="sum").tolist()
        return added

    def agree(self, choice: _Choice) -> _Choice:
        """Return the main process's choice, in every process."""
        if self.world == 1:
            return choice
        from accelerate.utils import broadcast_object_list

        chosen: _Choice = broadcast_object_list([choice])[0]
        return chosen

    def progress_bar(self, total: int, initial: int, progress: bool | str) -> Any:
        """Return a tqdm bar, shown by the main process alone."""
        from tqdm.auto import tqdm

        label = progress if isinstance(progress, str) else "training"
        hidden = not progress or not self.is_main
        return tqdm(total=total, initial=initial, desc=label, unit="step", disable=hidden, mininterval=0.5)
