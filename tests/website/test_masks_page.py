"""The page `masks`: its JavaScript labels pixels as PyTorch does, and it loads what the package says."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from kdcourse.files import shipped
from kdcourse.models.unet import UNet
from kdcourse.runs.study.rows import Rows
from kdcourse.training import save_weights
from tests.runs import tiny
from tools.website.masks import build, students

NODE = shutil.which("node")
CLOSE = 1e-4  # of a logit: float32 in another order of summation

_PROGRAM = """
const fs = require("fs");
const {code, files, strides, pixels, input} = JSON.parse(fs.readFileSync(0));
const networks = require(code);
console.log(JSON.stringify(files.map((file, n) => {
    const {buffer, byteOffset, length} = fs.readFileSync(file);
    const network = networks.build(buffer.slice(byteOffset, byteOffset + length), strides[n]);
    return [[...networks.computeLogits(network, pixels, input).values], [...networks.classify(network, pixels, input)]];
})));
"""


@pytest.mark.skipif(NODE is None, reason="Node.js not installed; it brings npm, too")
def test_networks_label_as_in_pytorch(tmp_path: Path) -> None:
    torch.manual_seed(0)
    networks = [
        UNet(6, widths=(5, 6, 7), depth=1, stride=4),
        UNet(6, widths=(3, 4), stride=1),
    ]
    data = replace(tiny.scenes(1, 1), mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.25))
    images = data.test.images
    for place, network in enumerate(networks):
        network(torch.randn(4, 3, 16, 16) * 2 + 1)  # which gives the norms statistics
        save_weights(network, tmp_path / f"{place}.safetensors", {}, dtype=torch.float16)
        for weight in network.parameters():  # as they are stored
            if weight.ndim > 1:
                weight.data = weight.data.half().float()
    content = {
        "code": str(build.HERE / "network.js"),
        "files": [str(tmp_path / f"{place}.safetensors") for place in range(len(networks))],
        "strides": [network.stride for network in networks],
        "pixels": images[0].flatten().tolist(),
        "input": {"side": 16, "mean": data.mean, "std": data.std},
    }
    assert NODE is not None
    done = subprocess.run(
        [NODE, "-e", _PROGRAM], input=json.dumps(content), capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    for network, (logits, labels) in zip(networks, json.loads(done.stdout), strict=True):
        with torch.no_grad():
            expected = network.eval()(data.normalise(images))[0]
        assert (torch.tensor(logits).view(6, 16, 16) - expected).abs().max() < CLOSE
        assert (torch.tensor(labels).view(16, 16) == expected.argmax(0)).float().mean() > 0.99


def test_what_the_page_loads_is_what_the_package_says(tmp_path: Path) -> None:
    data = tiny.scenes(1, 3)
    network = UNet(3, widths=(1, 1), stride=2)
    found = {
        "plain": (network, {"masks": 7, "test_iou": 0.25}),
        "distilled": (network, {"masks": 0, "test_iou": 0.5}),
    }
    for name in students.NAMES:
        (tmp_path / f"{name}.safetensors").write_bytes(name.encode())
    build.make(tmp_path / "page", data, found, tmp_path)
    told = json.loads((tmp_path / "page" / "masks.json").read_text())
    assert told["models"]["plain"] == {
        "file": "plain.safetensors", "bytes": 5, "stride": 2, "learned": "7 masks", "iou": 0.25,
    }  # fmt: skip
    assert told["classes"] == ["ground", "red", "green"] and told["colours"][0] == [217, 217, 217]
    assert (told["side"], told["mean"], told["std"]) == (16, list(data.mean), list(data.std))
    for name, tensor in (("pixels", data.test.images), ("masks", data.test.masks)):
        assert base64.b64decode(told[name]) == tensor.numpy().tobytes()


def test_the_stored_students_are_the_study_s() -> None:
    """Whoever changes scenes, teachers or the recipe trains them again."""
    rows = Rows(shipped("study"), "masks").checked()
    shapes = replace(tiny.scenes(1, 1), classes=tuple("abcdef"))
    for name, (_, notes) in students.load(shapes).items():
        about = {"kind": "masks", "masks": 100} if name == "plain" else {"kind": "answers", "scenes": 1000}
        (row,) = [
            row for row in rows if row["phase"] == "test" and row["about"] == about and row["seed"] == 13
        ]
        assert {part: notes[part] for part in ("recipe", "data", "answers", "seed")} == {
            part: row[part] for part in ("recipe", "data", "answers", "seed")
        }
        assert notes["test_iou"] == pytest.approx(row["test_iou"], abs=0.005)  # of weights in float16


def test_the_page_states_the_students_size_and_data() -> None:
    text = build.fragment()
    assert "<!--" not in text and "27,138 parameters" in text and "from 100 scenes" in text
