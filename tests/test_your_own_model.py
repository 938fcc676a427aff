"""The page on one's own model is run as it stands, on a tiny folder, with weights from a server on this machine."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.models import ResNet18_Weights

from kdcourse.data import image_folder
from kdcourse.errors import DataWarning
from tests.models.test_pretrained import publish, random_network, served
from tools.readme.pages import ROOT

__all__ = ["served"]  # a fixture

PAGE = ROOT / "docs/your_own_model.md"
# As many epochs as a few flat images need.
FEWER = {"epochs=5, batch_size=32": "epochs=3, batch_size=8", "epochs=20": "epochs=2"}


@pytest.mark.slow
def test_the_page_runs_in_order_as_it_stands(
    served: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KDCOURSE_CACHE", str(tmp_path / "cache"))
    rng = np.random.default_rng(0)
    for tone, name in ((40, "oak"), (200, "ash")):
        (tmp_path / "my_images" / name).mkdir(parents=True)
        for number in range(12):
            noise = rng.integers(0, 50, (60, 80, 3))
            Image.fromarray((tone + noise).astype(np.uint8)).save(
                tmp_path / "my_images" / name / f"{number}.jpg"
            )
    (tmp_path / "my_images" / "oak" / "broken.jpg").write_bytes(b"")
    (tmp_path / "new").mkdir()
    for tone, name in ((220, "one"), (60, "two")):
        Image.new("RGB", (300, 200), (tone,) * 3).save(tmp_path / "new" / f"{name}.jpg")
    # ResNet-18 on 32 pixels in place of 224: a fiftieth of the work.
    weights = ResNet18_Weights.IMAGENET1K_V1.value
    monkeypatch.setattr(weights, "transforms", partial(weights.transforms.func, crop_size=32))
    publish(served, "resnet18", random_network("resnet18"), monkeypatch)

    code = "\n".join(re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.M | re.S))
    for usual, less in FEWER.items():
        assert code.count(usual) == 1
        code = code.replace(usual, less)
    space: dict[str, Any] = {}
    with pytest.warns(DataWarning, match=r"oak/broken\.jpg"):
        exec(compile(code, PAGE.name, "exec"), space)

    said = capsys.readouterr().out
    assert said.splitlines()[0] == "('ash', 'oak') 20 2 2"
    assert all(f"\n{name}: " in said for name in ("teacher", "plain student", "distilled student"))
    assert said.rstrip().splitlines()[-1].startswith("[")
    assert set(space["classify"]("new/one.jpg", "new/two.jpg")) <= {"ash", "oak"}
    # The few lines without this package give its logits for the very files that it has read.
    images, student = space["images"], space["distilled"].eval()
    files = sorted((tmp_path / "my_images" / "ash").iterdir())
    mine = image_folder(tmp_path / "my_images", size=64, channels=3, skip_damaged=True, cache=True)
    assert torch.equal(mine.test.images, images.test.images)
    with torch.no_grad():
        every = torch.cat([part.images for part in (images.train, images.validation, images.test)])
        labels = torch.cat([part.labels for part in (images.train, images.validation, images.test)])
        wanted = student(images.normalise(every[labels == 0])).argmax(1).tolist()
    assert sorted(space["classify"](*files)) == sorted(images.classes[number] for number in wanted)


def test_the_page_is_found_from_the_readme_and_in_the_websites_navigation() -> None:
    assert "(docs/your_own_model.md)" in (ROOT / "README.md").read_text(encoding="utf-8")
    index = (ROOT / "tools/website/pages/index.md").read_text(encoding="utf-8")
    assert "\nyour_own_model\n" in index
