"""Define the exercises of Distil."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer

from kdcourse.checks.exercise import Exercise, Mistake, Probe
from kdcourse.checks.probes import huge, numbers
from kdcourse.course.distil import fixtures
from kdcourse.distillation import hinton_loss, kd_divergence

# -- distillation_term --------------------------------------------------------------------------


def distillation_term(
    student_logits: torch.Tensor, teacher_logits: torch.Tensor, temperature: float
) -> torch.Tensor:
    """Return T^2 KL(teacher || student) at temperature T, the batch mean: logits [B, C] to a scalar."""
    ### BEGIN SOLUTION
    student_log = F.log_softmax(student_logits / temperature, dim=1)
    ### END SOLUTION
    ### BEGIN SOLUTION
    teacher_log = F.log_softmax(teacher_logits / temperature, dim=1)
    ### END SOLUTION
    ### BEGIN SOLUTION
    return temperature**2 * F.kl_div(student_log, teacher_log, reduction="batchmean", log_target=True)
    ### END SOLUTION


def _kl(log_q: Tensor, log_p: Tensor, reduction: str = "batchmean") -> Tensor:
    """Return KL(p || q) from log-probabilities."""
    return F.kl_div(log_q, log_p, reduction=reduction, log_target=True)


def _logs(logits: Tensor, temperature: float, dim: int = 1) -> Tensor:
    return (logits / temperature).log_softmax(dim)


def _p_log_p(z: Tensor, v: Tensor, t: float) -> Tensor:
    p, q = (v / t).softmax(1), (z / t).softmax(1)
    return t**2 * (p * (p.log() - q.log())).sum(1).mean()


def _cross_entropy(log_q: Tensor, log_p: Tensor) -> Tensor:
    return -(log_p.exp() * log_q).sum(1).mean()


DISTILLATION_TERM = Exercise(
    id="distillation_term",
    title="The distillation term",
    solution=distillation_term,
    gradient=0,
    absolute=1e-5,
    probes=(
        Probe((numbers(1, 4, 3), numbers(2, 4, 3), 4.0), "at T = 4"),
        Probe((numbers(3, 3, 3), numbers(4, 3, 3), 0.5), "at T = 0.5"),
        Probe((numbers(5, 2, 5), numbers(6, 2, 5), 1.0), "at T = 1"),
        Probe((numbers(7, 1, 4), numbers(8, 1, 4), 2.0), "for a batch of one image"),
        Probe(
            (huge([1, 0, 0], [0, -1, 1]), huge([0, 1, 0], [0, -1, 1]), 2.0),
            "for logits of 10,000",
            extreme=True,
        ),
    ),
    mistakes=(
        Mistake(
            "T squared missing",
            example=lambda z, v, t: _kl(_logs(z, t), _logs(v, t)),
            hint="softening makes the gradients smaller, by about 1 / T in two places. Which factor compensates for "
            "it?",
        ),
        Mistake(
            "T for T squared",
            example=lambda z, v, t: t * _kl(_logs(z, t), _logs(v, t)),
            hint="one 1 / T comes from the chain rule; where does a second come from?",
        ),
        Mistake(
            "divided by T squared",
            example=lambda z, v, t: _kl(_logs(z, t), _logs(v, t)) / t**2,
            hint="softening already makes the gradients smaller. The factor must undo that.",
        ),
        Mistake(
            "mean for batchmean",
            example=lambda z, v, t: t**2 * _kl(_logs(z, t), _logs(v, t)).mul(len(z) / z.numel()),
            hint='kl_div\'s "mean" divides by the number of classes too; the divergence sums over the classes and '
            "averages over the images.",
        ),
        Mistake(
            "summed over the images",
            example=lambda z, v, t: t**2 * (_logs(v, t).exp() * (_logs(v, t) - _logs(z, t))).sum(0).mean(),
            hint="the divergence of an image is a sum over its classes, dim=1. The mean is over the images.",
        ),
        Mistake(
            "sum for mean",
            example=lambda z, v, t: t**2 * _kl(_logs(z, t), _logs(v, t), "sum"),
            hint="average over the images, so that the loss doesn't grow with the batch.",
        ),
        Mistake(
            "KL sides swapped",
            example=lambda z, v, t: t**2 * _kl(_logs(v, t), _logs(z, t)),
            hint="KL isn't symmetric. Whose probabilities are the weights? kl_div takes them second.",
        ),
        Mistake(
            "KL on raw logits",
            example=lambda z, v, t: t**2 * F.kl_div(z / t, (v / t).softmax(1), reduction="batchmean"),
            hint="kl_div takes log-probabilities first and doesn't check them. The student's logits aren't "
            "log-probabilities yet.",
        ),
        Mistake(
            "KL of raw logits on both sides",
            example=lambda z, v, t: t**2 * _kl(z / t, v / t),
            hint="kl_div takes log-probabilities and doesn't check them. Logits divided by T aren't log-probabilities.",
        ),
        Mistake(
            "probabilities where logs belong",
            example=lambda z, v, t: (
                t**2 * F.kl_div((z / t).softmax(1), (v / t).softmax(1), reduction="batchmean")
            ),
            hint="kl_div takes the student's side as log-probabilities: which softmax gives those?",
        ),
        Mistake(
            "logs for a target of probabilities",
            example=lambda z, v, t: t**2 * (_logs(v, t) * (_logs(v, t) - _logs(z, t))).sum(1).mean(),
            hint="the weights of the divergence are the teacher's probabilities, not their logarithms.",
        ),
        Mistake(
            "logs for a target of probabilities, in kl_div",
            example=lambda z, v, t: t**2 * F.kl_div(_logs(z, t), _logs(v, t), reduction="batchmean"),
            hint="kl_div takes the target as probabilities, unless log_target=True.",
        ),
        Mistake(
            "softmax over the wrong axis",
            example=lambda z, v, t: t**2 * _kl(_logs(z, t, 0), _logs(v, t, 0)),
            hint="logits are [images, classes], and each image's probabilities must sum to 1.",
        ),
        Mistake(
            "teacher not softened",
            example=lambda z, v, t: t**2 * _kl(_logs(z, t), _logs(v, 1)),
            hint="both sides are softened with the same temperature.",
        ),
        Mistake(
            "student not softened",
            example=lambda z, v, t: t**2 * _kl(_logs(z, 1), _logs(v, t)),
            hint="both sides are softened with the same temperature.",
        ),
        Mistake(
            "nobody softened",
            example=lambda z, v, t: t**2 * _kl(_logs(z, 1), _logs(v, 1)),
            hint="the temperature also divides the logits, before the softmax.",
        ),
        Mistake(
            "multiplied by the temperature",
            example=lambda z, v, t: t**2 * _kl(_logs(z, 1 / t), _logs(v, 1 / t)),
            hint="a high temperature brings the logits closer together: is that times T, or divided by T?",
        ),
        Mistake(
            "cross-entropy for KL",
            example=lambda z, v, t: t**2 * _cross_entropy(_logs(z, t), _logs(v, t)),
            hint="its gradient is the same, but a student that copies its teacher should have a loss of 0.",
        ),
        Mistake(
            "sign missing",
            example=lambda z, v, t: -(t**2) * _kl(_logs(z, t), _logs(v, t)),
            hint="a divergence is never below 0.",
        ),
        Mistake(
            "squared distance of logits",
            example=lambda z, v, t: F.mse_loss(z, v),
            hint="matching logits is the limit at high T. Here, compare probabilities.",
        ),
        Mistake(
            "log of a probability that is 0",
            example=_p_log_p,
            hint="right for ordinary logits, but a softmax may round to 0, whose log is minus infinity. Stay in log "
            "space from the start: which function gives log-probabilities?",
        ),
    ),
)

# -- objective ----------------------------------------------------------------------------------


def objective(
    student_logits: torch.Tensor,
    teacher_logits: torch.Tensor,
    labels: torch.Tensor,
    temperature: float,
    alpha: float,
) -> torch.Tensor:
    """Return alpha * distillation term + (1 - alpha) * cross-entropy with the labels, a scalar."""
    ### BEGIN SOLUTION
    soft = kd_divergence(student_logits, teacher_logits, temperature)
    hard = F.cross_entropy(student_logits, labels)
    return alpha * soft + (1 - alpha) * hard
    ### END SOLUTION


_HARD = F.cross_entropy


def _no_square_at_the_ends(z: Tensor, v: Tensor, y: Tensor, t: float, a: float) -> Tensor:
    return objective(z, v, y, t, a) if 0 < a < 1 else objective(z, v, y, t, a) / (t**2 if a == 1 else 1)


def _mix(soft: Tensor, hard: Tensor, alpha: float) -> Tensor:
    return alpha * soft + (1 - alpha) * hard


def _objective_probe(seed: int, images: int, classes: int, t: float, a: float, where: str = "") -> Probe:
    labels = numbers(seed, images, classes).argmax(1)
    inputs = (numbers(seed + 1, images, classes), numbers(seed + 2, images, classes), labels, t, a)
    return Probe(inputs, where or f"at T = {t:g} and alpha = {a:g}")


OBJECTIVE = Exercise(
    id="objective",
    title="Teacher and labels in one objective",
    solution=objective,
    gradient=0,
    absolute=1e-5,
    probes=(
        _objective_probe(10, 4, 3, 4.0, 0.3),
        _objective_probe(20, 3, 3, 0.5, 0.9),
        _objective_probe(30, 5, 4, 3.0, 1.0),
        _objective_probe(40, 5, 4, 3.0, 0.0),
        _objective_probe(50, 1, 4, 2.0, 0.6, "for a batch of one image"),
    ),
    mistakes=(
        Mistake(
            "weights swapped",
            example=lambda z, v, y, t, a: objective(z, v, y, t, 1 - a),
            hint="alpha is the teacher's weight: at alpha = 0 only the labels count.",
        ),
        Mistake(
            "labels not weighed",
            example=lambda z, v, y, t, a: a * distillation_term(z, v, t) + _HARD(z, y),
            hint="the two weights sum to 1: at alpha = 1 the labels don't count any more.",
        ),
        Mistake(
            "teacher not weighed",
            example=lambda z, v, y, t, a: distillation_term(z, v, t) + (1 - a) * _HARD(z, y),
            hint="the two weights sum to 1: at alpha = 0 the teacher doesn't count any more.",
        ),
        Mistake(
            "alpha ignored",
            example=lambda z, v, y, t, a: distillation_term(z, v, t) + _HARD(z, y),
            hint="alpha says how much the teacher counts and how much the labels count.",
        ),
        Mistake(
            "T squared dropped at alpha = 1",
            example=_no_square_at_the_ends,
            hint="at alpha = 1 the formula is the same: the factor of the distillation term stays.",
        ),
        Mistake(
            "T squared missing",
            example=lambda z, v, y, t, a: _mix(distillation_term(z, v, t) / t**2, _HARD(z, y), a),
            hint="without a factor that compensates for the softening, the teacher's term shrinks as T grows.",
        ),
        Mistake(
            "T for T squared",
            example=lambda z, v, y, t, a: _mix(distillation_term(z, v, t) / t, _HARD(z, y), a),
            hint="softening makes the gradients smaller by about 1 / T in two places, not in one.",
        ),
        Mistake(
            "T squared twice",
            example=lambda z, v, y, t, a: _mix(t**2 * distillation_term(z, v, t), _HARD(z, y), a),
            hint="the distillation term already includes T squared.",
        ),
        Mistake(
            "softmax before the cross-entropy",
            example=lambda z, v, y, t, a: _mix(distillation_term(z, v, t), _HARD(z.softmax(1), y), a),
            hint="F.cross_entropy takes logits and does the softmax itself.",
        ),
        Mistake(
            "T squared on both parts",
            example=lambda z, v, y, t, a: _mix(distillation_term(z, v, t), t**2 * _HARD(z, y), a),
            hint="only the softened term needs a factor that compensates for the softening.",
        ),
        Mistake(
            "labels' part softened",
            example=lambda z, v, y, t, a: _mix(distillation_term(z, v, t), _HARD(z / t, y), a),
            hint="the labels' cross-entropy takes the student's logits as they are, at T = 1.",
        ),
        Mistake(
            "labels against the teacher",
            example=lambda z, v, y, t, a: _mix(distillation_term(z, v, t), _HARD(v, y), a),
            hint="the student must predict the labels; the teacher isn't trained.",
        ),
        Mistake(
            "mean for batchmean",
            example=lambda z, v, y, t, a: _mix(distillation_term(z, v, t) / z.shape[1], _HARD(z, y), a),
            hint='kl_div\'s "mean" divides by the number of classes too.',
        ),
        Mistake(
            "KL sides swapped",
            example=lambda z, v, y, t, a: _mix(distillation_term(v, z, t), _HARD(z, y), a),
            hint="KL isn't symmetric: the teacher's probabilities are the weights of the logarithms.",
        ),
        Mistake(
            "labels' sum for mean",
            example=lambda z, v, y, t, a: _mix(distillation_term(z, v, t), _HARD(z, y, reduction="sum"), a),
            hint="both terms must be means over the batch, or their balance changes with its size.",
        ),
        Mistake(
            "teacher left out",
            example=lambda z, v, y, t, a: (1 - a) * _HARD(z, y),
            hint="only the labels' term is there; where is the teacher's?",
        ),
        Mistake(
            "labels left out",
            example=lambda z, v, y, t, a: a * distillation_term(z, v, t),
            hint="only the teacher's term is there; where is the labels' one?",
        ),
    ),
)

# -- targets_for_batch --------------------------------------------------------------------------


def targets_for_batch(
    stored_logits: torch.Tensor, order: torch.Tensor, start: int, size: int
) -> torch.Tensor:
    """Return the teacher's logits [size, C] for one batch of a shuffled epoch; the last may be smaller."""
    ### BEGIN SOLUTION
    images = order[start : start + size]
    ### END SOLUTION
    ### BEGIN SOLUTION
    return stored_logits[images]
    ### END SOLUTION


