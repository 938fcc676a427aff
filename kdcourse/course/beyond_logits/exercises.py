"""Define the exercises of Beyond logits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from kdcourse.checks.exercise import Exercise, Mistake, Probe
from kdcourse.checks.outcomes import GRADIENT
from kdcourse.checks.probes import Draw, numbers
from kdcourse.course.beyond_logits import fixtures

# -- hint_term ----------------------------------------------------------------------------------


def hint_term(student_map: torch.Tensor, teacher_map: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Return the mean squared difference of the student's map after the 1x1 convolution and the teacher's map.

    student_map [B, K, H, W], teacher_map [B, L, H, W], weight [L, K] -> scalar.
    """
    ### BEGIN SOLUTION
    mixed = torch.einsum("lk,bkhw->blhw", weight, student_map)
    return (mixed - teacher_map.detach()).square().mean()
    ### END SOLUTION


def _mixed(student: Tensor, weight: Tensor) -> Tensor:
    return torch.einsum("lk,bkhw->blhw", weight, student)


def _hint(
    distance: Callable[[Tensor, Tensor], Tensor] = lambda one, other: (one - other).square().mean(),
    mixed: Callable[[Tensor, Tensor], Tensor] = _mixed,
) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """Make an answer: ``distance(mixed student, teacher)``."""
    return lambda student, teacher, weight: distance(mixed(student, weight), teacher.detach())


def _teacher_mixed(student: Tensor, teacher: Tensor, weight: Tensor) -> Tensor:
    """Bring the teacher to the student's channels instead of the reverse."""
    return (student - torch.einsum("lk,blhw->bkhw", weight, teacher.detach())).square().mean()


def _of_gradient(place: int) -> Callable[[Any], Any]:
    def part(parts: Any) -> Any:
        gradient = parts.get(GRADIENT)
        return gradient[place] if isinstance(gradient, tuple) else gradient

    return part


def _no_weight(parts: Any) -> bool:
    return isinstance(parts.get(GRADIENT), tuple) and _of_gradient(1)(parts) is None


def _trains_the_teacher(parts: Any) -> bool:
    return isinstance(parts.get(GRADIENT), tuple) and bool(_of_gradient(2)(parts))


def _maps(seed: int, *shape: int) -> tuple[Tensor, Tensor, Tensor]:
    """Make maps of a student with K channels and of a teacher with L, and the weight; shape is B, K, L, H, W."""
    images, own, theirs, height, width = shape
    return (
        numbers(seed, images, own, height, width),
        numbers(seed + 1, images, theirs, height, width),
        numbers(seed + 2, theirs, own, spread=0.7),
    )


