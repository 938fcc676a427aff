"""Teachers that hold still: one frozen network, or several that answer as one."""

from __future__ import annotations

import copy
import math
import operator
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from kdcourse.data.segmentation import IGNORE, MaskedSplit, SegmentationDataset
from kdcourse.data.splits import Dataset, Split
from kdcourse.distillation.softening import at_least_float32, softened
from kdcourse.errors import ArgumentError
from kdcourse.models.inputs import call_keeping_input
from kdcourse.models.mode import evaluating
from kdcourse.models.stacked import can_stack

_AVERAGES = ("logits", "probabilities")


class Frozen(nn.Module):
    """A private copy of a network that no training can change; made by `freeze`.

    Its parameters ask for no gradient, its forward pass records none, and it stays in eval mode whatever
    ``train()`` reaches it, so BatchNorm statistics don't move and dropout stays off, even as a
    part of a student that is trained. Since it is a copy, the network it was made from keeps its mode, its
    gradients and its own training; what happens to that one later doesn't show here.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = _private_copy(network)
        self.eval()

    def train(self, mode: bool = True) -> Frozen:
        """Stays in eval mode, whatever ``mode`` says."""
        super().train(False)
        return self

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """float [B, C, H, W] -> logits [B, classes] or [B, classes, H, W], without gradient."""
        _stay_in_eval_mode(self)
        return _logits(self.network, images)


class Ensemble(nn.Module):
    """Several teachers that answer as one.

    The members are copied and frozen, with the guarantees of `Frozen`. MLPs of one shape are computed
    together, by a few large matrix products; convolutional members one after another, which measured
    faster than any way of batching them (``python -m benchmarks ensemble_forward`` compares the ways).

    Args:
        members: networks that return logits [B, C], or all of them [B, C, H, W], for the same classes; at least one.
        average: what is averaged over the M members.
            ``"logits"``: ``mean_m z_m``, whose softmax is the normalised *geometric* mean of the members'
            probabilities. ``"probabilities"``: ``log(mean_m softmax(z_m))``, whose softmax is their
            *arithmetic* mean. These are different predictions; Hinton, Vinyals, Dean 2015 (section 1) allow
            either as soft targets.

    Either one yields logits, to be softened like any teacher's: `softened_mean`. Softening each member
    first, `mean_softened`, is a third prediction again.

    Raises:
        ArgumentError: no member, one object twice, a member that isn't a network, another word for
            ``average``; when called, members that disagree on the number of classes.
    """

    def __init__(
        self, members: Sequence[nn.Module], average: Literal["logits", "probabilities"] = "logits"
    ) -> None:
        super().__init__()
        members = list(members)
        if not members:
            raise ArgumentError("An ensemble needs at least one member; found none. Pass a list of networks.")
        if average not in _AVERAGES:
            raise ArgumentError(f"average must be one of {', '.join(_AVERAGES)}; found {average!r}.")
        if len({id(member) for member in members}) < len(members):
            raise ArgumentError(
                f"The same network object is among the {len(members)} members more than once, which would count "
                "its vote more than once. Pass each network once; a list like [network] * 5 repeats one."
            )
        self.average = average
        self.members = nn.ModuleList([_private_copy(member) for member in members])
        self._together: _Together | None = None
        self.eval()

    def extra_repr(self) -> str:
        return f"average={self.average!r}"

    def train(self, mode: bool = True) -> Ensemble:
        """Stays in eval mode, whatever ``mode`` says."""
        super().train(False)
        return self

    @torch.no_grad()
    def member_logits(self, images: Tensor) -> Tensor:
        """float [B, C, H, W] -> every member's logits [M, B, classes (, H, W)], float32 or float64."""
        if not torch.compiler.is_compiling() and (
            self._together is None or not self._together.is_of(self.members)
        ):
            self._together = _Together(self.members)
        # What traces a network (an export) can hold neither versions nor addresses: there, one after another.
        if self._together is not None and not torch.compiler.is_compiling() and self._together.takes(images):
            logits = self._together.logits(images)
            return logits.to(at_least_float32(logits))
        _stay_in_eval_mode(self)
        answers = [_logits(member, images) for member in self.members]
        classes = [answer.shape[1] for answer in answers]
        if len(set(classes)) > 1:
            raise ArgumentError(
                f"The members of an ensemble must know the same classes; found {classes} classes. "
                "Leave out those that were trained for another task."
            )
        logits = torch.stack(answers)
        return logits.to(at_least_float32(logits))

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """float [B, C, H, W] -> logits [B, classes] or [B, classes, H, W], without gradient."""
        return self.combine(self.member_logits(images))

    def combine(self, member_logits: Tensor) -> Tensor:
        """Members' logits [M, B, classes (, H, W)] -> the ensemble's, without the first axis."""
        _check_members(member_logits, (3, 5))
        return member_logits.mean(dim=0) if self.average == "logits" else _log_mean_probability(member_logits)


