"""Answers in other words than the exercises' own examples, right and wrong."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.course.learners import Answers

ANSWERS = Answers()
wrong, right = ANSWERS.add_wrong, ANSWERS.add_right


def looped_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    losses = []
    for row, label in zip(logits, labels, strict=True):
        losses.append(torch.logsumexp(row, 0) - row[label])
    return torch.stack(losses).mean()


def gathered_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    log_p = logits - logits.logsumexp(dim=1, keepdim=True)
    return -log_p.gather(1, labels.unsqueeze(1)).squeeze(1).mean()


def one_hot_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    one_hot = F.one_hot(labels, logits.shape[1]).float()
    return -(one_hot * logits.log_softmax(-1)).sum() / logits.shape[0]


def naive_exp(logits: Tensor, labels: Tensor) -> Tensor:
    p = torch.exp(logits)
    p = p / p.sum(dim=1, keepdim=True)
    return -torch.log(p[range(len(labels)), labels]).mean()


def log_of_softmax(logits: Tensor, labels: Tensor) -> Tensor:
    p = torch.softmax(logits, dim=-1)
    return -p.log().gather(1, labels[:, None]).mean()


def against_the_largest_of_all(z: Tensor, y: Tensor) -> Tensor:
    z = z - torch.max(z)
    return -(z - torch.log(z.exp().sum(-1, keepdim=True)))[range(len(y)), y].mean()


wrong(
    "cross_entropy_by_hand",
    sum_for_mean=lambda z, y: looped_cross_entropy(z, y) * len(y),
    sign_missing=lambda z, y: z.log_softmax(1)[torch.arange(len(y)), y].mean(),
    softmax_over_the_batch=lambda z, y: -(z - z.logsumexp(0)).gather(1, y[:, None]).mean(),
    softmax_twice=lambda z, y: gathered_cross_entropy(torch.softmax(z, 1), y),
    every_label_for_every_image=lambda z, y: (-torch.log_softmax(z, dim=1)[:, y]).mean(),
    all_classes_averaged=lambda z, y: -F.log_softmax(z, dim=-1).mean(),
    divided_by_the_classes_too=lambda z, y: -(F.one_hot(y, z.shape[1]) * z.log_softmax(1)).mean(),
    maximum_of_each_column=lambda z, y: gathered_cross_entropy(z - z.amax(0), y),
    one_sum_for_the_whole_batch=lambda z, y: (
        looped_cross_entropy(z - z.amax(1, keepdim=True), y)
        + (z - z.amax(1, keepdim=True)).logsumexp((0, 1))
        - (z - z.amax(1, keepdim=True)).logsumexp(1).mean()
    ),
    log_of_the_sum_left_out=lambda z, y: (
        (z - z.amax(1, keepdim=True)).exp().sum(1).mean()
        - F.one_hot(y, z.shape[1]).mul(z - z.amax(1, keepdim=True)).sum(1).mean()
    ),
    largest_logit_not_subtracted=lambda z, y: (z.exp().sum(1).log() - z.gather(1, y[:, None])[:, 0]).mean(),
    one_maximum_for_the_whole_batch=against_the_largest_of_all,
    bits_for_nats=lambda z, y: looped_cross_entropy(z, y) * math.log2(math.e),
    overflow=naive_exp,
    log_of_a_softmax_that_is_0=log_of_softmax,
    gradient_cut=lambda z, y: looped_cross_entropy(z.detach(), y),
)
right("cross_entropy_by_hand", looped_cross_entropy, gathered_cross_entropy, one_hot_cross_entropy)


def in_place(w: Tensor, g: Tensor, v: Tensor, lr: float, m: float) -> tuple[Tensor, Tensor]:
    v.mul_(m).add_(g)
    w -= lr * v
    return w, v


def by_torch(w: Tensor, g: Tensor, v: Tensor, lr: float, m: float) -> tuple[Tensor, Tensor]:
    p = nn.Parameter(w.clone())
    p.grad = g.clone()
    new_v = v.mul(m).add(g)
    with torch.no_grad():
        p.sub_(new_v, alpha=lr)
    return p.detach(), new_v


def step(w: Tensor, g: Tensor, v: Tensor, lr: float, m: float) -> tuple[Tensor, Tensor]:
    new_v = torch.add(g, v, alpha=m)
    return torch.sub(w, new_v, alpha=lr), new_v


wrong(
    "momentum_step",
    gradient_for_velocity=lambda w, g, v, lr, m: (w - g * lr, g + v * m),
    old_velocity_used=lambda w, g, v, lr, m: (w - v * lr, g + v * m),
    velocity_not_handed_on=lambda w, g, v, lr, m: (step(w, g, v, lr, m)[0], v),
    learning_rate_twice=lambda w, g, v, lr, m: (w - v * m * lr - g * lr * lr, v * m + g * lr),
    velocity_pointing_downhill=lambda w, g, v, lr, m: (w + v * m - g * lr, v * m - g * lr),
    learning_rate_inside_the_velocity=lambda w, g, v, lr, m: (w - v * m - g * lr, v * m + g * lr),
    **{
        "gradient weighed by 1 - momentum": lambda w, g, v, lr, m: (
            w - lr * torch.lerp(g, v, m),
            torch.lerp(g, v, m),
        )
    },
    uphill=lambda w, g, v, lr, m: (w + lr * (g + m * v), g + m * v),
    order_of_the_two_swapped=lambda w, g, v, lr, m: step(w, g, v, lr, m)[::-1],
    inputs_changed=in_place,
)
right("momentum_step", by_torch, step, lambda w, g, v, lr, m: [w - lr * (m * v + g), m * v + g])


def train_once(model, images, labels, optimizer, loss_of):
    optimizer.zero_grad(set_to_none=False)
    loss = loss_of(model.train()(images), labels)
    torch.autograd.backward(loss)
    optimizer.step()
    return float(loss.detach())


def train_by_grad(model, images, labels, optimizer, loss_of):
    parameters = list(model.parameters())
    loss = loss_of(model(images), labels)
    for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
        parameter.grad = gradient
    optimizer.step()
    return loss.detach().numpy().item()


def train_and_never_clear(model, images, labels, optimizer, loss_of):
    (loss := loss_of(model(images), labels)).backward()
    optimizer.step()
    return loss.item()


def train_and_clear_late(model, images, labels, optimizer, loss_of):
    (loss := loss_of(model(images), labels)).backward()
    for parameter in model.parameters():
        parameter.grad = None
    optimizer.step()
    return loss.item()


def train_without_a_step(model, images, labels, optimizer, loss_of):
    optimizer.zero_grad()
    (loss := loss_of(model(images), labels)).backward()
    return loss.item()


def train_without_backward(model, images, labels, optimizer, loss_of):
    loss = loss_of(model(images), labels)
    optimizer.step()
    return loss.item()


def train_in_eval_mode(model, images, labels, optimizer, loss_of):
    return train_by_grad(model.eval(), images, labels, optimizer, loss_of)


def train_and_look_again(model, images, labels, optimizer, loss_of):
    train_by_grad(model, images, labels, optimizer, loss_of)
    return loss_of(model(images), labels).item()


wrong(
    "training_step",
    old_gradients_kept=train_and_never_clear,
    no_gradients_at_the_step=train_and_clear_late,
    no_step=train_without_a_step,
    no_backward_pass=train_without_backward,
    model_in_eval_mode=train_in_eval_mode,
    loss_after_the_step=train_and_look_again,
    another_loss=lambda m, x, y, o, f: train_once(m, x, y, o, looped_cross_entropy),
    softmax_before_the_loss=lambda m, x, y, o, f: train_once(m, x, y, o, lambda z, y: f(z.softmax(-1), y)),
)
right("training_step", train_once, train_by_grad)


def ask(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    was = model.training
    model.eval()
    with torch.inference_mode():
        hits = sum(
            (model(image[None]).argmax(1) == label).item()
            for image, label in zip(images, labels, strict=True)
        )
    model.train(was)
    return hits / len(labels)


@torch.no_grad()
def ask_decorated(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    modes = {m: m.training for m in model.modules()}
    model.train(False)
    try:
        return np.mean((model(images).argmax(-1) == labels).numpy())
    finally:
        for m, mode in modes.items():
            m.training = mode


def ask_in_train_mode(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    with torch.no_grad():
        return (model(images).argmax(1) == labels).float().mean().item()


def ask_with_gradient(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    was = model.training
    model.eval()
    hits = (model(images).argmax(1) == labels).float().mean().item()
    model.train(was)
    return hits


def ask_and_leave_eval(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    model.eval()
    with torch.no_grad():
        return (model(images).argmax(1) == labels).float().mean().item()


def ask_and_train(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    accuracy = ask_and_leave_eval(model, images, labels)
    model.train()
    return accuracy


wrong(
    "validation_accuracy",
    model_in_train_mode=ask_in_train_mode,
    gradients_recorded=ask_with_gradient,
    left_in_eval_mode=ask_and_leave_eval,
    always_left_in_train_mode=ask_and_train,
    percent_for_share=lambda *given: 100 * ask(*given),
    count_for_share=lambda model, x, y: ask(model, x, y) * len(x),
    errors_for_hits=lambda *given: 1 - ask(*given),
)
right("validation_accuracy", ask, ask_decorated)


def by_rule(train: list[float], val: list[float]) -> str:
    lowest = np.argmin(val)
    if val[-1] / val[lowest] >= 1.1 and train[-1] < train[lowest]:
        return "overfitting"
    return "underfitting" if train[-1] / train[0] > 0.9 else "fits"


def by_rule_in_a_loop(train: list[float], val: list[float]) -> str:
    smallest, then = float("inf"), None
    for t, v in zip(train, val, strict=True):
        if v < smallest:
            smallest, then = v, t
    if val[-1] >= smallest + 0.1 * smallest and train[-1] < then:
        verdict = "overfitting"
    elif train[-1] > train[0] - 0.1 * train[0]:
        verdict = "underfitting"
    else:
        verdict = "fits"
    return verdict


def underfitting_first(train: list[float], val: list[float]) -> str:
    if train[-1] > 0.9 * train[0]:
        return "underfitting"
    lowest = val.index(min(val))
    return "overfitting" if val[-1] >= 1.1 * min(val) and train[-1] < train[lowest] else "fits"


def without_training(train: list[float], val: list[float]) -> str:
    if val[-1] >= 1.1 * min(val):
        return "overfitting"
    return "underfitting" if train[-1] > 0.9 * train[0] else "fits"


def any_rise(train: list[float], val: list[float]) -> str:
    if val[-1] > min(val) and train[-1] < train[val.index(min(val))]:
        return "overfitting"
    return "underfitting" if train[-1] > 0.9 * train[0] else "fits"


def against_first(train: list[float], val: list[float]) -> str:
    if val[-1] >= 1.1 * val[0] and train[-1] < train[val.index(min(val))]:
        return "overfitting"
    return "underfitting" if train[-1] > 0.9 * train[0] else "fits"


def against_the_epoch_before(t: list[float], v: list[float]) -> str:
    if v[-1] / min(v) >= 1.1 and t[-1] - t[-2] < 0:
        return "overfitting"
    return "underfitting" if t[-1] / t[0] > 0.9 else "fits"


wrong(
    "diagnose",
    underfitting_tested_first=underfitting_first,
    training_loss_ignored=without_training,
    any_rise_is_overfitting=any_rise,
    compared_with_the_first_epoch=against_first,
    words_swapped=lambda t, v: {"overfitting": "underfitting", "underfitting": "overfitting"}.get(
        by_rule(t, v), "fits"
    ),
    training_compared_with_the_epoch_before=against_the_epoch_before,
    never_underfits=lambda t, v: "overfitting" if by_rule(t, v) == "overfitting" else "fits",
)
right("diagnose", by_rule, by_rule_in_a_loop)
