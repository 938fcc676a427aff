"""Define the exercises of Evaluate honestly."""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import fmean, pstdev, stdev

import torch
import torch.nn.functional as F
from torch import Tensor

from kdcourse import evaluation
from kdcourse.checks.exercise import Exercise, Mistake, Probe
from kdcourse.checks.probes import Draw, numbers, share

# -- recovered ----------------------------------------------------------------------------------


def recovered(plain: float, distilled: float, teacher: float) -> float:
    """Return the share of the gap from plain to teacher that distillation closes; accuracies from 0 to 1."""
    ### BEGIN SOLUTION
    return (distilled - plain) / (teacher - plain)
    ### END SOLUTION


_AS_IT_IS = (
    "return the share as it is, also where the teacher is worse than the plain student. Whether to report it is "
    "decided after this exercise."
)
RECOVERED = Exercise(
    id="recovered",
    title="The share of the gap recovered",
    solution=recovered,
    probes=(
        Probe((0.80, 0.83, 0.90), "for 0.80 plain, 0.83 distilled, 0.90 teacher"),
        Probe((0.50, 0.75, 0.95), "for 0.50 plain, 0.75 distilled, 0.95 teacher"),
        Probe((0.85, 0.83, 0.92), "where distillation does harm"),
        Probe((0.85, 0.93, 0.91), "where the student is better than its teacher"),
        Probe((0.70, 0.70, 0.90), "where nothing is gained"),
        # Answers that cut or hide a share below 0 do it in different ways where the gap is below 0 too.
        Probe((0.85, 0.87, 0.80), "where the teacher is worse than both students", extreme=True),
        Probe(
            (0.85, 0.82, 0.80), "where the distilled student comes closer to a worse teacher", extreme=True
        ),
    ),
    mistakes=(
        Mistake(
            "share of the teacher's accuracy",
            example=lambda plain, distilled, teacher: distilled / teacher,
            hint="a plain student already has most of the teacher's accuracy. Compare the gain with the gap between "
            "them.",
        ),
        Mistake(
            "gain alone",
            example=lambda plain, distilled, teacher: distilled - plain,
            hint="that is the gain; how much was there to gain?",
        ),
        Mistake(
            "gap still open",
            example=lambda plain, distilled, teacher: (teacher - distilled) / (teacher - plain),
            hint="that is the share of the gap that is still open: 1 where nothing was gained.",
        ),
        Mistake(
            "divided by the gap still open",
            example=lambda plain, distilled, teacher: (distilled - plain) / (teacher - distilled),
            hint="divide by the whole gap, before distillation.",
        ),
        Mistake(
            "upside down",
            example=lambda plain, distilled, teacher: (teacher - plain) / (distilled - plain),
            hint="a share is a part divided by the whole.",
        ),
        Mistake(
            "relative gain",
            example=lambda plain, distilled, teacher: (distilled - plain) / plain,
            hint="the gain is compared with the gap to the teacher, not with the plain accuracy.",
        ),
        Mistake(
            "gain as a share of the teacher's accuracy",
            example=lambda plain, distilled, teacher: (distilled - plain) / teacher,
            hint="a plain student already has most of that accuracy: divide by what was left to gain.",
        ),
        Mistake(
            "brackets missing",
            example=lambda plain, distilled, teacher: distilled - plain / teacher - plain,
            hint="division comes before subtraction: put brackets around both differences.",
        ),
        Mistake(
            "percent for share",
            example=lambda plain, distilled, teacher: 100 * (distilled - plain) / (teacher - plain),
            hint="a share of 1 means the whole gap.",
        ),
        Mistake(
            "cut to 0..1",
            example=lambda plain, distilled, teacher: min(
                1.0, max(0.0, (distilled - plain) / (teacher - plain))
            ),
            hint="a student may be worse than its plain twin or better than its teacher: return the share as it is.",
        ),
        Mistake(
            "harm hidden",
            example=lambda plain, distilled, teacher: max(0.0, (distilled - plain) / (teacher - plain)),
            hint="where distillation harms, the share is below 0: return it as it is.",
        ),
        Mistake(
            "sign lost",
            example=lambda plain, distilled, teacher: abs(distilled - plain) / abs(teacher - plain),
            hint="where distillation harms, the share is below 0: return it as it is.",
        ),
        Mistake(
            "sign lost where the teacher is worse",
            example=lambda plain, distilled, teacher: (distilled - plain) / abs(teacher - plain),
            hint="if the teacher is worse than the plain student, the gap is below 0, and a gain leads away from the "
            "teacher. Divide by the gap with its sign.",
        ),
        Mistake(
            "0 where the teacher is worse",
            example=lambda plain, distilled, teacher: (
                (distilled - plain) / (teacher - plain) if teacher > plain else 0.0
            ),
            hint=_AS_IT_IS,
        ),
        Mistake(
            "NaN where the teacher is worse",
            example=lambda plain, distilled, teacher: (
                (distilled - plain) / (teacher - plain) if teacher > plain else math.nan
            ),
            hint=_AS_IT_IS,
        ),
        Mistake(
            "gain the wrong way round",
            example=lambda plain, distilled, teacher: (plain - distilled) / (teacher - plain),
            hint="a better distilled student should give a number above 0.",
        ),
    ),
)

