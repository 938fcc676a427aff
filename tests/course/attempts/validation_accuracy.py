"""Answers to validation_accuracy."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

Answer = Callable[[nn.Module, Tensor, Tensor], float]


@contextlib.contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(training)


def in_batches(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    n, channels, height, width = images.shape
    correct = 0
    with evaluating(model):
        for start in range(0, n, 64):
            part = images[start : start + 64].reshape(-1, channels, height, width)
            correct += (model(part).argmax(1) == labels[start : start + 64]).sum().item()
    return correct / n


def by_inference_mode(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    mode = model.training
    model.train(False)
    with torch.inference_mode():
        hits = torch.eq(model(images).max(dim=-1).indices, labels)
    if mode:
        model.train()
    return hits.float().mean().item()


@torch.no_grad()
def decorated(model: nn.Module, x: Tensor, y: Tensor) -> float:
    was = model.training
    model.eval()
    guesses = [int(row.argmax()) for row in model(x)]
    if was:
        model.train()
    return float(np.mean(np.array(guesses) == y.numpy()))


def switches_by_hand(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    training, recording = model.training, torch.is_grad_enabled()
    torch.set_grad_enabled(False)
    model.eval()
    predictions = F.softmax(model(images), dim=1).argmax(dim=1)
    model.train(training)
    torch.set_grad_enabled(recording)
    return (predictions == labels).sum().item() / labels.numel()


def weighted_batches(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    total = 0.0
    with evaluating(model):
        for x, y in zip(images.split(100), labels.split(100), strict=True):
            total += (model(x).topk(1).indices[:, 0] == y).double().mean().item() * len(y)
    return total / len(labels)


RIGHT: list[Answer] = [
    in_batches,
    by_inference_mode,
    decorated,
    switches_by_hand,
    weighted_batches,
]


def hits(logits: Tensor, labels: Tensor) -> float:
    return (logits.argmax(1) == labels).double().mean().item()


def then(score: Callable[[Tensor, Tensor], float]) -> Answer:
    """Return an answer that is right but for its score."""

    def answer(model: nn.Module, images: Tensor, labels: Tensor) -> float:
        with evaluating(model):
            return score(model(images), labels)

    return answer


def grad_mode_left_off(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    training = model.training
    model.eval()
    torch.set_grad_enabled(False)
    accuracy = hits(model(images), labels)
    model.train(training)
    return accuracy


def clears_gradients(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    model.zero_grad()
    return then(hits)(model, images, labels)


def freezes(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    training = model.training
    model.eval().requires_grad_(False)
    accuracy = hits(model(images), labels)
    model.train(training)
    return accuracy


def freezes_and_unfreezes_all(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    training = model.training
    model.eval().requires_grad_(False)
    accuracy = hits(model(images), labels)
    model.train(training).requires_grad_(True)
    return accuracy


def first_batch(size: int) -> Answer:
    return lambda model, images, labels: then(hits)(model, images[:size], labels[:size])


def mean_of_batches(size: int) -> Answer:
    def answer(model: nn.Module, images: Tensor, labels: Tensor) -> float:
        with evaluating(model):
            shares = [hits(model(x), y) for x, y in zip(images.split(size), labels.split(size), strict=True)]
        return float(np.mean(shares))

    return answer


def last_batch_dropped(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    size = min(64, len(images))
    correct = 0.0
    with evaluating(model):
        for start in range(0, len(images) - size + 1, size):
            correct += (
                (model(images[start : start + size]).argmax(1) == labels[start : start + size]).sum().item()
            )
    return correct / len(images)


def in_train_mode(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    with torch.no_grad():
        return hits(model(images), labels)


def recorded(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    training = model.training
    model.eval()
    accuracy = hits(model(images), labels)
    model.train(training)
    return accuracy


def recorded_and_detached(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    training = model.training
    model.eval()
    accuracy = hits(model(images).detach(), labels)
    model.train(training)
    return accuracy


def left_in_eval(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    model.eval()
    with torch.no_grad():
        return hits(model(images), labels)


def left_in_train(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    accuracy = left_in_eval(model, images, labels)
    model.train()
    return accuracy


def train_before_the_call(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    training = model.training
    model.eval()
    model.train(training)
    with torch.no_grad():
        return hits(model(images), labels)


def eval_named_not_called(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    training = model.training
    model.eval  # noqa: B018
    with torch.no_grad():
        accuracy = hits(model(images), labels)
    model.train(training)
    return accuracy


def momentum_of_batch_norm(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    training = model.training
    for part in model.modules():
        if isinstance(part, nn.Dropout):
            part.eval()
    with torch.no_grad():
        accuracy = hits(model(images), labels)
    model.train(training)
    return accuracy


def resets_statistics(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    accuracy = then(hits)(model, images, labels)
    for part in model.modules():
        if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
            part.reset_running_stats()
    return accuracy


def trains_a_little(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    accuracy = then(hits)(model, images, labels)
    with torch.no_grad():
        for p in model.parameters():
            p -= 0.01 * p.sign()
    return accuracy


def normalises_in_place(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    images /= images.abs().max()
    return then(hits)(model, images, labels)


WRONG: dict[str, Answer] = {
    "grad mode left off": grad_mode_left_off,
    "zero_grad": clears_gradients,
    "parameters frozen": freezes,
    "parameters frozen, then all unfrozen": freezes_and_unfreezes_all,
    "first 64 images only": first_batch(64),
    "first 100 images only": first_batch(100),
    "mean of batch means of 64": mean_of_batches(64),
    "mean of batch means of 100": mean_of_batches(100),
    "mean of batch means of 32": mean_of_batches(32),
    "last batch dropped": last_batch_dropped,
    "train mode": in_train_mode,
    "graph recorded": recorded,
    "detach in place of no_grad": recorded_and_detached,
    "left in eval mode": left_in_eval,
    "always left in train mode": left_in_train,
    "mode restored before the call": train_before_the_call,
    "eval without parentheses": eval_named_not_called,
    "only dropout in eval mode": momentum_of_batch_norm,
    "statistics reset": resets_statistics,
    "weights changed": trains_a_little,
    "images changed": normalises_in_place,
    "argmax over the images": then(
        lambda z, y: (z.argmax(0)[: len(y)] == y[: z.shape[1]]).float().mean().item()
    ),
    "percent": then(lambda z, y: 100 * hits(z, y)),
    "count": then(lambda z, y: float((z.argmax(1) == y).sum())),
    "errors": then(lambda z, y: 1 - hits(z, y)),
    "loss": then(lambda z, y: F.cross_entropy(z, y).item()),
    "mean probability of the label": then(lambda z, y: z.softmax(1)[range(len(y)), y].mean().item()),
    "mean of the classes' accuracies": then(
        lambda z, y: float(np.mean([hits(z[y == c], y[y == c]) for c in y.unique()]))
    ),
    "share of predictions of class 1": then(lambda z, y: (z.argmax(1) == 1).float().mean().item()),
    "top two": then(lambda z, y: (z.topk(2).indices == y[:, None]).any(1).float().mean().item()),
    "rounded": then(lambda z, y: round(hits(z, y), 2)),
    "rounded to 3 places": then(lambda z, y: round(hits(z, y), 3)),
    "a tensor": then(lambda z, y: (z.argmax(1) == y).float().mean()),
    "divided by the number of classes": then(lambda z, y: (z.argmax(1) == y).sum().item() / z.shape[1]),
}

SAYS = {
    "grad mode left off": "gradients switched off",
    "detach in place of no_grad": "gradients recorded",
    "left in eval mode": "left in eval mode",
    "rounded to 3 places": "rounded",
    "eval without parentheses": "train mode",
    "zero_grad": "gradients",
}
