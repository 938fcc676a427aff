"""Define the exercises of Soft targets and temperature."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from kdcourse.checks.exercise import Exercise, Mistake, Probe
from kdcourse.checks.probes import CLOSE, huge, numbers, softmax_rows

# -- softened_probabilities ---------------------------------------------------------------------


def softened_probabilities(logits: torch.Tensor, temperature: float) -> torch.Tensor:
    """Return the probabilities [B, C] at a temperature, from logits [B, C]."""
    ### BEGIN SOLUTION
    probabilities = torch.softmax(logits / temperature, dim=1)
    ### END SOLUTION
    return probabilities


SOFTENED_PROBABILITIES = Exercise(
    id="softened_probabilities",
    title="Probabilities at a temperature",
    solution=softened_probabilities,
    tell=softmax_rows,
    probes=(
        Probe((numbers(1, 4, 3), 4.0), "at T = 4"),
        Probe((numbers(2, 3, 3), 1.0), "at T = 1"),
        Probe((numbers(3, 2, 5), 0.5), "at T = 0.5"),
        Probe((numbers(4, 1, 4), 2.0), "for a batch of one image"),
        Probe((numbers(5, 3, 4, spread=15.0), 1.0), "for logits of up to 50"),
        Probe((huge([1, 0, 0], [0, -1, 1], *CLOSE), 2.0), "for logits of 10,000", extreme=True),
    ),
    mistakes=(
        Mistake(
            "softmax over the wrong axis",
            example=lambda z, t: (z / t).softmax(0),
            hint="logits are [images, classes], and each image's probabilities must sum to 1.",
        ),
        Mistake(
            "softmax over everything",
            example=lambda z, t: (z / t).flatten().softmax(0).view_as(z),
            hint="each image's probabilities must sum to 1, not those of the whole batch.",
        ),
        Mistake(
            "multiplied by the temperature",
            example=lambda z, t: (z * t).softmax(1),
            hint="a high temperature brings the logits closer together. What brings numbers closer to 0?",
        ),
        Mistake(
            "temperature ignored",
            example=lambda z, t: z.softmax(1),
            hint="that is the ordinary softmax, T = 1. Where is the temperature used?",
        ),
        Mistake(
            "divided after the softmax",
            example=lambda z, t: z.softmax(1) / t,
            hint="dividing probabilities makes them sum to 1 / T; divide the logits.",
        ),
        Mistake(
            "power of probabilities, not normalised",
            example=lambda z, t: z.softmax(1) ** (1 / t),
            hint="p^(1/T) has the right proportions, but each row must sum to 1 again.",
        ),
        Mistake(
            "divided by T squared",
            example=lambda z, t: (z / t**2).softmax(1),
            hint="T squared comes later, in the loss; logits are divided by T itself.",
        ),
        Mistake(
            "log-probabilities",
            example=lambda z, t: (z / t).log_softmax(1),
            hint="those are the logarithms; return the probabilities themselves.",
        ),
        Mistake(
            "only the numerator",
            example=lambda z, t: (z / t).exp(),
            hint="exp(z / T) is the numerator; what is it divided by, so that a row sums to 1?",
        ),
        Mistake(
            "denominator not softened",
            example=lambda z, t: (z / t).exp() / z.exp().sum(1, keepdim=True),
            hint="the sum in the denominator is over the softened exponentials too.",
        ),
        Mistake(
            "softened twice",
            example=lambda z, t: (z.softmax(1) / t).softmax(1),
            hint="logits are divided by T, not probabilities, and there is a single softmax.",
        ),
        Mistake(
            "keepdim missing",
            example=lambda z, t: (z / t).exp() / (z / t).exp().sum(1),
            hint="a sum of shape [B] is matched with the classes, not with the images. keepdim=True keeps its shape "
            "[B, 1], one sum per row.",
        ),
        Mistake(
            "logits clamped",
            example=lambda z, t: (z / t).clamp(-50, 50).softmax(1),
            hint="clamping makes large logits equal that aren't. What may be subtracted from a row of logits without "
            "changing its softmax?",
        ),
        Mistake(
            "overflow",
            example=lambda z, t: (z / t).exp() / (z / t).exp().sum(1, keepdim=True),
            hint="right for ordinary logits, but exp(5,000) is infinite. What may be subtracted from a row of logits "
            "without changing its softmax?",
        ),
    ),
)

# -- entropy_nats -------------------------------------------------------------------------------


def entropy_nats(probabilities: torch.Tensor) -> torch.Tensor:
    """Return the entropy of each image's probabilities in nats: [B, C] to [B], with 0 log 0 = 0."""
    ### BEGIN SOLUTION
    logarithms = torch.where(probabilities > 0, probabilities, 1.0).log()
    ### END SOLUTION
    ### BEGIN SOLUTION
    nats = -(probabilities * logarithms).sum(dim=1)
    ### END SOLUTION
    return nats


