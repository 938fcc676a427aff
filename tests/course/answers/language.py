"""Answers in other words than the exercises' own examples, right and wrong."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.course.learners import Answers

ANSWERS = Answers()
wrong, right = ANSWERS.add_wrong, ANSWERS.add_right

# -- kl_divergence ------------------------------------------------------------------------------


def row_by_row(p: Tensor, q: Tensor) -> Tensor:
    found = torch.zeros(len(p))
    for n in range(len(p)):
        for v in range(p.shape[1]):
            if p[n, v] > 0:
                found[n] += p[n, v] * torch.log(p[n, v] / q[n, v])
    return found


def by_kl_div(p: Tensor, q: Tensor) -> Tensor:
    return F.kl_div(q.log(), p, reduction="none").sum(-1)


def cross_entropy_minus_entropy(p: Tensor, q: Tensor) -> Tensor:
    return -(p * q.log()).sum(1) - torch.special.entr(p).sum(1)


def in_numpy(p: Tensor, q: Tensor) -> Tensor:
    a, b = p.numpy().astype(np.float64), q.numpy()
    logs = np.log(a / b, out=np.zeros_like(a), where=a > 0)
    return torch.from_numpy((a * logs).sum(1))


def ratio(p: Tensor, q: Tensor) -> Tensor:
    return (p * torch.log(p / q)).nan_to_num(0.0)


right("kl_divergence", row_by_row, by_kl_div, cross_entropy_minus_entropy, in_numpy)
wrong(
    "kl_divergence",
    p_and_q_swapped=lambda p, q: torch.sum(q * torch.log(q / p), 1),
    sign_missing=lambda p, q: -ratio(p, q).sum(1),
    weighted_by_q=lambda p, q: (q * (p / q).log()).sum(1),
    bits_for_nats=lambda p, q: torch.nansum(p * torch.log2(p / q), dim=1),
    decimal_logarithm=lambda p, q: torch.nansum(p * torch.log10(p / q), dim=1),
    q_left_out=lambda p, q: -torch.special.entr(p).sum(1),
    logarithms_added=lambda p, q: (p * torch.log(p * q)).sum(1),
    no_logarithm=lambda p, q: (p**2 / q).sum(1),
    log_left_out_on_one_side=lambda p, q: F.kl_div(q, p, reduction="none").sum(1),
    not_weighted=lambda p, q: torch.log(p / q).sum(1),
    absolute_log_ratio=lambda p, q: ratio(p, q).abs().sum(1),
    both_directions_added=lambda p, q: ((p - q) * (p.log() - q.log())).sum(1),
    absolute_difference=lambda p, q: torch.cdist(p[:, None], q[:, None], p=1.0)[:, 0, 0],
    squared_difference=lambda p, q: F.mse_loss(p, q, reduction="none").sum(1),
    mean_for_sum=lambda p, q: ratio(p, q).mean(1),
    summed_over_the_rows=lambda p, q: ratio(p, q).sum(0),
    averaged_over_the_rows=lambda p, q: F.kl_div(q.log(), p, reduction="batchmean"),
    summed_over_everything=lambda p, q: F.kl_div(q.log(), p, reduction="sum"),
    averaged_over_everything=lambda p, q: F.kl_div(q.log(), p),
    not_summed=lambda p, q: F.kl_div(q.log(), p, reduction="none"),
    softmax_of_probabilities=lambda p, q: by_kl_div(F.softmax(p, 1), F.softmax(q, 1)),
    log_of_a_number_below_0=lambda p, q: F.kl_div(q.log(), p.log(), reduction="none").sum(1),
    rows_with_a_0_lost=lambda p, q: (p * (p / q).log()).sum(1).nan_to_num(),
)
wrong(
    "kl_divergence",
    **{
        "cross-entropy for KL": lambda p, q: -(p * torch.log(q)).sum(dim=1),
        "0 log 0": lambda p, q: (p * (p / q).log()).sum(1),
    },
)

# -- token_loss ---------------------------------------------------------------------------------


def position_by_position(z: Tensor, v: Tensor, labels: Tensor) -> Tensor:
    total, count = 0.0 * z[labels != -100].sum(), 0
    for b in range(labels.shape[0]):
        for t in range(labels.shape[1]):
            if labels[b, t] == -100:
                continue
            p = v[b, t].detach().softmax(0)
            q = z[b, t].log_softmax(0)
            total = total + torch.special.xlogy(p, p).sum() - (p * q).sum()
            count += 1
    return total / max(count, 1)


def zeroed_before_the_softmax(z: Tensor, v: Tensor, labels: Tensor) -> Tensor:
    """Replace what doesn't count by equal predictions, and divide by the positions that do."""
    kept = (labels != -100)[..., None]
    zero = torch.zeros(())
    log_q = torch.where(kept, z, zero).log_softmax(2)
    log_p = torch.where(kept, v.detach(), zero).log_softmax(2)
    return F.kl_div(log_q, log_p, reduction="sum", log_target=True) / kept.sum().clamp(min=1)


