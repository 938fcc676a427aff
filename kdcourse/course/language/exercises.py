"""Define the exercises of Language models."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from kdcourse.checks.exercise import Exercise, Mistake, Probe
from kdcourse.checks.outcomes import ANSWER, GRADIENT
from kdcourse.checks.probes import Draw, huge, numbers
from kdcourse.course.language import fixtures
from kdcourse.data import IGNORE_TOKEN

# -- kl_divergence ------------------------------------------------------------------------------


def kl_divergence(p: torch.Tensor, q: torch.Tensor) -> torch.Tensor:
    """Return KL(p || q) of each row in nats: probabilities [N, V] to [N]. q is above 0; 0 log 0 counts as 0."""
    ### BEGIN SOLUTION
    log_p = torch.where(p > 0, p, 1.0).log()
    return (p * (log_p - q.log())).sum(dim=1)
    ### END SOLUTION


def _rows(
    weight: Callable[[Tensor, Tensor], Tensor] = lambda p, q: p,
    log_ratio: Callable[[Tensor, Tensor], Tensor] = lambda p, q: p.log() - q.log(),
) -> Callable[[Tensor, Tensor], Tensor]:
    """Make an answer: the sum over the tokens of ``weight * log_ratio``, 0 where p is 0."""
    return lambda p, q: (weight(p, q) * log_ratio(p, q)).masked_fill(p == 0, 0).sum(1)


def _to_the_middle(p: Tensor, q: Tensor) -> Tensor:
    middle = (p + q) / 2
    return (kl_divergence(p, middle) + kl_divergence(q, middle)) / 2


def _never_below_0(expected: Tensor, found: Tensor) -> str | None:
    return "gives a number below 0, which a divergence never is." if bool((found < -1e-4).any()) else None


def _distributions(seed: int, *shape: int, spread: float = 2.0) -> tuple[Tensor, Tensor]:
    return numbers(seed, *shape, spread=spread).softmax(1), numbers(seed + 1, *shape, spread=spread).softmax(
        1
    )


_WITH_ZEROS = torch.tensor([[1.0, 0.0, 0.0], [0.5, 0.5, 0.0], [0.2, 0.3, 0.5]])
_RARE = torch.tensor([[0.0, -40.0, -2.0], [-30.0, 1.0, 0.0]]).softmax(1)

KL_DIVERGENCE = Exercise(
    id="kl_divergence",
    title="KL, in either direction",
    solution=kl_divergence,
    tell=_never_below_0,
    probes=(
        Probe(_distributions(10, 4, 3), "for four rows of three tokens"),
        Probe(_distributions(20, 1, 5), "for a single row"),
        Probe(_distributions(30, 3, 3, spread=1.0), "for three rows of three tokens"),
        Probe(_distributions(40, 2, 6, spread=4.0), "for probabilities far below 0.01"),
        Probe((_WITH_ZEROS, numbers(50, 3, 3).softmax(1)), "where p is 0 for some tokens", extreme=True),
        Probe((numbers(60, 2, 3, spread=1.0).softmax(1), _RARE), "where q is nearly 0", extreme=True),
    ),
    mistakes=(
        Mistake(
            "p and q swapped",
            example=lambda p, q: _rows()(q, p),
            hint="that is KL(q || p). The weights of the logarithms come from the side that is named first.",
        ),
        Mistake(
            "sign missing",
            example=_rows(log_ratio=lambda p, q: q.log() - p.log()),
            hint="a divergence is never below 0. Which logarithm is subtracted from which?",
        ),
        Mistake(
            "weighted by q",
            example=_rows(weight=lambda p, q: q),
            hint="in KL(p || q) each token is weighted by its probability in p.",
        ),
        Mistake(
            "bits for nats",
            example=lambda p, q: kl_divergence(p, q) / math.log(2),
            hint="log2 counts bits; nats come from the natural logarithm.",
        ),
        Mistake(
            "decimal logarithm",
            example=lambda p, q: kl_divergence(p, q) / math.log(10),
            hint="nats come from the natural logarithm, not from log10.",
        ),
        Mistake(
            "q left out",
            example=_rows(log_ratio=lambda p, q: p.log()),
            hint="the sum of p log p is about p alone: minus its entropy. Where is log q?",
        ),
        Mistake(
            "cross-entropy for KL",
            example=_rows(log_ratio=lambda p, q: -q.log()),
            hint="that is the cross-entropy, which isn't 0 for two equal rows. Which term, about p alone, is missing?",
        ),
        Mistake(
            "logarithms added",
            example=_rows(log_ratio=lambda p, q: p.log() + q.log()),
            hint="the logarithm of a ratio is a difference: log(p / q) = log p - log q.",
        ),
        Mistake(
            "no logarithm",
            example=_rows(log_ratio=lambda p, q: p / q),
            hint="that is the mean of the ratio p / q. KL is the mean of its logarithm.",
        ),
        Mistake(
            "probabilities subtracted for logarithms",
            example=_rows(log_ratio=lambda p, q: p - q),
            hint="KL weights the difference of the logarithms, not that of the probabilities.",
        ),
        Mistake(
            "log left out on one side",
            example=_rows(log_ratio=lambda p, q: p.log() - q),
            hint="both sides are logarithms. kl_div takes its first argument as log-probabilities and doesn't check.",
        ),
        Mistake(
            "not weighted",
            example=_rows(weight=lambda p, q: torch.ones_like(p)),
            hint="each log ratio is multiplied by p: KL is the mean of the log ratio under p.",
        ),
        Mistake(
            "absolute log ratio",
            example=_rows(log_ratio=lambda p, q: (p.log() - q.log()).abs()),
            hint="some terms of the sum are below 0, and must be. The sum itself never is.",
        ),
        Mistake(
            "both directions added",
            example=lambda p, q: _rows()(p, q) + _rows()(q, p),
            hint="the two directions are different numbers. Return KL(p || q) alone.",
        ),
        Mistake(
            "both directions averaged",
            example=lambda p, q: (_rows()(p, q) + _rows()(q, p)) / 2,
            hint="the two directions are different numbers. Return KL(p || q) alone.",
        ),
        Mistake(
            "distance to the middle",
            example=_to_the_middle,
            hint="that is the Jensen-Shannon divergence, which compares p and q with their mean. Compare p with q.",
        ),
        Mistake(
            "absolute difference",
            example=lambda p, q: (p - q).abs().sum(1),
            hint="that is a distance, the same in both directions. KL weights a logarithm by p.",
        ),
        Mistake(
            "half of the absolute difference",
            example=lambda p, q: (p - q).abs().sum(1) / 2,
            hint="that is the total variation distance, the same in both directions. KL weights a logarithm by p.",
        ),
        Mistake(
            "squared difference",
            example=lambda p, q: (p - q).square().sum(1),
            hint="that is a distance, the same in both directions. KL weights a logarithm by p.",
        ),
        Mistake(
            "mean for sum",
            example=lambda p, q: kl_divergence(p, q) / p.shape[1],
            hint="KL is a sum over the tokens of a row; don't divide by their number.",
        ),
        Mistake(
            "summed over the rows",
            example=lambda p, q: (p * (p.log() - q.log())).sum(0),
            hint="one number per row: which axis of [rows, tokens] must disappear?",
        ),
        Mistake(
            "averaged over the rows",
            example=lambda p, q: kl_divergence(p, q).mean(),
            hint='return one number per row, [N], not one for all. kl_div does so with reduction="none" and a sum.',
        ),
        Mistake(
            "summed over everything",
            example=lambda p, q: kl_divergence(p, q).sum(),
            hint="return one number per row, [N]: a sum takes the axis to sum over.",
        ),
        Mistake(
            "averaged over everything",
            example=lambda p, q: kl_divergence(p, q).mean() / p.shape[1],
            hint="return one number per row, [N]: a sum over the tokens, and no mean.",
        ),
        Mistake(
            "not summed",
            example=lambda p, q: p * (p.log() - q.log()),
            hint="those are the terms of the sum. Add up those of each row.",
        ),
        Mistake(
            "softmax of probabilities",
            example=lambda p, q: kl_divergence(p.softmax(1), q.softmax(1)),
            hint="p and q are probabilities already. A softmax is for logits.",
        ),
        Mistake(
            "log of a number below 0",
            example=lambda p, q: (p * (p - q).log()).sum(1),
            hint="every row becomes NaN, since the logarithm of a negative number is taken: of p - q, for example, or "
            "of log-probabilities. kl_div takes its second argument as probabilities, unless log_target=True.",
        ),
        Mistake(
            "0 log 0",
            example=lambda p, q: (p * (p.log() - q.log())).sum(1),
            hint="right if no probability is 0. But 0 times minus infinity gives NaN, and it must count as 0.",
        ),
        Mistake(
            "rows with a 0 lost",
            example=lambda p, q: (p * (p.log() - q.log())).sum(1).nan_to_num(0.0),
            hint="the NaN is gone, but the divergence of the whole row is gone too: fix the term, not the sum.",
        ),
        Mistake(
            "1 for 0 in the weights too",
            example=lambda p, q: _rows()(p.masked_fill(p == 0, 1), q),
            hint="1 in place of 0 is fine inside the logarithm. As a weight, p must stay 0.",
        ),
        Mistake(
            "a small number added",
            example=lambda p, q: torch.xlogy(p, (p + 1e-8) / (q + 1e-8)).sum(1),
            hint="1e-8 is small, but not beside the smallest probabilities of q. q is never 0, so log q needs no help.",
        ),
    ),
)

# -- token_loss ---------------------------------------------------------------------------------


def token_loss(
    student_logits: torch.Tensor, teacher_logits: torch.Tensor, labels: torch.Tensor
) -> torch.Tensor:
    """Return KL(teacher || student) of the next token in nats, the mean over positions that count, a scalar.

    Logits [B, T, V], labels int64 [B, T]. A position counts if its label isn't IGNORE_TOKEN (-100); what stands at
    the others must not matter, not even infinity. If none counts, the loss is 0, and so is its gradient.
    """
    ### BEGIN SOLUTION
    counts = labels != IGNORE_TOKEN
    log_q = F.log_softmax(student_logits[counts], dim=-1)
    log_p = F.log_softmax(teacher_logits.detach()[counts], dim=-1)
    total = F.kl_div(log_q, log_p, reduction="sum", log_target=True)
    return total / counts.sum().clamp(min=1)
    ### END SOLUTION


def _student_gradient(parts: Any) -> Any:
    gradient = parts.get(GRADIENT)
    return gradient[0] if isinstance(gradient, tuple) else None


def _cut(parts: Any, at_0: bool) -> bool:
    """Return whether a tensor came back that is 0, or isn't, and no gradient flows from it to the student."""
    found = parts.get(ANSWER)
    if not isinstance(found, Tensor) or _student_gradient(parts) is not None:
        return False
    return bool(((found == 0) == at_0).all())


