"""The exercises of Ensembles."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from kdcourse.checks.exercise import Exercise, Mistake, Probe
from kdcourse.checks.probes import CLOSE, Draw, huge, numbers, share, softmax_rows

_MEMBERS = (
    Probe((numbers(1, 3, 4, 5),), "for 3 members, 4 images and 5 classes"),
    Probe((numbers(2, 3, 3, 3),), "for 3 members, 3 images and 3 classes"),
    Probe((numbers(3, 5, 1, 2),), "for 5 members and a single image"),
    Probe((numbers(4, 1, 2, 4),), "for an ensemble of one"),
    Probe(
        (torch.stack([huge([1, 0, 0], CLOSE[0]), huge([0, 1, -1], CLOSE[1])]),),
        "for logits of 10,000",
        extreme=True,
    ),
)

# -- mean_of_logits -----------------------------------------------------------------------------


def mean_of_logits(member_logits: torch.Tensor) -> torch.Tensor:
    """Return the ensemble's logits [B, C] from its members' [M, B, C]."""
    ### BEGIN SOLUTION
    logits = member_logits.mean(dim=0)
    ### END SOLUTION
    return logits


MEAN_OF_LOGITS = Exercise(
    id="mean_of_logits",
    title="An ensemble that averages logits",
    solution=mean_of_logits,
    probes=_MEMBERS,
    mistakes=(
        Mistake(
            "sum for mean",
            example=lambda z: z.sum(0),
            hint="a sum grows with the number of members, which makes its softmax more and more confident.",
        ),
        Mistake(
            "mean over the images",
            example=lambda z: z.mean(1),
            hint="member_logits are [members, images, classes]. Which axis must disappear?",
        ),
        Mistake(
            "mean over the classes",
            example=lambda z: z.mean(2),
            hint="member_logits are [members, images, classes]. Which axis must disappear?",
        ),
        Mistake(
            "probabilities averaged",
            example=lambda z: z.softmax(2).mean(0),
            hint="that is the other ensemble, the mean of probabilities. Here you average the logits themselves.",
        ),
        Mistake(
            "softmax at the end",
            example=lambda z: z.mean(0).softmax(1),
            hint="the mean is right, but return logits, without a softmax.",
        ),
        Mistake(
            "log of averaged probabilities",
            example=lambda z: z.softmax(2).mean(0).log(),
            hint="those are logits of the other ensemble, the mean of probabilities.",
        ),
        Mistake(
            "first member only",
            example=lambda z: z[0],
            hint="that uses one member and ignores the others. Average all members.",
        ),
        Mistake(
            "most certain member",
            example=lambda z: z.max(0).values,
            hint="that takes the largest logit of any member. Return the mean of their logits.",
        ),
        Mistake(
            "median for mean",
            example=lambda z: z.median(0).values,
            hint="that is the member in the middle. Return the mean.",
        ),
        Mistake(
            "log-probabilities averaged",
            example=lambda z: z.log_softmax(2).mean(0),
            hint="its softmax is the same, but average the logits themselves: nothing needs normalising.",
        ),
    ),
)

# -- mean_of_probabilities ----------------------------------------------------------------------


def mean_of_probabilities(member_logits: torch.Tensor) -> torch.Tensor:
    """Return the members' mean probabilities [B, C], from logits [M, B, C]."""
    ### BEGIN SOLUTION
    probabilities = member_logits.softmax(dim=2).mean(dim=0)
    ### END SOLUTION
    return probabilities


