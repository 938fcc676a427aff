"""Score ensembles of any of the members: accuracy, calibration, disagreement."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from kdcourse.errors import ArgumentError
from kdcourse.evaluation.metrics import accuracy, expected_calibration_error

AVERAGES = ("logits", "probabilities")


@dataclass(frozen=True, eq=False)
class MemberScores:
    """Hold what `member_scores` found; rates are 0 to 1.

    ``chosen`` and ``average`` say which ensemble: ``accuracy`` and ``calibration_error`` are its own.
    ``member_accuracy`` and ``member_calibration_error`` belong to each of the M members, chosen or not;
    ``disagreement`` float64 [M, M] is the share of images that two members name differently;
    ``mean_disagreement`` averages it over the pairs of chosen members, None where one is alone.
    """

    chosen: tuple[int, ...]
    average: str
    accuracy: float
    calibration_error: float
    member_accuracy: tuple[float, ...]
    member_calibration_error: tuple[float, ...]
    disagreement: Tensor
    mean_disagreement: float | None


def member_scores(
    member_logits: Tensor, labels: Tensor, chosen: Sequence[int] | None = None, average: str = "logits"
) -> MemberScores:
    """Score the ensemble of the ``chosen`` members, every member alone, and their pairs.

    Args:
        member_logits: floating [M, N, C].
        labels: whole numbers [N].
        chosen: positions of the members that vote, each once; all if left out.
        average: ``"logits"`` or ``"probabilities"``, see `kdcourse.distillation.Ensemble`.

    Raises:
        ArgumentError: shapes that don't fit, no member chosen, one twice or one that isn't there,
            another word for ``average``; and as `kdcourse.evaluation.accuracy`.
    """
    check_members(member_logits)
    members = len(member_logits)
    picked = tuple(range(members)) if chosen is None else tuple(chosen)
    if not picked or len(set(picked)) < len(picked) or not set(picked) <= set(range(members)):
        raise ArgumentError(
            f"Choose at least one of the members 0..{members - 1}, each once; found {list(picked)}."
        )
    apart = _disagreement(member_logits)
    pairs = [(a, b) for a in picked for b in picked if a < b]
    logits = average_members(member_logits[list(picked)], average)
    return MemberScores(
        chosen=picked,
        average=average,
        accuracy=accuracy(logits, labels),
        calibration_error=expected_calibration_error(logits, labels),
        member_accuracy=tuple(accuracy(one, labels) for one in member_logits),
        member_calibration_error=tuple(expected_calibration_error(one, labels) for one in member_logits),
        disagreement=apart,
        mean_disagreement=float(sum(apart[pair] for pair in pairs) / len(pairs)) if pairs else None,
    )


def average_members(member_logits: Tensor, average: str = "logits") -> Tensor:
    """Combine members' logits [M, N, C] to float64 [N, C], as `kdcourse.distillation.Ensemble` does.

    Raises:
        ArgumentError: another shape or type, or another word for ``average``.
    """
    check_members(member_logits)
    if average not in AVERAGES:
        raise ArgumentError(f"average must be one of {', '.join(AVERAGES)}; found {average!r}.")
    logits = member_logits.detach().cpu().double()
    if average == "logits":
        return logits.mean(dim=0)
    return logits.log_softmax(dim=-1).logsumexp(dim=0) - math.log(len(logits))


def check_members(member_logits: Tensor) -> None:
    """Raise ArgumentError unless ``member_logits`` is floating [M, N, C] with nothing empty, all finite."""
    if not isinstance(member_logits, Tensor) or not member_logits.is_floating_point():
        found = member_logits.dtype if isinstance(member_logits, Tensor) else type(member_logits).__name__
        raise ArgumentError(
            f"member_logits must be a floating tensor [members, images, classes]; found {found}. "
            "Stack the members' logits with torch.stack."
        )
    if member_logits.ndim != 3 or 0 in member_logits.shape:
        raise ArgumentError(
            "member_logits must be [members, images, classes], none of them 0; found "
            f"{list(member_logits.shape)}. For one model alone pass logits[None]."
        )
    if not bool(member_logits.isfinite().all()):
        raise ArgumentError(
            "member_logits must be finite; found NaN or infinity. Look for a run that diverged."
        )


def _disagreement(member_logits: Tensor) -> Tensor:
    said = member_logits.detach().cpu().argmax(dim=-1)  # [M, N]
    return (said[:, None] != said[None]).to(torch.float64).mean(dim=-1)
