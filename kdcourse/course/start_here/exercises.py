"""The exercises of Start here."""

from __future__ import annotations

import torch
from torch import Tensor

from kdcourse.checks.exercise import Exercise, Mistake, Probe
from kdcourse.checks.probes import Draw, numbers, share
from kdcourse.course.start_here import fixtures

# -- count_parameters ---------------------------------------------------------------------------


def count_parameters(model: torch.nn.Module) -> int:
    """Count the numbers in all parameters of the model."""
    ### BEGIN SOLUTION
    total = sum(parameter.numel() for parameter in model.parameters())
    ### END SOLUTION
    return total


COUNT_PARAMETERS = Exercise(
    id="count_parameters",
    title="Count a model's parameters",
    solution=count_parameters,
    fixture=fixtures.count,
    vary=lambda draw, name, more: (name, draw.whole(1, 9)),
    probes=(
        Probe(("linear", 0), "for a single linear layer"),
        Probe(("batch norm", 0), "for a small network with BatchNorm"),
        Probe(("frozen", 0), "for a network whose first layer is frozen"),
        Probe(("nested", 0), "for a network inside a network"),
        Probe(("shared", 0), "for a network that uses one layer twice", extreme=True),
        Probe(("tied", 0), "for a network in which two layers share their weights", extreme=True),
    ),
    mistakes=(
        Mistake(
            "tensors counted",
            example=lambda model: len(list(model.parameters())),
            hint="each parameter here is a whole tensor of weights. How many numbers does each tensor hold?",
        ),
        Mistake(
            "rows counted",
            example=lambda model: sum(len(p) for p in model.parameters()),
            hint="len returns the length of a tensor's first axis only. Which method counts all its numbers?",
        ),
        Mistake(
            "buffers counted",
            example=lambda model: sum(t.numel() for t in model.state_dict().values()),
            hint="state_dict also holds buffers, such as BatchNorm's running statistics, which no optimizer trains.",
        ),
        Mistake(
            "frozen ones left out",
            example=lambda model: sum(p.numel() for p in model.parameters() if p.requires_grad),
            hint="a frozen weight is stored and multiplied like any other weight, so count it too.",
        ),
        Mistake(
            "biases left out",
            example=lambda model: sum(p.numel() for p in model.parameters() if p.ndim > 1),
            hint="biases and the scales of BatchNorm have only one axis, but they are parameters too.",
        ),
        Mistake(
            "bytes for numbers",
            example=lambda model: sum(p.numel() * p.element_size() for p in model.parameters()),
            hint="that is their size in bytes. How many numbers are there?",
        ),
        Mistake(
            "first tensor only",
            example=lambda model: next(model.parameters()).numel(),
            hint="a return inside the loop ends it at the first tensor. Is the total complete when you return it?",
        ),
        Mistake(
            "outermost layers only",
            example=lambda model: sum(
                p.numel() for part in model.children() for p in part.parameters(recurse=False)
            ),
            hint="a layer may contain other layers. Which method of a module goes through all of them?",
        ),
        Mistake(
            "shared layer counted twice",
            example=lambda model: sum(p.numel() for _, p in model.named_parameters(remove_duplicate=False)),
            hint="a layer that is used twice stores its weights only once.",
        ),
        Mistake(
            "shared weights counted twice",
            example=lambda model: sum(
                p.numel() for part in model.modules() for p in part.parameters(recurse=False)
            ),
            hint="two layers can share one weight tensor, which is stored only once. model.parameters() knows that.",
        ),
    ),
)

# -- fraction_correct ---------------------------------------------------------------------------


def fraction_correct(logits: torch.Tensor, labels: torch.Tensor) -> float:
    """Return the share of images, 0 to 1, whose largest logit is their label's. logits [N, C], labels [N]."""
    ### BEGIN SOLUTION
    predictions = logits.argmax(dim=1)
    ### END SOLUTION
    ### BEGIN SOLUTION
    right = predictions == labels
    ### END SOLUTION
    return right.double().mean().item()


