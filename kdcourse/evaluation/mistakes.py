"""Find the images that models get wrong, and the classes they predict for them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping

import torch
from torch import Tensor

from kdcourse.errors import ArgumentError


def find_mistakes(
    labels: Tensor,
    logits_by_name: Mapping[str, Tensor],
    *,
    wrong: Collection[str] = (),
    right: Collection[str] = (),
    pair: tuple[int, int] | None = None,
) -> Tensor:
    """Return positions of the images that at least one model gets wrong, in their order.

    Args:
        labels: whole numbers [N].
        logits_by_name: model -> floating [N, C].
        wrong: models that must all err; none named: at least one model errs.
        right: models that must all be right.
        pair: (label, said): keeps the images of that label for which one of the models that err, of
            those in ``wrong`` where there are any, names class ``said``.

    Returns:
        int64 [K].

    Raises:
        ArgumentError: no model, a name that isn't there or stands on both sides, shapes that don't fit.
    """
    labels = _checked(labels, logits_by_name, wrong, right)
    said = {name: logits.detach().cpu().argmax(dim=1) for name, logits in logits_by_name.items()}
    errs = {name: answer != labels for name, answer in said.items()}
    kept = torch.stack(list(errs.values())).any(dim=0)
    for name in wrong:
        kept &= errs[name]
    for name in right:
        kept &= ~errs[name]
    if pair is not None:
        label, answer = pair
        named = torch.stack([said[name] == answer for name in wrong or said]).any(dim=0)
        kept &= (labels == label) & named
    return kept.nonzero()[:, 0]


def confused_pairs(
    labels: Tensor,
    logits_by_name: Mapping[str, Tensor],
    *,
    wrong: Collection[str] = (),
    right: Collection[str] = (),
) -> list[tuple[int, int, int]]:
    """Return (label, prediction, count) of what `find_mistakes` finds, the most frequent first.

    An image that two models take for different classes counts for both pairs, one on which they agree once.

    Raises:
        ArgumentError: as `find_mistakes`.
    """
    where = find_mistakes(labels, logits_by_name, wrong=wrong, right=right)
    truth = labels.detach().cpu()[where].tolist()
    said = [
        logits_by_name[name].detach().cpu()[where].argmax(dim=1).tolist() for name in wrong or logits_by_name
    ]
    count: Counter[tuple[int, int]] = Counter()
    for label, answers in zip(truth, zip(*said, strict=True), strict=True):
        count.update((label, answer) for answer in {*answers} - {label})
    return [(*pair, images) for pair, images in sorted(count.items(), key=lambda item: (-item[1], item[0]))]


def _checked(
    labels: Tensor, logits_by_name: Mapping[str, Tensor], wrong: Collection[str], right: Collection[str]
) -> Tensor:
    """Return ``labels`` on the CPU, checked."""
    if not logits_by_name:
        raise ArgumentError("Mistakes need at least one model's logits; found none. Pass {name: logits}.")
    unknown = ({*wrong} | {*right}) - {*logits_by_name}
    if unknown or {*wrong} & {*right}:
        raise ArgumentError(
            f"wrong and right name models of {', '.join(logits_by_name)}, none of them twice; found "
            f"wrong={list(wrong)}, right={list(right)}."
        )
    if not isinstance(labels, Tensor) or labels.ndim != 1 or labels.is_floating_point() or len(labels) == 0:
        found = (
            f"{labels.dtype} {list(labels.shape)}" if isinstance(labels, Tensor) else type(labels).__name__
        )
        raise ArgumentError(f"labels must be a tensor of whole numbers [N], at least one; found {found}.")
    for name, logits in logits_by_name.items():
        if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != len(labels):
            found = f"{list(logits.shape)}" if isinstance(logits, Tensor) else type(logits).__name__
            raise ArgumentError(
                f"The logits of {name!r} must be [{len(labels)}, classes], a row a label; found {found}. "
                "Predict the very images that the labels belong to."
            )
    return labels.detach().cpu()