MEAN_OF_PROBABILITIES = Exercise(
    id="mean_of_probabilities",
    title="An ensemble that averages probabilities",
    solution=mean_of_probabilities,
    tell=softmax_rows,
    probes=_MEMBERS,
    mistakes=(
        Mistake(
            "logits averaged first",
            example=lambda z: z.mean(0).softmax(1),
            hint="the softmax of a mean isn't the mean of softmaxes. Which one comes first here?",
        ),
        Mistake(
            "softmax over the members",
            example=lambda z: z.softmax(0).mean(0),
            hint="each member's probabilities for one image sum to 1. Over which axis?",
        ),
        Mistake(
            "softmax over the images",
            example=lambda z: z.softmax(1).mean(0),
            hint="each member's probabilities for one image sum to 1. Over which axis?",
        ),
        Mistake(
            "softmax left out",
            example=lambda z: z.mean(0),
            hint="those are mean logits. What turns logits into probabilities?",
        ),
        Mistake(
            "sum for mean",
            example=lambda z: z.softmax(2).sum(0),
            hint="each member's probabilities sum to 1, so their sum over the members doesn't.",
        ),
        Mistake(
            "mean over the images",
            example=lambda z: z.softmax(2).mean(1),
            hint="the softmax is right. Which axis of [members, images, classes] must disappear?",
        ),
        Mistake(
            "log at the end",
            example=lambda z: z.softmax(2).mean(0).log(),
            hint="return probabilities, not their logarithms.",
        ),
        Mistake(
            "probabilities multiplied",
            example=lambda z: z.softmax(2).log().mean(0).exp(),
            hint="that is the geometric mean, which doesn't sum to 1. Return the arithmetic mean.",
        ),
        Mistake(
            "votes counted",
            example=lambda z: F.one_hot(z.argmax(2), z.shape[2]).double().mean(0),
            hint="a vote ignores how confident the member was. Average the probabilities themselves.",
        ),
        Mistake(
            "softmax twice",
            example=lambda z: z.softmax(2).mean(0).softmax(1),
            hint="the mean of probabilities already sums to 1, so it needs no second softmax.",
        ),
        Mistake(
            "overflow",
            example=lambda z: (z.exp() / z.exp().sum(2, keepdim=True)).mean(0),
            hint="right for ordinary logits, but exp(10,000) is infinite. torch's own softmax avoids that.",
        ),
    ),
)

# -- pairwise_disagreement ----------------------------------------------------------------------


def pairwise_disagreement(predictions: torch.Tensor) -> float:
    """Return the mean share of images on which two different members disagree. predictions int64 [M, N]."""
    ### BEGIN SOLUTION
    pairs = list(itertools.combinations(range(len(predictions)), 2))
    ### END SOLUTION
    total = 0.0
    for i, j in pairs:
        ### BEGIN SOLUTION
        total += (predictions[i] != predictions[j]).double().mean().item()
        ### END SOLUTION
    return total / len(pairs)


def _pairs(predictions: Tensor) -> Tensor:
    """Return the share of images on which each two members differ, [M, M]."""
    return (predictions[:, None] != predictions[None]).double().mean(2)


def _neighbours(predictions: Tensor) -> float:
    return (predictions[1:] != predictions[:-1]).double().mean().item()


def _images_paired(predictions: Tensor) -> float:
    # A single image makes no pairs: 0.0 / 0 fails with the same message as a learner's sum of shares.
    pairs = list(itertools.combinations(predictions.T, 2))
    return sum(((one != other).double().mean().item() for one, other in pairs), 0.0) / len(pairs)


PAIRWISE_DISAGREEMENT = Exercise(
    id="pairwise_disagreement",
    title="How often members differ",
    solution=pairwise_disagreement,
    vary=lambda draw, predictions: (torch.stack(draw.columns(*predictions, keep_all=False)),),
    tell=share,
    probes=(
        Probe(
            (torch.tensor([[0, 1, 2, 2, 1], [0, 2, 2, 1, 1], [0, 1, 1, 0, 2]]),),
            "for 3 members and 5 images",
        ),
        Probe((torch.tensor([[0, 1, 1, 2], [0, 1, 2, 2]]),), "for 2 members and 4 images"),
        Probe(
            (torch.tensor([[3, 1, 0, 0], [3, 1, 1, 2], [3, 1, 0, 1], [3, 0, 0, 2]]),),
            "for 4 members and 4 images",
        ),
        Probe((torch.tensor([[1], [1], [2], [1], [0]]),), "for 5 members and a single image"),
        Probe((torch.tensor([[4, 7, 1]]).repeat(3, 1),), "where all members agree"),
    ),
    mistakes=(
        Mistake(
            "pairs of a member with itself",
            example=lambda p: _pairs(p).mean().item(),
            hint="a member always agrees with itself, so those pairs make the mean too small.",
        ),
        Mistake(
            "agreement for disagreement",
            example=lambda p: 1 - pairwise_disagreement(p),
            hint="that is how often they agree. How often do they differ?",
        ),
        Mistake(
            "sum over the pairs",
            example=lambda p: _pairs(p).sum().item() / 2,
            hint="return the mean over the pairs. How many pairs are there?",
        ),
        Mistake(
            "every pair twice",
            example=lambda p: 2 * pairwise_disagreement(p),
            hint="(2, 1) and (1, 2) are the same pair: count both and divide by both, or count each pair once.",
        ),
        Mistake(
            "neighbours only",
            example=_neighbours,
            hint="the first and the last member are a pair too.",
        ),
        Mistake(
            "all compared with the first",
            example=lambda p: (p[1:] != p[0]).double().mean().item(),
            hint="the second and the third member are a pair too.",
        ),
        Mistake(
            "any disagreement",
            example=lambda p: (p != p[0]).any(0).double().mean().item(),
            hint="that is the share of images on which not all members agree. Compare pairs of members.",
        ),
        Mistake(
            "count for share",
            example=lambda p: pairwise_disagreement(p) * p.shape[1],
            hint="that is a number of images. Which share of the images is it?",
        ),
        Mistake(
            "images paired",
            example=_images_paired,
            hint="predictions are [members, images]. Use pairs of members, not pairs of images.",
        ),
        Mistake(
            "last pair only",
            example=lambda p: _pairs(p)[-2, -1].item() / math.comb(len(p), 2),
            hint="add each pair's share to the total; yours replaces the total.",
        ),
        Mistake(
            "divided by the members",
            example=lambda p: _pairs(p).sum().item() / 2 / len(p),
            hint="four or more members make more pairs than members: divide by the number of pairs.",
        ),
    ),
)

