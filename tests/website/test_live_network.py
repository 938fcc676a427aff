"""The page's own JavaScript computes PyTorch's logits; run by Node."""

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
from kdcourse.data import Dataset, fashion_mnist
from kdcourse.evaluation import predict
from kdcourse.runs import recorded, teachers
from kdcourse.training import save_weights
from tools.website.live import build, students

NODE = shutil.which("node")
pytestmark = pytest.mark.skipif(NODE is None, reason="Node.js not installed; it brings npm, too")
CLOSE = 1e-4  # of a logit: float32 in another order of summation

_PROGRAM = """
const fs = require("fs");
const {code, files, images, input} = JSON.parse(fs.readFileSync(0));
const {buildNetwork, computeLogits} = require(code);
const networks = files.map((file) => {
    const {buffer, byteOffset, length} = fs.readFileSync(file);
    return buildNetwork(buffer.slice(byteOffset, byteOffset + length));
});
console.log(JSON.stringify(networks.map((network) => images.map((image) => computeLogits(network, image, input)))));
"""


def in_node(files: Sequence[Path], images: Tensor, mean: float, std: float) -> Tensor:
    """Each file's logits, float64 [files, N, C], for images uint8 [N, 1, H, H]."""
    content = {
        "code": str(build.HERE / "network.js"),
        "files": [str(file) for file in files],
        "images": images.flatten(1).tolist(),
        "input": {"side": images.shape[-1], "mean": mean, "std": std},
    }
    assert NODE is not None
    done = subprocess.run(
        [NODE, "-e", _PROGRAM], input=json.dumps(content), capture_output=True, text=True, timeout=120
    )
    if done.returncode:
        raise ValueError(done.stderr)
    return torch.tensor(json.loads(done.stdout), dtype=torch.float64)


@pytest.fixture(scope="module")
def data() -> Dataset:
    return fashion_mnist()


def test_students_answer_as_in_pytorch(data: Dataset) -> None:
    images = data.test.images[:40]
    files = [students.FOLDER / f"{name}.safetensors" for name in students.NAMES]
    found = in_node(files, images, data.mean[0], data.std[0])
    for (model, _), logits in zip(students.load(data).values(), found, strict=True):
        assert (logits - predict(model, images, data).double()).abs().max() < CLOSE


def test_teachers_and_their_mean_answer_as_in_pytorch(data: Dataset) -> None:
    images = data.test.images[:2]
    names = [recipe.name for recipe in teachers.RECIPES]
    files = [teachers.shipped_folder() / f"{name}.safetensors" for name in names]
    found = in_node(files, images, data.mean[0], data.std[0])
    for (_, model, _), logits in zip(
        teachers.load_teachers(teachers.shipped_folder(), data, names), found, strict=True
    ):
        assert (logits - predict(model, images, data).double()).abs().max() < CLOSE
    assert (found.mean(0) - predict(recorded.ensemble(data), images, data).double()).abs().max() < CLOSE


@pytest.mark.parametrize("name", ["pocket_17k", "residual_104k"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_any_weights_do_also_negative_scales_and_odd_sides(
    name: str, dtype: torch.dtype, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    model = models.build(name, num_classes=3).eval()
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d):
            for value in (part.weight, part.bias, part.running_mean):
                assert value is not None
                nn.init.normal_(value)  # the maximum of a pooling and a negative scale can't be swapped
            assert part.running_var is not None
            nn.init.uniform_(part.running_var, 0.5, 2)
    path = tmp_path / "model.safetensors"
    save_weights(model, path, dtype=dtype)
    if dtype == torch.float16:
        for weight in model.parameters():
            if weight.ndim > 1:
                weight.data = weight.data.half().float()
    images = torch.randint(0, 256, (3, 1, 25, 25), dtype=torch.uint8)
    [found] = in_node([path], images, 0.3, 0.4)
    with torch.no_grad():
        wanted = model.double()((images.double() / 255 - 0.3) / 0.4)
    assert wanted.std() > 0.01
    assert torch.allclose(found, wanted, rtol=1e-4, atol=CLOSE)


def test_file_that_is_cut_short_is_refused(data: Dataset, tmp_path: Path) -> None:
    path = tmp_path / "cut.safetensors"
    path.write_bytes((students.FOLDER / "plain.safetensors").read_bytes()[:-100])
    with pytest.raises(ValueError, match="the file is cut short"):
        in_node([path], data.test.images[:1], 0, 1)
