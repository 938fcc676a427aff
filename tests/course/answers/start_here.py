"""Answers in other words than the exercises' own examples, right and wrong."""

from __future__ import annotations

import math

import numpy as np
from torch import Tensor, nn

from tests.course.learners import Answers

ANSWERS = Answers()
wrong, right = ANSWERS.add_wrong, ANSWERS.add_right


def only_first(model: nn.Module) -> int:
    total = 0
    for p in model.parameters():
        total += p.numel()
        return total
    return total


def stored(model: nn.Module) -> int:
    names = [name for name in model.state_dict() if "running" not in name and "num_batches" not in name]
    return sum(model.state_dict()[name].numel() for name in names)


def by_modules(model: nn.Module) -> int:
    sizes = {}
    for module in model.modules():
        for p in module.parameters(recurse=False):
            sizes[id(p)] = math.prod(p.shape)
    return sum(sizes.values())


wrong(
    "count_parameters",
    tensors_counted=lambda model: sum(1 for _ in model.parameters()),
    rows_counted=lambda model: sum(p.shape[0] for p in model.parameters()),
    buffers_counted=lambda model: sum(p.numel() for p in [*model.parameters(), *model.buffers()]),
    frozen_ones_left_out=lambda model: sum(math.prod(p.shape) for p in model.parameters() if p.requires_grad),
    biases_left_out=lambda model: sum(p.numel() for n, p in model.named_parameters() if p.dim() >= 2),
    bytes_for_numbers=lambda model: sum(p.nbytes for p in model.parameters()),
    first_tensor_only=only_first,
    shared_layer_counted_twice=stored,
)
right(
    "count_parameters",
    by_modules,
    lambda model: int(sum(np.prod(tuple(p.shape)) for p in model.parameters())),
    lambda model: sum(len(p.detach().flatten().tolist()) for p in model.parameters()),
)


def looped_accuracy(logits: Tensor, labels: Tensor) -> float:
    hits = 0
    for row, label in zip(logits.tolist(), labels.tolist(), strict=True):
        hits += row.index(max(row)) == label
    return hits / len(labels)


wrong(
    "fraction_correct",
    largest_over_the_wrong_axis=lambda z, y: float((z.max(0).indices == y).float().mean()),
    largest_of_the_whole_table=lambda z, y: (y == z.flatten().max(0).indices).sum().item() / len(y),
    count_for_share=lambda z, y: sum(float(a == b) for a, b in zip(z.argmax(-1), y, strict=True)),
    percent_for_share=lambda z, y: looped_accuracy(z, y) * 100.0,
    errors_for_hits=lambda z, y: 1.0 - looped_accuracy(z, y),
    smallest_for_largest=lambda z, y: looped_accuracy(-z, y),
    divided_by_classes=lambda z, y: (z.argmax(1) == y).sum().item() / z.size(-1),
    rounded=lambda z, y: round(looped_accuracy(z, y), 2),
    number_left_in_a_tensor=lambda z, y: (z.argmax(1) == y).float().mean(),
)
right(
    "fraction_correct",
    looped_accuracy,
    lambda z, y: float(np.mean(z.numpy().argmax(axis=1) == y.numpy())),
    lambda z, y: (z.topk(1, dim=1).indices.squeeze(1) == y).float().mean().item(),
)

wrong(
    "points_gained",
    share_for_points=lambda a, b: -(a - b),
    relative_gain=lambda a, b: (b / a - 1) * 100,
    sides_swapped=lambda a, b: a * 100 - b * 100,
    sign_lost=lambda a, b: ((b - a) ** 2) ** 0.5 * 100,
    share_of_errors_removed=lambda a, b: 100 * ((1 - a) - (1 - b)) / (1 - a),
    ratio_for_difference=lambda a, b: b / a * 100,
    rounded=lambda a, b: np.round(100 * (b - a)),
)
right(
    "points_gained",
    lambda a, b: b * 100 - a * 100,
    lambda a, b: ((1 - a) - (1 - b)) / 0.01,
    lambda plain, distilled: np.float64(distilled - plain) * 100,
)
