"""Frozen teachers: one network, or several that are averaged."""

from __future__ import annotations

import copy
import math
import operator
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdcourse.distillation.arguments import check_tensor
from kdcourse.distillation.softening import at_least_float32, softened
from kdcourse.errors import ArgumentError
from kdcourse.models.inputs import call_keeping_input
from kdcourse.models.layout import arrange_kernels
from kdcourse.models.mode import to_eval_mode
from kdcourse.models.stacked import can_stack
from kdcourse.models.stored import check_not_lazy

_AVERAGES = ("logits", "probabilities")


class Frozen(nn.Module):
    """Hold a private copy of a network that no training can change; made by `freeze`.

    Its parameters need no gradient, its forward pass records none, and it stays in eval mode whatever
    ``train()`` reaches it, so BatchNorm statistics don't move and dropout stays off, even as a
    part of a student that is trained. Since it is a copy, the network it was made from keeps its mode, its
    gradients and its own training; what happens to that one later doesn't show here.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = _private_copy(network)
        self._arranged = False
        self.eval()

    def train(self, mode: bool = True) -> Frozen:
        """Stay in eval mode, whatever ``mode`` says."""
        _stay_in_eval_mode(self)
        return self

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """Return logits [B, classes] or [B, classes, H, W] of float [B, C, H, W], without gradient."""
        _stay_in_eval_mode(self)
        self._arranged = self._arranged or _arrange([self.network], images)
        return logits_of(self.network, images)


class Ensemble(nn.Module):
    """Average several teachers.

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
        weights: one per member, 0 or more, such as their validation accuracies; divided by their sum, they weigh the
            mean. Without them all members count the same.

    Either one yields logits, to be softened like any teacher's: `softened_mean`. Softening each member
    first, `mean_softened`, is a third prediction again.

    Raises:
        ArgumentError: no member, one object twice, a member that isn't a network, another word for
            ``average``, weights that don't fit; when called, members that disagree on the number of classes.
    """

    def __init__(
        self,
        members: Sequence[nn.Module],
        average: Literal["logits", "probabilities"] = "logits",
        weights: Sequence[float] | None = None,
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
        # Plain numbers, so that the digest of a teacher tells its weights; `None` leaves older digests as they are.
        self.weights = None if weights is None else _shares(weights, len(members))
        self.members = nn.ModuleList([_private_copy(member) for member in members])
        self._together: _Together | None = None
        self._arranged = False
        self.eval()

    def extra_repr(self) -> str:
        weights = "" if self.weights is None else f", weights={[round(share, 4) for share in self.weights]}"
        return f"average={self.average!r}{weights}"

    def train(self, mode: bool = True) -> Ensemble:
        """Stay in eval mode, whatever ``mode`` says."""
        _stay_in_eval_mode(self)
        return self

    @torch.no_grad()
    def member_logits(self, images: Tensor) -> Tensor:
        """Return every member's logits [M, B, classes (, H, W)], float32 or float64, of float [B, C, H, W]."""
        if not torch.compiler.is_compiling() and (
            self._together is None or not self._together.is_of(self.members)
        ):
            self._together = _Together(self.members)
        # What traces a network (an export) can hold neither versions nor addresses: there, one after another.
        if self._together is not None and not torch.compiler.is_compiling() and self._together.takes(images):
            logits = self._together.logits(images)
            return logits.to(at_least_float32(logits))
        _stay_in_eval_mode(self)
        self._arranged = self._arranged or _arrange(self.members, images)
        answers = [logits_of(member, images) for member in self.members]
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
        """Return logits [B, classes] or [B, classes, H, W] of float [B, C, H, W], without gradient."""
        return self.combine(self.member_logits(images))

    def combine(self, member_logits: Tensor) -> Tensor:
        """Return the ensemble's logits of members' logits [M, B, classes (, H, W)]: without the first axis."""
        _check_members(member_logits, (3, 5))
        if self.weights is None:
            return (
                member_logits.mean(dim=0)
                if self.average == "logits"
                else _log_mean_probability(member_logits)
            )
        if len(member_logits) != len(self.weights):
            raise ArgumentError(
                f"This ensemble weighs {len(self.weights)} members; found the logits of {len(member_logits)}."
            )
        counted = [m for m, share in enumerate(self.weights) if share]  # 0 * -inf would be NaN
        shares = member_logits.new_tensor([self.weights[m] for m in counted])
        shares = shares.view(-1, *[1] * (member_logits.ndim - 1))
        if self.average == "logits":
            return (shares * member_logits[counted]).sum(0)
        return (F.log_softmax(member_logits[counted], dim=2) + shares.log()).logsumexp(dim=0)


class _Together:
    """Stack the weights of MLPs of one shape: a snapshot of these members."""

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
        """Return whether there is a stack and these are images for it."""
        if not self._layers or images.ndim < 2:
            return False
        return images.shape[1:].numel() == self._layers[0][0].shape[2]

    def logits(self, images: Tensor) -> Tensor:
        """Return [M, B, classes] of float [B, C, H, W]. The first layer is one product: all get the same images."""
        (weight, bias), *later = self._layers
        x = F.linear(images.flatten(1), weight.flatten(0, 1), bias.flatten())
        x = x.view(len(images), len(weight), -1).transpose(0, 1)  # [M, B, units]
        for weight, bias in later:
            x = torch.baddbmm(bias[:, None], F.relu(x), weight.transpose(1, 2))
        return x

    def is_of(self, members: nn.ModuleList) -> bool:
        """Return whether ``members`` are those and, where they were stacked, their weights haven't changed since."""
        if len(members) != len(self._members) or any(map(operator.is_not, members, self._members)):
            return False
        if not self._layers:
            return True
        return all(
            (now := slots[name]).data_ptr() == then.data_ptr() and now._version == version
            for (slots, name), then, version in zip(self._places, self._weights, self._versions, strict=True)
        )