# -- calibration_error --------------------------------------------------------------------------


def calibration_error(confidence: torch.Tensor, correct: torch.Tensor, bins: int = 10) -> float:
    """Return the expected calibration error, 0 to 1. confidence float [N], correct bool [N]."""
    ### BEGIN SOLUTION
    where = (confidence * bins).long().clamp(max=bins - 1)
    error = 0.0
    for number in range(bins):
        inside = where == number
        if inside.any():
            gap = correct[inside].double().mean() - confidence[inside].double().mean()
            error += inside.double().mean().item() * abs(gap.item())
    return error
    ### END SOLUTION


def _calibration_wrong(
    combine: Callable[[Tensor, Tensor, int], Tensor], fixed_bins: int | None = None, drop_one: bool = False
) -> Callable[..., float]:
    """Return a wrong answer made of ``combine``, a function of three values.

    These are the full bins' shares of all images, their accuracies minus their confidences, and the number of all bins.
    """

    def wrong(confidence: Tensor, correct: Tensor, bins: int = 10) -> float:
        bins = fixed_bins or bins
        where = (confidence * bins).long()
        where = where if drop_one else where.clamp(max=bins - 1)
        full = [where == number for number in range(bins) if (where == number).any()]
        shares = torch.stack([inside.double().mean() for inside in full])
        gaps = [correct[inside].double().mean() - confidence[inside].double().mean() for inside in full]
        return combine(shares, torch.stack(gaps), bins).item()

    return wrong


def _equal_counts(confidence: Tensor, correct: Tensor, bins: int = 10) -> float:
    order = confidence.argsort()
    return sum(
        len(part)
        / len(order)
        * abs((correct[part].double().mean() - confidence[part].double().mean()).item())
        for part in order.tensor_split(bins)
        if len(part)
    )


def _middles(confidence: Tensor, correct: Tensor, bins: int = 10) -> float:
    where = (confidence * bins).long().clamp(max=bins - 1)
    gaps = [
        (where == n).double().mean() * (correct[where == n].double().mean() - (n + 0.5) / bins).abs()
        for n in where.unique()
    ]
    return sum(gap.item() for gap in gaps)


def _clamped_at_nine(confidence: Tensor, correct: Tensor, bins: int = 10) -> float:
    where = (confidence * bins).long().clamp(max=9)
    gaps = [(correct[where == n].double() - confidence[where == n].double()).sum().abs() for n in range(bins)]
    return sum(gap.item() for gap in gaps) / len(where)


def _correctness(seed: int, count: int) -> Tensor:
    return numbers(seed, count) > -0.8


def _other_confidence(draw: Draw, confidence: Tensor, correct: Tensor, *bins: int) -> tuple[Any, ...]:
    """Draw other confidences; who is right stays, or leaving out a confidence of 1 might change nothing."""
    return (confidence ** draw.between(0.7, 1.4), correct, *bins)