# -- paired_interval ----------------------------------------------------------------------------


def paired_interval(plain: list[float], distilled: list[float]) -> tuple[float, float, float]:
    """Return the mean of distilled - plain over paired seeds and its 95 % interval: (mean, low, high)."""
    ### BEGIN SOLUTION
    differences = [after - before for before, after in zip(plain, distilled, strict=True)]
    n = len(differences)
    mean = fmean(differences)
    half = evaluation.t_quantile(0.95, n - 1) * stdev(differences) / math.sqrt(n)
    return mean, mean - half, mean + half
    ### END SOLUTION


def _interval(
    plain: list[float],
    distilled: list[float],
    *,
    quantile: Callable[[int], float] = lambda n: evaluation.t_quantile(0.95, n - 1),
    deviation: Callable[[list[float]], float] = stdev,
    root: Callable[[int], float] = math.sqrt,
) -> tuple[float, float, float]:
    differences = [after - before for before, after in zip(plain, distilled, strict=True)]
    n, mean = len(differences), fmean(differences)
    half = quantile(n) * deviation(differences) / root(n)
    return mean, mean - half, mean + half


def _unpaired(plain: list[float], distilled: list[float]) -> tuple[float, float, float]:
    n, mean = len(plain), fmean(distilled) - fmean(plain)
    half = evaluation.t_quantile(0.95, 2 * n - 2) * math.sqrt((stdev(plain) ** 2 + stdev(distilled) ** 2) / n)
    return mean, mean - half, mean + half


def _unpaired_few_degrees(plain: list[float], distilled: list[float]) -> tuple[float, float, float]:
    n, mean = len(plain), fmean(distilled) - fmean(plain)
    half = evaluation.t_quantile(0.95, n - 1) * math.sqrt((stdev(plain) ** 2 + stdev(distilled) ** 2) / n)
    return mean, mean - half, mean + half


def _in_order(expected: tuple[float, ...], found: tuple[float, ...]) -> str | None:
    mean, low, high = found
    if not low <= mean <= high:
        return "gives three numbers of which the first, the mean, doesn't lie between the other two."
    if abs((mean - low) - (high - mean)) > 1e-6 * max(1.0, high - low):
        return "gives an interval whose middle isn't the mean."
    if abs(mean - expected[0]) > 1e-6:
        return "gives another mean of the differences."
    return f"gives an interval that is too {'wide' if high - low > expected[2] - expected[1] else 'narrow'}."


