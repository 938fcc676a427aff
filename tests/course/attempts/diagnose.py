"""Answers to diagnose."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

Losses = list[float]
Rule = Callable[[Losses, Losses], bool]


def with_a_loop(train_loss: Losses, validation_loss: Losses) -> str:
    best = 0
    for epoch, loss in enumerate(validation_loss):
        if loss < validation_loss[best]:
            best = epoch
    rise = validation_loss[-1] / validation_loss[best]
    if rise >= 1.1:
        if train_loss[-1] < train_loss[best]:
            return "overfitting"
    if train_loss[-1] / train_loss[0] > 0.9:
        return "underfitting"
    return "fits"


def with_numpy(train: Losses, val: Losses) -> str:
    t, v = np.array(train), np.array(val)
    lowest = v.argmin()
    over = (v[-1] - v[lowest] >= 0.1 * v[lowest]) & (t[-1] < t[lowest])
    return str(np.select([over, t[-1] > 0.9 * t[0]], ["overfitting", "underfitting"], "fits"))


def with_zip(t: Losses, v: Losses) -> str:
    smallest, then = min(zip(v, t, strict=True), key=lambda pair: pair[0])
    if v[-1] >= smallest * 1.1 and t[-1] < then:
        return "overfitting"
    return "underfitting" if t[-1] > t[0] * 0.9 else "fits"


def with_torch(t: Losses, v: Losses) -> str:
    best = int(torch.tensor(v, dtype=torch.float64).argmin())
    risen, learned = v[-1] >= 1.1 * v[best], t[-1] < t[best]
    stuck = not t[-1] <= 0.9 * t[0]
    return ["fits", "underfitting", "overfitting"][2 if risen and learned else int(stuck)]


RIGHT = [
    with_a_loop,
    with_numpy,
    with_zip,
    with_torch,
    lambda t, v: (
        "overfitting"
        if not (v[-1] < 1.1 * min(v) or t[-1] >= t[v.index(min(v))])
        else ("underfitting" if 10 * t[-1] > 9 * t[0] else "fits")
    ),
]


def best(v: Losses) -> int:
    return v.index(min(v))


def rule(
    risen: Rule = lambda t, v: v[-1] >= 1.1 * min(v),
    learned: Rule = lambda t, v: t[-1] < t[best(v)],
    stuck: Rule = lambda t, v: t[-1] > 0.9 * t[0],
) -> Callable[[Losses, Losses], str]:
    def answer(t: Losses, v: Losses) -> str:
        if risen(t, v) and learned(t, v):
            return "overfitting"
        return "underfitting" if stuck(t, v) else "fits"

    return answer


def first_minimum(v: Losses) -> int:
    return next((n for n in range(len(v) - 1) if v[n + 1] > v[n]), len(v) - 1)


def second_first(t: Losses, v: Losses) -> str:
    return "underfitting" if t[-1] > 0.9 * t[0] else rule()(t, v)


WRONG = {
    "absolute rise of 0.1": rule(lambda t, v: v[-1] - min(v) >= 0.1),
    "rise of 6 %": rule(lambda t, v: v[-1] >= 1.06 * min(v)),
    "rise of 12 %": rule(lambda t, v: v[-1] >= 1.12 * min(v)),
    "rise of 10.5 %": rule(lambda t, v: v[-1] >= 1.105 * min(v)),
    "rise of 9.5 %": rule(lambda t, v: v[-1] >= 1.095 * min(v)),
    "> for >=": rule(lambda t, v: v[-1] > 1.1 * min(v)),
    "90 % of the last above the smallest": rule(lambda t, v: 0.9 * v[-1] >= min(v)),
    "any rise": rule(lambda t, v: v[-1] > min(v)),
    "rise from the first epoch": rule(lambda t, v: v[-1] >= 1.1 * v[0]),
    "rise from the epoch before": rule(lambda t, v: v[-1] >= 1.1 * v[-2]),
    "rise anywhere": rule(lambda t, v: max(v[best(v) :]) >= 1.1 * min(v)),
    "rise from the first minimum": rule(lambda t, v: v[-1] >= 1.1 * v[first_minimum(v)]),
    "training since the first minimum": rule(learned=lambda t, v: t[-1] < t[first_minimum(v)]),
    "gap between both": rule(lambda t, v: v[-1] >= 1.1 * t[-1]),
    "training ignored": rule(learned=lambda t, v: True),
    "training <= for <": rule(learned=lambda t, v: t[-1] <= t[best(v)]),
    "training since the first epoch": rule(learned=lambda t, v: t[-1] < t[0]),
    "training since the epoch before": rule(learned=lambda t, v: t[-1] < t[-2]),
    "training's smallest loss in the last epoch": rule(learned=lambda t, v: t[-1] == min(t)),
    "training must fall by 10 % too": rule(learned=lambda t, v: t[-1] < 0.9 * t[best(v)]),
    "absolute fall of 0.1": rule(stuck=lambda t, v: t[0] - t[-1] < 0.1),
    "stuck at 0.9": rule(stuck=lambda t, v: t[-1] > 0.9),
    ">= for > in underfitting": rule(stuck=lambda t, v: t[-1] >= 0.9 * t[0]),
    "stuck at 80 %": rule(stuck=lambda t, v: t[-1] > 0.8 * t[0]),
    "stuck at 95 %": rule(stuck=lambda t, v: t[-1] > 0.95 * t[0]),
    "stuck at 92 %": rule(stuck=lambda t, v: t[-1] > 0.92 * t[0]),
    "stuck at 88 %": rule(stuck=lambda t, v: t[-1] > 0.88 * t[0]),
    "stuck by the smallest training loss": rule(stuck=lambda t, v: min(t) > 0.9 * t[0]),
    "stuck by the largest training loss": rule(stuck=lambda t, v: t[-1] > 0.9 * max(t)),
    "stuck by the validation loss": rule(stuck=lambda t, v: v[-1] > 0.9 * v[0]),
    "stuck since the second epoch": rule(stuck=lambda t, v: t[-1] > 0.9 * t[1]),
    "a fall of nine tenths wanted": rule(stuck=lambda t, v: t[-1] > 0.1 * t[0]),
    "or for and": lambda t, v: (
        "overfitting"
        if v[-1] >= 1.1 * min(v) or t[-1] < t[best(v)]
        else ("underfitting" if t[-1] > 0.9 * t[0] else "fits")
    ),
    "underfitting first": second_first,
    "best epoch of the training loss": rule(lambda t, v: v[-1] >= 1.1 * v[t.index(min(t))]),
    "never underfits": rule(stuck=lambda t, v: False),
    "never overfits": rule(risen=lambda t, v: False),
    "always fits": lambda t, v: "fits",
    "capital letters": lambda t, v: rule()(t, v).capitalize(),
    "other words": lambda t, v: {"fits": "good fit"}.get(rule()(t, v), rule()(t, v)),
    "lists swapped": lambda t, v: rule()(v, t),
    "nothing for fits": lambda t, v: rule()(t, v).replace("fits", ""),
}

SAYS = {
    "other words": "none of 'overfitting'",
    "nothing for fits": "none of 'overfitting'",
    "rise of 12 %": "Input: train_loss = [",
}
