"""Answers to own_text."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from kdcourse.data import IGNORE_TOKEN

Pair = tuple[Tensor, Tensor]


def token_by_token(written: Tensor, prompt: int) -> Pair:
    tokens, labels = [], []
    for row in written.tolist():
        tokens.append(row[:-1])
        labels.append([IGNORE_TOKEN if t < prompt else row[t] for t in range(1, len(row))])
    return torch.tensor(tokens), torch.tensor(labels)


def by_masked_fill(written: Tensor, prompt: int) -> Pair:
    place = torch.arange(written.shape[1]).expand_as(written)
    return written[:, :-1], written.masked_fill(place < prompt, IGNORE_TOKEN)[:, 1:]


def by_padding(written: Tensor, prompt: int) -> Pair:
    return written[..., :-1], F.pad(written[..., prompt:], (prompt - 1, 0), value=IGNORE_TOKEN)


def by_full(written: Tensor, prompt: int) -> Pair:
    labels = torch.full_like(written[:, 1:], IGNORE_TOKEN)
    labels[:, prompt - 1 :] = written[:, prompt:]
    return written[:, :-1], labels


def by_copies(written: Tensor, prompt: int) -> Pair:
    inputs, targets = written.clone()[:, :-1], written.clone()[:, 1:]
    targets[:, : max(prompt - 1, 0)] = -100
    return inputs.contiguous(), targets.contiguous()


def by_windows(written: Tensor, prompt: int) -> Pair:
    windows = written.unfold(1, 2, 1)  # [B, T, 2]
    tokens, labels = windows.clone().unbind(2)
    labels[:, : prompt - 1] = IGNORE_TOKEN
    return tokens, labels


RIGHT = [token_by_token, by_masked_fill, by_padding, by_full, by_copies, by_windows]


def cut(
    start: Callable[[Tensor, int], int | None] = lambda w, n: None,
    end: Callable[[Tensor, int], int | None] = lambda w, n: n - 1,
    value: int = IGNORE_TOKEN,
) -> Callable[[Tensor, int], Pair]:
    def answer(written: Tensor, prompt: int) -> Pair:
        labels = written[:, 1:].clone()
        labels[:, start(written, prompt) : end(written, prompt)] = value
        return written[:, :-1], labels

    return answer


right = by_padding


def view(written: Tensor, prompt: int) -> Pair:
    labels = written[:, 1:]
    labels[:, : prompt - 1] = IGNORE_TOKEN
    return written[:, :-1], labels


def view_of_labels_alone(written: Tensor, prompt: int) -> Pair:
    tokens = written[:, :-1].clone()
    return tokens, view(written, prompt)[1]


def rows(written: Tensor, prompt: int) -> Pair:
    labels = written[:, 1:].clone()
    labels[: prompt - 1] = IGNORE_TOKEN
    return written[:, :-1], labels


def not_shifted(written: Tensor, prompt: int) -> Pair:
    labels = written[:, :-1].clone()
    labels[:, :prompt] = IGNORE_TOKEN
    return written[:, :-1], labels


def marked_tokens(written: Tensor, prompt: int) -> Pair:
    tokens = written[:, :-1].clone()
    tokens[:, :prompt] = IGNORE_TOKEN
    return tokens, written[:, 1:]


def rolled(written: Tensor, prompt: int) -> Pair:
    tokens = written[:, :-1]
    labels = tokens.roll(-1, 1)
    labels[:, : prompt - 1] = IGNORE_TOKEN
    return tokens, labels


def rolled_the_other_way(written: Tensor, prompt: int) -> Pair:
    labels = written.roll(1, 1)[:, 1:].clone()
    labels[:, : prompt - 1] = IGNORE_TOKEN
    return written[:, :-1], labels


WRONG = {
    "view": view,
    "labels a view": view_of_labels_alone,
    "one too many": cut(end=lambda w, n: n),
    "one too few": cut(end=lambda w, n: max(0, n - 2)),
    "two too many": cut(end=lambda w, n: n + 1),
    "nothing ignored": lambda w, n: (w[:, :-1], w[:, 1:]),
    "all ignored": cut(end=lambda w, n: None),
    "student's part": cut(lambda w, n: n - 1, lambda w, n: None),
    "student's part, one place late": cut(lambda w, n: n, lambda w, n: None),
    "first label alone": cut(end=lambda w, n: 1),
    "one label": cut(lambda w, n: n - 1, lambda w, n: n),
    "first label kept": cut(lambda w, n: 1, lambda w, n: n - 1),
    "from the end": cut(lambda w, n: 1 - n, lambda w, n: None),
    "minus the prompt": cut(end=lambda w, n: -n),
    "rows": rows,
    "0": cut(value=0),
    "-1": cut(value=-1),
    "100": cut(value=100),
    "255": cut(value=255),
    "not shifted": not_shifted,
    "not shifted, prompt - 1": lambda w, n: (w[:, :-1], by_masked_fill(F.pad(w, (1, 0)), n)[1][:, :-1]),
    "shifted twice": lambda w, n: (w[:, :-2], right(w, n)[1][:, 1:]),
    "wrong way": rolled_the_other_way,
    "rolled": rolled,
    "labels first": lambda w, n: right(w, n)[::-1],
    "labels alone": lambda w, n: right(w, n)[1],
    "tokens alone": lambda w, n: right(w, n)[0],
    "one tensor": lambda w, n: torch.stack(right(w, n)),
    "three": lambda w, n: (*right(w, n), n),
    "no prompt": lambda w, n: (w[:, n:-1], w[:, n + 1 :]),
    "no prompt but its last": lambda w, n: (w[:, n - 1 : -1], w[:, n:]),
    "prompt as tokens": lambda w, n: (w[:, :n], w[:, n:]),
    "short labels": lambda w, n: (w[:, :-1], w[:, n:]),
    "tokens T + 1": lambda w, n: (w, right(w, n)[1]),
    "both T + 1": lambda w, n: (w, by_masked_fill(F.pad(w, (1, 0)), n)[1]),
    "last label ignored": lambda w, n: (w[:, :-1], F.pad(right(w, n)[1][:, :-1], (0, 1), value=-100)),
    "tokens marked": marked_tokens,
    "both marked": lambda w, n: (marked_tokens(w, n)[0], right(w, n)[1]),
    "pad token ignored": lambda w, n: (
        w[:, :-1],
        right(w, n)[1].masked_fill(right(w, n)[1] == 0, IGNORE_TOKEN),
    ),
    "token 1 in place": lambda w, n: (w[:, :-1], right(w, n)[1].clamp(min=1)),
    "mask": lambda w, n: (w[:, :-1], right(w, n)[1] != IGNORE_TOKEN),
    "float labels": lambda w, n: (w[:, :-1], right(w, n)[1].float()),
    "lists": lambda w, n: tuple(one.tolist() for one in right(w, n)),
    "prompt of 3 always": lambda w, n: right(w, 3),
    "sorted": lambda w, n: (w[:, :-1].sort(1).values, right(w, n)[1]),
    "-100 times the mask": lambda w, n: (
        w[:, :-1],
        -100 * (torch.arange(1, w.shape[1]) < n).long() + w[:, 1:],
    ),
}

SAYS = {
    "view": "through a view",
    "labels a view": "changes written",
    "one too many": "one label too many",
    "one too few": "one label too few",
    "labels first": "labels returned first",
    "rolled": "wrapped around",
    "float labels": "whole numbers",
    "one tensor": "2 values",
    "0": "0 in place of -100",
}
