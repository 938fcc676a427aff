"""Programs for ExecuTorch are run by its own runtime, where that is installed."""

from __future__ import annotations

import sys
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from kdcourse import models
from kdcourse.deploy import ExecutorchFile, compare_times, export_executorch
from kdcourse.deploy import executorch_export as room
from kdcourse.errors import ArgumentError

CLASSES = ("cat", "dog", "gnu")
MEAN, STD = (0.3,), (0.35,)


def exported(model: nn.Module, **changes: Any) -> bytes:
    how: dict[str, Any] = {"image_shape": (1, 12, 12), "classes": CLASSES, "mean": MEAN, "std": STD}
    return export_executorch(model, **how | changes)


def network() -> nn.Module:
    torch.manual_seed(0)
    return models.PocketCNN(3, 1, widths=(4, 6), depths=(1, 0)).eval()


def test_program_answers_as_pytorch_and_tells_what_it_is() -> None:
    pytest.importorskip("executorch")
    model = network().train()
    content = exported(model, notes={"licence": "MIT"})
    assert model.training
    file = ExecutorchFile(content)
    images = torch.randint(0, 256, (7, 1, 12, 12), dtype=torch.uint8)
    with torch.no_grad():
        wanted = model.eval()((images / 255 - MEAN[0]) / STD[0])
    torch.testing.assert_close(file.logits(images), wanted, rtol=1e-4, atol=1e-4)
    assert file.facts() == {"classes": list(CLASSES), "mean": list(MEAN), "std": list(STD), "licence": "MIT"}
    assert b"XnnpackBackend" in content  # layers run there, not in portable kernels
    assert str(room.__file__).encode() not in content and b".py" not in content
    assert compare_times(file, file, images[:1]).first_ms > 0


class Noisy(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return torch.rand(len(images), 3)


class Branching(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(1)[:, :3] * (2 if images.sum() > 0 else 1)


@pytest.mark.parametrize(
    ("model", "message"),
    [(Branching(), "ExecuTorch can't take this model: .*branches"), (Noisy(), "can't|answers otherwise")],
)
def test_what_cannot_be_written_is_refused(model: nn.Module, message: str) -> None:
    pytest.importorskip("executorch")
    with pytest.raises(ArgumentError, match=message):
        exported(model)


def test_version_that_cannot_be_used_is_told_with_its_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "version", lambda name: "0.7.0")
    with pytest.raises(
        ImportError, match=r"executorch 0\.7\.0 is too old.*\n.*pip install --upgrade executorch"
    ):
        exported(network())
    monkeypatch.setattr(room, "version", lambda name: "99.0")
    monkeypatch.setitem(sys.modules, "executorch", None)
    monkeypatch.setitem(sys.modules, "executorch.exir", None)
    with pytest.raises(ImportError, match=r"executorch 99\.0 can't be used with torch .*\n.*--upgrade"):
        exported(network())
