"""The exercises of Ensembles."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from kdcourse.checks.exercise import Exercise, Mistake, Probe
from kdcourse.checks.probes import numbers, share, softmax_rows

_MEMBERS = (
    Probe((numbers(1, 3, 4, 5),), "for 3 members, 4 pictures and 5 classes"),
    Probe((numbers(2, 3, 3, 3),), "for 3 members, 3 pictures and 3 classes"),
    Probe((numbers(3, 5, 1, 2),), "for 5 members and a single picture"),
    Probe((numbers(4, 1, 2, 4),), "for an ensemble of one"),
    Probe((1e4 * torch.tensor([[[1.0, 0, 0]], [[0, 1.0, -1.0]]]),), "for logits of 10,000", extreme=True),
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
            hint="a sum grows with the number of members, and a softmax of it grows ever more certain.",
        ),
        Mistake(
            "mean over the pictures",
            example=lambda z: z.mean(1),
            hint="member_logits are [members, pictures, classes]: which axis is to disappear?",
        ),
        Mistake(
            "mean over the classes",
            example=lambda z: z.mean(2),
            hint="member_logits are [members, pictures, classes]: which axis is to disappear?",
        ),
        Mistake(
            "probabilities averaged",
            example=lambda z: z.softmax(2).mean(0),
            hint="that is the other ensemble, the mean of probabilities; this one averages the logits as they are.",
        ),
        Mistake(
            "softmax at the end",
            example=lambda z: z.mean(0).softmax(1),
            hint="the mean is right, but logits are asked for: leave the softmax to whoever needs probabilities.",
        ),
        Mistake(
            "log of averaged probabilities",
            example=lambda z: z.softmax(2).mean(0).log(),
            hint="those are logits of the other ensemble, the mean of probabilities.",
        ),
        Mistake(
            "first member only",
            example=lambda z: z[0],
            hint="four fifths of what the ensemble of five knows get lost: all members count.",
        ),
        Mistake(
            "most certain member",
            example=lambda z: z.max(0).values,
            hint="that takes the largest logit of any member; their mean is asked for.",
        ),
        Mistake(
            "median for mean",
            example=lambda z: z.median(0).values,
            hint="that is the member in the middle; the mean is asked for.",
        ),
        Mistake(
            "log-probabilities averaged",
            example=lambda z: z.log_softmax(2).mean(0),
            hint="its softmax is the same, but the logits themselves were to be averaged: nothing needs normalising.",
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
            hint="the softmax of a mean isn't the mean of softmaxes. Which comes first?",
        ),
        Mistake(
            "softmax over the members",
            example=lambda z: z.softmax(0).mean(0),
            hint="each member's probabilities for one picture sum to 1: over which axis?",
        ),
        Mistake(
            "softmax over the pictures",
            example=lambda z: z.softmax(1).mean(0),
            hint="each member's probabilities for one picture sum to 1: over which axis?",
        ),
        Mistake(
            "softmax left out",
            example=lambda z: z.mean(0),
            hint="those are mean logits; where do probabilities come from?",
        ),
        Mistake(
            "sum for mean",
            example=lambda z: z.softmax(2).sum(0),
            hint="each member's probabilities sum to 1, so those of the sum don't any more.",
        ),
        Mistake(
            "mean over the pictures",
            example=lambda z: z.softmax(2).mean(1),
            hint="the softmax is right; which axis of [members, pictures, classes] is to disappear?",
        ),
        Mistake(
            "log at the end",
            example=lambda z: z.softmax(2).mean(0).log(),
            hint="probabilities are asked for, not their logarithms.",
        ),
        Mistake(
            "probabilities multiplied",
            example=lambda z: z.softmax(2).log().mean(0).exp(),
            hint="that is the geometric mean, which doesn't even sum to 1; the arithmetic one is asked for.",
        ),
        Mistake(
            "votes counted",
            example=lambda z: F.one_hot(z.argmax(2), z.shape[2]).double().mean(0),
            hint="a vote forgets how certain its member was: average the probabilities themselves.",
        ),
        Mistake(
            "softmax twice",
            example=lambda z: z.softmax(2).mean(0).softmax(1),
            hint="the mean of probabilities sums to 1 already.",
        ),
        Mistake(
            "overflow",
            example=lambda z: (z.exp() / z.exp().sum(2, keepdim=True)).mean(0),
            hint="right for ordinary logits, but exp(10,000) is infinite: torch's own softmax knows a way round.",
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


def _pictures_paired(predictions: Tensor) -> float:
    # Of a single picture there are no pairs: 0.0 / 0 fails in the words in which a learner's sum of shares does.
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
            "for 3 members and 5 pictures",
        ),
        Probe((torch.tensor([[0, 1, 1, 2], [0, 1, 2, 2]]),), "for 2 members and 4 pictures"),
        Probe(
            (torch.tensor([[3, 1, 0, 0], [3, 1, 1, 2], [3, 1, 0, 1], [3, 0, 0, 2]]),),
            "for 4 members and 4 pictures",
        ),
        Probe((torch.tensor([[1], [1], [2], [1], [0]]),), "for 5 members and a single picture"),
        Probe((torch.tensor([[4, 7, 1]]).repeat(3, 1),), "where all members agree"),
    ),
    mistakes=(
        Mistake(
            "pairs of a member with itself",
            example=lambda p: _pairs(p).mean().item(),
            hint="nobody disagrees with themselves: those pairs pull the mean down.",
        ),
        Mistake(
            "agreement for disagreement",
            example=lambda p: 1 - pairwise_disagreement(p),
            hint="that is how often they agree.",
        ),
        Mistake(
            "sum over the pairs",
            example=lambda p: _pairs(p).sum().item() / 2,
            hint="the mean over the pairs is asked for: how many are there?",
        ),
        Mistake(
            "every pair twice",
            example=lambda p: 2 * pairwise_disagreement(p),
            hint="the pair (2, 1) is the pair (1, 2): count both and divide by both, or count one and divide by one.",
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
            hint="that is the share of pictures on which not all agree; pairs are asked about.",
        ),
        Mistake(
            "count for share",
            example=lambda p: pairwise_disagreement(p) * p.shape[1],
            hint="that counts pictures; which share of them is it?",
        ),
        Mistake(
            "pictures paired",
            example=_pictures_paired,
            hint="predictions are [members, pictures]: pairs of members are asked for, not pairs of pictures.",
        ),
        Mistake(
            "last pair only",
            example=lambda p: _pairs(p)[-2, -1].item() / math.comb(len(p), 2),
            hint="each pair's share is to be added to the total; yours takes the total's place.",
        ),
        Mistake(
            "divided by the members",
            example=lambda p: _pairs(p).sum().item() / 2 / len(p),
            hint="M members make more than M pairs, as soon as there are four: divide by the number of pairs.",
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
    """Make an answer; ``combine`` takes each full bin's share of the images, accuracy minus confidence, and bins."""

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