def _trains_the_teacher(parts: Any) -> bool:
    gradient = parts.get(GRADIENT)
    return isinstance(gradient, tuple) and bool(gradient[1])


def _nan_in_the_gradient(parts: Any) -> bool:
    gradient = _student_gradient(parts)
    return gradient is not None and bool(gradient.isnan().any())


def _kl(z: Tensor, v: Tensor, dim: int = -1) -> Tensor:
    """Return KL(softmax(v) || softmax(z)) at every position; the softmax along ``dim``."""
    log_q, log_p = z.log_softmax(dim), v.log_softmax(dim)
    return (log_p.exp() * (log_p - log_q)).sum(-1)


def _loss(
    divergence: Callable[[Tensor, Tensor], Tensor] = _kl,
    mean: Callable[[Tensor, Tensor], Tensor] = lambda kl, counts: kl[counts].mean(),
) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """Make an answer: ``mean(divergence(z, v) [B, T], which positions count)``."""
    return lambda z, v, labels: mean(divergence(z, v.detach()), labels != IGNORE_TOKEN)


def _chosen(
    mean: Callable[[Tensor], Tensor], divergence: Callable[[Tensor, Tensor], Tensor] = _kl
) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """Make an answer that chooses positions first: ``mean(divergence of the P positions that count)``."""

    def answer(z: Tensor, v: Tensor, labels: Tensor) -> Tensor:
        counts = labels != IGNORE_TOKEN
        return mean(divergence(z[counts], v.detach()[counts]))

    return answer