_ORDER = torch.tensor([5, 2, 6, 0, 3, 1, 4])

TARGETS_FOR_BATCH = Exercise(
    id="targets_for_batch",
    title="The right soft targets after a shuffle",
    solution=targets_for_batch,
    probes=(
        Probe((numbers(1, 7, 3), _ORDER, 2, 3), "for a batch in the middle of an epoch"),
        Probe((numbers(2, 7, 7), _ORDER, 0, 4), "for the first batch"),
        Probe((numbers(3, 7, 4), _ORDER, 6, 3), "for the last batch, of one image"),
        Probe((numbers(4, 7, 2), _ORDER, 4, 2), "for the third batch of two"),
    ),
    mistakes=(
        Mistake(
            "labels and soft targets misaligned after a shuffle",
            example=lambda stored, order, start, size: stored[start : start + size],
            hint="those are the targets of the images as they are stored; the epoch shows them in another order.",
        ),
        Mistake(
            "order read backwards",
            example=lambda stored, order, start, size: stored[order.argsort()[start : start + size]],
            hint="order[k] is the image shown at place k; you used the place at which image k is shown.",
        ),
        Mistake(
            "order reversed",
            example=lambda stored, order, start, size: stored[order.flip(0)[start : start + size]],
            hint="the epoch goes through order from its beginning.",
        ),
        Mistake(
            "shuffled after cutting",
            example=lambda stored, order, start, size: stored[start : start + size][
                order[start : start + size].argsort().argsort()
            ],
            hint="which images are in the batch depends on order too, not only their order within it.",
        ),
        Mistake(
            "sorted",
            example=lambda stored, order, start, size: stored[order[start : start + size].sort().values],
            hint="the right images, but in the order in which they are stored. Return them in the order of the batch.",
        ),
        Mistake(
            "size for end",
            example=lambda stored, order, start, size: stored[order[start:size]],
            hint="a slice needs its start and its end; size is the number of images.",
        ),
        Mistake(
            "start counted in batches",
            example=lambda stored, order, start, size: stored[order[start * size : (start + 1) * size]],
            hint="start is the place of the batch's first image, not the number of the batch.",
        ),
        Mistake(
            "one short",
            example=lambda stored, order, start, size: stored[order[start : start + size - 1]],
            hint="a slice already leaves out its end.",
        ),
        Mistake(
            "one too many",
            example=lambda stored, order, start, size: stored[order[start : start + size + 1]],
            hint="the end of a slice isn't part of it: how many places lie between its two ends?",
        ),
        Mistake(
            "places for logits",
            example=lambda stored, order, start, size: order[start : start + size],
            hint="those are the numbers of the images; their logits are stored.",
        ),
        Mistake(
            "shuffled twice",
            example=lambda stored, order, start, size: stored[order][order[start : start + size]],
            hint="stored[order] is in the order of the epoch already.",
        ),
        Mistake(
            "probabilities for logits",
            example=lambda stored, order, start, size: stored[order[start : start + size]].softmax(1),
            hint="return logits: the loss softens them itself.",
        ),
    ),
)