def _correctness(seed: int, count: int) -> Tensor:
    return numbers(seed, count) > -0.8


CALIBRATION_ERROR = Exercise(
    id="calibration_error",
    title="How far confidence is from accuracy",
    solution=calibration_error,
    tell=share,
    probes=(
        Probe((0.4 + 0.59 * numbers(1, 40).sigmoid(), _correctness(2, 40)), "for 40 pictures and 10 bins"),
        Probe((0.15 + 0.84 * numbers(3, 30).sigmoid(), _correctness(4, 30), 4), "for 30 pictures and 4 bins"),
        Probe(
            (torch.tensor([0.97, 0.93, 0.99, 0.55]), torch.tensor([True, True, False, True])),
            "for 4 pictures",
        ),
        Probe((torch.tensor([0.83]), torch.tensor([True])), "for a single picture"),
        Probe(
            (torch.tensor([1.0, 1.0, 0.72]), torch.tensor([True, False, True])),
            "for a confidence of exactly 1",
            # Not all of them are right, or leaving them out would cost nothing.
            vary=lambda draw, confidence, correct: (confidence ** draw.between(0.7, 1.4), correct),
        ),
    ),
    mistakes=(
        Mistake(
            "bins not weighted",
            example=_calibration_wrong(lambda shares, gaps, bins: gaps.abs().mean()),
            hint="a bin of three pictures counts like one of three thousand. What share of the pictures is in it?",
        ),
        Mistake(
            "empty bins counted",
            example=_calibration_wrong(lambda shares, gaps, bins: gaps.abs().sum() / bins),
            hint="each bin counts the same, empty ones too, with an error of 0. What share of the pictures is in it?",
        ),
        Mistake(
            "gaps cancel",
            example=_calibration_wrong(lambda shares, gaps, bins: (shares * gaps).sum()),
            hint="too sure in one bin and too modest in another is twice wrong, not right on average.",
        ),
        Mistake(
            "one bin",
            example=_calibration_wrong(lambda shares, gaps, bins: gaps.abs().sum(), fixed_bins=1),
            hint="mean confidence against accuracy over all pictures lets errors cancel. Go bin by bin.",
        ),
        Mistake(
            "picture by picture",
            example=lambda confidence, correct, bins=10: (confidence - correct.float()).abs().mean().item(),
            hint="one picture is right or wrong, 0 or 1: only the accuracy of a whole bin compares with a confidence.",
        ),
        Mistake(
            "squared gaps",
            example=_calibration_wrong(lambda shares, gaps, bins: (shares * gaps**2).sum()),
            hint="the absolute value of each gap is asked for, not its square.",
        ),
        Mistake(
            "largest gap",
            example=_calibration_wrong(lambda shares, gaps, bins: gaps.abs().max()),
            hint="that is the maximum calibration error; the expected one averages over the bins.",
        ),
        Mistake(
            "sum of gaps",
            example=_calibration_wrong(lambda shares, gaps, bins: gaps.abs().sum()),
            hint="each bin's gap is to be weighed by its share of the pictures.",
        ),
        Mistake(
            "middle of the bin for its confidence",
            example=_middles,
            hint="a bin's pictures may crowd at one of its ends: the mean of their confidences is asked for.",
        ),
        Mistake(
            "number of bins ignored",
            example=_calibration_wrong(lambda shares, gaps, bins: (shares * gaps.abs()).sum(), fixed_bins=10),
            hint="right for ten bins; how many there are, bins says.",
        ),
        Mistake(
            "confidence 1 left out",
            example=_calibration_wrong(lambda shares, gaps, bins: (shares * gaps.abs()).sum(), drop_one=True),
            hint="a confidence of exactly 1 falls behind the last bin: the pictures that the model is surest of.",
        ),
        Mistake(
            "bins of equal count",
            example=_equal_counts,
            hint="these bins hold equally many pictures; bins of equal width from 0 to 1 are asked for.",
        ),
        Mistake(
            "percent for share",
            example=lambda *inputs: 100 * calibration_error(*inputs),
            hint="a share lies between 0 and 1.",
        ),
    ),
)

EXERCISES = (MEAN_OF_LOGITS, PAIRWISE_DISAGREEMENT, MEAN_OF_PROBABILITIES, CALIBRATION_ERROR)
