"""Turn a small network into a list of steps that plain C can compute, BatchNorm and ReLU folded into them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from kdcourse.errors import ArgumentError

Shape = tuple[int, ...]
_NOTHING_TO_DO = ("clone", "contiguous", "alias", "detach", "dropout", "flatten", "view", "reshape")


@dataclass
class Step:
    """Hold one step of a plan: ``kind`` is ``conv``, ``linear``, ``add``, ``maximum`` or ``mean`` (of each channel).

    ``conv`` and ``linear`` compute ``scale * (weight * input) + shift`` per output channel, with a maximum over squares
    of 2x2 pixels before the scale if ``pool``, and a ReLU at the end if ``relu``; ``add`` has that as well.

    Attributes:
        layer: name in the model, for messages and comments.
        inputs: the numbers of the values that it reads; the image is value 0.
        output: the number of the value that it makes.
        shape: of the output, [C, H, W] or [N].
        weight: [O, I / groups, K, K] or [O, I].
        scale, shift: [O].
    """

    kind: str
    layer: str
    inputs: list[int]
    output: int
    shape: Shape
    weight: Tensor | None = None
    scale: Tensor | None = None
    shift: Tensor | None = None
    stride: int = 1
    padding: int = 0
    groups: int = 1
    pool: bool = False
    relu: bool = False

    @property
    def macs(self) -> int:
        """Return the multiply-accumulates of one image."""
        if self.weight is None:
            return 0
        positions = math.prod(self.shape[1:]) * (4 if self.pool else 1)
        return self.weight.numel() * positions


@dataclass(frozen=True)
class Plan:
    """Hold the steps of a network and the shapes of all values, by number; value 0 is the image [C, H, W]."""

    steps: list[Step]
    shapes: dict[int, Shape]

    @property
    def macs(self) -> int:
        """Return the multiply-accumulates of one image."""
        return sum(step.macs for step in self.steps)


def plan_of(model: nn.Module, image_shape: tuple[int, int, int]) -> Plan:
    """Return the steps of a classifier: convolutions, linear layers, BatchNorm, ReLU, 2x2 maxima, sums, global pooling.

    BatchNorm is folded into the convolution before it, as one multiplication and one addition per channel (Jacob et
    al. 2018, https://arxiv.org/abs/1712.05877, section 3.2).

    Args:
        model: in eval mode; float32 [1, C, H, W] -> logits [1, classes].
        image_shape: C, H, W of one image.

    Raises:
        ArgumentError: a network that torch can't export, or a layer that has no such step; its name is told.
    """
    try:
        program = torch.export.export(model, (torch.zeros(1, *image_shape),), strict=False)
    except Exception as error:  # torch raises errors of many kinds here
        raise ArgumentError(
            f"torch can't export {type(model).__name__} for images of shape {tuple(image_shape)}: "
            f"{str(error).strip().splitlines()[0][:300].rstrip('.')}. Usual causes: another image_shape, or branches "
            "that depend on the images' values."
        ) from error
    return _Planner(program, image_shape).plan()


class _Planner:
    """Walk through an exported program's operators, and make or change steps."""

    def __init__(self, program: torch.export.ExportedProgram, image_shape: Shape) -> None:
        names = program.graph_signature
        stored = {**program.state_dict, **program.constants}
        known = {
            **names.inputs_to_parameters, **names.inputs_to_buffers, **names.inputs_to_lifted_tensor_constants,
        }  # fmt: skip
        self._program = program
        self._tensors = {name: stored[key].detach().float() for name, key in known.items()}
        self._values = {names.user_inputs[0]: 0}  # by the name of the operator that made them
        self._steps: list[Step] = []
        self._shapes: dict[int, Shape] = {0: tuple(image_shape)}
        self._operators: dict[str, Callable[[torch.fx.Node, dict[str, Any]], None]] = {
            "conv2d": self._conv, "linear": self._linear, "batch_norm": self._batch_norm, "relu": self._relu,
            "relu_": self._relu, "max_pool2d": self._max_pool, "add": self._add, "add_": self._add, "div": self._scale,
            "mul": self._scale, "amax": self._over_pixels, "mean": self._over_pixels,
            "adaptive_avg_pool2d": self._over_pixels,
        }  # fmt: skip

    def plan(self) -> Plan:
        for node in self._program.graph.nodes:
            if node.op != "call_function" or "assert" in str(node.target):
                continue
            name = str(node.target).removeprefix("aten.").split(".")[0]
            arguments = _arguments(node)
            if name in _NOTHING_TO_DO:
                self._same(node, arguments)
            elif name in self._operators:
                self._operators[name](node, arguments)
            else:
                raise self._refusal(node, f"the operator {name}")
        answer = self._program.graph_signature.user_outputs[0]
        assert isinstance(answer, str)
        if len(self._shapes[self._values[answer]]) != 1 or not self._steps:
            raise ArgumentError(
                "The C header is for classifiers; this network has one class for every pixel."
            )
        return Plan(self._steps, self._shapes)

    def _refusal(self, node: torch.fx.Node, what: str) -> ArgumentError:
        return ArgumentError(
            f"The C header can't be written for {_layer(node)}: it uses {what}. It takes convolutions, linear layers, "
            "BatchNorm and 2x2 maxima right after a convolution, ReLU after those and after sums, and a maximum or "
            "mean over all pixels, as in pocket_17k, depthwise_4k and mlp_25k. Use --to onnx for this network."
        )

    def _read(self, node: torch.fx.Node, value: Any, what: str) -> int:
        if not isinstance(value, torch.fx.Node) or value.name not in self._values:
            raise self._refusal(node, f"{what} of something other than an earlier layer's output")
        return self._values[value.name]

    def _make(self, node: torch.fx.Node, kind: str, inputs: list[int], **more: Any) -> None:
        number = len(self._shapes)
        shape = tuple(node.meta["val"].shape[1:])
        if kind in ("maximum", "mean"):
            shape = shape[:1]
        self._values[node.name], self._shapes[number] = number, shape
        self._steps.append(Step(kind, _layer(node), inputs, number, shape, **more))

    def _before(self, node: torch.fx.Node, source: Any, kinds: tuple[str, ...], what: str) -> Step:
        """Return the step that made ``source``, which nothing else reads, so that it can be changed."""
        number = self._read(node, source, what)
        step = next((step for step in self._steps if step.output == number), None)
        if step is None or step.kind not in kinds or len(source.users) != 1:
            raise self._refusal(node, f"{what} that doesn't follow a {' or '.join(kinds)} of its own")
        return step

    def _same(self, node: torch.fx.Node, given: dict[str, Any]) -> None:
        source = given.get("self", given.get("input"))
        number = self._read(node, source, "a change of shape")
        if given.get("train") or node.meta["val"].shape[0] != 1:
            raise self._refusal(node, "dropout in training mode, or another shape of the batch")
        shape = tuple(node.meta["val"].shape[1:])
        if shape != self._shapes[number] and len(shape) != 1:
            raise self._refusal(node, f"the shape {list(shape)}")
        self._values[node.name] = number

    def _conv(self, node: torch.fx.Node, given: dict[str, Any]) -> None:
        weight = self._tensors[given["weight"].name]
        sizes = {name: set(given[name]) for name in ("stride", "padding", "dilation")}
        if sizes["dilation"] != {1} or any(len(size) != 1 for size in sizes.values()):
            raise self._refusal(node, f"stride {given['stride']}, padding {given['padding']}, dilation "
                                      f"{given['dilation']}")  # fmt: skip
        if weight.shape[2] != weight.shape[3]:
            raise self._refusal(node, f"kernels of {weight.shape[2]}x{weight.shape[3]} pixels")
        inputs = [self._read(node, given["input"], "a convolution")]
        self._make(
            node, "conv", inputs, stride=sizes["stride"].pop(), padding=sizes["padding"].pop(),
            groups=given["groups"], **self._weighted(weight, given["bias"]),
        )  # fmt: skip

    def _linear(self, node: torch.fx.Node, given: dict[str, Any]) -> None:
        number = self._read(node, given["input"], "a linear layer")
        weight = self._tensors[given["weight"].name]
        if math.prod(self._shapes[number]) != weight.shape[1]:
            raise self._refusal(node, f"a linear layer over maps {list(self._shapes[number])}")
        self._make(node, "linear", [number], **self._weighted(weight, given["bias"]))

    def _weighted(self, weight: Tensor, bias: Any) -> dict[str, Tensor]:
        shift = torch.zeros(len(weight)) if bias is None else self._tensors[bias.name]
        return {"weight": weight.clone(), "scale": torch.ones(len(weight)), "shift": shift.clone()}

    def _batch_norm(self, node: torch.fx.Node, given: dict[str, Any]) -> None:
        step = self._before(node, given["input"], ("conv", "linear"), "a BatchNorm")
        if given["training"] or step.relu or given["running_mean"] is None:
            raise self._refusal(node, "a BatchNorm in training mode, without statistics, or after a ReLU")
        part = {key: self._tensors[given[key].name] for key in ("running_mean", "running_var")}
        ones, zeros = torch.ones_like(part["running_var"]), torch.zeros_like(part["running_var"])
        weight = ones if given["weight"] is None else self._tensors[given["weight"].name]
        bias = zeros if given["bias"] is None else self._tensors[given["bias"].name]
        factor = weight / (part["running_var"] + given["eps"]).sqrt()
        self._change(node, step, factor, bias - part["running_mean"] * factor)

    def _scale(self, node: torch.fx.Node, given: dict[str, Any]) -> None:
        step = self._before(node, given["self"], ("conv", "linear"), "a multiplication")
        if step.relu or not isinstance(given["other"], int | float):
            raise self._refusal(node, "a multiplication by other than a number, or after a ReLU")
        factor = given["other"] if "mul" in str(node.target) else 1 / given["other"]
        self._change(node, step, torch.tensor(float(factor)), torch.tensor(0.0))

    def _change(self, node: torch.fx.Node, step: Step, factor: Tensor, plus: Tensor) -> None:
        assert step.scale is not None and step.shift is not None
        step.scale, step.shift = step.scale * factor, step.shift * factor + plus
        self._values[node.name] = step.output

    def _relu(self, node: torch.fx.Node, given: dict[str, Any]) -> None:
        step = self._before(node, given["self"], ("conv", "linear", "add"), "a ReLU")
        step.relu = True
        self._values[node.name] = step.output

    def _max_pool(self, node: torch.fx.Node, given: dict[str, Any]) -> None:
        step = self._before(node, given["self"], ("conv",), "a maximum over squares of pixels")
        usual = {"kernel_size": {2}, "stride": {2}, "padding": {0}, "dilation": {1}}
        if step.pool or given["ceil_mode"] or any(set(given[key]) - wanted for key, wanted in usual.items()):
            raise self._refusal(node, "a second maximum, or one over other than 2x2 pixels with stride 2")
        assert step.weight is not None and step.scale is not None
        # The maximum is taken before the scale. That is the same where the scale isn't negative: a negative one
        # changes its sign with the weights. A ReLU never changes which of four values is the largest.
        sign = torch.where(step.scale < 0, -1.0, 1.0)
        step.weight, step.scale = step.weight * sign.view(-1, 1, 1, 1), step.scale * sign
        step.pool, step.shape = True, tuple(node.meta["val"].shape[1:])
        self._values[node.name], self._shapes[step.output] = step.output, step.shape

    def _add(self, node: torch.fx.Node, given: dict[str, Any]) -> None:
        inputs = [self._read(node, given[key], "a sum") for key in ("self", "other")]
        if given["alpha"] != 1 or self._shapes[inputs[0]] != self._shapes[inputs[1]]:
            raise self._refusal(node, "a sum of maps of different shapes")
        self._make(node, "add", inputs)

    def _over_pixels(self, node: torch.fx.Node, given: dict[str, Any]) -> None:
        number = self._read(node, given["self"], "a maximum or mean over pixels")
        dims = {dim % 4 for dim in given.get("dim") or ()}
        whole = given["output_size"] == [1, 1] if "output_size" in given else dims == {2, 3}
        if not whole or len(self._shapes[number]) != 3:
            raise self._refusal(node, "a maximum or mean over other than all pixels of each channel")
        self._make(node, "maximum" if "amax" in str(node.target) else "mean", [number])


def _layer(node: torch.fx.Node) -> str:
    """Return the name of the layer that an operator belongs to, with its class."""
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    if not stack:
        return node.name
    name, kind = stack[-1]
    kind = str(kind if isinstance(kind, str) else kind.__name__).split(".")[-1]
    return f"layer {name} ({kind})" if name else kind


def _arguments(node: torch.fx.Node) -> dict[str, Any]:
    """Return an operator's arguments by name, those left out with their defaults."""
    schema = node.target._schema.arguments  # type: ignore[union-attr]
    given = dict(zip((argument.name for argument in schema), node.args, strict=False)) | dict(node.kwargs)
    return {
        argument.name: given.get(argument.name, argument.default_value if argument.has_default_value() else None)
        for argument in schema
    }  # fmt: skip