class _Together:
    """MLPs of one shape as one network, with the weights that they had then; no use for other members."""

    def __init__(self, members: nn.ModuleList) -> None:
        self._members = list(members)
        self._places = [place for part in members.modules() for place in _places(part)]
        # Holding on to the weights themselves makes sure that their addresses aren't given to others.
        self._weights = [slots[name].detach() for slots, name in self._places]
        shapes = {tuple((p.shape, p.dtype, p.device) for p in member.parameters()) for member in members}
        self._layers: list[tuple[Tensor, Tensor]] = []
        if (
            len(self._members) > 1
            and len(shapes) == 1
            and all(can_stack(member) for member in members)
            and not any(weight.is_inference() for weight in self._weights)  # these keep no count of changes
        ):
            self._versions = [weight._version for weight in self._weights]
            linear = [
                [part for part in member.modules() if isinstance(part, nn.Linear)] for member in members
            ]
            self._layers = [
                (
                    torch.stack([layer.weight.detach() for layer in column]),  # [M, outputs, inputs]
                    torch.stack([layer.bias.detach() for layer in column]),
                )
                for column in zip(*linear, strict=True)
            ]

    def takes(self, images: Tensor) -> bool:
        """Whether there is such a network and these are pictures for it."""
        if not self._layers or images.ndim < 2:
            return False
        return images.shape[1:].numel() == self._layers[0][0].shape[2]

    def logits(self, images: Tensor) -> Tensor:
        """float [B, C, H, W] -> [M, B, classes]. The first layer is one product, since all see the same pictures."""
        (weight, bias), *later = self._layers
        x = F.linear(images.flatten(1), weight.flatten(0, 1), bias.flatten())
        x = x.view(len(images), len(weight), -1).transpose(0, 1)  # [M, B, units]
        for weight, bias in later:
            x = torch.baddbmm(bias[:, None], F.relu(x), weight.transpose(1, 2))
        return x

    def is_of(self, members: nn.ModuleList) -> bool:
        """Whether ``members`` are those and, where they were stacked, nothing has changed their weights since."""
        if len(members) != len(self._members) or any(map(operator.is_not, members, self._members)):
            return False
        if not self._layers:
            return True
        return all(
            (now := slots[name]).data_ptr() == then.data_ptr() and now._version == version
            for (slots, name), then, version in zip(self._places, self._weights, self._versions, strict=True)
        )


def _places(module: nn.Module) -> Iterator[tuple[dict[str, Tensor], str]]:
    """Where a module keeps its own parameters: a dictionary and a name in it."""
    for name, parameter in module._parameters.items():
        if parameter is not None:
            yield cast(dict[str, Tensor], module._parameters), name


def freeze(teacher: nn.Module) -> nn.Module:
    """A teacher that training can't change: a frozen copy (see `Frozen`).

    The network passed in is left as it is. What is frozen already (`Frozen`, `Ensemble`) comes back itself.

    Raises:
        ArgumentError: not an nn.Module, or one that can't be copied.
    """
    return teacher if isinstance(teacher, Frozen | Ensemble) else Frozen(teacher)


def softened_mean(member_logits: Tensor, temperature: float) -> Tensor:
    """Average the members' logits, then soften: ``softmax(mean_m z_m / T)``.

    What the student of an ``Ensemble(average="logits")`` is shown.

    Args:
        member_logits: floating point [M, B, C].
        temperature: T > 0.

    Returns:
        Probabilities [B, C], float32 or float64.

    Raises:
        ArgumentError: T not a finite number above 0, logits not [M, B, C] with M >= 1.
    """
    _check_members(member_logits)
    return softened(member_logits.to(at_least_float32(member_logits)).mean(dim=0), temperature)


