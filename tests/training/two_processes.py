"""What `test_two_processes` runs in one process and in two: ``two_processes.py FOLDER``."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path

import torch
from torch import Tensor, nn

from kdcourse.data import IGNORE, Batch, MaskedSplit, SegmentationDataset
from kdcourse.distillation import distil
from kdcourse.training import checkpoint, cross_entropy, fit, save_weights
from kdcourse.training.placement import Placement
from tests.distillation import tiny
from tests.training.toys import FIT, plain_net, write_history


class Stop(Exception):
    """The run is broken off."""


class Hinted(nn.Module):
    """An objective with a layer of its own, which begins differently in every process."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.layer = nn.Linear(4, 3)

    def forward(self, logits: Tensor, batch: Batch) -> dict[str, Tensor]:
        hint = (self.layer(logits) - 1).square().mean()
        return {"loss": cross_entropy(logits, batch) + hint, "hint": hint}


def stop(epoch: int, step: int, loss: float) -> None:
    if (epoch, step) == (1, 3):
        raise Stop


def seen() -> SegmentationDataset:
    """Return masks, of which some images have many pixels left out and others few."""
    torch.manual_seed(0)
    masks = torch.randint(3, (110, 4, 4)).to(torch.uint8)
    images = torch.stack([masks == 1, masks == 2, masks == 7], 1).to(torch.uint8) * 200
    masks[::3, 1:] = IGNORE
    parts = zip(images.split([70, 20, 20]), masks.split([70, 20, 20]), strict=True)
    return SegmentationDataset("squares", tuple("abc"), *(MaskedSplit(*part) for part in parts))


def _pixels(seed: int) -> nn.Conv2d:
    torch.manual_seed(seed)
    return nn.Conv2d(3, 3, 1)


def main(folder: Path) -> None:
    """Train in one go, broken off in the middle of an epoch and on from there, and with further settings."""
    torch.set_num_threads(1)
    place = Placement("cpu")
    mine = folder / f"process{place.rank}of{place.world}"
    mine.mkdir(parents=True)
    written: list[str] = []
    write = checkpoint.write_tensors
    checkpoint.write_tensors = lambda path, *content: (written.append(path.name), write(path, *content))  # type: ignore[assignment]
    data = tiny.dataset()
    settings = FIT | {"augmentation": tiny.AUGMENTATION, "checkpoint_every": 2}

    model = plain_net()
    history = fit(model, data, checkpoint=folder / "whole.safetensors", **settings)
    save_weights(model, mine / "whole.safetensors")
    write_history(history, mine / "whole.json")

    broken = folder / "broken.safetensors"
    with suppress(Stop):
        fit(plain_net(), data, checkpoint=broken, after_step=stop, **settings)
    model = plain_net(seed=9)
    history = fit(model, data, checkpoint=broken, **settings)
    save_weights(model, mine / "resumed.safetensors")
    write_history(history, mine / "resumed.json")

    model, hinted = plain_net(), Hinted(seed=place.rank)
    history = fit(model, data, objective=hinted, **settings)
    save_weights(model, mine / "hinted.safetensors")
    save_weights(hinted, mine / "objective.safetensors")
    write_history(history, mine / "hinted.json")

    # Half of a batch weighs more than the other, and the best epoch must be the same in every process.
    for name, task, student, rate in (
        ("weighed", data, plain_net(), 0.05),
        ("masks", seen(), nn.Conv2d(3, 3, 1), 0.5),
    ):
        torch.manual_seed(0)
        for parameter in student.parameters():
            nn.init.normal_(parameter, std=0.3)
        asked = settings | {
            "learning_rate": rate,
            "label_smoothing": 0.1,
            "keep": "best",
            "augmentation": None,
        }
        history = fit(student, task, class_weights=[0.2, 5, 1, 1][: len(task.classes)], **asked)
        save_weights(student, mine / f"{name}.safetensors")
        write_history(history, mine / f"{name}.json")

    # Processes see other numbers of pixels that count, also where nothing is weighed.
    task, teacher = seen(), _pixels(7)
    for name in ("plain_masks", "pixelwise"):
        student = _pixels(0)
        asked = settings | {"learning_rate": 0.5, "augmentation": None}
        if name == "pixelwise":
            history = distil(student, teacher, task, method="pixelwise", alpha=0.7, cache=False, **asked)
        else:
            history = fit(student, task, **asked)
        save_weights(student, mine / f"{name}.safetensors")
        write_history(history, mine / f"{name}.json")

    choice = place.agree(f"process {place.rank} chose")
    (mine / "notes.txt").write_text(f"{choice}\n{len(written)} checkpoints written\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