HINT_TERM = Exercise(
    id="hint_term",
    title="FitNets' hint",
    solution=hint_term,
    fixture=fixtures.watch_the_gradients,
    probes=(
        Probe(_maps(10, 2, 3, 5, 4, 2), "for a student with 3 channels and a teacher with 5"),
        Probe(_maps(20, 3, 4, 2, 2, 3), "for a student with more channels than its teacher"),
        Probe(_maps(30, 1, 2, 2, 3, 3), "for a batch of one image"),
    ),
    mistakes=(
        Mistake(
            "sum for mean",
            example=_hint(lambda one, other: (one - other).square().sum()),
            hint="a sum grows with the size of the maps and the batch. Take the mean over all values.",
        ),
        Mistake(
            "divided by the images alone",
            example=_hint(lambda one, other: (one - other).square().sum() / len(one)),
            hint="divided by B alone, the term grows with the channels and the size of the maps. Take the mean over "
            "all values.",
        ),
        Mistake(
            "summed over the channels",
            example=_hint(lambda one, other: (one - other).square().sum(1).mean()),
            hint="a mean over all values also averages over the channels.",
        ),
        Mistake(
            "half of it",
            example=_hint(lambda one, other: (one - other).square().mean() / 2),
            hint="the equation in the paper has a factor of 1/2; here the mean itself is asked for.",
        ),
        Mistake(
            "not squared",
            example=_hint(lambda one, other: (one - other).mean()),
            hint="differences above and below 0 cancel. Square each before you average.",
        ),
        Mistake(
            "absolute for squared",
            example=_hint(lambda one, other: (one - other).abs().mean()),
            hint="the hint is a squared difference, in which large differences count more.",
        ),
        Mistake(
            "root of the mean",
            example=_hint(lambda one, other: (one - other).square().mean().sqrt()),
            hint="return the mean of the squares itself, without a root.",
        ),
        Mistake(
            "length for mean of squares",
            example=_hint(lambda one, other: (one - other).norm()),
            hint="a norm is the root of the sum of squares. Return the mean of the squares.",
        ),
        Mistake(
            "averaged over the places first",
            example=_hint(lambda one, other: (one.mean((2, 3)) - other.mean((2, 3))).square().mean()),
            hint="a hint compares every place of the map. Take differences first, then average.",
        ),
        Mistake(
            "averaged over the batch first",
            example=_hint(lambda one, other: (one.mean(0) - other.mean(0)).square().mean()),
            hint="a hint compares every image with itself. Take differences first, then average.",
        ),
        Mistake(
            "maps brought to length 1",
            example=_hint(
                lambda one, other: (
                    (F.normalize(one.flatten(1)) - F.normalize(other.flatten(1))).square().mean()
                )
            ),
            hint="the hint compares the values themselves, without normalising them.",
        ),
        Mistake(
            "rectified first",
            example=_hint(mixed=lambda student, weight: _mixed(student, weight).relu()),
            hint="the convolution has no ReLU behind it. What it returns is compared.",
        ),
        Mistake(
            "student rectified",
            example=_hint(mixed=lambda student, weight: _mixed(student.relu(), weight)),
            hint="the convolution mixes the student's channels as they are.",
        ),
        Mistake(
            "teacher mixed for student",
            example=_teacher_mixed,
            hint="weight [L, K] makes L channels, as the teacher has, out of the student's K.",
        ),
        Mistake(
            "distributions for values",
            example=_hint(
                lambda one, other: F.kl_div(one.log_softmax(1), other.softmax(1), reduction="batchmean")
            ),
            hint="channels of a hidden layer are no classes: compare their values, without a softmax.",
        ),
        Mistake(
            "sign of the student's map turned",
            example=_hint(lambda one, other: (one + other).square().mean()),
            hint="a student whose map equals the teacher's must have a term of 0.",
        ),
        Mistake(
            "convolution not trained",
            sign=_no_weight,
            example=lambda student, teacher, weight: _hint()(student, teacher, weight.detach()),
            only_if_right=True,
            hint="the value is right, but no gradient flows to weight. Nothing would train the convolution.",
        ),
        Mistake(
            "teacher trained as well",
            sign=_trains_the_teacher,
            example=lambda student, teacher, weight: (_mixed(student, weight) - teacher).square().mean(),
            only_if_right=True,
            hint="the value is right, but a gradient flows to the teacher too, and would train it. Which method of a "
            "tensor stops the gradient?",
        ),
    ),
)

# -- attention_map ------------------------------------------------------------------------------


def attention_map(maps: torch.Tensor) -> torch.Tensor:
    """Return where maps [B, K, H, W] are active, [B, H * W]; rows have length 1, or are 0 where a map is all 0."""
    ### BEGIN SOLUTION
    energy = maps.square().sum(dim=1).flatten(1)
    return F.normalize(energy, dim=1)
    ### END SOLUTION


def _attention(
    energy: Callable[[Tensor], Tensor] = lambda maps: maps.square().sum(1),
    scale: Callable[[Tensor], Tensor] = F.normalize,
) -> Callable[[Tensor], Tensor]:
    """Make an answer: ``scale(energy(maps), [B, H, W], as rows)``."""
    return lambda maps: scale(energy(maps).flatten(1))