def _plain_entropy(p: Tensor) -> Tensor:
    return -(p * p.log()).sum(1)


ENTROPY_NATS = Exercise(
    id="entropy_nats",
    title="The entropy of soft targets",
    solution=entropy_nats,
    probes=(
        Probe((numbers(1, 4, 3).softmax(1),), "for 4 images of 3 classes"),
        Probe((numbers(2, 3, 3).softmax(1),), "for 3 images of 3 classes"),
        Probe((torch.full((2, 8), 1 / 8),), "for evenly spread probabilities"),
        Probe((numbers(3, 1, 5).softmax(1),), "for a batch of one image"),
        Probe((numbers(4, 3, 6, spread=4.0).softmax(1),), "for probabilities far below 0.01"),
        Probe(
            (torch.tensor([[1.0, 0.0, 0.0], [0.5, 0.5, 0.0], [0.2, 0.3, 0.5]]),),
            "for probabilities of exactly 0",
            extreme=True,
        ),
    ),
    mistakes=(
        Mistake(
            "0 log 0",
            example=_plain_entropy,
            hint="right if no probability is 0. But 0 times minus infinity gives NaN, and it must count as 0.",
        ),
        Mistake(
            "probabilities clamped",
            example=lambda p: -(p * p.clamp(min=0.01).log()).sum(1),
            hint="clamp(min=0.01) changes the logarithm of every probability below 0.01. Only those of exactly 0 need "
            "a replacement.",
        ),
        Mistake(
            "rows with a 0 lost",
            example=lambda p: _plain_entropy(p).nan_to_num(0.0),
            hint="the NaN is gone, but the entropy of the whole row is gone too: fix the term, not the sum.",
        ),
        Mistake(
            "bits for nats",
            example=lambda p: torch.special.entr(p).sum(1) / math.log(2),
            hint="log2 counts bits; nats come from the natural logarithm.",
        ),
        Mistake(
            "decimal logarithm",
            example=lambda p: torch.special.entr(p).sum(1) / math.log(10),
            hint="nats come from the natural logarithm, not from log10.",
        ),
        Mistake(
            "sign missing",
            example=lambda p: -torch.special.entr(p).sum(1),
            hint="a logarithm of a probability is at most 0, and entropy at least 0.",
        ),
        Mistake(
            "mean for sum",
            example=lambda p: torch.special.entr(p).mean(1),
            hint="entropy is a sum over the classes; don't divide by their number.",
        ),
        Mistake(
            "summed over the images",
            example=lambda p: torch.special.entr(p).sum(0),
            hint="one entropy per image: which axis of [images, classes] must disappear?",
        ),
        Mistake(
            "averaged over the batch",
            example=lambda p: torch.special.entr(p).sum(1).mean(),
            hint="return one entropy per image, [B], not one for all.",
        ),
        Mistake(
            "probabilities left out",
            example=lambda p: -p.log().sum(1),
            hint="each -log p is multiplied by p: entropy is the mean of -log p under p.",
        ),
        Mistake(
            "taken for logits",
            example=lambda p: torch.special.entr(p.softmax(1)).sum(1),
            hint="these are probabilities already: no softmax is needed.",
        ),
        Mistake(
            "scaled to 0..1",
            example=lambda p: torch.special.entr(p).sum(1) / math.log(p.shape[1]),
            hint="divided by log C it has a maximum of 1; in nats the maximum is log C.",
        ),
        Mistake(
            "perplexity",
            example=lambda p: torch.special.entr(p).sum(1).exp(),
            hint="the exponential of the entropy is the perplexity; stop one step earlier.",
        ),
    ),
)

# -- soft_gradient ------------------------------------------------------------------------------


def soft_gradient(
    student_logits: torch.Tensor, teacher_logits: torch.Tensor, temperature: float
) -> torch.Tensor:
    """Return the gradient [B, C] of the batch-mean cross-entropy with soft targets, without T squared."""
    ### BEGIN SOLUTION
    q = torch.softmax(student_logits / temperature, dim=1)
    ### END SOLUTION
    ### BEGIN SOLUTION
    p = torch.softmax(teacher_logits / temperature, dim=1)
    ### END SOLUTION
    ### BEGIN SOLUTION
    return (q - p) / (temperature * len(student_logits))
    ### END SOLUTION


