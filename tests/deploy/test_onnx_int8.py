"""Int8 files are run by onnxruntime, and what they hold is read with onnx."""

from __future__ import annotations

import json
import logging
import sys

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, numpy_helper
from torch import Tensor, nn

from kdcourse import models
from kdcourse.deploy import OnnxFile, compare_times, export_onnx_int8, quantized
from kdcourse.deploy import onnx_int8 as room
from kdcourse.errors import ArgumentError

CLASSES = ("cat", "dog", "gnu")
MEAN, STD = (0.3,), (0.35,)


def network(sign: float = 1.0) -> nn.Module:
    torch.manual_seed(0)
    model = models.PocketCNN(3, 1, widths=(4, 6), depths=(1, 0))
    with torch.no_grad():
        for stage in model.stages:
            stage.expand_norm.weight.uniform_(0.5, 2).mul_(sign)
            stage.expand_norm.bias.normal_()
        model(torch.randn(64, 1, 12, 12))
    return model.eval()


def pictures(count: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 1, 12, 12), generator=generator, dtype=torch.uint8)


def exported(model: nn.Module, images: Tensor | None = None) -> bytes:
    images = pictures(64) if images is None else images
    return export_onnx_int8(
        model, images=images, classes=CLASSES, mean=MEAN, std=STD, notes={"licence": "MIT"}
    )


@pytest.fixture(scope="module")
def content() -> bytes:
    return exported(network())


def test_logits_are_near_those_of_pytorch_and_weights_are_bytes(content: bytes) -> None:
    model, images = network(), pictures(50, seed=1)
    with torch.no_grad():
        wanted = model((images / 255 - MEAN[0]) / STD[0])
    file = OnnxFile(content)
    found = file.logits(images)
    assert float((found - wanted).abs().mean()) < 0.1 * float(wanted.abs().mean())
    assert not torch.equal(found, wanted)
    times = compare_times(file, file, images[:1])
    assert times.first_ms > 0 and times.second_ms > 0
    assert times.ratio_quartiles[0] <= times.ratio <= times.ratio_quartiles[1]

    proto = onnx.load_from_string(content)
    facts = {entry.key: json.loads(entry.value) for entry in proto.metadata_props}
    assert facts == {
        "classes": list(CLASSES), "mean": list(MEAN), "std": list(STD), "weights": "int8",
        "calibrated on": "64 training images", "licence": "MIT",
    }  # fmt: skip
    large = {each.name: each for each in proto.graph.initializer if np.prod(each.dims) > 6}
    assert large and {each.data_type for each in large.values()} == {TensorProto.INT8}
    # The same bytes as a header's: a scale per channel, BatchNorm folded or not.
    refined = quantized(model.stages[0].refine[0].weight)[0].numpy()
    assert any(np.array_equal(numpy_helper.to_array(each), refined) for each in large.values())


def test_batchnorm_after_a_maximum_is_folded_unless_it_turns_numbers_round(content: bytes) -> None:
    def kinds(content: bytes) -> set[str]:
        return {node.op_type for node in onnx.load_from_string(content).graph.node}

    assert "BatchNormalization" not in kinds(content)
    turned = network(-1.0)
    content = exported(turned)
    assert "BatchNormalization" in kinds(content)
    images = pictures(20, seed=2)
    with torch.no_grad():
        wanted = turned((images / 255 - MEAN[0]) / STD[0])
    assert float((OnnxFile(content).logits(images) - wanted).abs().max()) < 0.15 * float(wanted.abs().max())


@pytest.mark.slow
def test_ranges_are_those_of_the_calibration_images() -> None:
    dark, bright = (exported(network(), pictures(8) // 8 + offset) for offset in (0, 200))
    assert dark != bright
    with pytest.raises(ArgumentError, match=r"at least one image.*found \[0, 1, 12, 12\]"):
        exported(network(), pictures(0))


def test_other_programs_logging_is_left_as_it_was() -> None:
    before = list(logging.root.handlers), logging.root.level, logging.root.manager.disable
    with room._without_advice():
        logging.warning("advice")
    assert (list(logging.root.handlers), logging.root.level, logging.root.manager.disable) == before


@pytest.mark.parametrize("package", ["onnx", "onnxscript", "onnxruntime"])
def test_missing_package_is_named_with_its_cure(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=rf"needs {package}.*\n.*kdcourse\[deploy\]"):
        exported(network())
