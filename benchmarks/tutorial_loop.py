"""Compare `kdcourse.distillation.distil` with the loop of today's tutorials.

That loop has a torch DataLoader with two workers over a dataset whose images pass, one by one, through torchvision's
ToTensor and Normalize. For every batch the frozen teacher runs under no_grad, the loss is Hinton's, and the student
takes a step of SGD, all in float32. Our side runs the teacher once per image, which is part of its seconds, and
trains on the stored logits.

Both train the same student from the same weights with the same temperature, alpha, optimiser,
learning rates and number of steps. The two shuffle the images differently.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from benchmarks.harness import Measured, Settings
from benchmarks.task import (
    Task,
    distilled,
    distilled_from_fast_teacher,
    for_each_student,
    timed,
)
from kdcourse.data import Dataset, Split
from kdcourse.training.optimizers import make_optimizer, one_cycle


class Pictures(TorchDataset[tuple[Tensor, int]]):
    """Give images as torchvision's datasets do: PIL, then the transforms, one image per call."""

    def __init__(self, split: Split, data: Dataset) -> None:
        from torchvision import transforms

        self.images, self.labels = split.images.squeeze(1).numpy(), split.labels.tolist()
        self.transform = transforms.Compose(
            [transforms.ToTensor(), transforms.Normalize(data.mean, data.std)]
        )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        from PIL import Image

        return self.transform(Image.fromarray(self.images[index])), self.labels[index]


def loss_of(
    logits: Tensor, teacher_logits: Tensor, labels: Tensor, temperature: float, alpha: float
) -> Tensor:
    """Compute ``alpha * T^2 * KL`` with the teacher plus ``(1 - alpha)`` cross-entropy with the labels."""
    soft_targets = F.softmax(teacher_logits / temperature, dim=-1)
    soft_prob = F.log_softmax(logits / temperature, dim=-1)
    soft_loss = F.kl_div(soft_prob, soft_targets, reduction="batchmean") * temperature**2
    return alpha * soft_loss + (1 - alpha) * F.cross_entropy(logits, labels)


def train(task: Task, settings: Settings) -> None:
    """Train ``task.student`` as tutorials do."""
    loader = DataLoader(
        Pictures(task.data.train, task.data), batch_size=settings["batch_size"], shuffle=True, num_workers=2,
        drop_last=True,
    )  # fmt: skip
    teacher, student = task.teacher, task.student
    optimizer = make_optimizer(
        "sgd", student, learning_rate=settings["learning_rate"], weight_decay=settings["weight_decay"]
    )
    total = settings["epochs"] * len(loader)
    scheduler = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: one_cycle((step + 1) / (total + 1), settings["warm_up"])
    )
    teacher.eval()
    student.train()
    for _ in range(settings["epochs"]):
        running_loss = 0.0
        for images, labels in loader:
            optimizer.zero_grad()
            with torch.no_grad():
                teacher_logits = teacher(images)
            loss = loss_of(
                student(images), teacher_logits, labels, settings["temperature"], settings["alpha"]
            )
            loss.backward()
            optimizer.step()
            scheduler.step()
            running_loss += loss.item()


def tutorial(settings: Settings) -> Measured:
    """Run the loop above."""
    return timed(train, settings)


BENCHMARKS = for_each_student(
    "tutorial_loop",
    "the loop that tutorials teach",
    {
        "kdcourse": distilled,
        "kdcourse, fast teacher": distilled_from_fast_teacher,
        "tutorial loop": tutorial,
    },
)