def _over_length(energy: Tensor) -> Tensor:
    return energy / energy.square().sum(1, keepdim=True).sqrt()


def _shifted(draw: Draw, maps: Tensor) -> tuple[Tensor]:
    """Draw other values, and leave maps that are all 0 as they are."""
    alive = (maps != 0).flatten(1).any(1).view(-1, 1, 1, 1)
    return (torch.where(alive, 0.7 * maps + draw.noise(maps), maps),)


_DEAD = torch.cat([numbers(60, 1, 3, 2, 3), torch.zeros(1, 3, 2, 3)])


def _rows_of_length_1(expected: Tensor, found: Tensor) -> str | None:
    if bool((found < 0).any()):
        return "gives numbers below 0, which a sum of squares can't be."
    if bool(found.isnan().any()):
        return "gives NaN. Where a map is all 0, its length is 0, and the row is to be 0 too."
    return None


ATTENTION_MAP = Exercise(
    id="attention_map",
    title="An attention map",
    solution=attention_map,
    gradient=0,
    vary=_shifted,
    tell=_rows_of_length_1,
    probes=(
        Probe((numbers(30, 2, 3, 4, 2),), "for two images, 3 channels, 4x2 places"),
        Probe((numbers(40, 1, 5, 3, 3),), "for one image"),
        Probe((numbers(50, 3, 1, 2, 4),), "for a single channel"),
        Probe((_DEAD,), "where a map is all 0", extreme=True),
    ),
    mistakes=(
        Mistake(
            "values not squared",
            example=_attention(lambda maps: maps.sum(1)),
            hint="positive and negative values of different channels cancel. Square them before the sum.",
        ),
        Mistake(
            "absolute for squared",
            example=_attention(lambda maps: maps.abs().sum(1)),
            hint="that is another map of the same paper, with exponent 1. Here the squares are summed.",
        ),
        Mistake(
            "largest channel alone",
            example=_attention(lambda maps: maps.square().amax(1)),
            hint="the sum over the channels counts all of them, not only the strongest.",
        ),
        Mistake(
            "squared after the sum",
            example=_attention(lambda maps: maps.sum(1).square()),
            hint="channels of opposite sign cancel in that sum. Square each value, then sum.",
        ),
        Mistake(
            "root taken",
            example=_attention(lambda maps: maps.square().sum(1).sqrt()),
            hint="that is the length over the channels. The sum of the squares itself is asked for.",
        ),
        Mistake(
            "squared twice",
            example=_attention(lambda maps: maps.square().sum(1).square()),
            hint="square each value once, before the sum over the channels.",
        ),
        Mistake(
            "not divided by the length",
            example=_attention(scale=lambda energy: energy),
            hint="each row must have length 1, so that large and small networks can be compared.",
        ),
        Mistake(
            "sum of 1 for length of 1",
            example=_attention(scale=lambda energy: energy / energy.sum(1, keepdim=True)),
            hint="these rows sum to 1. Their length, the root of the sum of their squares, is to be 1.",
        ),
        Mistake(
            "softmax for length of 1",
            example=_attention(scale=lambda energy: energy.softmax(1)),
            hint="divide by the row's length. A softmax would exaggerate the largest value.",
        ),
        Mistake(
            "divided by the largest value",
            example=_attention(scale=lambda energy: energy / energy.amax(1, keepdim=True)),
            hint="divide by the length of the row, the root of the sum of its squares.",
        ),
        Mistake(
            "divided by the squared length",
            example=_attention(scale=lambda energy: energy / energy.square().sum(1, keepdim=True)),
            hint="the length is the root of the sum of squares.",
        ),
        Mistake(
            "length over the batch",
            example=_attention(scale=lambda energy: F.normalize(energy, dim=0)),
            hint="each image has its own row. Divide by the length along dim=1, not along dim=0.",
        ),
        Mistake(
            "one length for the whole batch",
            example=_attention(scale=lambda energy: energy / energy.norm()),
            hint="each row has its own length: the images of a batch must not influence each other.",
        ),
        Mistake(
            "channels normalised first",
            example=_attention(lambda maps: F.normalize(maps, dim=1).square().sum(1)),
            hint="with the channels at length 1, every place is equally active. Square and sum the values themselves.",
        ),
        Mistake(
            "summed over the places",
            example=_attention(lambda maps: maps.square().sum((2, 3))),
            hint="that is how active each channel is, [B, K]. Sum over the channels, dim=1, to keep the places.",
        ),
        Mistake(
            "height and width swapped",
            example=_attention(lambda maps: maps.square().sum(1).transpose(1, 2)),
            hint="keep the order of the places: rows of the map one after another.",
        ),
        Mistake(
            "not flattened",
            example=lambda maps: F.normalize(maps.square().sum(1).flatten(1)).view(-1, *maps.shape[2:]),
            hint="the result has one row per image, [B, H * W].",
        ),
        Mistake(
            "channels kept",
            example=lambda maps: F.normalize(maps.square().flatten(1)),
            hint="networks have different numbers of channels, so sum over them: [B, H * W].",
        ),
        Mistake(
            "0 divided by 0",
            example=_attention(scale=_over_length),
            hint="right for ordinary maps. Where a map is all 0, its length is 0 too. F.normalize returns 0 there.",
        ),
    ),
)