def mean_softened(member_logits: Tensor, temperature: float) -> Tensor:
    """Soften each member, then average: ``mean_m softmax(z_m / T)``.

    Not `softened_mean`: the softmax isn't linear. At T = 1 this is the prediction of an
    ``Ensemble(average="probabilities")``; at another T it is not that ensemble's either, since
    ``mean_m p_m^(1/T)``, each normalised, isn't ``(mean_m p_m)^(1/T)``, normalised.

    Args, returns and errors as `softened_mean`.
    """
    _check_members(member_logits)
    return softened(member_logits, temperature).mean(dim=0)


def assert_trained(
    teacher: nn.Module,
    split: Split | MaskedSplit,
    dataset: Dataset | SegmentationDataset,
    *,
    at_least: float | None = None,
    pictures: int | None = None,
    batch_size: int = 256,
) -> float:
    """Make sure that a teacher knows its task before a student learns from it.

    A network whose last layer was never trained (or whose weights weren't loaded) teaches noise, and nothing in
    the loss curve says so.

    Args:
        teacher: returns logits [B, C], for segmentation [B, C, H, W].
        split: labelled pictures, or pictures with masks, of which every pixel that counts is one of its own.
        dataset: says how to normalise.
        at_least: accuracy in [0, 1] to ask for. Left out: a quarter of the way from chance (always naming
            the commonest class) to perfect; an untrained network stays below, since its prediction
            hardly depends on the picture.
        pictures: how many, evenly spread, are looked at: 1000 unless told, 100 with masks.
        batch_size: how many at a time.

    Returns:
        The accuracy found, 0 to 1.

    Raises:
        ArgumentError: the accuracy is lower, ``at_least`` isn't in [0, 1], ``pictures`` or ``batch_size`` below 1.
    """
    if at_least is not None and not 0 <= at_least <= 1:
        raise ArgumentError(f"at_least is an accuracy from 0 to 1; found {at_least}.")
    if pictures is None:
        pictures = 1000 if split.labels.ndim == 1 else 100
    if pictures < 1 or batch_size < 1:
        raise ArgumentError(
            f"pictures and batch_size must be at least 1; found pictures={pictures}, batch_size={batch_size}."
        )
    index = spread(len(split), pictures).to(split.labels.device)
    labels = split.labels[index].cpu()
    with asking(teacher) as ask:
        answers = [ask(dataset.normalise(split.images[part])).cpu() for part in index.split(batch_size)]
    scored = labels != IGNORE if labels.ndim > 1 else torch.ones_like(labels, dtype=torch.bool)
    right = torch.cat(answers).argmax(dim=1) == labels
    accuracy = float(right[scored].double().mean())
    chance = float(labels[scored].bincount().max()) / int(scored.sum())
    what = "pictures" if labels.ndim == 1 else "pixels"
    wanted = chance + (1 - chance) / 4 if at_least is None else at_least
    if accuracy < wanted:
        raise ArgumentError(
            f"The teacher names {accuracy:.1%} of {int(scored.sum())} {what} of {dataset.name!r} correctly, where "
            f"at least {wanted:.1%} is asked for and always naming the commonest class gives {chance:.1%}: its last "
            "layer looks untrained, or its classes are in another order. Load trained weights, or train it first."
        )
    return accuracy


class Asker:
    """Calls a teacher with pictures brought to its device and precision.

    Convolutions take about half the time with kernels that lie channels last in memory. The teacher's own
    stay as they lie: it is called with copies in their place.
    """

    def __init__(self, teacher: nn.Module) -> None:
        self._teacher = teacher
        last = torch.channels_last
        self._kernels: dict[str, Tensor] = {}
        if not isinstance(teacher, torch.jit.ScriptModule):
            self._kernels = {
                name: kernel.detach().contiguous(memory_format=last)
                for name, kernel in teacher.named_parameters()
                if kernel.ndim == 4 and not kernel.is_contiguous(memory_format=last)
            }
        parameter = next((p for p in teacher.parameters() if p.is_floating_point()), None)
        self.device = torch.device("cpu") if parameter is None else parameter.device
        self._dtype = torch.float32 if parameter is None else parameter.dtype

    def __call__(self, images: Tensor) -> Tensor:
        images = images.to(self.device, self._dtype)
        if not self._kernels:
            return _logits(self._teacher, images)
        return _checked(functional_call(self._teacher, self._kernels, (images,)), self._teacher, images)


