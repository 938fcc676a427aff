"""The exercises of Train a teacher."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer

from kdcourse.checks.exercise import Exercise, Mistake, Probe
from kdcourse.checks.probes import Draw, huge, numbers, share
from kdcourse.course.train_a_teacher import fixtures

# -- cross_entropy_by_hand ----------------------------------------------------------------------


def cross_entropy_by_hand(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the batch mean of -log softmax(logits)[label], a scalar. logits [B, C], labels [B]."""
    ### BEGIN SOLUTION
    shifted = logits - logits.max(dim=1, keepdim=True).values
    ### END SOLUTION
    ### BEGIN SOLUTION
    log_probabilities = shifted - shifted.exp().sum(dim=1, keepdim=True).log()
    ### END SOLUTION
    of_the_labels = log_probabilities[torch.arange(len(labels)), labels]
    ### BEGIN SOLUTION
    return -of_the_labels.mean()
    ### END SOLUTION


def _naive_log_softmax(logits: Tensor) -> Tensor:
    return (logits.exp() / logits.exp().sum(dim=1, keepdim=True)).log()


def _shifted(logits: Tensor) -> Tensor:
    return logits - logits.max(dim=1, keepdim=True).values


def _pick(rows: Tensor, labels: Tensor) -> Tensor:
    return rows[torch.arange(len(labels)), labels]


CROSS_ENTROPY_BY_HAND = Exercise(
    id="cross_entropy_by_hand",
    title="Cross-entropy by hand",
    solution=cross_entropy_by_hand,
    gradient=0,
    probes=(
        Probe((numbers(1, 5, 3), torch.tensor([0, 2, 1, 1, 0])), "for 5 images of 3 classes"),
        Probe((numbers(2, 4, 4), torch.tensor([3, 0, 0, 2])), "for 4 images of 4 classes"),
        Probe((numbers(3, 1, 6), torch.tensor([4])), "for a batch of one image"),
        Probe((huge([1, 0, 0], [0, 0, -1]), torch.tensor([0, 2])), "for logits of 10,000", extreme=True),
        Probe((huge([0, 0, -1]), torch.tensor([2])), "for a logit of -10,000", extreme=True),
    ),
    mistakes=(
        Mistake(
            "sum for mean",
            example=lambda z, y: F.cross_entropy(z, y, reduction="sum"),
            hint="the loss of a batch is the mean over its images, so that it doesn't grow with the batch size.",
        ),
        Mistake(
            "sign missing",
            example=lambda z, y: -F.cross_entropy(z, y),
            hint="a log-probability is at most 0, but a loss must be at least 0.",
        ),
        Mistake(
            "softmax over the batch",
            example=lambda z, y: -_pick(z.log_softmax(0), y).mean(),
            hint="each image's probabilities sum to 1. Which axis holds the classes of one image?",
        ),
        Mistake(
            "summed over the batch",
            example=lambda z, y: (
                -_pick(_shifted(z) - _shifted(z).exp().sum(dim=0, keepdim=True).log(), y).mean()
            ),
            hint="the exponentials of one image are a row. Along which axis must sum add?",
        ),
        Mistake(
            "softmax left out",
            example=lambda z, y: -_pick(z, y).mean(),
            hint="logits aren't log-probabilities yet. What must be subtracted from each row?",
        ),
        Mistake(
            "log left out",
            example=lambda z, y: -_pick(z.softmax(1), y).mean(),
            hint="cross-entropy is the mean of -log p; yours is the mean of -p.",
        ),
        Mistake(
            "softmax twice",
            example=lambda z, y: F.cross_entropy(z.softmax(1), y),
            hint="a function that takes logits got probabilities, and applies softmax a second time.",
        ),
        Mistake(
            "every label for every image",
            example=lambda z, y: -z.log_softmax(1)[:, y].mean(),
            hint="log_p[:, labels] picks all the labels' columns from every row. How do you pick one entry per row?",
        ),
        Mistake(
            "all classes averaged",
            example=lambda z, y: -z.log_softmax(1).mean(),
            hint="only the log-probability of the right class counts. Where do you use the labels?",
        ),
        Mistake(
            "divided by the classes too",
            example=lambda z, y: F.cross_entropy(z, y) / z.shape[1],
            hint="one entry per image counts, so take the mean over the images, not over all entries.",
        ),
        Mistake(
            "maximum of each column",
            example=lambda z, y: F.cross_entropy(z - z.max(dim=0).values, y),
            hint="softmax doesn't change when the same number is subtracted from a whole row; yours subtracts a "
            "different one from each entry. Along which axis must max search?",
        ),
        Mistake(
            "one sum for the whole batch",
            example=lambda z, y: -_pick(_shifted(z) - _shifted(z).exp().sum().log(), y).mean(),
            hint="the probabilities of each image sum to 1: sum each row, with a result of shape [B, 1].",
        ),
        Mistake(
            "log of the sum left out",
            example=lambda z, y: -_pick(_shifted(z) - _shifted(z).exp().sum(dim=1, keepdim=True), y).mean(),
            hint="subtract the logarithm of the sum from each row, not the sum itself.",
        ),
        Mistake(
            "bits for nats",
            example=lambda z, y: F.cross_entropy(z, y) / math.log(2),
            hint="log is the natural logarithm here.",
        ),
        Mistake(
            "overflow",
            example=lambda z, y: -_pick(_naive_log_softmax(z), y).mean(),
            hint="right for ordinary logits, but exp(10,000) is infinite. What may be subtracted from a row of logits "
            "without changing its softmax?",
        ),
        Mistake(
            "largest logit not subtracted",
            example=lambda z, y: -_pick(z - z.exp().sum(dim=1, keepdim=True).log(), y).mean(),
            hint="right for ordinary logits, but exp(10,000) is infinite. Subtract each row's maximum before exp.",
        ),
        Mistake(
            "one maximum for the whole batch",
            example=lambda z, y: (
                -_pick(z - z.max() - (z - z.max()).exp().sum(dim=1, keepdim=True).log(), y).mean()
            ),
            hint="right for ordinary logits, but if an image's logits are far below another's, all its "
            "exponentials round to 0. Use the maximum of each row.",
        ),
        Mistake(
            "log of a softmax that is 0",
            example=lambda z, y: -_pick(z.softmax(1).log(), y).mean(),
            hint="right for ordinary logits, but a softmax may round to 0, whose log is minus infinity. Stay in log "
            "space: what is log(exp(a) / s)?",
        ),
    ),
)