_TWO_SIDES = (
    Probe((numbers(1, 4, 3), numbers(2, 4, 3), 4.0), "at T = 4"),
    Probe((numbers(3, 3, 3), numbers(4, 3, 3), 0.5), "at T = 0.5"),
    Probe((numbers(5, 2, 5), numbers(6, 2, 5), 1.0), "at T = 1"),
    Probe((numbers(7, 1, 4), numbers(8, 1, 4), 2.0), "for a batch of one image"),
)
_HUGE_SIDES = Probe(
    (huge([1, 0, 0], [0, -1, 1]), huge([0, 1, 0], [1, 0, -1]), 2.0), "for logits of 10,000", extreme=True
)


def _zero_sum(expected: Tensor, found: Tensor) -> str | None:
    if not torch.allclose(
        found.double().sum(1), torch.zeros(len(found)).double(), atol=1e-3 * float(found.abs().max())
    ):
        return (
            "gives rows that don't sum to 0: adding a constant to an image's logits changes no probability."
        )
    return None


def _q_minus_p(student: Tensor, teacher: Tensor, t_student: float, t_teacher: float, dim: int = 1) -> Tensor:
    return (student / t_student).softmax(dim) - (teacher / t_teacher).softmax(dim)


def _reverse_kl_gradient(student: Tensor, teacher: Tensor, t: float) -> Tensor:
    log_q, log_p = (student / t).log_softmax(1), (teacher / t).log_softmax(1)
    q, gap = log_q.exp(), log_q - log_p
    return q * (gap - (q * gap).sum(1, keepdim=True)) / (t * len(student))


SOFT_GRADIENT = Exercise(
    id="soft_gradient",
    title="The gradient that soft targets send back",
    solution=soft_gradient,
    tell=_zero_sum,
    probes=(*_TWO_SIDES, _HUGE_SIDES),
    mistakes=(
        Mistake(
            "sides swapped",
            example=lambda z, v, t: -_q_minus_p(z, v, t, t) / (t * len(z)),
            hint="if the student gives a class too much probability, a step against the gradient must lower it.",
        ),
        Mistake(
            "1 / T missing",
            example=lambda z, v, t: _q_minus_p(z, v, t, t) / len(z),
            hint="the student's logits are divided by T before the softmax: which factor does the chain rule give?",
        ),
        Mistake(
            "1 / T squared for 1 / T",
            example=lambda z, v, t: _q_minus_p(z, v, t, t) / (t**2 * len(z)),
            hint="the chain rule gives 1 / T once. The second 1 / T, which T squared will cancel, is inside q - p.",
        ),
        Mistake(
            "reverse KL",
            example=_reverse_kl_gradient,
            hint="that is the gradient of KL(student || teacher), the reverse KL. In cross-entropy with soft targets "
            "the teacher's probabilities are the weights.",
        ),
        Mistake(
            "batch mean missing",
            example=lambda z, v, t: _q_minus_p(z, v, t, t) / t,
            hint="the loss is a mean over the batch: how much does one image count in it?",
        ),
        Mistake(
            "1 / T and batch mean missing",
            example=lambda z, v, t: _q_minus_p(z, v, t, t),
            hint="q - p is right; two factors are missing, one from the chain rule, one from the mean.",
        ),
        Mistake(
            "T squared inside",
            example=lambda z, v, t: _q_minus_p(z, v, t, t) * t / len(z),
            hint="that is the gradient of the loss multiplied by T squared, which comes later.",
        ),
        Mistake(
            "multiplied by T squared alone",
            example=lambda z, v, t: _q_minus_p(z, v, t, t) * t**2 / len(z),
            hint="the chain rule gives a factor of 1 / T; T squared comes later, in the loss.",
        ),
        Mistake(
            "divided by the classes too",
            example=lambda z, v, t: _q_minus_p(z, v, t, t) / (t * z.numel()),
            hint="the mean is over the images; over the classes the cross-entropy is a sum.",
        ),
        Mistake(
            "not softened",
            example=lambda z, v, t: _q_minus_p(z, v, 1, 1) / (t * len(z)),
            hint="p and q are both taken at the temperature T.",
        ),
        Mistake(
            "teacher not softened",
            example=lambda z, v, t: _q_minus_p(z, v, t, 1) / (t * len(z)),
            hint="the teacher's probabilities are taken at the temperature T, like the student's.",
        ),
        Mistake(
            "hard targets",
            example=lambda z, v, t: (
                ((z / t).softmax(1) - (v == v.amax(1, keepdim=True)).float()) / (t * len(z))
            ),
            hint="the teacher's best class alone is a hard target. Soft targets are all its probabilities.",
        ),
        Mistake(
            "softmax over the wrong axis",
            example=lambda z, v, t: _q_minus_p(z, v, t, t, dim=0) / (t * len(z)),
            hint="logits are [images, classes], and each image's probabilities must sum to 1.",
        ),
        Mistake(
            "logits for probabilities",
            example=lambda z, v, t: (z - v) / (t * len(z)),
            hint="logits are compared only in the limit of a very high T; at this T, subtract probabilities.",
        ),
    ),
)

