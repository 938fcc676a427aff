"""Answers in other words than the exercises' own examples, right and wrong."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.course.learners import Answers

ANSWERS = Answers()
wrong, right = ANSWERS.add_wrong, ANSWERS.add_right

# -- hint_term ----------------------------------------------------------------------------------


def convolved(student: Tensor, weight: Tensor) -> Tensor:
    return F.conv2d(student, weight[:, :, None, None])


def by_convolution(student: Tensor, teacher: Tensor, weight: Tensor) -> Tensor:
    return F.mse_loss(convolved(student, weight), teacher.detach())


def by_rows(student: Tensor, teacher: Tensor, weight: Tensor) -> Tensor:
    rows = student.permute(0, 2, 3, 1) @ weight.T
    with torch.no_grad():
        wanted = teacher.permute(0, 2, 3, 1)
    return ((rows - wanted.detach()) ** 2).sum() / rows.numel()


right("hint_term", by_convolution, by_rows)
wrong(
    "hint_term",
    sum_for_mean=lambda s, t, w: F.mse_loss(convolved(s, w), t.detach(), reduction="sum"),
    divided_by_the_images_alone=lambda s, t, w: (
        F.mse_loss(convolved(s, w), t.detach(), reduction="sum") / s.shape[0]
    ),
    half_of_it=lambda s, t, w: 0.5 * F.mse_loss(convolved(s, w), t.detach()),
    absolute_for_squared=lambda s, t, w: F.l1_loss(convolved(s, w), t.detach()),
    root_of_the_mean=lambda s, t, w: F.mse_loss(convolved(s, w), t.detach()) ** 0.5,
    rectified_first=lambda s, t, w: F.mse_loss(F.relu(convolved(s, w)), t.detach()),
    teacher_mixed_for_student=lambda s, t, w: F.mse_loss(s, convolved(t.detach(), w.T)),
    convolution_not_trained=lambda s, t, w: F.mse_loss(convolved(s, w.clone().detach()), t.detach()),
    teacher_trained_as_well=lambda s, t, w: F.mse_loss(convolved(s, w), t),
)

# -- attention_map ------------------------------------------------------------------------------


def clamped(maps: Tensor) -> Tensor:
    energy = torch.flatten((maps**2).sum(1), 1)
    return energy / energy.norm(dim=1, keepdim=True).clamp(min=1e-12)


def from_means(maps: Tensor) -> Tensor:
    """The mean over the channels differs from the sum by a factor, which the length takes away."""
    return F.normalize(maps.pow(2).mean(1).view(maps.size(0), -1))


right("attention_map", clamped, from_means)
wrong(
    "attention_map",
    values_not_squared=lambda m: F.normalize(m.mean(1).flatten(1)),
    absolute_for_squared=lambda m: F.normalize(m.abs().mean(1).flatten(1)),
    root_taken=lambda m: F.normalize(m.norm(dim=1).flatten(1)),
    not_divided_by_the_length=lambda m: torch.einsum("bkhw,bkhw->bhw", m, m).flatten(1),
    sum_of_1_for_length_of_1=lambda m: F.normalize((m * m).sum(1).flatten(1), p=1.0),
    length_over_the_batch=lambda m: F.normalize((m * m).sum(1).flatten(1), dim=0),
    summed_over_the_places=lambda m: F.normalize((m * m).flatten(2).sum(2)),
    not_flattened=lambda m: F.normalize((m * m).sum(1).flatten(1)).reshape(len(m), m.shape[2], m.shape[3]),
    # Named with an underscore for the space; the digits stay.
    **{
        "0_divided_by_0": lambda m: (
            (m * m).sum(1).flatten(1) / (m * m).sum(1).flatten(1).norm(dim=1, keepdim=True)
        )
    },
)

# -- relative_distances -------------------------------------------------------------------------


def by_pairs(vectors: Tensor) -> Tensor:
    images = len(vectors)
    found = torch.zeros(images, images)
    for i in range(images):
        for j in range(images):
            found[i, j] = (vectors[i] - vectors[j]).pow(2).sum().sqrt()
    return found / found[~torch.eye(images, dtype=torch.bool)].mean()


def by_cdist(vectors: Tensor) -> Tensor:
    found = torch.cdist(vectors, vectors, compute_mode="donot_use_mm_for_euclid_dist")
    return found / found[found > 0].mean()


def in_numpy(vectors: Tensor) -> Tensor:
    rows = vectors.numpy()
    found = np.linalg.norm(rows[:, None] - rows[None], axis=2)
    return torch.from_numpy(found / found[np.triu_indices(len(rows), 1)].mean())


def pairs(vectors: Tensor, p: float = 2.0) -> Tensor:
    return torch.cdist(vectors, vectors, p=p, compute_mode="donot_use_mm_for_euclid_dist")


right("relative_distances", by_pairs, by_cdist, in_numpy)
wrong(
    "relative_distances",
    diagonal_in_the_mean=lambda v: pairs(v) / pairs(v).mean(),
    not_divided_by_the_mean=pairs,
    divided_by_the_largest=lambda v: pairs(v) / pairs(v).amax(),
    divided_by_the_sum=lambda v: pairs(v) / pairs(v).sum(),
    squared_distances=lambda v: pairs(v) ** 2 / (pairs(v) ** 2)[pairs(v) > 0].mean(),
    distances_along_the_axes=lambda v: pairs(v, 1.0) / pairs(v, 1.0)[pairs(v) > 0].mean(),
    similarity_for_distance=lambda v: F.cosine_similarity(v[:, None], v[None], dim=2),
    numbers_compared_for_images=lambda v: pairs(v.T) / pairs(v.T)[pairs(v.T) > 0].mean(),
    half_of_the_table=lambda v: by_cdist(v).triu(1),
)