def _places(module: nn.Module) -> Iterator[tuple[dict[str, Tensor], str]]:
    """Yield where a module keeps its own parameters: a dictionary and a name in it."""
    for name, parameter in module._parameters.items():
        if parameter is not None:
            yield cast(dict[str, Tensor], module._parameters), name


def freeze(teacher: nn.Module) -> nn.Module:
    """Return a teacher that training can't change: a frozen copy (see `Frozen`).

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


def _private_copy(network: nn.Module) -> nn.Module:
    if not isinstance(network, nn.Module):
        raise ArgumentError(
            f"A teacher must be a torch.nn.Module that returns logits; found {type(network).__name__}."
        )
    check_not_lazy(network)
    try:
        with torch.no_grad():  # a scripted one's parameters would be computed ones otherwise
            network = copy.deepcopy(network)
    except (RuntimeError, TypeError) as error:
        raise ArgumentError(
            f"{type(network).__name__} can't be copied ({error}). A teacher is copied so that training can't "
            "change it; take it as it is after loading its weights, before any forward pass."
        ) from error
    for parameter in network.parameters():
        parameter.requires_grad_(False)
        parameter.grad = None
    return network


def _stay_in_eval_mode(teacher: nn.Module) -> None:
    # train() stops at the wrapper, but `for part in student.modules(): part.train()` walks past it.
    if _trains(teacher):
        teacher.training = False
        for part in teacher.children():
            to_eval_mode(part)


def _trains(module: nn.Module) -> bool:
    # By hand, because modules() also spells out every name, which a single image would have to wait for.
    return module.training or any(_trains(part) for part in module._modules.values() if part is not None)


def _arrange(networks: Iterable[nn.Module], images: Tensor) -> bool:
    """Lay the kernels of private copies out for images such as these; return whether that is done now."""
    if torch.compiler.is_compiling() or torch._C._get_tracing_state() is not None:
        return False
    with torch.inference_mode(False), torch.no_grad():
        for network in networks:
            arrange_kernels(network, images.to(_type_of(network) or images.dtype))
    return True


def logits_of(network: nn.Module, images: Tensor) -> Tensor:
    """Return a network's logits, checked, for images brought to its type; the images stay as they are."""
    return checked(call_keeping_input(network, images.to(_type_of(network) or images.dtype)), network, images)


def _type_of(module: nn.Module) -> torch.dtype | None:
    """Return the type of a network's first floating-point weight, by hand as in `_trains`."""
    for weight in module._parameters.values():
        if weight is not None and weight.is_floating_point():
            return weight.dtype
    for part in module._modules.values():
        if part is not None and (found := _type_of(part)) is not None:
            return found
    return None


def checked(answer: object, network: nn.Module, images: Tensor) -> Tensor:
    """Return ``answer`` itself, logits [B, C], or [B, C, H, W] for images of that height and width; or raise."""
    if (
        isinstance(answer, Tensor)
        and answer.ndim in (2, 4)
        and answer.shape[0] == images.shape[0]  # not len: an export would fix the number
        and (answer.ndim == 2 or (answer.shape[1] > 1 and answer.shape[2:] == images.shape[2:]))
    ):
        return answer
    found = list(answer.shape) if isinstance(answer, Tensor) else type(answer).__name__
    raise ArgumentError(
        f"A teacher must return logits [{len(images)}, classes] for {len(images)} images (or one for every pixel, "
        f"[{len(images)}, classes, H, W]); {type(network).__name__} returned {found}. Wrap it in a module that "
        "returns its logits alone."
    )


def _log_mean_probability(member_logits: Tensor) -> Tensor:
    # In log space: a class that every member thinks impossible keeps its order among the impossible ones.
    return F.log_softmax(member_logits, dim=2).logsumexp(dim=0) - math.log(len(member_logits))


def _shares(weights: Sequence[float], members: int) -> tuple[float, ...]:
    """Return weights of members as shares of their sum."""
    given = [float(weight) for weight in weights]
    if len(given) != members or not all(0 <= weight < math.inf for weight in given) or not any(given):
        raise ArgumentError(
            f"weights must be one number of at least 0 per member, {members} of them and not all 0; found {given}. "
            "Leave them out to weigh all members the same."
        )
    return tuple(weight / sum(given) for weight in given)


def _check_members(member_logits: Tensor, dimensions: tuple[int, ...] = (3,)) -> None:
    check_tensor(member_logits, "member_logits")
    if member_logits.ndim not in dimensions or len(member_logits) == 0:
        raise ArgumentError(
            "member_logits must be [members, batch, classes] with at least one member; found "
            f"{list(member_logits.shape)}. Ensemble.member_logits returns them so."
        )