# -- distil_step --------------------------------------------------------------------------------


def distil_step(
    student: torch.nn.Module,
    teacher: torch.nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    optimizer: torch.optim.Optimizer,
    temperature: float,
    alpha: float,
) -> float:
    """Train the student for one step and return the loss that the step began with."""
    ### BEGIN SOLUTION
    student.train()
    teacher.eval()
    with torch.no_grad():
        teacher_logits = teacher(images)
    loss = hinton_loss(student(images), teacher_logits, labels, temperature=temperature, alpha=alpha)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()
    ### END SOLUTION


def _wrong_step(
    loss_of: Callable[..., Tensor] = objective,
    *,
    student_training: bool = True,
    teacher_training: bool = False,
    call_student: bool = True,
    call_teacher: bool = True,
    record_teacher: bool = False,
    detach: bool = True,
    clear: bool = True,
    backward: bool = True,
    steps: int = 1,
    step_first: bool = False,
    loss_after: bool = False,
    own_logits: bool = False,
    copy_student: bool = False,
) -> Callable[..., float]:
    def wrong(
        student: nn.Module, teacher: nn.Module, images: Tensor, labels: Tensor, optimizer: Optimizer,
        temperature: float, alpha: float,
    ) -> float:  # fmt: skip
        student.train(student_training)
        teacher.train(teacher_training)
        with torch.set_grad_enabled(record_teacher):
            targets = teacher(images) if call_teacher else student(images)
        logits = student(images) if call_student else targets
        targets = targets.detach() if detach else targets
        loss = loss_of(logits, logits.detach() if own_logits else targets, labels, temperature, alpha)
        if clear:
            optimizer.zero_grad()
        if step_first:
            optimizer.step()
        if backward:
            loss.backward()
        for _ in range(steps):
            optimizer.step()
        if copy_student:
            teacher.load_state_dict(student.state_dict())
        if loss_after:
            with torch.no_grad():
                loss = loss_of(student(images), targets, labels, temperature, alpha)
        return loss.item()

    return wrong


