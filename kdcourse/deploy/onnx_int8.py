"""Quantize an ONNX file to int8, calibrated on training images."""

from __future__ import annotations

import importlib
import logging
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor, nn

from kdcourse.deploy.onnx_export import brief, check_packages, described, export_onnx
from kdcourse.errors import ArgumentError

if TYPE_CHECKING:
    from onnx import ModelProto

CALIBRATION = 512  # images, after which the ranges of activations hardly change
_BATCH = 64
# What has int8 kernels. The normalisation of the pixels stays in float: a byte for its result would be too coarse.
_OPERATORS = ("Conv", "Gemm", "MatMul", "Add", "MaxPool", "Relu", "Concat", "GlobalAveragePool")


def export_onnx_int8(
    model: nn.Module,
    *,
    images: Tensor,
    classes: Sequence[str],
    mean: Sequence[float],
    std: Sequence[float],
    notes: Mapping[str, Any] | None = None,
    opset: int = 18,
) -> bytes:
    """Return the content of an ONNX file whose weights and activations are int8, by onnxruntime's quantizer.

    Static post-training quantization: each activation has one scale, from the smallest and largest value on
    ``images``; weights have a scale per output channel. Both are marked by pairs of QuantizeLinear and
    DequantizeLinear, which runtimes turn into int8 arithmetic. (Jacob et al. 2018, https://arxiv.org/abs/1712.05877,
    section 2; Krishnamoorthi 2018, https://arxiv.org/abs/1806.08342, section 3.)

    Args:
        model: float32 [B, C, H, W] -> logits.
        images: to calibrate on, uint8 [N, C, H, W], not normalised: training images, never test images. `CALIBRATION`
            suffice.
        classes, mean, std, notes, opset: see `kdcourse.deploy.export_onnx`.

    Raises:
        ArgumentError: no images; a model that can't be exported or quantized.
        ImportError: onnx, onnxscript or onnxruntime is missing; says how to install them.
    """
    check_packages("onnx", "onnxscript", "onnxruntime")
    if images.ndim != 4 or not len(images):
        raise ArgumentError(
            f"Calibration needs at least one image, uint8 [N, C, H, W]; found {list(images.shape)}."
        )
    import onnx

    quantization: Any = importlib.import_module("onnxruntime.quantization")
    shape = (images.shape[1], images.shape[2], images.shape[3])
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "int8.onnx"
        made = export_onnx(
            model, Path(folder) / "float.onnx", image_shape=shape, classes=classes, mean=mean, std=std, opset=opset
        )  # fmt: skip
        proto = onnx.load(made.path)
        _fold_past_maxima(proto)
        try:
            with _without_advice():
                quantization.quantize_static(
                    proto, target, _Reader(images), quant_format=quantization.QuantFormat.QDQ, per_channel=True,
                    op_types_to_quantize=list(_OPERATORS), activation_type=quantization.QuantType.QInt8,
                    weight_type=quantization.QuantType.QInt8,
                )  # fmt: skip
        except Exception as error:  # onnxruntime raises errors of many kinds here
            raise ArgumentError(f"onnxruntime can't quantize this model: {brief(error)}.") from error
        facts = {"weights": "int8", "calibrated on": f"{len(images)} training images"} | dict(notes or {})
        return described(onnx.load(target), classes, mean, std, facts)


class _Reader:
    """Hand out the calibration images in batches, as onnxruntime's CalibrationDataReader does."""

    def __init__(self, images: Tensor) -> None:
        self._batches: Iterator[Tensor] = iter(images.split(_BATCH))

    def get_next(self) -> dict[str, np.ndarray] | None:
        batch = next(self._batches, None)
        return None if batch is None else {"pixels": batch.numpy()}


@contextmanager
def _without_advice() -> Iterator[None]:
    """Silence onnxruntime's advice, which goes to the root logger and gives that a handler."""
    handlers, level = list(logging.root.handlers), logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(level)
        logging.root.handlers[:] = handlers


def _fold_past_maxima(proto: ModelProto) -> None:
    """Fold each BatchNorm after a maximum over pixels into the convolution before that, where its factors are above 0.

    A positive factor doesn't change which value is the largest. torch's exporter folds a BatchNorm only if it follows
    the convolution immediately; one that is left has no int8 kernel.
    """
    from onnx import numpy_helper

    graph = proto.graph
    made = {name: node for node in graph.node for name in node.output}
    stored = {tensor.name: tensor for tensor in graph.initializer}
    readers: dict[str, int] = {}
    for name in [
        *(name for node in graph.node for name in node.input),
        *(each.name for each in graph.output),
    ]:
        readers[name] = readers.get(name, 0) + 1
    for norm in [node for node in graph.node if node.op_type == "BatchNormalization"]:
        pool = made.get(norm.input[0])
        conv = made.get(pool.input[0]) if pool is not None and pool.op_type == "MaxPool" else None
        if pool is None or conv is None or conv.op_type != "Conv":
            continue
        if any(name not in stored for name in [*norm.input[1:], *conv.input[1:]]):
            continue
        alone = readers[norm.input[0]] == readers[pool.input[0]] == readers[conv.input[1]] == 1
        scale, shift, centre, variance = (numpy_helper.to_array(stored[name]) for name in norm.input[1:])
        eps = next((attribute.f for attribute in norm.attribute if attribute.name == "epsilon"), 1e-5)
        factor = scale / np.sqrt(variance + eps)
        if not alone or factor.min() <= 0:
            continue
        weight = numpy_helper.to_array(stored[conv.input[1]])
        bias = numpy_helper.to_array(stored[conv.input[2]]) if len(conv.input) > 2 else 0.0
        name = f"{conv.input[1]}.folded"
        graph.initializer.extend([
            numpy_helper.from_array((weight * factor[:, None, None, None]).astype(weight.dtype), name),
            numpy_helper.from_array(((bias - centre) * factor + shift).astype(weight.dtype), f"{name}.bias"),
        ])  # fmt: skip
        conv.input[:] = [conv.input[0], name, f"{name}.bias"]
        pool.output[0] = norm.output[0]
        graph.node.remove(norm)
    used = {name for node in graph.node for name in node.input}
    for tensor in [each for each in graph.initializer if each.name not in used]:
        graph.initializer.remove(tensor)
