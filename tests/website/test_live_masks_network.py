"""The page `live_masks` computes PyTorch's logits for every pixel; run by Node."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from kdcourse import models
from kdcourse.evaluation import predict_logits
from kdcourse.models.unet import UNet
from kdcourse.training import save_weights
from tools.website.live.masks import build, students

NODE = shutil.which("node")
pytestmark = pytest.mark.skipif(NODE is None, reason="Node.js not installed; it brings npm, too")
CLOSE = 1e-4  # of a logit: float32 in another order of summation
MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)

_PROGRAM = """
const fs = require("fs");
const {code, file, stride, images, input} = JSON.parse(fs.readFileSync(0));
const {buildMaskNetwork, computeMaskLogits} = require(code);
const {buffer, byteOffset, length} = fs.readFileSync(file);
const network = buildMaskNetwork(buffer.slice(byteOffset, byteOffset + length), stride);
console.log(JSON.stringify(images.map((image) => Array.from(computeMaskLogits(network, image, input)))));
"""


def in_node(
    file: Path, stride: int, images: Tensor, mean: Sequence[float] = MEAN, std: Sequence[float] = STD
) -> Tensor:
    """The logits of uint8 [N, 3, H, H]: float64 [N, C, H, H]."""
    side = images.shape[-1]
    content = {
        "code": str(build.HERE / "masks_network.js"),
        "file": str(file),
        "stride": stride,
        "images": images.permute(0, 2, 3, 1).flatten(1).tolist(),
        "input": {"side": side, "mean": mean, "std": std},
    }
    assert NODE is not None
    done = subprocess.run(
        [NODE, "-e", _PROGRAM], input=json.dumps(content), capture_output=True, text=True, timeout=120
    )
    if done.returncode:
        raise ValueError(done.stderr)
    return torch.tensor(json.loads(done.stdout), dtype=torch.float64).unflatten(1, (-1, side, side))


def network(seed: int = 0, **options: object) -> UNet:
    """A U-Net whose norms do something: negative scales and shifts as well."""
    torch.manual_seed(seed)
    made = models.build("pocket_unet", **options) if "widths" not in options else UNet(**options)  # type: ignore[arg-type]
    for part in made.modules():
        if isinstance(part, nn.BatchNorm2d):
            for value in (part.weight, part.bias, part.running_mean):
                assert value is not None
                nn.init.normal_(value)
            assert part.running_var is not None
            nn.init.uniform_(part.running_var, 0.5, 2)
    assert isinstance(made, UNet)
    return made.eval()


def check(model: UNet, side: int, path: Path, dtype: torch.dtype = torch.float32) -> None:
    """The same logits in Node as in PyTorch, for random images."""
    save_weights(model, path, dtype=dtype)
    if dtype == torch.float16:
        for weight in model.parameters():
            if weight.ndim > 1:
                weight.data = weight.data.half().float()
    images = torch.randint(0, 256, (2, 3, side, side), dtype=torch.uint8)
    found = in_node(path, model.stride, images)
    mean, std = (torch.tensor(values, dtype=torch.float64).view(3, 1, 1) for values in (MEAN, STD))
    with torch.no_grad():
        wanted = model.double()((images.double() / 255 - mean) / std)
    assert wanted.std() > 0.01 and found.shape == wanted.shape
    assert torch.allclose(found, wanted, rtol=1e-4, atol=CLOSE)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_logits_are_those_of_pytorch(dtype: torch.dtype, tmp_path: Path) -> None:
    check(network(num_classes=6, in_channels=3), 96, tmp_path / "model.safetensors", dtype)


@pytest.mark.slow
@pytest.mark.skipif(not students.stored(), reason=f"no students yet: {students.COMMAND}")
def test_stored_students_answer_as_in_pytorch() -> None:
    data = students.shown_scenes()
    images = data.test.images[:3]
    for name, (model, _) in students.load(data).items():
        found = in_node(students.FOLDER / f"{name}.safetensors", model.stride, images, data.mean, data.std)
        assert (found - predict_logits(model, images, data).double()).abs().max() < CLOSE


@pytest.mark.parametrize(
    ("widths", "depth", "stride", "side"),
    [
        (
            (4, 6, 8),
            2,
            1,
            25,
        ),  # odd sides: halving leaves a row out, and what is enlarged isn't twice as large
        ((4, 6, 8), 1, 2, 30),
        ((5, 3), 3, 4, 33),
        ((4, 6, 8, 10), 1, 4, 20),  # too small for all levels, so that it is enlarged first
    ],
)
def test_any_widths_depth_stride_and_side(
    widths: tuple[int, ...], depth: int, stride: int, side: int, tmp_path: Path
) -> None:
    model = network(num_classes=3, in_channels=3, widths=widths, depth=depth, stride=stride)
    check(model, side, tmp_path / "model.safetensors")


def test_file_that_is_cut_short_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "cut.safetensors"
    save_weights(network(num_classes=6, in_channels=3), path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match="the file is cut short"):
        in_node(path, 4, torch.zeros(1, 3, 96, 96, dtype=torch.uint8))
