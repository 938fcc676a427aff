"""A task small enough for every test: which quarter of an 8x8 picture is bright."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from kdcourse.data import Augmentation, Dataset, Split

CLASSES = 4
AUGMENTATION = Augmentation(shift=1, flip=True, erase=0.5, erase_sides=(2, 4))


def split(pictures: int, seed: int = 0) -> Split:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(CLASSES, (pictures,), generator=generator)
    images = torch.randint(100, (pictures, 1, 8, 8), generator=generator)
    for image, label in zip(images, labels.tolist(), strict=True):
        row, column = divmod(label, 2)
        image[:, row * 4 : row * 4 + 4, column * 4 : column * 4 + 4] += 150
    return Split(images.to(torch.uint8), labels)


def dataset() -> Dataset:
    return Dataset("quarters", tuple("abcd"), split(70), split(20, 1), split(20, 2))


def constant_teacher() -> Teacher:
    """Return a teacher that gives every image the same logits, as one does whose last layer was never trained."""
    teacher = Teacher()
    nn.init.zeros_(teacher.head.weight)
    return teacher


class Teacher(nn.Module):
    """A network with the parts that training could change: weights, BatchNorm statistics, dropout."""

    def __init__(self, seed: int = 0, classes: int = CLASSES) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.features = nn.Conv2d(1, 3, 3, padding=1)
            self.norm = nn.BatchNorm2d(3)
            self.drop = nn.Dropout(0.5)
            self.head = nn.Linear(3 * 64, classes)
            self.norm.running_mean.normal_()

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.drop(self.norm(self.features(images)).relu()).flatten(1))


def quarter_reader(order: tuple[int, ...] = (0, 1, 2, 3)) -> nn.Module:
    """A network that solves the task, naming quarter ``k`` as class ``order[k]``."""
    reader = nn.Sequential(nn.AvgPool2d(4), nn.Flatten(), nn.Linear(4, 4, bias=False))
    reader[2].weight = nn.Parameter(torch.eye(4)[:, list(order)] * 3)
    return reader


def state(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same_state(model: nn.Module, before: dict[str, Tensor]) -> bool:
    return all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
