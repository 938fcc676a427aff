"""SimKD: a student that keeps the teacher's head for good (Chen et al. 2022)."""

from __future__ import annotations

import copy
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from kdcourse.data import Batch, Dataset
from kdcourse.distillation.arguments import check_sides
from kdcourse.distillation.distil import distil
from kdcourse.distillation.features import INPUT, Trial
from kdcourse.distillation.methods import Method, Outputs
from kdcourse.distillation.softening import at_least_float32
from kdcourse.errors import ArgumentError
from kdcourse.training import History, Settings
from kdcourse.training.guards import own_random_numbers


def simkd_loss(student_vectors: Tensor, teacher_vectors: Tensor) -> Tensor:
    """Compute the mean squared difference of vectors that one head reads.

    Args:
        student_vectors: after the projector, floating point [B, D]; gradients flow here.
        teacher_vectors: floating point [B, D]; detached.

    Returns:
        Scalar, float32, or float64 for float64 student vectors.

    Raises:
        ArgumentError: vectors that aren't two floating-point tensors [B, D] of one shape, or are empty.

    Source: Chen et al. 2022 (https://arxiv.org/abs/2203.14001), section 3.2, equation 3, as a mean over the values.
    """
    check_sides(student_vectors, teacher_vectors, "vectors")
    if (
        student_vectors.ndim != 2
        or student_vectors.shape != teacher_vectors.shape
        or not student_vectors.numel()
    ):
        raise ArgumentError(
            "student_vectors and teacher_vectors must be [batch, values] of one shape and not empty; found "
            f"{list(student_vectors.shape)} and {list(teacher_vectors.shape)}."
        )
    dtype = at_least_float32(student_vectors)
    return F.mse_loss(student_vectors.to(dtype), teacher_vectors.detach().to(dtype))


class SimKD(Method):
    """Compare what the teacher's head is given in both networks: `simkd_loss`."""

    # Not among the methods by name: for a student with a head of its own, it has no meaning.
    title = "SimKD: the teacher's head, reused"
    paper = "Chen et al. 2022, https://arxiv.org/abs/2203.14001"
    layers = "vector"

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> dict[str, Tensor]:
        return {"features": simkd_loss(student.feature, teacher.feature)}


class TeachersHead(nn.Module):
    """Bring a student's vectors [B, K] to the teacher's size by a trained projector, and apply the teacher's head.

    The head is a frozen copy. The projector is a linear layer.
    """

    def __init__(self, values: int, head: nn.Linear) -> None:
        super().__init__()
        self.projector = nn.Linear(values, head.in_features)
        self.head = copy.deepcopy(head).float().requires_grad_(False)

    def forward(self, vectors: Tensor) -> Tensor:
        """Return logits [B, C] of vectors [B, K]."""
        return self.head(self.projector(vectors))


def simkd(
    student: nn.Module,
    teacher: nn.Module,
    data: Dataset,
    settings: Settings | None = None,
    **changes: Any,
) -> History:
    """Replace the student's head by a projector and the teacher's head, and train all but that head in place.

    Labels aren't used: the student learns vectors that the teacher's head already reads. Afterwards the student is
    complete: it needs no teacher, and has the projector's and the head's parameters instead of its own head's. A fresh
    network of its architecture therefore can't load its weights.

    A method of `kdcourse.distillation.methods` leaves the student's architecture as it is; its nearest relative there
    is ``srrl``. Departure: the paper's projector is three convolutions before the last pooling; here it is a linear
    layer behind it, which fits any student that ends in one.

    Args:
        student: a fresh network whose last layer is linear; changed in place.
        teacher: a trained network for the same classes whose last layer is linear.
        data, settings: see `distil`.
        changes: further arguments of `distil`, such as ``epochs``.

    Returns:
        The history of the student's training.

    Raises:
        ArgumentError: a student or teacher whose last layer isn't linear, the student as its own teacher, and as
            `distil`.

    Source: Chen, Mei, Zhang, Wang, Feng, Chen 2022, Knowledge Distillation with the Reused Teacher Classifier
    (https://arxiv.org/abs/2203.14001), section 3.2.
    """
    given = sorted({"method", "alpha", "weights", "objective", "layers_of"} & changes.keys())
    if given:
        raise ArgumentError(f"simkd sets {', '.join(given)} itself. Leave it out, or use distil.")
    if student is teacher:
        raise ArgumentError("student and teacher are one and the same object. Build a fresh student.")
    images = data.normalise(data.train.images[:2])
    own, theirs = _head(student, images, "student"), _head(teacher, images, "teacher")
    with own_random_numbers(changes.get("seed", 0 if settings is None else settings.seed)):
        replaced = TeachersHead(own[1].in_features, theirs[1])
    place, _, name = own[0].rpartition(".")
    replaced.to(own[1].weight.device).train(student.training)
    setattr(student.get_submodule(place), name, replaced)
    return distil(student, teacher, data, settings, method=SimKD(), alpha=1.0, **changes)


def _head(network: nn.Module, images: Tensor, role: str) -> tuple[str, nn.Linear]:
    """Return a network's last linear layer with its name."""
    trial = Trial(network, images)
    (name,) = trial.layers("vector")
    head = trial.behind([name])[name]
    if not isinstance(head, nn.Linear):
        raise ArgumentError(
            f"simkd needs a {role} whose last layer is linear; found {type(head).__name__} at "
            f"{name.removesuffix(INPUT)}."
        )
    return name.removesuffix(INPUT), head