PAIRED_INTERVAL = Exercise(
    id="paired_interval",
    title="Is the difference real?",
    solution=paired_interval,
    # A quantile from a printed table, 2.776 or 2.571, is good enough.
    relative=5e-4,
    tell=_in_order,
    probes=(
        Probe(
            ([0.841, 0.852, 0.838, 0.849, 0.845], [0.853, 0.858, 0.853, 0.860, 0.852]),
            "for five seeds",
        ),
        Probe(([0.70, 0.71, 0.69], [0.69, 0.72, 0.71]), "for three seeds"),
        Probe(
            ([0.91, 0.90, 0.92, 0.89, 0.915, 0.905, 0.9], [0.90, 0.89, 0.915, 0.885, 0.9, 0.895, 0.897]),
            "where distillation does harm",
        ),
        Probe(([0.80, 0.82], [0.81, 0.86]), "for two seeds"),
    ),
    mistakes=(
        Mistake(
            "normal for t",
            example=lambda plain, distilled: _interval(plain, distilled, quantile=lambda n: 1.959964),
            hint="1.96 is for a known spread; a spread estimated from a few seeds makes the interval wider.",
        ),
        Mistake(
            "one standard error",
            example=lambda plain, distilled: _interval(plain, distilled, quantile=lambda n: 1.0),
            hint="that covers the true mean too rarely. Student's t says how many standard errors 95 % needs.",
        ),
        Mistake(
            "two for t",
            example=lambda plain, distilled: _interval(plain, distilled, quantile=lambda n: 2.0),
            hint="twice the standard error is a rule for many seeds; for a few, Student's t is larger.",
        ),
        Mistake(
            "not paired",
            example=_unpaired,
            hint="that is the interval of two separate means. Both students of a seed share its luck: take their "
            "difference first.",
        ),
        Mistake(
            "spreads added",
            example=_unpaired_few_degrees,
            hint="use the spread of the differences, not that of both sides together: subtract seed by seed.",
        ),
        Mistake(
            "n for n - 1 in the spread",
            example=lambda plain, distilled: _interval(plain, distilled, deviation=pstdev),
            hint="the spread of a sample divides by n - 1; NumPy's std divides by n unless ddof=1.",
        ),
        Mistake(
            "root of n missing",
            example=lambda plain, distilled: _interval(plain, distilled, root=lambda n: 1.0),
            hint="that is the spread of single seeds. Divide it by the square root of n to get the standard error.",
        ),
        Mistake(
            "n for its root",
            example=lambda plain, distilled: _interval(plain, distilled, root=float),
            hint="the standard error shrinks with the square root of n.",
        ),
        Mistake(
            "variance for deviation",
            example=lambda plain, distilled: _interval(plain, distilled, deviation=lambda d: stdev(d) ** 2),
            hint="the variance has squared units: use its square root.",
        ),
        Mistake(
            "one degree too many",
            example=lambda plain, distilled: _interval(
                plain, distilled, quantile=lambda n: evaluation.t_quantile(0.95, n)
            ),
            hint="n differences have n - 1 degrees of freedom, because their mean is computed from them.",
        ),
        Mistake(
            "0.975 for 0.95",
            example=lambda plain, distilled: _interval(
                plain, distilled, quantile=lambda n: evaluation.t_quantile(0.975, n - 1)
            ),
            hint="tables and SciPy count from one end, hence 0.975; t_quantile takes the confidence itself.",
        ),
        Mistake(
            "one-sided",
            example=lambda plain, distilled: _interval(
                plain, distilled, quantile=lambda n: evaluation.t_quantile(0.90, n - 1)
            ),
            hint="5 % remain on both sides together, 2.5 % on each.",
        ),
        Mistake(
            "points for shares",
            example=lambda plain, distilled: tuple(100 * end for end in paired_interval(plain, distilled)),
            hint="the accuracies are shares: return their difference as a share too, not in percentage points.",
        ),
        Mistake(
            "sides swapped",
            example=lambda plain, distilled: paired_interval(distilled, plain),
            hint="a better distilled student should give a mean above 0.",
        ),
        Mistake(
            "mean in the middle",
            example=lambda plain, distilled: tuple(sorted(paired_interval(plain, distilled))),
            hint="return the mean first, then the lower and the upper end.",
        ),
        Mistake(
            "ends swapped",
            example=lambda plain, distilled: tuple(paired_interval(plain, distilled)[n] for n in (0, 2, 1)),
            hint="the lower end comes before the upper one.",
        ),
    ),
)