def _cleared_between(student: nn.Module, teacher: nn.Module, images: Tensor, labels: Tensor, optimizer: Optimizer,
                     temperature: float, alpha: float) -> float:  # fmt: skip
    student.train()
    teacher.eval()
    with torch.no_grad():
        targets = teacher(images)
    loss = objective(student(images), targets, labels, temperature, alpha)
    loss.backward()
    optimizer.zero_grad()
    optimizer.step()
    return loss.item()


def _student_twice(student: nn.Module, teacher: nn.Module, images: Tensor, labels: Tensor, optimizer: Optimizer,
                   temperature: float, alpha: float) -> float:  # fmt: skip
    student.train()
    student(images)
    return distil_step(student, teacher, images, labels, optimizer, temperature, alpha)


def _student_unrecorded(student: nn.Module, teacher: nn.Module, images: Tensor, labels: Tensor, optimizer: Optimizer,
                        temperature: float, alpha: float) -> float:  # fmt: skip
    student.train()
    teacher.eval()
    with torch.no_grad():
        loss = objective(student(images), teacher(images), labels, temperature, alpha)
    loss.backward()
    return loss.item()


DISTIL_STEP = Exercise(
    id="distil_step",
    title="One step of distillation",
    solution=distil_step,
    fixture=fixtures.step,
    probes=(
        Probe(("train", numbers(1, 9, 1, 2, 3), torch.arange(9) % 3, 4.0, 0.7), "at T = 4 and alpha = 0.7"),
        Probe(("train", numbers(2, 6, 1, 2, 3), torch.arange(6) % 3, 2.0, 1.0), "at T = 2 and alpha = 1"),
        Probe(
            ("eval", numbers(3, 6, 1, 2, 3), torch.arange(6) % 3, 3.0, 0.4),
            "for a student that comes in eval mode",
        ),
    ),
    mistakes=(
        Mistake(
            "student never called",
            sign=lambda parts: parts["the mode in which it called the student"] == "never",
            example=_wrong_step(call_student=False, backward=False),
            hint="the loss needs the student's logits for the images.",
        ),
        Mistake(
            "teacher never called",
            sign=lambda parts: parts["the mode in which it called the teacher"] == "never",
            example=_wrong_step(call_teacher=False),
            hint="the loss needs the teacher's logits for the images.",
        ),
        Mistake(
            "teacher in train mode",
            sign=lambda parts: "train" in parts["the mode in which it called the teacher"],
            example=_wrong_step(teacher_training=True),
            hint="the teacher ran in train mode: dropout makes its logits random, and its BatchNorm statistics change.",
        ),
        Mistake(
            "gradient into the teacher",
            sign=lambda parts: parts["gradients in the teacher"] is True,
            # Not `objective`, since the package's own divergence lets no gradient through to the teacher.
            example=_wrong_step(
                lambda z, v, y, t, a: _mix(distillation_term(z, v, t), _HARD(z, y), a),
                record_teacher=True,
                detach=False,
            ),
            hint="the backward pass left gradients in the teacher too. What keeps torch from recording it?",
        ),
        Mistake(
            "teacher's pass recorded",
            sign=lambda parts: parts["whether the teacher's pass was recorded"] is True,
            example=_wrong_step(record_teacher=True),
            hint="torch stored all that the teacher computed, for a gradient that isn't needed. That wastes memory "
            "and time. What keeps torch from recording?",
        ),
        Mistake(
            "no way back to the student",
            example=_student_unrecorded,
            hint="torch can't compute the gradient of the loss for the student's weights. Did the student run under "
            "no_grad too, or are its logits in the teacher's place?",
        ),
        Mistake(
            "teacher trained too",
            sign=lambda parts: parts["the teacher's weights changed"] is True,
            example=_wrong_step(copy_student=True),
            hint="the teacher's weights changed: only the student is trained.",
        ),
        Mistake(
            "student in eval mode",
            sign=lambda parts: "eval" in parts["the mode in which it called the student"],
            example=_wrong_step(student_training=False),
            hint="a student that was just evaluated is still in eval mode; training needs it back in train mode.",
        ),
        Mistake(
            "old gradients kept",
            example=_wrong_step(clear=False),
            hint="gradients add up until they are cleared: those of the previous step are still there when the "
            "backward pass begins.",
        ),
        Mistake(
            "no gradients at the step",
            example=_cleared_between,
            hint="when the optimizer stepped, there were no gradients, so no weight changed. Clear the old ones "
            "first; then the backward pass; then the step.",
        ),
        Mistake(
            "no step",
            example=_wrong_step(steps=0),
            hint="the student's weights didn't change: which call changes them, once the gradients are computed?",
        ),
        Mistake(
            "no backward pass",
            example=_wrong_step(clear=False, backward=False),
            hint="the optimizer used old gradients: which call computes those of this loss?",
        ),
        Mistake(
            "step before the backward pass",
            example=_wrong_step(step_first=True, steps=0, clear=False),
            # torch itself notices weights that moved before their gradients were computed.
            hint="the optimizer used old gradients: the backward pass comes before the step.",
        ),
        Mistake(
            "two steps",
            example=_wrong_step(steps=2),
            hint="the optimizer steps twice.",
        ),
        Mistake(
            "student called twice",
            example=_student_twice,
            hint="one forward pass of the student is enough for both terms. A second one doubles the time and updates "
            "its BatchNorm statistics twice.",
        ),
        Mistake(
            "loss after the step",
            example=_wrong_step(loss_after=True),
            hint="return the loss before the step, the one whose gradients were used.",
        ),
        Mistake(
            "student as its own teacher",
            example=_wrong_step(own_logits=True),
            hint="the student's own logits are in the teacher's place, so there is nothing to learn.",
        ),
        Mistake(
            "weights swapped",
            example=_wrong_step(lambda z, v, y, t, a: objective(z, v, y, t, 1 - a)),
            hint="alpha is the teacher's weight: at alpha = 1 the labels don't count.",
        ),
        Mistake(
            "T squared missing",
            example=_wrong_step(
                lambda z, v, y, t, a: _mix(distillation_term(z, v, t) / t**2, _HARD(z, y), a)
            ),
            hint="the step is right, but its loss isn't: which factor compensates for the softening?",
        ),
        Mistake(
            "KL sides swapped",
            example=_wrong_step(lambda z, v, y, t, a: _mix(distillation_term(v, z, t), _HARD(z, y), a)),
            hint="the step is right, but its loss isn't: whose logits come first?",
        ),
        Mistake(
            "teacher left out of the loss",
            example=_wrong_step(lambda z, v, y, t, a: _HARD(z, y)),
            hint="that trains a plain student: the teacher ran, but its logits aren't in the loss.",
        ),
    ),
)

EXERCISES = (DISTILLATION_TERM, OBJECTIVE, TARGETS_FOR_BATCH, DISTIL_STEP)