CALIBRATION_ERROR = Exercise(
    id="calibration_error",
    title="How far confidence is from accuracy",
    solution=calibration_error,
    tell=share,
    probes=(
        Probe((0.4 + 0.59 * numbers(1, 40).sigmoid(), _correctness(2, 40)), "for 40 images and 10 bins"),
        Probe((0.15 + 0.84 * numbers(3, 30).sigmoid(), _correctness(4, 30), 4), "for 30 images and 4 bins"),
        Probe(
            (torch.tensor([0.97, 0.93, 0.99, 0.55]), torch.tensor([True, True, False, True])),
            "for 4 images",
        ),
        Probe((torch.tensor([0.83]), torch.tensor([True])), "for a single image"),
        Probe(
            (torch.tensor([1.0, 1.0, 0.72]), torch.tensor([True, False, True])),
            "for a confidence of exactly 1",
            vary=_other_confidence,
        ),
        Probe(
            (torch.tensor([1.0, 0.97, 1.0, 0.72]), torch.tensor([False, True, True, False]), 4),
            "for a confidence of exactly 1 and 4 bins",
            vary=_other_confidence,
        ),
        Probe(
            (torch.tensor([1.0, 0.97, 0.41, 0.98]), torch.tensor([False, True, True, False]), 20),
            "for a confidence of exactly 1 and 20 bins",
            vary=_other_confidence,
        ),
    ),
    mistakes=(
        Mistake(
            "bins not weighted",
            example=_calibration_wrong(lambda shares, gaps, bins: gaps.abs().mean()),
            hint="you count a bin of three images like one of three thousand. Which share of the images is in it?",
        ),
        Mistake(
            "empty bins counted",
            example=_calibration_wrong(lambda shares, gaps, bins: gaps.abs().sum() / bins),
            hint="each bin counts the same, even an empty one with its error of 0. Which share of the images is in it?",
        ),
        Mistake(
            "gaps cancel",
            example=_calibration_wrong(lambda shares, gaps, bins: (shares * gaps).sum()),
            hint="too confident in one bin and too unsure in another are two errors: they must not cancel.",
        ),
        Mistake(
            "one bin",
            example=_calibration_wrong(lambda shares, gaps, bins: gaps.abs().sum(), fixed_bins=1),
            hint="if you compare mean confidence and accuracy over all images, errors cancel. Go bin by bin.",
        ),
        Mistake(
            "image by image",
            example=lambda confidence, correct, bins=10: (confidence - correct.float()).abs().mean().item(),
            hint="one image is right or wrong, 0 or 1. Compare the confidence with the accuracy of a whole bin.",
        ),
        Mistake(
            "squared gaps",
            example=_calibration_wrong(lambda shares, gaps, bins: (shares * gaps**2).sum()),
            hint="use the absolute value of each gap, not its square.",
        ),
        Mistake(
            "largest gap",
            example=_calibration_wrong(lambda shares, gaps, bins: gaps.abs().max()),
            hint="that is the maximum calibration error. The expected one averages over the bins.",
        ),
        Mistake(
            "sum of gaps",
            example=_calibration_wrong(lambda shares, gaps, bins: gaps.abs().sum()),
            hint="weight each bin's gap by its share of the images.",
        ),
        Mistake(
            "middle of the bin for its confidence",
            example=_middles,
            hint="a bin's images may all lie near one of its ends: use the mean of their confidences.",
        ),
        Mistake(
            "number of bins ignored",
            example=_calibration_wrong(lambda shares, gaps, bins: (shares * gaps.abs()).sum(), fixed_bins=10),
            hint="right for ten bins, but the argument bins gives their number.",
        ),
        Mistake(
            "confidence 1 left out",
            example=_calibration_wrong(lambda shares, gaps, bins: (shares * gaps.abs()).sum(), drop_one=True),
            hint="a confidence of exactly 1 falls outside the last bin, so the most confident predictions are lost.",
        ),
        Mistake(
            "ten bins assumed for a confidence of 1",
            example=_clamped_at_nine,
            hint="right for ten bins. A confidence of exactly 1 belongs to the last bin, whose number is bins - 1.",
        ),
        Mistake(
            "bins of equal count",
            example=_equal_counts,
            hint="these bins hold equally many images. Use bins of equal width from 0 to 1.",
        ),
        Mistake(
            "percent for share",
            example=lambda *inputs: 100 * calibration_error(*inputs),
            hint="a share lies between 0 and 1.",
        ),
    ),
)

EXERCISES = (MEAN_OF_LOGITS, PAIRWISE_DISAGREEMENT, MEAN_OF_PROBABILITIES, CALIBRATION_ERROR)