# -- momentum_step ------------------------------------------------------------------------------


def momentum_step(
    weight: torch.Tensor,
    gradient: torch.Tensor,
    velocity: torch.Tensor,
    learning_rate: float,
    momentum: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the weight and the velocity after one step."""
    ### BEGIN SOLUTION
    new_velocity = momentum * velocity + gradient
    ### END SOLUTION
    ### BEGIN SOLUTION
    new_weight = weight - learning_rate * new_velocity
    ### END SOLUTION
    return new_weight, new_velocity


def _momentum_probe(seed: int, *shape: int, rate: float, momentum: float, where: str) -> Probe:
    tensors = (numbers(seed + n, *shape) for n in range(3))
    return Probe((*tensors, rate, momentum), where)


MOMENTUM_STEP = Exercise(
    id="momentum_step",
    title="One step of SGD with momentum",
    solution=momentum_step,
    probes=(
        _momentum_probe(
            10, 4, rate=0.1, momentum=0.9, where="for a learning rate of 0.1 and a momentum of 0.9"
        ),
        _momentum_probe(20, 2, 3, rate=0.02, momentum=0.5, where="for a weight of shape [2, 3]"),
        _momentum_probe(30, 3, rate=0.3, momentum=0.0, where="for a momentum of 0"),
        Probe(
            (numbers(41, 3), numbers(42, 3), torch.zeros(3), 0.1, 0.9), "at the very first step (velocity 0)"
        ),
    ),
    mistakes=(
        Mistake(
            "gradient for velocity",
            example=lambda w, g, v, lr, m: (w - lr * g, m * v + g),
            hint="the weight moves by the velocity, not by this step's gradient alone.",
        ),
        Mistake(
            "old velocity used",
            example=lambda w, g, v, lr, m: (w - lr * v, m * v + g),
            hint="update the velocity first. The weight then moves by the new one.",
        ),
        Mistake(
            "velocity not handed on",
            example=lambda w, g, v, lr, m: (w - lr * (m * v + g), v),
            hint="the weight is right, but you return the old velocity, and the next step needs the new one.",
        ),
        Mistake(
            "velocity forgotten",
            example=lambda w, g, v, lr, m: (w - lr * g, g),
            hint="the velocity sums up earlier gradients: the new one includes part of the old one.",
        ),
        Mistake(
            "learning rate inside the velocity",
            example=lambda w, g, v, lr, m: (w - (m * v + lr * g), m * v + lr * g),
            hint="here the velocity adds up the gradients themselves. Where do you use the learning rate?",
        ),
        Mistake(
            "learning rate twice",
            example=lambda w, g, v, lr, m: (w - lr * (m * v + lr * g), m * v + lr * g),
            hint="the learning rate appears in only one of the two formulas.",
        ),
        Mistake(
            "velocity pointing downhill",
            example=lambda w, g, v, lr, m: (w + m * v - lr * g, m * v - lr * g),
            hint="here the velocity adds up the gradients with their own sign. The learning rate and the minus sign "
            "belong in the formula of the weight.",
        ),
        Mistake(
            "gradient weighed by 1 - momentum",
            example=lambda w, g, v, lr, m: (w - lr * (m * v + (1 - m) * g), m * v + (1 - m) * g),
            hint="that is a running mean, as in Adam; here you add the whole gradient.",
        ),
        Mistake(
            "uphill",
            example=lambda w, g, v, lr, m: (w + lr * (m * v + g), m * v + g),
            hint="the gradient points in the direction in which the loss grows.",
        ),
        Mistake(
            "order of the two swapped",
            example=lambda w, g, v, lr, m: (m * v + g, w - lr * (m * v + g)),
            hint="return the weight first, then the velocity.",
        ),
        Mistake(
            "Nesterov's step",
            example=lambda w, g, v, lr, m: (w - lr * (g + m * (m * v + g)), m * v + g),
            hint="that looks one step ahead, as Nesterov's method does. Here the weight moves by the velocity itself.",
        ),
        Mistake(
            "gradient subtracted from the velocity",
            example=lambda w, g, v, lr, m: (w - lr * (m * v - g), m * v - g),
            hint="the two formulas have one minus sign between them. Which formula has it?",
        ),
    ),
)

# -- training_step ------------------------------------------------------------------------------


def training_step(
    model: torch.nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    optimizer: torch.optim.Optimizer,
    loss_of: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
) -> float:
    """Train the model for one step and return the loss that the step began with."""
    ### BEGIN SOLUTION
    logits = model(images)
    loss = loss_of(logits, labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    ### END SOLUTION
    return loss.item()


_Loss = Callable[[Tensor, Tensor], Tensor]


def _wrong_training(
    change: Callable[[_Loss], _Loss] = lambda loss_of: loss_of,
    *,
    training: bool = True,
    calls: int = 1,
    clear: str = "before",
    step_first: bool = False,
    backward: bool = True,
    steps: int = 1,
    loss_after: bool = False,
) -> Callable[..., float]:
    def wrong(
        model: nn.Module, images: Tensor, labels: Tensor, optimizer: Optimizer, loss_of: _Loss
    ) -> float:
        model.train(training)
        for _ in range(calls - 1):
            model(images)
        loss = change(loss_of)(model(images), labels)
        if clear == "before":
            optimizer.zero_grad()
        if step_first:
            optimizer.step()
        if backward:
            loss.backward()
        if clear == "late":
            optimizer.zero_grad()
        for _ in range(steps):
            optimizer.step()
        if loss_after:
            with torch.no_grad():
                loss = loss_of(model(images), labels)
        return loss.item()

    return wrong


def _never_called(
    model: nn.Module, images: Tensor, labels: Tensor, optimizer: Optimizer, loss_of: _Loss
) -> float:
    return loss_of(images.flatten(1)[:, :3], labels).item()


def _unrecorded(
    model: nn.Module, images: Tensor, labels: Tensor, optimizer: Optimizer, loss_of: _Loss
) -> float:
    with torch.no_grad():
        loss = loss_of(model(images), labels)
    optimizer.zero_grad()
    loss.backward()
    return loss.item()


TRAINING_STEP = Exercise(
    id="training_step",
    title="One step of training",
    solution=training_step,
    fixture=fixtures.train,
    probes=(
        Probe((numbers(51, 9, 1, 2, 3), torch.arange(9) % 3, 0.0), "for 9 images"),
        Probe((numbers(52, 6, 1, 2, 3), torch.arange(6) % 3, 0.3), "for another loss_of than cross-entropy"),
        Probe((numbers(53, 4, 1, 2, 3), torch.tensor([2, 0, 1, 2]), 0.0), "for 4 images"),
    ),
    mistakes=(
        Mistake(
            "model never called",
            sign=lambda parts: parts["the mode in which it called the model"] == "never",
            example=_never_called,
            hint="the loss needs the model's logits for these images: a forward pass.",
        ),
        Mistake(
            "model in eval mode",
            sign=lambda parts: "eval" in parts["the mode in which it called the model"],
            example=_wrong_training(training=False),
            hint="a model is trained in train mode, and here it came in train mode. Leave it so.",
        ),
        Mistake(
            "forward pass not recorded",
            example=_unrecorded,
            hint="torch can't compute the gradient of the loss. Did the forward pass run under no_grad, or was the "
            "loss detached?",
        ),
        Mistake(
            "old gradients kept",
            example=_wrong_training(clear="never"),
            hint="gradients add up until they are cleared: those of the previous step are still there when the "
            "backward pass begins.",
        ),
        Mistake(
            "no gradients at the step",
            example=_wrong_training(clear="late"),
            hint="when the optimizer stepped, there were no gradients, so no weight changed. Clear the old ones first; "
            "then the backward pass; then the step.",
        ),
        Mistake(
            "no step",
            example=_wrong_training(steps=0),
            hint="the weights didn't change: which call changes them, once the gradients are computed?",
        ),
        Mistake(
            "no backward pass",
            example=_wrong_training(clear="never", backward=False),
            hint="the optimizer used the gradients of the previous step: which call computes those of this loss?",
        ),
        Mistake(
            "step before the backward pass",
            # torch itself notices weights that moved before their gradients were computed.
            example=_wrong_training(clear="never", step_first=True, steps=0),
            hint="the optimizer used old gradients: the backward pass comes before the step.",
        ),
        Mistake(
            "two steps",
            example=_wrong_training(steps=2),
            hint="the optimizer steps twice.",
        ),
        Mistake(
            "model called twice",
            example=_wrong_training(calls=2),
            hint="one forward pass is enough. A second one doubles the time, and BatchNorm stores its statistics "
            "twice.",
        ),
        Mistake(
            "loss after the step",
            example=_wrong_training(loss_after=True),
            hint="return the loss before the step, the one whose gradients were used.",
        ),
        Mistake(
            "another loss",
            example=_wrong_training(lambda loss_of: F.cross_entropy),
            hint="the step is right for cross-entropy, but its caller chooses the loss: use loss_of.",
        ),
        Mistake(
            "softmax before the loss",
            example=_wrong_training(lambda loss_of: lambda z, y: loss_of(z.softmax(1), y)),
            hint="loss_of takes logits, as cross_entropy_by_hand does. Did it get probabilities?",
        ),
        Mistake(
            "uphill",
            example=_wrong_training(lambda loss_of: lambda z, y: -loss_of(z, y)),
            hint="the optimizer goes against the gradient by itself. Take the loss as it is, without a minus sign.",
        ),
    ),
)

# -- validation_accuracy ------------------------------------------------------------------------


def validation_accuracy(model: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor) -> float:
    """Return the share of images, 0 to 1, that the model classifies correctly. images [N, C, H, W], labels [N]."""
    ### BEGIN SOLUTION
    was_training = model.training
    model.eval()
    with torch.no_grad():
        predictions = model(images).argmax(dim=1)
    model.train(was_training)
    return (predictions == labels).double().mean().item()
    ### END SOLUTION


def _validation_wrong(
    reduce: Callable[[Tensor, Tensor], float] = lambda z, y: (z.argmax(1) == y).double().mean().item(),
    *,
    evaluate: bool = True,
    gradient: bool = False,
    afterwards: bool | None = None,
) -> Callable[[nn.Module, Tensor, Tensor], float]:
    def wrong(model: nn.Module, images: Tensor, labels: Tensor) -> float:
        training = model.training
        if evaluate:
            model.eval()
        with torch.set_grad_enabled(gradient):
            logits = model(images)
        model.train(training if afterwards is None else afterwards)
        return reduce(logits, labels)

    return wrong


def _pictures(mode: str, seed: int, count: int, where: str) -> Probe:
    """Make images [N, C, H, W]; a prime number of them leaves a smaller last batch, whatever the batch size."""
    return Probe((mode, numbers(seed, count, 1, 2, 3), numbers(seed + 100, count, 3).argmax(1)), where)


def _gradients_cleared(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    model.zero_grad()
    return validation_accuracy(model, images, labels)


def _frozen(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    model.requires_grad_(False)
    return validation_accuracy(model, images, labels)


VALIDATION_ACCURACY = Exercise(
    id="validation_accuracy",
    title="Accuracy on held-out images",
    solution=validation_accuracy,
    fixture=fixtures.validate,
    tell=share,
    probes=(
        _pictures("train", 5, 1009, "for 1,009 images, the model in train mode"),
        _pictures("eval", 6, 12, "for 12 images, the model in eval mode"),
        _pictures("train", 7, 3, "for 3 images of 3 classes"),
    ),
    mistakes=(
        Mistake(
            "model in train mode",
            sign=lambda parts: "train" in parts["the mode in which it called the model"],
            example=_validation_wrong(evaluate=False),
            hint="the model ran in train mode: dropout sets units to zero, and BatchNorm stores statistics of "
            "images that must not change it. Which method switches that off?",
        ),
        Mistake(
            "gradients recorded",
            sign=lambda parts: parts["gradients recorded"] is True,
            example=_validation_wrong(gradient=True),
            hint="in the forward pass torch recorded what a backward pass would need. This wastes memory.",
        ),
        Mistake(
            "left in eval mode",
            example=_validation_wrong(afterwards=False),
            hint="a model that came in train mode continues its training in eval mode. Store its mode first.",
        ),
        Mistake(
            "always left in train mode",
            example=_validation_wrong(afterwards=True),
            hint="a model that came in eval mode must stay in eval mode afterwards. Store its mode first.",
        ),
        Mistake(
            "largest over the wrong axis",
            example=_validation_wrong(lambda z, y: (z.argmax(0) == y).double().mean().item()),
            hint="logits are [images, classes]. Along which axis must argmax search?",
        ),
        Mistake(
            "every image with every image",
            example=_validation_wrong(lambda z, y: (z.argmax(1, keepdim=True) == y).double().mean().item()),
            hint="[N, 1] compared with [N] gives [N, N], every prediction with every label. Both sides must have the "
            "same shape.",
        ),
        Mistake(
            "percent for share",
            example=_validation_wrong(lambda z, y: 100 * (z.argmax(1) == y).double().mean().item()),
            hint="a share lies between 0 and 1.",
        ),
        Mistake(
            "count for share",
            example=_validation_wrong(lambda z, y: float((z.argmax(1) == y).sum())),
            hint="that is how many are right. Which share of the images is it?",
        ),
        Mistake(
            "errors for hits",
            example=_validation_wrong(lambda z, y: (z.argmax(1) != y).double().mean().item()),
            hint="that is the share of wrong predictions.",
        ),
        Mistake(
            "gradients cleared",
            example=_gradients_cleared,
            hint="the model may be in the middle of its training, and still needs the gradients that it has.",
        ),
        Mistake(
            "parameters frozen",
            example=_frozen,
            hint="a model whose parameters require no gradients any more can't be trained further. What keeps torch "
            "from recording, for one block alone?",
        ),
        Mistake(
            "loss for accuracy",
            example=_validation_wrong(lambda z, y: F.cross_entropy(z, y).item()),
            hint="that is the loss. Accuracy is how often the largest logit is that of the label.",
        ),
    ),
)

# -- diagnose -----------------------------------------------------------------------------------


def diagnose(train_loss: list[float], validation_loss: list[float]) -> str:
    """Return 'overfitting', 'underfitting' or 'fits', by the rule above."""
    ### BEGIN SOLUTION
    best = validation_loss.index(min(validation_loss))
    if validation_loss[-1] >= 1.1 * validation_loss[best] and train_loss[-1] < train_loss[best]:
        return "overfitting"
    if train_loss[-1] > 0.9 * train_loss[0]:
        return "underfitting"
    return "fits"
    ### END SOLUTION


def _diagnosis(
    train: list[float],
    validation: list[float],
    risen: Callable[[list[float], list[float]], bool] | None = None,
    slow: Callable[[list[float], list[float]], bool] | None = None,
    falling: Callable[[list[float], int], bool] = lambda t, best: t[-1] < t[best],
) -> str:
    best = validation.index(min(validation))
    rise = validation[-1] >= 1.1 * validation[best] if risen is None else risen(train, validation)
    if rise and falling(train, best):
        return "overfitting"
    still = train[-1] > 0.9 * train[0] if slow is None else slow(train, validation)
    return "underfitting" if still else "fits"


def _underfitting_first(train: list[float], validation: list[float]) -> str:
    return "underfitting" if train[-1] > 0.9 * train[0] else _diagnosis(train, validation)


_SWAPPED = {"overfitting": "underfitting", "underfitting": "overfitting", "fits": "fits"}


def _three_words(expected: str, found: str) -> str | None:
    if found in _SWAPPED:
        return f"returns {found!r}. Apply the rules to these two lists by hand, in their order."
    return f"returns {found[:40]!r}, which is none of 'overfitting', 'underfitting' and 'fits'."


def _scaled(draw: Draw, train: list[float], validation: list[float]) -> tuple[list[float], list[float]]:
    """Multiply by a power of two, which keeps every ratio exactly."""
    factor = 2.0 ** (draw.whole(1, 2) * (1 if draw.whole(0, 1) else -1))
    return [factor * loss for loss in train], [factor * loss for loss in validation]


# Thresholds and losses far from 1. 5.5 is at least 1.1 * 5 and 9 isn't above 0.9 * 10, however it is computed.
_SCALED = tuple(
    Probe((train, validation), where, vary=_scaled)
    for train, validation, where in (
        ([6.0, 4.0, 3.0, 2.0], [6.5, 5.0, 5.2, 5.5], "where the validation loss rises by exactly 10 %"),
        (
            [6.0, 4.0, 3.0, 2.0],
            [6.5, 5.0, 5.2, 5.49],
            "where the validation loss rises by a little less than 10 %",
        ),
        (
            [6.0, 4.0, 3.0, 2.0],
            [6.5, 5.0, 5.2, 5.51],
            "where the validation loss rises by a little more than 10 %",
        ),
        ([10.0, 9.6, 9.3, 9.0], [11.0, 10.5, 10.3, 10.0], "where the training loss falls to exactly 90 %"),
        (
            [10.0, 9.6, 9.3, 9.02],
            [11.0, 10.5, 10.3, 10.0],
            "where the training loss falls to a little over 90 %",
        ),
        (
            [10.0, 9.6, 9.3, 8.98],
            [11.0, 10.5, 10.3, 10.0],
            "where the training loss falls to a little under 90 %",
        ),
        ([0.2, 0.1, 0.05, 0.03], [0.21, 0.1, 0.11, 0.12], "where small losses show overfitting"),
        ([0.05, 0.04, 0.03, 0.02], [0.06, 0.05, 0.045, 0.04], "where small losses fall"),
        ([40.0, 30.0, 22.0, 20.0], [42.0, 30.0, 30.5, 31.0], "where large losses fall"),
        ([40.0, 39.0, 38.5, 38.0], [42.0, 41.0, 40.5, 40.0], "where large losses hardly fall"),
        (
            [2.0, 1.0, 0.8, 0.5, 0.3],
            [2.0, 1.0, 1.2, 0.8, 0.95],
            "where the smallest validation loss comes late",
        ),
        (
            [2.0, 1.0, 0.8, 0.5, 0.6],
            [2.0, 1.0, 1.2, 0.8, 0.95],
            "where both losses rise after a late minimum",
        ),
        ([2.0, 1.0, 0.7, 0.5, 0.5], [2.1, 1.4, 1.2, 1.0, 1.3], "where the training loss stays the same"),
        ([2.0, 1.0, 0.5, 0.47], [2.1, 1.2, 0.9, 1.1], "where the training loss still falls by a little"),
        ([1.0, 1.5, 1.2, 0.95], [1.6, 1.5, 1.3, 1.2], "where the training loss rises first"),
        ([10.0, 9.0, 8.6, 8.3], [11.0, 10.0, 9.6, 9.3], "where the training loss falls by a sixth"),
    )
)

DIAGNOSE = Exercise(
    id="diagnose",
    title="Overfitting, underfitting, or neither",
    solution=diagnose,
    shuffled=True,
    tell=_three_words,
    probes=(
        Probe(([2.0, 1.0, 0.5, 0.3], [2.1, 1.2, 0.9, 0.8]), "where both losses fall"),
        Probe(([2.0, 1.0, 0.5, 0.2], [2.1, 1.0, 1.1, 1.3]), "where the validation loss turns and rises"),
        Probe(([2.0, 1.98, 1.95, 1.93], [2.1, 2.05, 2.02, 2.0]), "where the training loss hardly falls"),
        Probe(([2.0, 1.0, 0.5, 0.4], [2.1, 1.0, 1.02, 1.05]), "where the validation loss rises by 5 %"),
        Probe(([2.0, 0.5, 0.9, 1.0], [2.1, 0.8, 1.2, 1.4]), "where both losses rise at the end"),
        Probe(
            ([2.0, 1.2, 0.8, 0.6], [2.1, 0.8, 1.2, 0.82]), "where the validation loss rises and comes back"
        ),
        Probe(
            ([1.0, 0.97, 0.95, 0.93], [1.1, 1.0, 1.2, 1.4]),
            "where training hardly falls and validation rises",
        ),
        Probe(([2.0, 1.0, 0.5, 0.45], [2.1, 2.0, 1.95, 1.9]), "where validation stays far above training"),
        Probe(([2.0, 1.7, 1.4, 1.2], [2.1, 1.9, 1.7, 1.6]), "where training has fallen by two fifths"),
        Probe(
            ([2.0, 1.9, 1.75, 1.5], [1.0, 1.05, 1.1, 1.25]), "where the first validation loss is the smallest"
        ),
        Probe(([2.0, 1.0, 0.5, 0.2], [2.1, 1.0, 1.06, 1.13]), "where the validation loss rises slowly"),
        Probe(([2.0, 1.0, 1.5, 2.2], [2.1, 1.0, 1.6, 2.3]), "where training diverges"),
        Probe(([2.0, 1.85, 1.95, 1.9], [2.2, 2.1, 2.0, 1.95]), "where the training loss goes up and down"),
        Probe(
            ([2.0, 1.0, 0.5, 0.3, 0.32], [2.1, 1.0, 1.1, 1.2, 1.3]),
            "where the training loss rises a little in the last epoch",
        ),
        *_SCALED,
    ),
    mistakes=(
        Mistake(
            "words swapped",
            example=lambda t, v: _SWAPPED[_diagnosis(t, v)],
            hint="a network that learns its training images by heart: is that over- or underfitting?",
        ),
        Mistake(
            "underfitting tested first",
            example=_underfitting_first,
            hint="if both conditions hold, the answer is overfitting: its rule comes first.",
        ),
        Mistake(
            "any rise is overfitting",
            example=lambda t, v: _diagnosis(t, v, risen=lambda t, v: v[-1] > min(v)),
            hint="a validation loss goes up and down. Only a rise of at least 10 % above its minimum counts.",
        ),
        Mistake(
            "absolute rise",
            example=lambda t, v: _diagnosis(t, v, risen=lambda t, v: v[-1] - min(v) >= 0.1),
            hint="10 % is a share of the smallest validation loss: of a loss of 0.1, it is 0.01.",
        ),
        Mistake(
            "> for >=",
            example=lambda t, v: _diagnosis(t, v, risen=lambda t, v: v[-1] > 1.1 * min(v)),
            hint="a rise of exactly 10 % is at least 10 %.",
        ),
        Mistake(
            "compared with the first epoch",
            example=lambda t, v: _diagnosis(t, v, risen=lambda t, v: v[-1] >= 1.1 * v[0]),
            hint="the rise is measured from the smallest validation loss, which is hardly ever the first.",
        ),
        Mistake(
            "compared with the epoch before",
            example=lambda t, v: _diagnosis(t, v, risen=lambda t, v: v[-1] >= 1.1 * v[-2]),
            hint="a slow rise adds up: measure it from the smallest validation loss, however many epochs ago.",
        ),
        Mistake(
            "highest for last",
            example=lambda t, v: _diagnosis(
                t, v, risen=lambda t, v: max(v[v.index(min(v)) :]) >= 1.1 * min(v)
            ),
            hint="compare the last validation loss: a rise that went back down doesn't count.",
        ),
        Mistake(
            "gap for rise",
            example=lambda t, v: _diagnosis(t, v, risen=lambda t, v: v[-1] >= 1.1 * t[-1]),
            hint="the validation loss may stay above the training loss. Has it risen from its own minimum?",
        ),
        Mistake(
            "training loss ignored",
            example=lambda t, v: _diagnosis(t, v, falling=lambda t, best: True),
            hint="if both losses rise, the network isn't learning by heart: its training diverges. What must the "
            "training loss have done since the best epoch?",
        ),
        Mistake(
            "training compared with its first epoch",
            example=lambda t, v: _diagnosis(t, v, falling=lambda t, best: t[-1] < t[0]),
            hint="compare the last training loss with that of the best epoch, not with the first.",
        ),
        Mistake(
            "training compared with the epoch before",
            example=lambda t, v: _diagnosis(t, v, falling=lambda t, best: t[-1] < t[-2]),
            hint="a training loss goes up and down too. Compare the last one with that of the best epoch.",
        ),
        Mistake(
            "underfitting at nine tenths fallen",
            example=lambda t, v: _diagnosis(t, v, slow=lambda t, v: t[-1] > 0.1 * t[0]),
            hint="underfitting means a last training loss above 90 % of the first: it fell by less than a tenth.",
        ),
        Mistake(
            "underfitting by validation",
            example=lambda t, v: _diagnosis(t, v, slow=lambda t, v: v[-1] > 0.9 * v[0]),
            hint="the training loss shows whether a network can learn its task at all.",
        ),
        Mistake(
            "never underfits",
            example=lambda t, v: _diagnosis(t, v, slow=lambda t, v: False),
            hint="your function never returns one of the three answers.",
        ),
    ),
)

EXERCISES = (CROSS_ENTROPY_BY_HAND, MOMENTUM_STEP, TRAINING_STEP, VALIDATION_ACCURACY, DIAGNOSE)