def in_rows(z: Tensor, v: Tensor, labels: Tensor) -> Tensor:
    rows = labels.flatten().ne(-100).nonzero().flatten()
    with torch.no_grad():
        p = v.flatten(0, 1).index_select(0, rows).softmax(1)
    log_q = z.flatten(0, 1).index_select(0, rows).log_softmax(1)
    return F.kl_div(log_q, p, reduction="none").sum() / max(len(rows), 1)


def cross_entropy_minus_its_least(z: Tensor, v: Tensor, labels: Tensor) -> Tensor:
    counts = labels >= 0
    p = v[counts].detach().softmax(-1)
    least = torch.special.entr(p).sum()
    return (F.cross_entropy(z[counts], p, reduction="sum") - least) / max(1, counts.sum().item())


def terms(z: Tensor, v: Tensor, **options: object) -> Tensor:
    log_q, p = F.log_softmax(z, dim=-1), F.softmax(v.detach(), dim=-1)
    return F.kl_div(log_q, p, **{"reduction": "none", **options})  # type: ignore[arg-type]


def chosen(z: Tensor, v: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    return z[labels != -100], v[labels != -100].detach()


def multiplied(z: Tensor, v: Tensor, labels: Tensor) -> Tensor:
    kept = (labels != -100).unsqueeze(-1)
    return terms(z * kept, v * kept).sum(-1).mean()


def texts_one_by_one(z: Tensor, v: Tensor, labels: Tensor) -> Tensor:
    return sum(in_rows(z[b : b + 1], v[b : b + 1], labels[b : b + 1]) for b in range(len(z))) / len(z)


def constant(z: Tensor, v: Tensor, labels: Tensor) -> Tensor:
    if (labels == -100).all():
        return torch.zeros(())
    return terms(*chosen(z, v, labels), reduction="batchmean")


def guarded_late(z: Tensor, v: Tensor, labels: Tensor) -> Tensor:
    counts = labels != -100
    return torch.where(counts, terms(z, v).sum(-1), torch.zeros(())).sum() / counts.sum().clamp(min=1)


def changes_the_teacher(z: Tensor, v: Tensor, labels: Tensor) -> Tensor:
    wanted = v.detach()
    wanted[labels == -100] = 0
    return in_rows(z, wanted, labels)


right(
    "token_loss",
    position_by_position,
    zeroed_before_the_softmax,
    in_rows,
    cross_entropy_minus_its_least,
)
wrong(
    "token_loss",
    no_way_back_to_the_student=lambda z, v, y: in_rows(z, v, y).detach(),
    divided_by_all_positions=multiplied,
    ignored_positions_inside=lambda z, v, y: terms(z, v).sum(-1).mean(),
    ignored_positions_in_the_sum=lambda z, v, y: terms(z, v, reduction="sum") / (y != -100).sum(),
    ignored_positions_alone=lambda z, v, y: terms(z, v).sum(-1)[y == -100].mean(),
    divided_by_the_texts_alone=lambda z, v, y: terms(*chosen(z, v, y)).sum() / len(y),
    divided_by_the_vocabulary_too=lambda z, v, y: terms(*chosen(z, v, y)).mean(),
    sum_for_mean=lambda z, v, y: terms(*chosen(z, v, y), reduction="sum"),
    KL_sides_swapped=lambda z, v, y: in_rows_both(*reversed(chosen(z, v, y))),
    teacher_one_position_ahead=lambda z, v, y: in_rows(z[:, :-1], v.roll(-1, 1)[:, :-1], y[:, :-1]),
    labels_shifted_once_more=lambda z, v, y: in_rows(z[:, :-1], v[:, :-1], y[..., 1:]),
    last_position_left_out=lambda z, v, y: in_rows(z[:, :-1], v[:, :-1], y[:, :-1]),
    softmax_along_the_text=lambda z, v, y: (
        F.kl_div(z.log_softmax(1), v.detach().softmax(1), reduction="none").sum(2)[y != -100].mean()
    ),
    softmax_along_the_batch=lambda z, v, y: (
        F.kl_div(F.log_softmax(z, 0), F.softmax(v.detach(), 0), reduction="none").sum(2)[y != -100].mean()
    ),
    labels_for_the_teacher=lambda z, v, y: F.cross_entropy(z.transpose(1, 2), y),
    token_0_left_out=lambda z, v, y: terms(z, v).sum(-1)[y > 0].mean(),
    bits_for_nats=lambda z, v, y: in_rows(z, v, y) / math.log(2),
    sign_missing=lambda z, v, y: -in_rows(z, v, y),
    KL_on_raw_logits=lambda z, v, y: (
        F.kl_div(z, F.softmax(v.detach(), -1), reduction="none").sum(-1)[y != -100].mean()
    ),
    logs_for_a_target_of_probabilities=lambda z, v, y: F.kl_div(
        *(x.log_softmax(-1) for x in chosen(z, v, y)), reduction="batchmean"
    ),
    squared_distance_of_logits=lambda z, v, y: F.mse_loss(*chosen(z, v, y)),
    mean_of_nothing=lambda z, v, y: terms(*chosen(z, v, y), reduction="batchmean"),
    multiplied_by_0_for_left_out=lambda z, v, y: (
        (terms(z, v).sum(-1) * (y != -100).float()).sum() / max(1, (y != -100).sum())
    ),
    NaN_in_the_gradient=guarded_late,
    a_constant_0_where_no_position_counts=constant,
    teacher_trained_as_well=lambda z, v, y: in_rows_both(z[y != -100], v[y != -100]),
    inputs_changed=changes_the_teacher,
    wrong_shape=lambda z, v, y: in_rows(z, v, y).reshape(1),
)


def in_rows_both(z: Tensor, v: Tensor) -> Tensor:
    """Let gradients through to both sides."""
    log_q, log_p = z.log_softmax(-1), v.log_softmax(-1)
    return (log_p.exp() * (log_p - log_q)).sum() / max(1, len(z))


wrong(
    "token_loss",
    **{
        "divided by the texts alone, ignored positions inside": lambda z, v, y: terms(
            z, v, reduction="batchmean"
        ),
        "divided by the vocabulary too, ignored positions inside": lambda z, v, y: terms(
            z, v, reduction="mean"
        ),
        "sum for mean, ignored positions inside": lambda z, v, y: terms(z, v, reduction="sum"),
        "mean of the texts' means": texts_one_by_one,
        "teacher's likeliest tokens": lambda z, v, y: F.cross_entropy(z[y != -100], v[y != -100].argmax(-1)),
        "labels' loss added": lambda z, v, y: in_rows(z, v, y) + F.cross_entropy(z[y != -100], y[y != -100]),
        "cross-entropy for KL": lambda z, v, y: F.cross_entropy(
            z[y != -100], v[y != -100].detach().softmax(-1)
        ),
        "multiplied by 0 for left out, and a mean of nothing": lambda z, v, y: (
            torch.einsum("btv,bt->", terms(z, v), (y != -100).float()) / (y != -100).sum()
        ),
    },
)

# -- own_text -----------------------------------------------------------------------------------


def column_by_column(written: Tensor, prompt: int) -> tuple[Tensor, Tensor]:
    labels = torch.empty_like(written[:, 1:])
    for t in range(labels.shape[1]):
        labels[:, t] = written[:, t + 1] if t + 1 >= prompt else -100
    return written[:, :-1], labels


def by_cat(written: Tensor, prompt: int) -> tuple[Tensor, Tensor]:
    ignored = torch.full((len(written), prompt - 1), -100)
    return written[:, :-1].clone(), torch.cat([ignored, written[:, prompt:]], dim=1)


def by_where(written: Tensor, prompt: int) -> tuple[Tensor, Tensor]:
    place = torch.arange(1, written.shape[1])  # of each label in written
    return written[:, :-1], torch.where(place >= prompt, written[:, 1:], -100)


def rolled(written: Tensor, prompt: int) -> tuple[Tensor, Tensor]:
    masked = written.clone()
    masked[:, :prompt] = -100
    return written[:, :-1], masked.roll(-1, dims=1)[:, :-1]


def labels_alone(written: Tensor, prompt: int) -> Tensor:
    return by_where(written, prompt)[1]


def marked(written: Tensor, start: int | None, end: int | None, value: int = -100) -> tuple[Tensor, Tensor]:
    labels = written[:, 1:].clone()
    labels[:, start:end] = value
    return written[:, :-1], labels


def tokens_ignored(written: Tensor, prompt: int) -> tuple[Tensor, Tensor]:
    tokens = written[:, :-1].clone()
    tokens[:, :prompt] = -100
    return tokens, written[:, 1:]


def unshifted(written: Tensor, prompt: int) -> tuple[Tensor, Tensor]:
    labels = written[:, :-1].clone()
    labels[:, :prompt] = -100
    return written[:, :-1], labels


def view(written: Tensor, prompt: int) -> tuple[Tensor, Tensor]:
    written[:, 1:prompt] = -100
    return written[:, :-1], written[:, 1:]


def copied_tokens_alone(written: Tensor, prompt: int) -> tuple[Tensor, Tensor]:
    tokens = written[:, :-1].clone()
    labels = written[:, 1:]
    labels[:, : prompt - 1] = -100
    return tokens, labels


def rows(written: Tensor, prompt: int) -> tuple[Tensor, Tensor]:
    tokens, labels = written[:, :-1], written[:, 1:].clone()
    labels[: prompt - 1] = -100
    return tokens, labels


right("own_text", column_by_column, by_cat, by_where, rolled)
wrong(
    "own_text",
    written_changed_through_a_view=view,
    one_label_too_many_ignored=lambda w, n: marked(w, None, n),
    one_label_too_few_ignored=lambda w, n: marked(w, None, n - 2),
    nothing_ignored=lambda w, n: (w[:, :-1], w[:, 1:]),
    everything_ignored=lambda w, n: marked(w, None, None),
    one_label_alone_ignored=lambda w, n: marked(w, n - 1, n),
    counted_from_the_end=lambda w, n: marked(w, w.shape[1] - n, None),
    rows_for_columns=rows,
    labels_not_shifted=lambda w, n: (w[:, :-1], labels_alone(F.pad(w[:, :-1], (1, 0)), n)),
    labels_before_tokens=lambda w, n: (w[:, 1:], marked(w.roll(1, 1), None, n - 1)[1]),
    labels_returned_first=lambda w, n: (labels_alone(w, n), w[:, :-1]),
    last_label_wrapped_around=lambda w, n: (
        w[:, :-1],
        w[:, :-1].roll(-1, 1).masked_fill(torch.arange(1, w.shape[1]) < n, -100),
    ),
    token_0_ignored=lambda w, n: (
        w[:, :-1],
        labels_alone(w, n).masked_fill(labels_alone(w, n) == 0, -100),
    ),
    prompt_removed=lambda w, n: (w[:, n - 1 :][:, :-1], w[:, n - 1 :][:, 1:]),
    labels_of_the_prompt_removed=lambda w, n: (w[:, :-1], w[:, 1:][:, n - 1 :]),
    last_token_kept=lambda w, n: (w, labels_alone(w, n)),
    tokens_ignored_for_labels=tokens_ignored,
    tokens_ignored_too=lambda w, n: (tokens_ignored(w, n)[0], labels_alone(w, n)),
    inputs_changed=copied_tokens_alone,
)
wrong(
    "own_text",
    **{
        "student's part ignored": lambda w, n: marked(w, n - 1, None),
        "0 in place of -100": lambda w, n: marked(w, None, n - 1, 0),
        "labels not shifted, and the whole prompt ignored": unshifted,
        "last label ignored": lambda w, n: (
            w[:, :-1],
            F.pad(labels_alone(w, n)[:, :-1], (0, 1), value=-100),
        ),
        "labels of T + 1": lambda w, n: (
            w[:, :-1],
            torch.cat([torch.full_like(w[:, :n], -100), w[:, n:]], 1),
        ),
    },
)