@contextmanager
def asking(teacher: nn.Module) -> Iterator[Asker]:
    """Ask a network as a teacher, without copying it: eval mode and no gradient inside, its modes restored after."""
    if not isinstance(teacher, nn.Module):
        raise ArgumentError(f"A teacher must be a torch.nn.Module; found {type(teacher).__name__}.")
    with evaluating(teacher), torch.no_grad():
        yield Asker(teacher)


def spread(length: int, count: int) -> Tensor:
    """``count`` positions evenly spread over ``length`` (all of them when there are fewer): int64."""
    count = min(count, length)
    return torch.arange(count) * length // count


def _private_copy(network: nn.Module) -> nn.Module:
    if not isinstance(network, nn.Module):
        raise ArgumentError(
            f"A teacher must be a torch.nn.Module that returns logits; found {type(network).__name__}."
        )
    try:
        network = copy.deepcopy(network)
    except (RuntimeError, TypeError) as error:
        raise ArgumentError(
            f"{type(network).__name__} can't be copied ({error}). A teacher is copied so that training can't "
            "change it; take it as it is after loading its weights, before any forward pass."
        ) from error
    for parameter in network.parameters():
        parameter.requires_grad_(False)
        parameter.grad = None
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return network


def _stay_in_eval_mode(teacher: nn.Module) -> None:
    # train() stops at the wrapper, but `for part in student.modules(): part.train()` walks past it.
    if _trains(teacher):
        teacher.eval()


def _trains(module: nn.Module) -> bool:
    # By hand, because modules() also spells out every name, which a single picture would have to wait for.
    return module.training or any(_trains(part) for part in module._modules.values() if part is not None)


def _logits(network: nn.Module, images: Tensor) -> Tensor:
    return _checked(
        call_keeping_input(network, images.to(_type_of(network) or images.dtype)), network, images
    )


def _type_of(module: nn.Module) -> torch.dtype | None:
    """Return the type of a network's first floating-point weight, by hand as in `_trains`."""
    for weight in module._parameters.values():
        if weight is not None and weight.is_floating_point():
            return weight.dtype
    for part in module._modules.values():
        if part is not None and (found := _type_of(part)) is not None:
            return found
    return None


def _checked(answer: object, network: nn.Module, images: Tensor) -> Tensor:
    """``answer`` itself, logits [B, C], or [B, C, H, W] for pictures of that height and width."""
    if (
        isinstance(answer, Tensor)
        and answer.ndim in (2, 4)
        and len(answer) == len(images)
        and (answer.ndim == 2 or (answer.shape[1] > 1 and answer.shape[2:] == images.shape[2:]))
    ):
        return answer
    found = list(answer.shape) if isinstance(answer, Tensor) else type(answer).__name__
    raise ArgumentError(
        f"A teacher must return logits [{len(images)}, classes] for {len(images)} pictures (or one for every pixel, "
        f"[{len(images)}, classes, H, W]); {type(network).__name__} returned {found}. Wrap it in a module that "
        "returns its logits alone."
    )


def _log_mean_probability(member_logits: Tensor) -> Tensor:
    # In log space: a class that every member thinks impossible keeps its order among the impossible ones.
    return F.log_softmax(member_logits, dim=2).logsumexp(dim=0) - math.log(len(member_logits))


def _check_members(member_logits: Tensor, dimensions: tuple[int, ...] = (3,)) -> None:
    if member_logits.ndim not in dimensions or len(member_logits) == 0:
        raise ArgumentError(
            "member_logits must be [members, batch, classes] with at least one member; found "
            f"{list(member_logits.shape)}. Ensemble.member_logits returns them so."
        )