# -- relative_distances -------------------------------------------------------------------------


def relative_distances(vectors: torch.Tensor) -> torch.Tensor:
    """Return the distances [B, B] between B different vectors [B, D], divided by the mean over different images."""
    ### BEGIN SOLUTION
    distances = (vectors[:, None] - vectors[None, :]).norm(dim=2)
    images = len(vectors)
    return distances * images * (images - 1) / distances.sum()
    ### END SOLUTION


def _far(vectors: Tensor) -> Tensor:
    return (vectors[:, None] - vectors[None]).norm(dim=2)


def _relative(
    distances: Callable[[Tensor], Tensor] = _far,
    mean: Callable[[Tensor], Tensor] = lambda d: d.sum() / (len(d) * (len(d) - 1)),
) -> Callable[[Tensor], Tensor]:
    """Make an answer: ``distances(vectors) / mean(of these)``."""

    def answer(vectors: Tensor) -> Tensor:
        found = distances(vectors)
        return found / mean(found)

    return answer


def _cosines(vectors: Tensor) -> Tensor:
    unit = F.normalize(vectors)
    return unit @ unit.T


def _of_columns(vectors: Tensor) -> Tensor:
    return _relative()(vectors.T)


def _above(distances: Tensor) -> Tensor:
    return distances.triu()


