"""Answers to distil_step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdcourse.distillation import hinton_loss, kd_divergence

Answer = Callable[..., Any]


def loss_of(z: Tensor, v: Tensor, y: Tensor, t: float, a: float) -> Tensor:
    return hinton_loss(z, v, y, temperature=t, alpha=a)


def as_in_a_tutorial(
    student: nn.Module, teacher: nn.Module, images: Tensor, labels: Tensor, optimizer: Any, temperature: float,
    alpha: float,
) -> float:  # fmt: skip
    optimizer.zero_grad()
    with torch.no_grad():
        teacher.eval()
        targets = teacher(images)
    student.train()
    logits = student(images)
    loss = loss_of(logits, targets, labels, temperature, alpha)
    loss.backward()
    optimizer.step()
    return loss.item()


def by_inference_mode(student, teacher, images, labels, optimizer, temperature, alpha):
    teacher.train(False)
    student.train(True)

    @torch.no_grad()
    def ask(x: Tensor) -> Tensor:
        return teacher(x)

    soft = kd_divergence(student_logits := student(images), ask(images), temperature)
    loss = alpha * soft + (1 - alpha) * F.cross_entropy(student_logits, labels)
    student.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    return float(loss)


def by_grad(student, teacher, x, y, optimizer, t, a):
    teacher.eval()
    student.train()
    recording = torch.is_grad_enabled()
    torch.set_grad_enabled(False)
    v = teacher(x)
    torch.set_grad_enabled(recording)
    loss = loss_of(student(x), v, y, t, a)
    for p, g in zip(student.parameters(), torch.autograd.grad(loss, list(student.parameters())), strict=True):
        p.grad = g
    optimizer.step()
    return loss.detach().numpy().item()


def set_to_zero(student, teacher, x, y, optimizer, t, a):
    n, channels, height, width = x.shape
    student.train(), teacher.eval()
    with torch.no_grad():
        v = teacher(x.reshape(n, channels, height, width)).clone()
    z = student(x)
    log_q, log_p = F.log_softmax(z / t, 1), F.log_softmax(v / t, 1)
    loss = a * t**2 * F.kl_div(log_q, log_p, reduction="batchmean", log_target=True)
    loss = loss + (1 - a) * F.nll_loss(z.log_softmax(1), y)
    optimizer.zero_grad(set_to_none=False)
    loss.backward()
    optimizer.step()
    return loss.item()


def clears_afterwards_too(student, teacher, x, y, optimizer, t, a):
    value = as_in_a_tutorial(student, teacher, x, y, optimizer, t, a)
    optimizer.zero_grad()
    return value


RIGHT = [as_in_a_tutorial, by_inference_mode, by_grad, set_to_zero, clears_afterwards_too]


def step(
    loss: Callable[..., Tensor] = loss_of,
    *,
    student_mode: bool | None = True,
    teacher_mode: bool | None = False,
    recorded: bool = False,
    clear: str = "before",
    steps: int = 1,
    result: Callable[[Tensor], Any] = lambda loss: loss.item(),
) -> Answer:
    def answer(student, teacher, x, y, optimizer, t, a):
        if student_mode is not None:
            student.train(student_mode)
        if teacher_mode is not None:
            teacher.train(teacher_mode)
        with torch.set_grad_enabled(recorded):
            v = teacher(x)
        value = loss(student(x), v, y, t, a)
        if clear == "before":
            optimizer.zero_grad()
        value.backward()
        if clear == "late":
            optimizer.zero_grad()
        for _ in range(steps):
            optimizer.step()
        if clear == "after":
            optimizer.zero_grad()
        return result(value)

    return answer


def grad_mode_left_off(student, teacher, x, y, optimizer, t, a):
    value = as_in_a_tutorial(student, teacher, x, y, optimizer, t, a)
    torch.set_grad_enabled(False)
    return value


def detached_teacher(student, teacher, x, y, optimizer, t, a):
    student.train(), teacher.eval()
    loss = loss_of(student(x), teacher(x).detach(), y, t, a)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


def all_under_no_grad(student, teacher, x, y, optimizer, t, a):
    student.train(), teacher.eval()
    with torch.no_grad():
        loss = loss_of(student(x), teacher(x), y, t, a)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


def loss_after(student, teacher, x, y, optimizer, t, a):
    as_in_a_tutorial(student, teacher, x, y, optimizer, t, a)
    with torch.no_grad():
        return loss_of(student(x), teacher(x), y, t, a).item()


def no_backward(student, teacher, x, y, optimizer, t, a):
    student.train(), teacher.eval()
    with torch.no_grad():
        v = teacher(x)
    loss = loss_of(student(x), v, y, t, a)
    optimizer.zero_grad()
    optimizer.step()
    return loss.item()


def step_first(student, teacher, x, y, optimizer, t, a):
    student.train(), teacher.eval()
    with torch.no_grad():
        v = teacher(x)
    optimizer.zero_grad()
    optimizer.step()
    loss = loss_of(student(x), v, y, t, a)
    loss.backward()
    return loss.item()


def clips(student, teacher, x, y, optimizer, t, a):
    student.train(), teacher.eval()
    with torch.no_grad():
        v = teacher(x)
    loss = loss_of(student(x), v, y, t, a)
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(student.parameters(), 0.01)
    optimizer.step()
    return loss.item()


def teacher_twice(student, teacher, x, y, optimizer, t, a):
    student.train(), teacher.eval()
    with torch.no_grad():
        z, v = teacher(x), teacher(x)
    loss = loss_of(z, v, y, t, a)
    optimizer.step()
    return loss.item()


def student_as_teacher(student, teacher, x, y, optimizer, t, a):
    return as_in_a_tutorial(student, student, x, y, optimizer, t, a)


def eval_last(student, teacher, x, y, optimizer, t, a):
    """Switch the teacher first, and the student's mode reaches nothing."""
    teacher.eval()
    with torch.no_grad():
        v = teacher(x)
    student.eval()
    loss = loss_of(student(x), v, y, t, a)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    student.train()
    return loss.item()