# -- matching_logits_gradient -------------------------------------------------------------------


def matching_logits_gradient(
    student_logits: torch.Tensor, teacher_logits: torch.Tensor, temperature: float
) -> torch.Tensor:
    """Return the limit of T squared times the batch-mean gradient [B, C] as the temperature grows."""
    ### BEGIN SOLUTION
    z = student_logits - student_logits.mean(dim=1, keepdim=True)
    v = teacher_logits - teacher_logits.mean(dim=1, keepdim=True)
    return (z - v) / student_logits.numel()
    ### END SOLUTION


def _shifted(tensor: Tensor) -> Tensor:
    """Give rows different means, so that forgetting to subtract them shows."""
    return tensor + torch.arange(len(tensor)).unsqueeze(1) + 1.0


def _centred(z: Tensor, v: Tensor, dim: int | None = 1) -> Tensor:
    gap = z - v
    return gap - (gap.mean() if dim is None else gap.mean(dim, keepdim=True))


MATCHING_LOGITS_GRADIENT = Exercise(
    id="matching_logits_gradient",
    title="At high temperature, logits are matched",
    solution=matching_logits_gradient,
    tell=_zero_sum,
    probes=(
        Probe((_shifted(numbers(1, 4, 3)), numbers(2, 4, 3), 20.0), "at T = 20"),
        Probe((_shifted(numbers(3, 3, 3)), numbers(4, 3, 3), 100.0), "at T = 100"),
        Probe((_shifted(numbers(5, 2, 5)), numbers(6, 2, 5), 1.0), "at T = 1"),
        Probe((_shifted(numbers(7, 1, 4)), numbers(8, 1, 4), 2.0), "for a batch of one image"),
    ),
    mistakes=(
        Mistake(
            "sides swapped",
            example=lambda z, v, t: -_centred(z, v) / z.numel(),
            hint="where the student's logit is too large, a step against the gradient must lower it.",
        ),
        Mistake(
            "means left in",
            example=lambda z, v, t: (z - v) / z.numel(),
            hint="a constant added to all logits of an image changes no probability: subtract the image's mean.",
        ),
        Mistake(
            "mean over the batch",
            example=lambda z, v, t: _centred(z, v, 0) / z.numel(),
            hint="subtract each image's own mean, over its classes. Which axis is that?",
        ),
        Mistake(
            "keepdim missing",
            example=lambda z, v, t: ((z - z.mean(1)) - (v - v.mean(1))) / z.numel(),
            hint="a mean of shape [B] is matched with the classes, not with the images. keepdim=True keeps its shape "
            "[B, 1], one mean per row.",
        ),
        Mistake(
            "one mean for all",
            example=lambda z, v, t: _centred(z, v, None) / z.numel(),
            hint="each image has its own mean, over its classes.",
        ),
        Mistake(
            "batch mean missing",
            example=lambda z, v, t: _centred(z, v) / z.shape[1],
            hint="the loss is a mean over the batch: how much does one image count in it?",
        ),
        Mistake(
            "number of classes missing",
            example=lambda z, v, t: _centred(z, v) / len(z),
            hint="at high T each probability is about 1 / C, and that factor stays.",
        ),
        Mistake(
            "both numbers missing",
            example=lambda z, v, t: _centred(z, v),
            hint="the direction is right; divide by the number of images and by the number of classes.",
        ),
        Mistake(
            "T squared left in",
            example=lambda z, v, t: _centred(z, v) / (z.numel() * t**2),
            hint="the loss is multiplied by T squared here, which cancels the 1 / T squared of the gradient.",
        ),
        Mistake(
            "one T left in",
            example=lambda z, v, t: _centred(z, v) / (z.numel() * t),
            hint="T enters twice, by the chain rule and by the probabilities, and T squared cancels both.",
        ),
        Mistake(
            "exact gradient for the limit",
            example=lambda z, v, t: t * _q_minus_p(z, v, t, t) / len(z),
            hint="that is the exact gradient at this T; the limit contains no softmax and no T.",
        ),
        Mistake(
            "student's mean left in",
            example=lambda z, v, t: (z - (v - v.mean(1, keepdim=True))) / z.numel(),
            hint="the student's logits have a mean too.",
        ),
    ),
)

EXERCISES = (SOFTENED_PROBABILITIES, ENTROPY_NATS, SOFT_GRADIENT, MATCHING_LOGITS_GRADIENT)