def _guarded(kl: Tensor) -> Tensor:
    return kl.sum() / max(1, len(kl))


def _each_text(kl: Tensor, counts: Tensor) -> Tensor:
    return torch.stack([one[some].mean() for one, some in zip(kl, counts, strict=True)]).mean()


def _over_vocabulary(mean: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """Make the same answer, divided by the size of the vocabulary as well."""
    return lambda z, v, labels: _loss(mean=mean)(z, v, labels) / z.shape[-1]


def _from_probabilities(z: Tensor, v: Tensor) -> Tensor:
    p, q = v.softmax(-1), z.softmax(-1)
    return (p * (p.log() - q.log())).sum(-1)


def _of_the_label(z: Tensor, v: Tensor, labels: Tensor) -> Tensor:
    """Take the term of the label's token alone."""
    log_q, log_p = z.log_softmax(-1), v.detach().log_softmax(-1)
    terms = log_p.exp() * (log_p - log_q)
    counts = labels != IGNORE_TOKEN
    return terms.gather(-1, labels.clamp(min=0)[..., None])[..., 0][counts].mean()


def _book(z: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(z.flatten(0, 1), labels.flatten(), ignore_index=IGNORE_TOKEN)


def _with_the_book(z: Tensor, v: Tensor, labels: Tensor) -> Tensor:
    return token_loss(z, v, labels) + _book(z, labels)


def _likeliest(z: Tensor, v: Tensor, labels: Tensor) -> Tensor:
    return _book(z, v.argmax(-1).masked_fill(labels == IGNORE_TOKEN, IGNORE_TOKEN))


def _shifted(student: slice, teacher: slice, labelled: slice) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """Make the right answer for other parts of the rows than the whole of each."""
    return lambda z, v, labels: token_loss(z[:, student], v[:, teacher], labels[:, labelled])


_EARLY, _LATE = slice(None, -1), slice(1, None)


def _middle(z: Tensor, v: Tensor) -> Tensor:
    p, q = v.softmax(-1), z.softmax(-1)
    m = ((p + q) / 2).log()
    return ((p * (p.log() - m)).sum(-1) + (q * (q.log() - m)).sum(-1)) / 2


def _other_texts(draw: Draw, z: Tensor, v: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Draw other logits, infinite where they were, and other labels at the positions that count."""
    counts, other = labels != IGNORE_TOKEN, labels.clone()
    other[counts] = draw.permuted(labels[counts])
    return z + draw.noise(z, 1.5), v + draw.noise(v, 1.5), other


def _texts(
    seed: int, texts: int, tokens: int, vocabulary: int, prompt: int = 0
) -> tuple[Tensor, Tensor, Tensor]:
    """Make logits of student and teacher, and labels; those of the first ``prompt`` positions don't count."""
    shape = (texts, tokens, vocabulary)
    labels = numbers(seed + 1, *shape).argmax(-1)
    labels[:, :prompt] = IGNORE_TOKEN
    return numbers(seed, *shape), numbers(seed + 2, *shape), labels


_UNEVEN = _texts(40, 3, 4, 3)
_UNEVEN[2][1, 1:] = _UNEVEN[2][2, :1] = IGNORE_TOKEN
_INFINITE = _texts(50, 2, 4, 3, prompt=2)
_INFINITE[0][:, :2], _INFINITE[1][:, :2] = math.inf, -math.inf

TOKEN_LOSS = Exercise(
    id="token_loss",
    title="The distillation loss for next tokens",
    solution=token_loss,
    fixture=fixtures.watch_the_teacher,
    vary=_other_texts,
    tell=_never_below_0,
    absolute=1e-5,
    probes=(
        Probe(_texts(10, 2, 5, 4, prompt=2), "for two texts whose first two positions don't count"),
        Probe(_texts(20, 3, 4, 5), "where every position counts"),
        Probe(_texts(30, 1, 4, 6, prompt=1), "for a single text"),
        Probe(_UNEVEN, "where few positions of a text count"),
        Probe(_INFINITE, "where logits that don't count are infinite", extreme=True),
        Probe(_texts(60, 2, 3, 4, prompt=3), "where no position counts", extreme=True),
        Probe(
            (
                huge([1, 0, 0], [0, -1, 1], [1, 1, 0])[None],
                huge([0, 1, 0], [0, -1, 1], [0, 0, 1])[None],
                torch.tensor([[0, 2, IGNORE_TOKEN]]),
            ),
            "for logits of 10,000",
            extreme=True,
        ),
    ),
    mistakes=(
        Mistake(
            "no way back to the student",
            sign=lambda parts: _cut(parts, at_0=False),
            example=lambda z, v, labels: token_loss(z.detach(), v, labels),
            only_if_right=True,
            hint="the value is right, but no gradient flows back to student_logits, so nothing could be trained with "
            "it. Look for detach, no_grad or NumPy on the way.",
        ),
        Mistake(
            "divided by all positions",
            example=_loss(mean=lambda kl, counts: kl[counts].sum() / kl.numel()),
            hint="positions left out of the sum must be left out of the count as well. Logits multiplied by 0 are "
            "equal predictions: their divergence is 0, but a mean still counts them.",
        ),
        Mistake(
            "ignored positions inside",
            example=_loss(mean=lambda kl, counts: kl.mean()),
            hint="nothing is to be learned at the positions whose label is -100: leave them out of the mean.",
        ),
        Mistake(
            "ignored positions in the sum",
            example=_loss(mean=lambda kl, counts: kl.sum() / counts.sum()),
            hint="you divide by the positions that count, but the sum still contains all positions.",
        ),
        Mistake(
            "ignored positions alone",
            example=_loss(mean=lambda kl, counts: kl[~counts].mean()),
            hint="leave out the positions whose label is -100, and keep all others.",
        ),
        Mistake(
            "divided by the texts alone",
            example=_loss(mean=lambda kl, counts: kl[counts].sum() / len(kl)),
            hint="divided by B, the loss grows with the length of the texts. Divide by the positions that count.",
        ),
        Mistake(
            "divided by the texts alone, ignored positions inside",
            example=_loss(mean=lambda kl, counts: kl.sum() / len(kl)),
            hint='kl_div\'s "batchmean" divides by the first dimension alone, here B, and ignores labels: choose the '
            "positions that count first.",
        ),
        Mistake(
            "divided by the vocabulary too",
            example=_over_vocabulary(lambda kl, counts: kl[counts].mean()),
            hint="the divergence at a position is a sum over the vocabulary; only positions are averaged.",
        ),
        Mistake(
            "divided by the vocabulary too, ignored positions inside",
            example=_over_vocabulary(lambda kl, counts: kl.mean()),
            hint='kl_div\'s "mean" divides by vocabulary and positions, and ignores labels: choose the positions that '
            "count first, and sum over the vocabulary.",
        ),
        Mistake(
            "sum for mean",
            example=_loss(mean=lambda kl, counts: kl[counts].sum()),
            hint="average over the positions that count, so that the loss doesn't grow with the texts.",
        ),
        Mistake(
            "sum for mean, ignored positions inside",
            example=_loss(mean=lambda kl, counts: kl.sum()),
            hint='kl_div\'s "sum" adds up all positions, and ignores labels: choose those that count first, and divide '
            "by their number.",
        ),
        Mistake(
            "mean of the texts' means",
            example=_loss(mean=_each_text),
            hint="positions of all texts count the same: a text with few such positions must have less weight.",
        ),
        Mistake(
            "KL sides swapped",
            example=_loss(lambda z, v: _kl(v, z)),
            hint="that is the reverse KL. In KL(teacher || student), whose probabilities are the weights? kl_div takes "
            "them second.",
        ),
        Mistake(
            "both directions averaged",
            example=_loss(lambda z, v: (_kl(z, v) + _kl(v, z)) / 2),
            hint="the two directions are different numbers. Return KL(teacher || student) alone.",
        ),
        Mistake(
            "distance to the middle",
            example=_loss(_middle),
            hint="that is the Jensen-Shannon divergence, which compares both sides with their mean. Compare the "
            "teacher with the student.",
        ),
        Mistake(
            "teacher one position ahead",
            example=_shifted(_EARLY, _LATE, _EARLY),
            hint="position t of both networks predicts the same token, the one after t. Compare equal positions.",
        ),
        Mistake(
            "teacher one position ahead, the first label left out",
            example=_shifted(_EARLY, _LATE, _LATE),
            hint="position t of both networks predicts the same token, the one after t. Compare equal positions.",
        ),
        Mistake(
            "teacher one position behind",
            example=_shifted(_LATE, _EARLY, _LATE),
            hint="position t of both networks predicts the same token, the one after t. Compare equal positions.",
        ),
        Mistake(
            "labels shifted once more",
            example=_shifted(_EARLY, _EARLY, _LATE),
            hint="labels are shifted already: that of position t is the token after t. So it belongs to the logits of "
            "position t.",
        ),
        Mistake(
            "last position left out",
            example=_shifted(_EARLY, _EARLY, _EARLY),
            hint="the last position has a label too, so it counts like the others.",
        ),
        Mistake(
            "first position left out",
            example=_shifted(_LATE, _LATE, _LATE),
            hint="a position doesn't count if its label is -100, wherever it stands.",
        ),
        Mistake(
            "softmax along the text",
            example=_loss(lambda z, v: _kl(z, v, 1)),
            hint="logits are [B, T, V], and each position's probabilities must sum to 1 over the vocabulary. Which "
            "dimension is that?",
        ),
        Mistake(
            "softmax along the batch",
            example=_loss(lambda z, v: _kl(z, v, 0)),
            hint="logits are [B, T, V], and each position's probabilities must sum to 1 over the vocabulary. Which "
            "dimension is that?",
        ),
        Mistake(
            "softmax over the chosen positions",
            example=_chosen(_guarded, lambda z, v: _kl(z, v, 0)),
            hint="what is chosen by labels is [positions, V], and each position's probabilities must sum to 1. Which "
            "dimension is that?",
        ),
        Mistake(
            "labels for the teacher",
            example=lambda z, v, labels: _book(z, labels),
            hint="that is the loss on the text itself. Here labels only say which positions count; the teacher gives "
            "the targets.",
        ),
        Mistake(
            "labels' loss added",
            example=_with_the_book,
            hint="return only the teacher's term; labels say which positions count.",
        ),
        Mistake(
            "teacher's likeliest tokens",
            example=_likeliest,
            hint="that keeps one token of the teacher's prediction. KL compares the probabilities of the whole "
            "vocabulary.",
        ),
        Mistake(
            "label's token alone",
            example=_of_the_label,
            hint="the divergence is a sum over the whole vocabulary, not only the term of the token that follows.",
        ),
        Mistake(
            "token 0 left out",
            example=lambda z, v, labels: token_loss(z, v, labels.masked_fill(labels == 0, IGNORE_TOKEN)),
            hint="0 is a token like the others; only positions whose label is -100 don't count.",
        ),
        Mistake(
            "bits for nats",
            example=lambda z, v, labels: token_loss(z, v, labels) / math.log(2),
            hint="log2 counts bits; nats come from the natural logarithm.",
        ),
        Mistake(
            "cross-entropy for KL",
            example=_loss(lambda z, v: -(v.softmax(-1) * z.log_softmax(-1)).sum(-1)),
            hint="its gradient is the same, but a student that copies its teacher should have a loss of 0.",
        ),
        Mistake(
            "sign missing",
            example=_loss(lambda z, v: -_kl(z, v)),
            hint="a divergence is never below 0.",
        ),
        Mistake(
            "KL on raw logits",
            example=_loss(lambda z, v: F.kl_div(z, v.softmax(-1), reduction="none").sum(-1)),
            hint="kl_div takes log-probabilities first and doesn't check them. The student's logits aren't "
            "log-probabilities yet.",
        ),
        Mistake(
            "KL of raw logits on both sides",
            example=_loss(lambda z, v: F.kl_div(z, v, reduction="none", log_target=True).sum(-1)),
            hint="kl_div takes log-probabilities and doesn't check them. Logits aren't log-probabilities.",
        ),
        Mistake(
            "probabilities where logs belong",
            example=_loss(lambda z, v: F.kl_div(z.softmax(-1), v.softmax(-1), reduction="none").sum(-1)),
            hint="kl_div takes the student's side as log-probabilities: which softmax gives those?",
        ),
        Mistake(
            "logs for a target of probabilities",
            example=_loss(
                lambda z, v: F.kl_div(z.log_softmax(-1), v.log_softmax(-1), reduction="none").sum(-1)
            ),
            hint="kl_div takes the target as probabilities, unless log_target=True.",
        ),
        Mistake(
            "probabilities for a target of logs",
            example=_loss(
                lambda z, v: F.kl_div(
                    z.log_softmax(-1), v.softmax(-1), reduction="none", log_target=True
                ).sum(-1)
            ),
            hint="log_target=True means that the target is log-probabilities, but these are probabilities.",
        ),
        Mistake(
            "squared distance of logits",
            example=_loss(lambda z, v: (z - v).square().mean(-1)),
            hint="adding a constant to all logits of a position changes nothing about its prediction. Compare "
            "probabilities, by KL.",
        ),
        Mistake(
            "squared distance of probabilities",
            example=_loss(lambda z, v: (z.softmax(-1) - v.softmax(-1)).square().sum(-1)),
            hint="a rare token hardly counts in squares. KL weights the difference of the logarithms by p.",
        ),
        Mistake(
            "mean of nothing",
            example=_chosen(lambda kl: kl.mean()),
            hint="right where a position counts. Where none does, 0 / 0 gives NaN, which would spoil all weights. "
            "Divide the sum by at least 1.",
        ),
        Mistake(
            "multiplied by 0 for left out",
            example=_loss(mean=lambda kl, counts: (kl * counts).sum() / counts.sum().clamp(min=1)),
            hint="right for ordinary numbers, but 0 times infinity or NaN gives NaN. Choose the positions that count, "
            "before the softmax: logits[counts] is [positions, V].",
        ),
        Mistake(
            "multiplied by 0 for left out, and a mean of nothing",
            example=_loss(mean=lambda kl, counts: (kl * counts).sum() / counts.sum()),
            hint="right for ordinary numbers, but 0 times infinity or NaN gives NaN, and so does 0 / 0, where no "
            "position counts. Choose the positions before the softmax, and divide their sum by at least 1.",
        ),
        Mistake(
            "log of a probability that is 0",
            example=_chosen(_guarded, _from_probabilities),
            hint="right for ordinary logits, but a softmax may round to 0, whose log is minus infinity. Stay in log "
            "space from the start: which function gives log-probabilities?",
        ),
        Mistake(
            "log of a probability that is 0, and a mean of nothing",
            example=_chosen(lambda kl: kl.mean(), _from_probabilities),
            hint="right for ordinary logits, but a softmax may round to 0, whose log is minus infinity: take "
            "log_softmax. And where no position counts, 0 / 0 gives NaN: divide the sum by at least 1.",
        ),
        Mistake(
            "NaN in the gradient",
            sign=_nan_in_the_gradient,
            example=_loss(mean=lambda kl, counts: _guarded(kl[counts])),
            only_if_right=True,
            hint="the value is right, but where logits that don't count are infinite, the gradient has NaN, which "
            "would spoil all weights. Choose the positions before the softmax, not after it.",
        ),
        Mistake(
            "a constant 0 where no position counts",
            sign=lambda parts: _cut(parts, at_0=True),
            example=lambda z, v, labels: (
                token_loss(z, v, labels) if bool((labels != IGNORE_TOKEN).any()) else torch.tensor(0.0)
            ),
            only_if_right=True,
            hint="a new tensor isn't connected with student_logits, so loss.backward() would stop with an error. A sum "
            "over no positions is a 0 that is connected; divide it by at least 1.",
        ),
        Mistake(
            "teacher trained as well",
            sign=_trains_the_teacher,
            example=lambda z, v, labels: _guarded(_kl(z[labels != IGNORE_TOKEN], v[labels != IGNORE_TOKEN])),
            only_if_right=True,
            hint="the value is right, but a gradient flows to the teacher too, and would train it. Which method of a "
            "tensor stops the gradient?",
        ),
    ),
)

# -- own_text -----------------------------------------------------------------------------------


def own_text(written: torch.Tensor, prompt: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (tokens [B, T], labels [B, T]) from rows int64 [B, T + 1]: a prompt, then what the student wrote.

    Tokens are all but the last. A label is the token that follows, or IGNORE_TOKEN (-100) where that one is part of
    the prompt. written must stay as it is.
    """
    ### BEGIN SOLUTION
    labels = written[:, 1:].clone()
    labels[:, : prompt - 1] = IGNORE_TOKEN
    return written[:, :-1], labels
    ### END SOLUTION


def _marked(labels: Tensor, mark: Callable[[Tensor], Tensor], value: int = IGNORE_TOKEN) -> Tensor:
    """Return a copy with ``value`` at each place whose number in its row ``mark`` is true for."""
    return labels.masked_fill(mark(torch.arange(labels.shape[1])), value)


def _batch(
    mark: Callable[[Tensor, int], Tensor] = lambda place, prompt: place < prompt - 1,
    following: Callable[[Tensor], Tensor] = lambda written: written[:, 1:],
    tokens: Callable[[Tensor, int], Tensor] = lambda written, prompt: written[:, :-1],
    value: int = IGNORE_TOKEN,
) -> Callable[[Tensor, int], tuple[Tensor, Tensor]]:
    """Make an answer: the tokens, and labels with ``value`` where ``mark(number in the row, prompt)``."""
    return lambda written, prompt: (
        tokens(written, prompt),
        _marked(following(written), lambda place: mark(place, prompt), value),
    )


def _through_a_view(written: Tensor, prompt: int) -> tuple[Tensor, Tensor]:
    tokens, labels = written[:, :-1], written[:, 1:]
    labels[:, : prompt - 1] = IGNORE_TOKEN
    return tokens, labels


def _rows_for_columns(written: Tensor, prompt: int) -> tuple[Tensor, Tensor]:
    labels = written[:, 1:].clone()
    labels[: prompt - 1] = IGNORE_TOKEN
    return written[:, :-1], labels


def _of_tokens(last: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """Take labels from the tokens alone; ``last(tokens)`` [B, 1] stands for the one that is missing there."""
    return lambda written: torch.cat([written[:, 1:-1], last(written[:, :-1])], 1)


def _token_marked(written: Tensor, prompt: int) -> Tensor:
    return _marked(written[:, :-1], lambda place: place < prompt)


def _mark_nothing(place: Tensor, prompt: int) -> Tensor:
    return torch.zeros_like(place, dtype=torch.bool)


def _texts_written(seed: int, texts: int, length: int) -> Tensor:
    """Make rows of token numbers from 0 to 29; every row has a token 0 near its end."""
    written = numbers(seed, texts, length, 30).argmax(-1)
    written[:, -2] = 0
    return written


def _permuted(draw: Draw, written: Tensor, prompt: int) -> tuple[Tensor, int]:
    """Draw other tokens, and keep the 0 where it is."""
    other = torch.tensor([[draw.whole(1, 29) for _ in row] for row in written])
    return other.masked_fill(written == 0, 0), prompt


OWN_TEXT = Exercise(
    id="own_text",
    title="A batch of the student's own text",
    solution=own_text,
    vary=_permuted,
    probes=(
        Probe((_texts_written(10, 2, 6), 3), "for two texts, a prompt of 3 tokens"),
        Probe((_texts_written(20, 3, 4), 2), "for three texts, a prompt of 2 tokens"),
        Probe((_texts_written(30, 1, 9), 5), "for a single text"),
        Probe((_texts_written(40, 2, 6), 5), "where the student wrote a single token"),
        Probe((_texts_written(50, 2, 5), 1), "for a prompt of 1 token", extreme=True),
    ),
    mistakes=(
        Mistake(
            "written changed through a view",
            example=_through_a_view,
            hint="a slice shares its memory with the tensor that it was taken from, so -100 was written into written, "
            "and into the tokens. Which method makes a copy?",
        ),
        Mistake(
            "one label too many ignored",
            example=_batch(lambda place, prompt: place < prompt),
            hint="the label of the prompt's last token is the first token that the student wrote itself, which counts.",
        ),
        Mistake(
            "one label too few ignored",
            example=_batch(lambda place, prompt: place < prompt - 2),
            hint="count the labels that are part of the prompt. Its first token is no label; all others are.",
        ),
        Mistake(
            "nothing ignored",
            example=_batch(_mark_nothing),
            hint="the student didn't write the prompt. Which labels are part of it?",
        ),
        Mistake(
            "everything ignored",
            example=_batch(lambda place, prompt: place >= 0),
            hint="only the labels that are part of the prompt are -100; the student's own tokens count.",
        ),
        Mistake(
            "one label alone ignored",
            example=_batch(lambda place, prompt: place == prompt - 1),
            hint="all labels that are part of the prompt are ignored: that is a slice, with a colon.",
        ),
        Mistake(
            "student's part ignored",
            example=_batch(lambda place, prompt: place >= prompt - 1),
            hint="that is the wrong way round: the student's own tokens count, the prompt's don't.",
        ),
        Mistake(
            "counted from the end",
            example=_batch(lambda place, prompt: place >= len(place) - (prompt - 1)),
            hint="the prompt stands at the beginning of the row.",
        ),
        Mistake(
            "rows for columns",
            example=_rows_for_columns,
            hint="labels are [texts, tokens]. The first index chooses texts: a colon there keeps all of them.",
        ),
        Mistake(
            "0 in place of -100",
            example=_batch(value=0),
            hint="0 is a token like the others. A label that doesn't count is IGNORE_TOKEN, -100.",
        ),
        Mistake(
            "-1 in place of -100",
            example=_batch(value=-1),
            hint="a label that doesn't count is IGNORE_TOKEN, -100, which the losses look for.",
        ),
        Mistake(
            "255 in place of -100",
            example=_batch(value=255),
            hint="255 is for masks of pixels. A token's label that doesn't count is IGNORE_TOKEN, -100.",
        ),
        Mistake(
            "labels not shifted",
            example=_batch(following=lambda written: written[:, :-1]),
            hint="the label of a token is the token after it. A model needn't learn to repeat its input.",
        ),
        Mistake(
            "labels not shifted, and the whole prompt ignored",
            example=_batch(lambda place, prompt: place < prompt, lambda written: written[:, :-1]),
            hint="the label of a token is the token after it. A model needn't learn to repeat its input.",
        ),
        Mistake(
            "labels before tokens",
            example=_batch(
                following=lambda written: written[:, :-1], tokens=lambda written, prompt: written[:, 1:]
            ),
            hint="a language model predicts what comes next, so a label stands one place after its token, not before.",
        ),
        Mistake(
            "labels returned first",
            example=lambda written, prompt: own_text(written, prompt)[::-1],
            hint="the right two tensors, in the wrong order: tokens first, then labels.",
        ),
        Mistake(
            "last label wrapped around",
            example=_batch(following=_of_tokens(lambda tokens: tokens[:, :1])),
            hint="the last label is the last token written. roll puts the first token of the row there, if the last "
            "one was cut off before.",
        ),
        Mistake(
            "last label ignored",
            example=_batch(following=_of_tokens(lambda tokens: torch.full_like(tokens[:, :1], IGNORE_TOKEN))),
            hint="the last token of a row in tokens has a successor too: the last token in written.",
        ),
        Mistake(
            "last label 0",
            example=_batch(following=_of_tokens(lambda tokens: torch.zeros_like(tokens[:, :1]))),
            hint="the last token of a row in tokens has a successor too: the last token in written.",
        ),
        Mistake(
            "token 0 ignored",
            example=_batch(
                following=lambda written: written[:, 1:].masked_fill(written[:, 1:] == 0, IGNORE_TOKEN)
            ),
            hint="0 is a token like the others. Only labels that are part of the prompt are ignored.",
        ),
        Mistake(
            "prompt removed",
            example=lambda written, prompt: (written[:, prompt - 1 : -1], written[:, prompt:]),
            hint="without the prompt, the networks would predict without the beginning of the text. Keep its tokens, "
            "and ignore its labels.",
        ),
        Mistake(
            "prompt removed, and one token more",
            example=lambda written, prompt: (written[:, prompt:-1], written[:, prompt + 1 :]),
            hint="without the prompt, the networks would predict without the beginning of the text. Keep its tokens, "
            "and ignore its labels.",
        ),
        Mistake(
            "labels of the prompt removed",
            example=lambda written, prompt: (written[:, :-1], written[:, prompt:]),
            hint="each token needs a label, [B, T]. Those that don't count are -100 rather than removed.",
        ),
        Mistake(
            "last token kept",
            example=_batch(tokens=lambda written, prompt: written),
            hint="nothing follows the last token of written, so it is a label only: tokens are [B, T].",
        ),
        Mistake(
            "last token kept, with a label",
            example=lambda written, prompt: (
                written,
                _marked(F.pad(written[:, 1:], (0, 1), value=IGNORE_TOKEN), lambda place: place < prompt - 1),
            ),
            hint="nothing follows the last token of written, so it is a label only: tokens are [B, T].",
        ),
        Mistake(
            "labels of T + 1",
            example=lambda written, prompt: (
                written[:, :-1],
                _marked(written, lambda place: place < prompt),
            ),
            hint="labels are [B, T], too: the first token of written follows none.",
        ),
        Mistake(
            "tokens ignored for labels",
            example=lambda written, prompt: (_token_marked(written, prompt), written[:, 1:]),
            hint="the networks must be given the prompt: -100 is no token. Ignore labels, not tokens.",
        ),
        Mistake(
            "tokens ignored too",
            example=_batch(tokens=_token_marked),
            hint="the networks must be given the prompt: -100 is no token. Ignore labels alone.",
        ),
        Mistake(
            "prompt's tokens 0",
            example=_batch(
                tokens=lambda written, prompt: _marked(written[:, :-1], lambda place: place < prompt, 0)
            ),
            hint="the networks must be given the prompt as it is. Ignore its labels, not its tokens.",
        ),
    ),
)

EXERCISES = (KL_DIVERGENCE, TOKEN_LOSS, OWN_TEXT)