def _other_share(draw: Draw, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return other logits with another share of right predictions; if all were right, all still are."""
    right = bool((logits.argmax(1) == labels).all())
    logits = logits + draw.noise(logits)
    best = logits.argmax(1)
    guesses = torch.tensor([draw.whole(0, logits.shape[1] - 1) for _ in labels])
    return logits, best if right else torch.where(draw.noise(best) > 0, best, guesses)


FRACTION_CORRECT = Exercise(
    id="fraction_correct",
    title="The share of images that a model classifies correctly",
    solution=fraction_correct,
    vary=_other_share,
    probes=(
        Probe((numbers(1, 7, 3), torch.tensor([0, 1, 2, 2, 1, 0, 0])), "for 7 images of 3 classes"),
        Probe((numbers(2, 4, 4), numbers(2, 4, 4).argmax(1).roll(1)), "for 4 images of 4 classes"),
        Probe(
            (numbers(3, 5, 5), torch.cat([numbers(3, 5, 5).argmax(1)[:3], torch.tensor([0, 0])])),
            "for 5 images of 5 classes",
        ),
        Probe((torch.eye(3).repeat(2, 1)[1:4] - 2, torch.tensor([1, 2, 2])), "for 3 images of 3 classes"),
        Probe((torch.eye(3) - 2, torch.tensor([0, 1, 2])), "where every prediction is right"),
        Probe((torch.tensor([[0.5, 2.0, -1.0, 0.0]]), torch.tensor([1])), "for a single image"),
    ),
    tell=share,
    mistakes=(
        Mistake(
            "largest over the wrong axis",
            example=lambda z, y: (z.argmax(dim=0) == y).double().mean().item(),
            hint="logits are [images, classes], and the prediction is the class with the largest logit of each image. "
            "Along which axis must argmax search?",
        ),
        Mistake(
            "largest of the whole table",
            example=lambda z, y: (z.argmax() == y).double().mean().item(),
            hint="without an axis, argmax returns a single position in the whole table. Every image needs its own "
            "prediction.",
        ),
        Mistake(
            "count for share",
            example=lambda z, y: float((z.argmax(1) == y).sum()),
            hint="that is how many are right. Which share of the images is it?",
        ),
        Mistake(
            "percent for share",
            example=lambda z, y: 100 * (z.argmax(1) == y).double().mean().item(),
            hint="a share lies between 0 and 1. Percent is only for printing.",
        ),
        Mistake(
            "errors for hits",
            example=lambda z, y: (z.argmax(1) != y).double().mean().item(),
            hint="that is the share of wrong predictions.",
        ),
        Mistake(
            "smallest for largest",
            example=lambda z, y: (z.argmin(1) == y).double().mean().item(),
            hint="the predicted class is the one with the largest logit.",
        ),
        Mistake(
            "logit for class",
            example=lambda z, y: (z.max(dim=1).values == y).double().mean().item(),
            hint="max returns the logit itself. Compare the label with the position of the largest logit.",
        ),
        Mistake(
            "divided by classes",
            example=lambda z, y: float((z.argmax(1) == y).sum()) / z.shape[1],
            hint="for a share of the images, divide by the number of images; shape[1] is the number of classes.",
        ),
        Mistake(
            "whole-number division",
            example=lambda z, y: float(int((z.argmax(1) == y).sum()) // len(y)),
            hint="// and int() drop everything after the decimal point.",
        ),
        Mistake(
            "rounded",
            example=lambda z, y: round((z.argmax(1) == y).double().mean().item(), 2),
            hint="rounding is for printing. Return the number without rounding.",
        ),
    ),
)

# -- points_gained ------------------------------------------------------------------------------


def points_gained(plain: float, distilled: float) -> float:
    """Return the percentage points that distillation adds; both accuracies lie between 0 and 1."""
    ### BEGIN SOLUTION
    difference = distilled - plain
    return 100 * difference
    ### END SOLUTION


POINTS_GAINED = Exercise(
    id="points_gained",
    title="What distillation adds, in percentage points",
    solution=points_gained,
    probes=(
        Probe((0.90, 0.92), "for 0.90 plain and 0.92 distilled"),
        Probe((0.50, 0.75437), "for 0.50 plain and 0.75437 distilled"),
        Probe((0.85, 0.81), "where the distilled student is worse"),
        Probe((0.8, 0.8), "where nothing changes"),
        Probe((0.0, 0.1), "where the plain student gets nothing right", extreme=True),
    ),
    mistakes=(
        Mistake(
            "share for points",
            example=lambda plain, distilled: distilled - plain,
            hint="accuracies are shares from 0 to 1, and a point is a hundredth.",
        ),
        Mistake(
            "relative gain",
            example=lambda plain, distilled: 100 * (distilled - plain) / plain,
            hint="percent of the old accuracy isn't percentage points: from 0.50 to 0.55 is 5 points, but 10 percent.",
        ),
        Mistake(
            "sides swapped",
            example=lambda plain, distilled: 100 * (plain - distilled),
            hint="if the distilled student is better, the number must be above 0.",
        ),
        Mistake(
            "sign lost",
            example=lambda plain, distilled: 100 * abs(distilled - plain),
            hint="if distillation makes the student worse, the gain is negative. Return it with its sign.",
        ),
        Mistake(
            "share of errors removed",
            example=lambda plain, distilled: 100 * (distilled - plain) / (1 - plain),
            hint="that divides by the plain student's errors. Points are a difference, without a division.",
        ),
        Mistake(
            "ratio for difference",
            example=lambda plain, distilled: 100 * distilled / plain,
            hint="points are a difference, not a ratio.",
        ),
        Mistake(
            "rounded",
            example=lambda plain, distilled: float(round(100 * (distilled - plain))),
            hint="students differ by tenths of a point, so don't round here.",
        ),
        Mistake(
            "harm hidden",
            example=lambda plain, distilled: max(0.0, 100 * (distilled - plain)),
            hint="if distillation makes the student worse, the gain is negative. Return it with its sign.",
        ),
    ),
)

EXERCISES = (COUNT_PARAMETERS, FRACTION_CORRECT, POINTS_GAINED)