RELATIVE_DISTANCES = Exercise(
    id="relative_distances",
    title="Distances between images",
    solution=relative_distances,
    probes=(
        Probe((numbers(70, 4, 3),), "for four images, vectors of 3 numbers"),
        Probe((numbers(80, 3, 6, spread=5.0),), "for three images, vectors of 6 numbers"),
        Probe((numbers(90, 6, 2, spread=0.3),), "for six images, vectors of 2 numbers"),
        Probe((numbers(95, 2, 4),), "for two images"),
    ),
    mistakes=(
        Mistake(
            "diagonal in the mean",
            example=_relative(mean=lambda d: d.mean()),
            hint="an image's distance from itself is always 0. Take the mean over different images only.",
        ),
        Mistake(
            "not divided by the mean",
            example=_far,
            hint="a wide network has larger vectors, so divide by the mean distance: only proportions are compared.",
        ),
        Mistake(
            "divided by the largest",
            example=_relative(mean=lambda d: d.max()),
            hint="one far image would change all numbers. Divide by the mean.",
        ),
        Mistake(
            "divided by the sum",
            example=_relative(mean=lambda d: d.sum()),
            hint="the sum grows with the batch. Divide by the mean over different images.",
        ),
        Mistake(
            "divided by the sum over pairs",
            example=_relative(mean=lambda d: d.sum() / 2),
            hint="that is a sum over pairs. How many pairs are there?",
        ),
        Mistake(
            "pairs counted twice",
            example=_relative(mean=lambda d: d.sum() / (len(d) * (len(d) - 1) / 2)),
            hint="the table holds each pair twice, and B * (B - 1) / 2 counts it once.",
        ),
        Mistake(
            "every row divided by its own mean, diagonal included",
            example=_relative(mean=lambda d: d.mean(1, keepdim=True)),
            hint="divide all distances by one mean, over different images only: an image's distance from itself is 0.",
        ),
        Mistake(
            "divided by the number of images",
            example=_relative(mean=lambda d: d.sum() / len(d)),
            hint="each image has B - 1 distances from others, so there are B * (B - 1) of them.",
        ),
        Mistake(
            "every row divided by its own mean",
            example=_relative(mean=lambda d: d.sum(1, keepdim=True) / (len(d) - 1)),
            hint="with one mean per row, the distance from i to j would differ from that from j to i. Take one mean.",
        ),
        Mistake(
            "divided by the median",
            example=_relative(mean=lambda d: d[~torch.eye(len(d), dtype=torch.bool)].median()),
            hint="divide by the mean over different images.",
        ),
        Mistake(
            "divided by the standard deviation",
            example=_relative(mean=lambda d: d.std()),
            hint="divide by the mean distance, so that the mean of the result is 1.",
        ),
        Mistake(
            "mean taken away",
            example=lambda vectors: _far(vectors) - _far(vectors).sum() / (len(vectors) * (len(vectors) - 1)),
            hint="to compare proportions, divide by the mean.",
        ),
        Mistake(
            "squared distances",
            example=_relative(lambda vectors: _far(vectors).square()),
            hint="a distance is the root of the sum of squares.",
        ),
        Mistake(
            "distances along the axes",
            example=_relative(lambda vectors: (vectors[:, None] - vectors[None]).abs().sum(2)),
            hint="that sums absolute differences. The distance is the root of the sum of their squares.",
        ),
        Mistake(
            "largest difference for distance",
            example=_relative(lambda vectors: (vectors[:, None] - vectors[None]).abs().amax(2)),
            hint="that looks at one number of the vectors alone. The distance is the root of the sum of all squares.",
        ),
        Mistake(
            "dot products for distances",
            example=_relative(lambda vectors: vectors @ vectors.T),
            hint="a product is large where vectors are alike. A distance is the length of their difference.",
        ),
        Mistake(
            "similarity for distance",
            example=_cosines,
            hint="a cosine is 1 where vectors point the same way. A distance is 0 where they are equal.",
        ),
        Mistake(
            "1 minus similarity",
            example=lambda vectors: 1 - _cosines(vectors),
            hint="that ignores how long the vectors are. A distance is the length of their difference.",
        ),
        Mistake(
            "lengths made equal first",
            example=_relative(lambda vectors: _far(F.normalize(vectors))),
            hint="take the vectors as they are: only the distances are divided, by their mean.",
        ),
        Mistake(
            "numbers compared for images",
            example=_of_columns,
            hint="the result is [B, B], with one row per image. Rows of vectors are the images.",
        ),
        Mistake(
            "half of the table",
            example=lambda vectors: _above(_relative()(vectors)),
            hint="the distance from j to i is that from i to j. Fill in both halves.",
        ),
        Mistake(
            "halves counted once",
            example=_relative(mean=lambda d: d.sum() / (len(d) * (len(d) - 1)) / 2),
            hint="the mean of the result over different images must be 1.",
        ),
    ),
)

EXERCISES = (HINT_TERM, ATTENTION_MAP, RELATIVE_DISTANCES)
