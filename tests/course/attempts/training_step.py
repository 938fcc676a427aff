"""Answers to training_step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Answer = Callable[..., Any]
Loss = Callable[[Tensor, Tensor], Tensor]


def as_in_a_tutorial(
    model: nn.Module, images: Tensor, labels: Tensor, optimizer: Any, loss_of: Loss
) -> float:
    optimizer.zero_grad()
    loss = loss_of(model(images), labels)
    loss.backward()
    optimizer.step()
    return loss.item()


def mode_set_again(model, x, y, optimizer, loss_of):
    model.train()
    for p in model.parameters():
        p.grad = None
    with torch.enable_grad():
        loss = loss_of(model(x), y)
    torch.autograd.backward(loss)
    optimizer.step()
    return float(loss)


def by_grad(model, x, y, optimizer, loss_of):
    loss = loss_of(model(x), y)
    for p, g in zip(model.parameters(), torch.autograd.grad(loss, list(model.parameters())), strict=True):
        p.grad = g
    optimizer.step()
    return loss.detach().numpy().item()


def set_to_zero(model, x, y, optimizer, loss_of):
    n, channels, height, width = x.shape
    logits = model(x.view(n, channels, height, width))
    optimizer.zero_grad(set_to_none=False)
    (loss := loss_of(logits, y)).backward()
    optimizer.step()
    return loss.tolist()


def clears_afterwards_too(model, x, y, optimizer, loss_of):
    value = as_in_a_tutorial(model, x, y, optimizer, loss_of)
    model.zero_grad()
    return value


RIGHT: list[Answer] = [as_in_a_tutorial, mode_set_again, by_grad, set_to_zero, clears_afterwards_too]


def step(
    loss: Callable[[Loss, Tensor, Tensor], Tensor] = lambda loss_of, z, y: loss_of(z, y),
    *,
    clear: str = "before",
    steps: int = 1,
    backward: bool = True,
    before: Callable[[nn.Module], Any] = lambda model: None,
    result: Callable[[Tensor], Any] = lambda loss: loss.item(),
) -> Answer:
    def answer(model, x, y, optimizer, loss_of):
        before(model)
        value = loss(loss_of, model(x), y)
        if clear == "before":
            optimizer.zero_grad()
        if backward:
            value.backward()
        if clear == "late":
            optimizer.zero_grad()
        for _ in range(steps):
            optimizer.step()
        if clear == "after":
            optimizer.zero_grad()
        return result(value)

    return answer


def eval_then_train(model, x, y, optimizer, loss_of):
    model.eval()
    value = as_in_a_tutorial(model, x, y, optimizer, loss_of)
    model.train()
    return value


def all_under_no_grad(model, x, y, optimizer, loss_of):
    with torch.no_grad():
        return as_in_a_tutorial(model, x, y, optimizer, loss_of)


def logits_detached(model, x, y, optimizer, loss_of):
    loss = loss_of(model(x).detach(), y)
    optimizer.zero_grad()
    optimizer.step()
    return loss.item()


def step_first(model, x, y, optimizer, loss_of):
    optimizer.zero_grad()
    optimizer.step()
    loss = loss_of(model(x), y)
    loss.backward()
    return loss.item()


def loss_after(model, x, y, optimizer, loss_of):
    as_in_a_tutorial(model, x, y, optimizer, loss_of)
    with torch.no_grad():
        return loss_of(model(x), y).item()


def backward_twice(model, x, y, optimizer, loss_of):
    loss = loss_of(model(x), y)
    optimizer.zero_grad()
    loss.backward(retain_graph=True)
    loss.backward()
    optimizer.step()
    return loss.item()


def clips(model, x, y, optimizer, loss_of):
    loss = loss_of(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 0.01)
    optimizer.step()
    return loss.item()


def moves_by_hand_too(model, x, y, optimizer, loss_of):
    value = as_in_a_tutorial(model, x, y, optimizer, loss_of)
    with torch.no_grad():
        for p in model.parameters():
            p -= 0.1 * p.grad
    return value


def own_learning_rate(model, x, y, optimizer, loss_of):
    for group in optimizer.param_groups:
        group["lr"] = 0.1
    return as_in_a_tutorial(model, x, y, optimizer, loss_of)


def weight_decay(model, x, y, optimizer, loss_of):
    loss = loss_of(model(x), y) + 0.01 * sum((p**2).sum() for p in model.parameters())
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


def grad_mode_left_off(model, x, y, optimizer, loss_of):
    value = as_in_a_tutorial(model, x, y, optimizer, loss_of)
    torch.set_grad_enabled(False)
    return value


def changes_images(model, x, y, optimizer, loss_of):
    x *= 0.5
    return as_in_a_tutorial(model, 2 * x, y, optimizer, loss_of)


def half_of_the_batch(model, x, y, optimizer, loss_of):
    half = len(x) // 2
    return as_in_a_tutorial(model, x[:half], y[:half], optimizer, loss_of)


def last_layer_only(model, x, y, optimizer, loss_of):
    loss = loss_of(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    for p in list(model.parameters())[:-2]:
        p.grad = None
    optimizer.step()
    return loss.item()


WRONG: dict[str, Answer] = {
    "gradients never cleared": step(clear="never"),
    "gradients cleared after the step alone": step(clear="after"),
    "gradients cleared between backward and step": step(clear="late"),
    "no backward": step(backward=False),
    "no backward, old gradients": step(backward=False, clear="never"),
    "no step": step(steps=0),
    "two steps": step(steps=2),
    "step first": step_first,
    "backward twice": backward_twice,
    "eval mode": step(before=lambda model: model.eval()),
    "eval mode, train mode afterwards": eval_then_train,
    "all under no_grad": all_under_no_grad,
    "logits detached": logits_detached,
    "model run twice": lambda m, x, y, o, f: m(x) is None or as_in_a_tutorial(m, x, y, o, f),
    "loss after the step": loss_after,
    "F.cross_entropy": step(lambda loss_of, z, y: F.cross_entropy(z, y)),
    "softmax first": step(lambda loss_of, z, y: loss_of(z.softmax(1), y)),
    "sigmoid first": step(lambda loss_of, z, y: loss_of(z.sigmoid(), y)),
    "uphill": step(lambda loss_of, z, y: -loss_of(z, y)),
    "sum of the batch": step(lambda loss_of, z, y: len(y) * loss_of(z, y)),
    "loss of the predictions": step(lambda loss_of, z, y: loss_of(z, z.argmax(1))),
    "labels in reverse": step(lambda loss_of, z, y: loss_of(z, y.flip(0))),
    "half of the batch": half_of_the_batch,
    "last layer only": last_layer_only,
    "clipped gradients": clips,
    "weights moved by hand too": moves_by_hand_too,
    "learning rate changed": own_learning_rate,
    "weight decay": weight_decay,
    "grad mode left off": grad_mode_left_off,
    "images changed": changes_images,
    "a tensor returned": step(result=lambda loss: loss),
    "a detached tensor returned": step(result=lambda loss: loss.detach()),
    "nothing returned": step(result=lambda loss: None),
    "rounded": step(result=lambda loss: round(loss.item(), 3)),
}

SAYS = {
    "gradients never cleared": "old gradients kept",
    "gradients cleared between backward and step": "no gradients at the step",
    "model run twice": "model called twice",
    "F.cross_entropy": "another loss",
    "grad mode left off": "gradients switched off",
    "a tensor returned": ".item() takes it out",
    "rounded": "rounded",
}