# -- agreement_with_teacher ---------------------------------------------------------------------


def agreement_with_teacher(student_logits: torch.Tensor, teacher_logits: torch.Tensor) -> float:
    """Return the share of images, 0 to 1, for which both predict the same class; logits [N, C]."""
    ### BEGIN SOLUTION
    same = student_logits.argmax(dim=1) == teacher_logits.argmax(dim=1)
    ### END SOLUTION
    return same.double().mean().item()


def _alike(seed: int, *shape: int) -> tuple[Tensor, Tensor]:
    """Return the logits of two models that mostly agree."""
    student = numbers(seed, *shape)
    return student, student + numbers(seed + 100, *shape, spread=1.5)


def _other_pair(draw: Draw, student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Return other logits that agree as much as before; models that always agree still do, equal logits stay equal."""
    if bool((student.argmax(1) == teacher.argmax(1)).all()):
        student = student + draw.noise(student)
        return student, draw.between(2, 4) * student + draw.between(-1, 1)
    if bool((student == teacher).any()):
        change = draw.noise(student, 0.2)
        return student + change, teacher + change
    student = student + draw.noise(student)
    return student, student + draw.noise(student, 1.5)


AGREEMENT_WITH_TEACHER = Exercise(
    id="agreement_with_teacher",
    title="Agreement with the teacher",
    solution=agreement_with_teacher,
    vary=_other_pair,
    tell=share,
    probes=(
        Probe(_alike(1, 12, 4), "for 12 images of 4 classes"),
        Probe(_alike(2, 5, 5), "for 5 images of 5 classes"),
        Probe(_alike(5, 9, 3), "for 9 images of 3 classes"),
        Probe((numbers(4, 6, 3), 3 * numbers(4, 6, 3) + 1), "where both always agree, with other logits"),
        Probe(
            (
                torch.tensor([[1.0, 2.0, 0.0], [3.0, 0.0, 1.0]]),
                torch.tensor([[1.0, 0.0, 2.0], [3.0, 1.0, 0.0]]),
            ),
            "where some logits are equal",
        ),
        Probe((torch.tensor([[0.1, 0.2]]), torch.tensor([[2.0, 1.0]])), "for a single image"),
    ),
    mistakes=(
        Mistake(
            "largest over the wrong axis",
            example=lambda z, v: (z.argmax(0) == v.argmax(0)).double().mean().item(),
            hint="logits are [images, classes]; which axis does argmax have to look along?",
        ),
        Mistake(
            "largest of the whole batch",
            example=lambda z, v: float(z.argmax() == v.argmax()),
            hint="argmax without an axis uses the whole batch; each image has its own prediction.",
        ),
        Mistake(
            "count for share",
            example=lambda z, v: float((z.argmax(1) == v.argmax(1)).sum()),
            hint="that is how often they agree; on which share of the images?",
        ),
        Mistake(
            "percent for share",
            example=lambda z, v: 100 * agreement_with_teacher(z, v),
            hint="a share lies between 0 and 1.",
        ),
        Mistake(
            "disagreement",
            example=lambda z, v: 1 - agreement_with_teacher(z, v),
            hint="that is how often they differ.",
        ),
        Mistake(
            "logits compared",
            example=lambda z, v: (z == v).double().mean().item(),
            hint="two models never give exactly the same logits; compare their predicted classes.",
        ),
        Mistake(
            "largest logits compared",
            example=lambda z, v: (z.max(1).values == v.max(1).values).double().mean().item(),
            hint="max gives the logit itself; the class is its place in the row.",
        ),
        Mistake(
            "least likely class",
            example=lambda z, v: (z.argmin(1) == v.argmin(1)).double().mean().item(),
            hint="the predicted class is the one with the largest logit.",
        ),
        Mistake(
            "compared as wholes",
            example=lambda z, v: float(torch.equal(z.argmax(1), v.argmax(1))),
            hint="that is 1 only if they agree on every image. On which share of the images do they agree?",
        ),
        Mistake(
            "every image with every image",
            example=lambda z, v: (z.argmax(1, keepdim=True) == v.argmax(1)).double().mean().item(),
            hint="[N, 1] compared with [N] gives [N, N], every image with every other one. Both sides must have the "
            "same shape.",
        ),
        Mistake(
            "whole ranking compared",
            example=lambda z, v: (z.argsort(1) == v.argsort(1)).all(1).double().mean().item(),
            hint="only the first place counts, not the order of the others.",
        ),
        Mistake(
            "divided by the classes",
            example=lambda z, v: float((z.argmax(1) == v.argmax(1)).sum()) / z.shape[1],
            hint="a share of the images is divided by the number of images.",
        ),
    ),
)

# -- discordant_pairs ---------------------------------------------------------------------------


def discordant_pairs(first_correct: torch.Tensor, second_correct: torch.Tensor) -> tuple[int, int]:
    """Count the images that only the first model gets right, and those that only the second does; bool [N]."""
    ### BEGIN SOLUTION
    only_first = (first_correct & ~second_correct).sum().item()
    ### END SOLUTION
    ### BEGIN SOLUTION
    only_second = (second_correct & ~first_correct).sum().item()
    ### END SOLUTION
    return only_first, only_second


def _flags(text: str) -> Tensor:
    return torch.tensor([letter == "+" for letter in text])


DISCORDANT_PAIRS = Exercise(
    id="discordant_pairs",
    title="Where two models disagree",
    solution=discordant_pairs,
    vary=lambda draw, *flags: draw.columns(*flags),
    probes=(
        Probe((_flags("+++++---+-"), _flags("++---+-+-+")), "for 10 images"),
        Probe((_flags("++++++--"), _flags("+-+--+--")), "where the second is never right alone"),
        Probe((_flags("+-+-"), _flags("+-+-")), "where both are right on the same images"),
        Probe((_flags("-"), _flags("+")), "for a single image"),
    ),
    mistakes=(
        Mistake(
            "order swapped",
            example=lambda a, b: discordant_pairs(b, a),
            hint="return first the number that only the first model gets right.",
        ),
        Mistake(
            "all that each gets right",
            example=lambda a, b: (int(a.sum()), int(b.sum())),
            hint="that counts images that both get right twice, and these don't show which model is better.",
        ),
        Mistake(
            "all that each gets wrong",
            example=lambda a, b: (int((~b).sum()), int((~a).sum())),
            hint="an image that the other gets wrong counts only if this one gets it right.",
        ),
        Mistake(
            "where they agree",
            example=lambda a, b: (int((a & b).sum()), int((~a & ~b).sum())),
            hint="both right and both wrong: that is where they agree. Where do they disagree?",
        ),
        Mistake(
            "both right on both sides",
            example=lambda a, b: (int((a & b).sum()),) * 2,
            hint="that counts images that both get right. The other one has to be wrong: ~ turns right to wrong.",
        ),
        Mistake(
            "or for and",
            example=lambda a, b: (int((a | ~b).sum()), int((b | ~a).sum())),
            hint="| is 'or': it keeps an image where either is true. Both must be.",
        ),
        Mistake(
            "won minus lost",
            example=lambda a, b: (int(a.sum()) - int(b.sum()), int(b.sum()) - int(a.sum())),
            hint="in a difference of sums, images won and images lost cancel. Count them separately.",
        ),
        Mistake(
            "shares for counts",
            example=lambda a, b: tuple(count / len(a) for count in discordant_pairs(a, b)),
            hint="return counts: the test needs the number of images.",
        ),
        Mistake(
            "both directions together",
            example=lambda a, b: (int((a != b).sum()), int((a != b).sum())),
            hint="that counts every image on which they disagree; which model is right there?",
        ),
        Mistake(
            "net difference",
            example=lambda a, b: (max(0, int(a.sum()) - int(b.sum())), max(0, int(b.sum()) - int(a.sum()))),
            hint="in a difference of totals, images won and images lost cancel. Go image by image.",
        ),
        Mistake(
            "either right",
            example=lambda a, b: (int((a | b).sum() - b.sum()), int((a | b).sum())),
            hint="| is 'or': it also holds where both are right.",
        ),
        Mistake(
            "one against both",
            example=lambda a, b: (discordant_pairs(a, b)[0], int((a & b).sum())),
            hint="the second number counts those that only the second model gets right.",
        ),
    ),
)

# -- wilson_ends --------------------------------------------------------------------------------


def wilson_ends(right: int, images: int) -> tuple[float, float]:
    """Return Wilson's 95 % interval for the share of images that are right: lower end, upper end."""
    z = 1.96
    ### BEGIN SOLUTION
    p = right / images
    middle = p + z**2 / (2 * images)
    root = math.sqrt(p * (1 - p) / images + z**2 / (4 * images**2))
    low, high = middle - z * root, middle + z * root
    return low / (1 + z**2 / images), high / (1 + z**2 / images)
    ### END SOLUTION


def _wilson(
    right: int,
    images: int,
    *,
    z: float = 1.96,
    middle: float = 1.0,
    inside: float = 1.0,
    quarter: float = 4.0,
    divided: bool = True,
    root: Callable[[float], float] = math.sqrt,
) -> tuple[float, float]:
    """Return the interval, with parts of the formula changed or left out."""
    p, n = right / images, images
    half = z * root(p * (1 - p) / n + inside * z**2 / (quarter * n**2))
    ends = (p + middle * z**2 / (2 * n) - half, p + middle * z**2 / (2 * n) + half)
    return tuple(end / (1 + z**2 / n) for end in ends) if divided else ends


def _ends(expected: tuple[float, float], found: tuple[float, float]) -> str | None:
    low, high = found
    if low > high:
        return "gives a lower end above the upper one."
    if not -1e-9 <= low <= high <= 1 + 1e-9:
        return "gives an end outside 0..1, which is no share."
    return f"gives an interval that is too {'wide' if high - low > expected[1] - expected[0] else 'narrow or shifted'}."


def _other_counts(draw: Draw, right: int, images: int) -> tuple[int, int]:
    """Return other counts; where all or no images were right, they still are."""
    several = draw.whole(max(5, images // 2), 2 * images)
    if right in (0, images):
        return several if right else 0, several
    return draw.whole(1, several - 1), several


WILSON_ENDS = Exercise(
    id="wilson_ends",
    title="Wilson's interval",
    solution=wilson_ends,
    relative=1e-3,
    tell=_ends,
    vary=_other_counts,
    probes=(
        Probe((45, 50), "for 45 of 50 images"),
        Probe((7, 10), "for 7 of 10 images"),
        Probe((9_240, 10_000), "for 9,240 of 10,000 images"),
        Probe((12, 12), "where all of 12 images are right"),
        Probe((0, 8), "where none of 8 images is right"),
    ),
    mistakes=(
        Mistake(
            "without the terms of z squared",
            example=lambda right, images: _wilson(right, images, middle=0, inside=0, divided=False),
            hint="that is what is left for many images. With few, or with all of them right, the terms with z squared "
            "matter.",
        ),
        Mistake(
            "fraction in front missing",
            example=lambda right, images: _wilson(right, images, divided=False),
            hint="both ends are divided by 1 + z**2 / n.",
        ),
        Mistake(
            "middle not moved",
            example=lambda right, images: _wilson(right, images, middle=0),
            hint="the middle is p + z**2 / (2 n): few images say little, so it lies nearer to a half.",
        ),
        Mistake(
            "root without its second term",
            example=lambda right, images: _wilson(right, images, inside=0),
            hint="under the root there are two terms; without the second, an interval around 0 or 1 is too narrow.",
        ),
        Mistake(
            "2 for 4 under the root",
            example=lambda right, images: _wilson(right, images, quarter=2.0),
            hint="under the root, z**2 is divided by 4 n**2.",
        ),
        Mistake(
            "n for n squared under the root",
            example=lambda right, images: _wilson(right, images, inside=images),
            hint="under the root, z**2 is divided by 4 n**2, not by 4 n.",
        ),
        Mistake(
            "root missing",
            example=lambda right, images: _wilson(right, images, root=float),
            hint="take the square root of the sum of both terms.",
        ),
        Mistake(
            "one standard error",
            example=lambda right, images: _wilson(right, images, z=1.0),
            hint="95 % needs z = 1.96 standard errors on either side.",
        ),
        Mistake(
            "z for 90 %",
            example=lambda right, images: _wilson(right, images, z=1.645),
            hint="1.645 is for 5 % on one side. For 2.5 % on either side, z is 1.96.",
        ),
        Mistake(
            "percent for shares",
            example=lambda right, images: tuple(100 * end for end in _wilson(right, images)),
            hint="both ends are shares, from 0 to 1.",
        ),
        Mistake(
            "ends swapped",
            example=lambda right, images: _wilson(right, images)[::-1],
            hint="return the lower end first.",
        ),
        Mistake(
            "share of the wrong images",
            example=lambda right, images: _wilson(images - right, images),
            hint="p is the share of images that are right.",
        ),
        Mistake(
            "bracket not closed",
            example=lambda right, images: tuple(
                right / images / (1 + 1.96**2 / images) + each
                for each in (
                    _wilson(right, images, divided=False)[0] - right / images,
                    _wilson(right, images, divided=False)[1] - right / images,
                )
            ),
            hint="the fraction in front multiplies everything in the brackets, not only p.",
        ),
    ),
)

# -- best_temperature ---------------------------------------------------------------------------


def best_temperature(
    logits: torch.Tensor, labels: torch.Tensor, candidates: list[float]
) -> tuple[float, float]:
    """Return the candidate T with the lowest cross-entropy of logits / T [N, C] and labels [N], and that loss."""
    ### BEGIN SOLUTION
    losses = [F.cross_entropy(logits / temperature, labels).item() for temperature in candidates]
    best = losses.index(min(losses))
    return candidates[best], losses[best]
    ### END SOLUTION


def _by(
    loss: Callable[[Tensor, Tensor, float], Tensor | float], best: Callable[..., float] = min
) -> Callable[[Tensor, Tensor, list[float]], tuple[float, float]]:
    """Return an answer that keeps the candidate with the best value of ``loss``, and returns both."""

    def answer(logits: Tensor, labels: Tensor, candidates: list[float]) -> tuple[float, float]:
        losses = [float(loss(logits, labels, t)) for t in candidates]
        chosen = best(losses)
        return candidates[losses.index(chosen)], chosen

    return answer


def _cross_entropy(logits: Tensor, labels: Tensor, temperature: float) -> float:
    return F.cross_entropy(logits / temperature, labels).item()


def _confident(seed: int, images: int, spread: float, right: float) -> tuple[Tensor, Tensor]:
    """Return logits of 4 classes of which a share is right, and the labels."""
    logits, generator = numbers(seed, images, 4, spread=spread), torch.Generator().manual_seed(seed)
    wrong = torch.rand(images, generator=generator) >= right
    return logits, (logits.argmax(dim=1) + wrong * torch.randint(1, 4, (images,), generator=generator)) % 4


def _other_logits(
    draw: Draw, logits: Tensor, labels: Tensor, candidates: list[float]
) -> tuple[Tensor, Tensor, list[float]]:
    """Return images in another order, their logits a little changed, for the same candidates."""
    order = draw.order(len(labels))
    return logits[order] * draw.between(0.9, 1.1) + draw.noise(logits, 0.05), labels[order], candidates


_STEPS = [0.25, 0.5, 0.8, 1.0, 1.25, 1.7, 2.5, 4.0, 8.0]

BEST_TEMPERATURE = Exercise(
    id="best_temperature",
    title="Choose the temperature",
    solution=best_temperature,
    vary=_other_logits,
    probes=(
        Probe((*_confident(3, 40, 6.0, 0.7), _STEPS), "where the network is too confident"),
        Probe((*_confident(5, 60, 0.6, 0.95), _STEPS), "where it is too unsure"),
        Probe((*_confident(8, 25, 2.0, 0.8), [4.0, 1.0, 0.5, 2.0]), "for candidates that aren't in order"),
        Probe((*_confident(9, 12, 40.0, 0.6), _STEPS), "for large logits"),
        Probe((*_confident(3, 40, 6.0, 0.7), [1.5]), "for a single candidate"),
    ),
    mistakes=(
        Mistake(
            "highest for lowest",
            example=_by(_cross_entropy, max),
            hint="a good temperature makes the cross-entropy low.",
        ),
        Mistake(
            "multiplied",
            example=_by(lambda z, y, t: F.cross_entropy(z * t, y)),
            hint="divide by the temperature, as in softmax(z / T).",
        ),
        Mistake(
            "not scaled",
            example=_by(lambda z, y, t: F.cross_entropy(z, y).item()),
            hint="the cross-entropy has to depend on the candidate.",
        ),
        Mistake(
            "by accuracy",
            example=_by(lambda z, y, t: (z / t).argmax(1).eq(y).double().mean().item(), max),
            hint="dividing by a temperature changes no predicted class, so accuracy can't choose one.",
        ),
        Mistake(
            "softmax twice",
            example=_by(lambda z, y, t: F.cross_entropy((z / t).softmax(1), y).item()),
            hint="F.cross_entropy takes logits: it computes the softmax itself.",
        ),
        Mistake(
            "probabilities divided",
            example=_by(lambda z, y, t: F.cross_entropy(z.softmax(1) / t, y).item()),
            hint="divide the logits, before any softmax.",
        ),
        Mistake(
            "times T squared",
            example=_by(lambda z, y, t: t**2 * _cross_entropy(z, y, t)),
            hint="T squared belongs into the distillation loss. Here compare the cross-entropies as they are.",
        ),
        Mistake(
            "place for candidate",
            example=lambda z, y, c: (c.index(best_temperature(z, y, c)[0]), best_temperature(z, y, c)[1]),
            hint="return the candidate itself, not its place in the list.",
        ),
        Mistake(
            "loss first",
            example=lambda z, y, c: best_temperature(z, y, c)[::-1],
            hint="return the temperature first, then the loss.",
        ),
        Mistake(
            "sum over the images",
            example=_by(lambda z, y, t: F.cross_entropy(z / t, y, reduction="sum")),
            hint="the loss is the mean over the images, not their sum.",
        ),
        Mistake(
            "loss without scaling",
            example=lambda z, y, c: (best_temperature(z, y, c)[0], F.cross_entropy(z, y).item()),
            hint="the second number is the cross-entropy at the temperature that you chose.",
        ),
        Mistake(
            "predicted classes for labels",
            example=_by(lambda z, y, t: F.cross_entropy(z / t, z.argmax(1))),
            hint="compare with the labels: with its own predictions, a network can't be too confident.",
        ),
    ),
)

EXERCISES = (
    WILSON_ENDS, DISCORDANT_PAIRS, PAIRED_INTERVAL, RECOVERED, BEST_TEMPERATURE, AGREEMENT_WITH_TEACHER,
)  # fmt: skip
