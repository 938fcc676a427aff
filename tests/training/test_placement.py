from __future__ import annotations

import pytest
import torch

from kdcourse.errors import ArgumentError
from kdcourse.training.placement import Placement, parse_device


@pytest.mark.parametrize(
    ("device", "wanted"),
    [
        ("auto", ("auto", None)),
        ("cpu", ("cpu", None)),
        ("mps", ("mps", None)),
        ("cuda", ("cuda", None)),
        ("cuda:0", ("cuda", 0)),
        ("cuda:12", ("cuda", 12)),
    ],
)
def test_devices_by_name_and_number(device: str, wanted: tuple[str, int | None]) -> None:
    assert parse_device(device) == wanted


@pytest.mark.parametrize(
    "device",
    ["", "gpu", "cuda:", "cuda:-1", "cuda:1.0", "cuda:one", "cuda:\u0661", "cpu:0", "CUDA", "cuda:1\n"],
)
def test_anything_else_is_refused(device: str) -> None:
    with pytest.raises(
        ArgumentError, match=r"must be auto, cpu, cuda, cuda:N \(such as cuda:1\) or mps; found"
    ):
        parse_device(device)


def test_a_gpu_by_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert Placement("cuda:1").device == torch.device("cuda", 1)
    with pytest.raises(
        ArgumentError, match=r"device='cuda:2' was requested, and PyTorch found 2 CUDA GPU\(s\)"
    ):
        Placement("cuda:2")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ArgumentError, match="device='cuda:1' names one GPU for several processes"):
        Placement("cuda:1")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ArgumentError, match="device='cuda:0' was requested, and PyTorch found no CUDA GPU"):
        Placement("cuda:0")
