"""Ends while numbers are on their way to the other process: ``leaving.py``, for `test_two_processes`."""

from __future__ import annotations

import torch
from torch import nn

from kdcourse.training.placement import Placement


def main() -> None:
    place = Placement("cpu")
    model = place.wrap(nn.Linear(3, 3))
    place.backward(model(torch.ones(2, 3)).sum())
    for _ in range(20):
        torch.distributed.all_reduce(torch.rand(2_000_000), async_op=True)


if __name__ == "__main__":
    main()