def student_run_twice(student, teacher, x, y, optimizer, t, a):
    student.train(), teacher.eval()
    with torch.no_grad():
        v = teacher(x)
    loss = a * kd_divergence(student(x), v, t) + (1 - a) * F.cross_entropy(student(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


def teacher_on_half(student, teacher, x, y, optimizer, t, a):
    student.train(), teacher.eval()
    with torch.no_grad():
        v = teacher(x.flip(0))
    loss = loss_of(student(x), v, y, t, a)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


def noisy_teacher_clears_student(student, teacher, x, y, optimizer, t, a):
    optimizer = torch.optim.SGD(student.parameters(), lr=0.1) if False else optimizer
    student.train(), teacher.eval()
    with torch.no_grad():
        v = teacher(x)
    loss = loss_of(student(x), v, y, t, a)
    teacher.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


def changes_images(student, teacher, x, y, optimizer, t, a):
    x *= 0.5
    return as_in_a_tutorial(student, teacher, 2 * x, y, optimizer, t, a)


def own_learning_rate(student, teacher, x, y, optimizer, t, a):
    for group in optimizer.param_groups:
        group["lr"] = 0.1
    return as_in_a_tutorial(student, teacher, x, y, optimizer, t, a)


def teacher_trained(student, teacher, x, y, optimizer, t, a):
    value = as_in_a_tutorial(student, teacher, x, y, optimizer, t, a)
    with torch.no_grad():
        for p in teacher.parameters():
            p *= 0.999
    return value


def undetached_kl(z: Tensor, v: Tensor, y: Tensor, t: float, a: float) -> Tensor:
    log_q, log_p = (z / t).log_softmax(1), (v / t).log_softmax(1)
    return a * t**2 * (log_p.exp() * (log_p - log_q)).sum(1).mean() + (1 - a) * F.cross_entropy(z, y)


WRONG: dict[str, Answer] = {
    "grad mode left off": grad_mode_left_off,
    "detach in place of no_grad": detached_teacher,
    "all under no_grad": all_under_no_grad,
    "teacher in train mode": step(teacher_mode=True),
    "teacher's mode never set": step(teacher_mode=None),
    "student's mode never set": step(student_mode=None),
    "student in eval mode": step(student_mode=False),
    "student in eval mode, train mode afterwards": eval_last,
    "teacher's pass recorded": step(recorded=True),
    "gradients into the teacher": step(undetached_kl, recorded=True),
    "gradients never cleared": step(clear="never"),
    "gradients cleared after the step alone": step(clear="after"),
    "gradients cleared between backward and step": step(clear="late"),
    "the teacher's gradients cleared": noisy_teacher_clears_student,
    "two steps": step(steps=2),
    "no step": step(steps=0),
    "no backward": no_backward,
    "step first": step_first,
    "loss after the step": loss_after,
    "weights swapped": step(lambda z, v, y, t, a: loss_of(z, v, y, t, 1 - a)),
    "logits swapped": step(
        lambda z, v, y, t, a: a * kd_divergence(v, z, t) + (1 - a) * F.cross_entropy(z, y)
    ),
    "T squared missing": step(
        lambda z, v, y, t, a: a * kd_divergence(z, v, t) / t**2 + (1 - a) * F.cross_entropy(z, y)
    ),
    "T = 4": step(lambda z, v, y, t, a: loss_of(z, v, y, 4.0, a)),
    "alpha = 0.5": step(lambda z, v, y, t, a: loss_of(z, v, y, t, 0.5)),
    "labels alone": step(lambda z, v, y, t, a: F.cross_entropy(z, y)),
    "teacher alone": step(lambda z, v, y, t, a: kd_divergence(z, v, t)),
    "teacher's predictions for labels": step(lambda z, v, y, t, a: loss_of(z, v, v.argmax(1), t, a)),
    "teacher in the student's place": teacher_twice,
    "student as its own teacher": student_as_teacher,
    "student run twice": student_run_twice,
    "teacher on other images": teacher_on_half,
    "clipped gradients": clips,
    "learning rate changed": own_learning_rate,
    "teacher's weights changed": teacher_trained,
    "images changed": changes_images,
    "a tensor returned": step(result=lambda loss: loss),
    "a detached tensor returned": step(result=lambda loss: loss.detach()),
    "nothing returned": step(result=lambda loss: None),
    "rounded": step(result=lambda loss: round(loss.item(), 3)),
    "sum of the batch": step(lambda z, v, y, t, a: len(z) * loss_of(z, v, y, t, a)),
}

SAYS = {
    "grad mode left off": "gradients switched off",
    "student run twice": "student called twice",
    "rounded": "rounded",
    "a tensor returned": ".item() takes it out",
    "nothing returned": "gives None",
}
