"""What the page `live_masks` loads is what the package says: networks, test scenes, the two students' training."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from kdcourse import models
from kdcourse.data import SegmentationDataset
from kdcourse.distillation import Ensemble
from kdcourse.errors import ArgumentError, CheckpointError, DataError
from kdcourse.evaluation import evaluate_segmentation, mean_iou, predict_masks
from kdcourse.figures.masks import class_colours
from kdcourse.files import CHECKSUMS, shipped
from kdcourse.models.unet import UNet
from kdcourse.runs.students import StudentRecipe
from kdcourse.runs.study.masks import FLIPS, Masks
from kdcourse.runs.study.rows import Rows
from tests.runs import tiny
from tools.website import build as whole_site
from tools.website import pages
from tools.website.live import build as first_page
from tools.website.live import frame
from tools.website.live.masks import build, students

trained = pytest.mark.skipif(not students.stored(), reason=f"no students yet: {students.COMMAND}")


class FewMasks(Masks):
    numbers: Sequence[int] = (8, 64)
    searched: Sequence[int] = (8, 64)
    recipe = StudentRecipe(model="pocket_unet").changed(epochs=2, batch_size=16)
    plenty = 128


@pytest.fixture(scope="module")
def data() -> SegmentationDataset:
    return tiny.scenes()


@pytest.fixture
def study(data: SegmentationDataset, tmp_path: Path) -> FewMasks:
    torch.manual_seed(0)
    made = FewMasks(lambda: data, tmp_path)
    made.__dict__["_teacher"] = Ensemble([nn.Conv2d(3, 3, 1)])
    made.__dict__["_plenty"] = tiny.scenes(made.plenty)
    return made


def network(data: SegmentationDataset, seed: int) -> UNet:
    torch.manual_seed(seed)
    made = models.build("pocket_unet", data=data).eval()
    assert isinstance(made, UNet)
    return made


@pytest.fixture
def shown(tmp_path: Path) -> dict[str, build.Shown]:
    for name in students.NAMES:
        (tmp_path / f"{name}.safetensors").write_bytes(name.encode())
    return {
        name: build.Shown(tmp_path / f"{name}.safetensors", f"{name}'s", iou)
        for name, iou in (("plain", 0.25), ("distilled", 0.5))
    }


def numbers(text: str) -> torch.Tensor:
    """Bytes in base64."""
    return torch.from_numpy(np.frombuffer(base64.b64decode(text), np.uint8).copy())


# -- what is offered ---------------------------------------------------------------------------------


def test_scenes_are_the_first_and_of_the_others_those_furthest_apart() -> None:
    plain = torch.full((20,), 0.5, dtype=torch.float64)
    distilled = plain.clone()
    distilled[[0, 6, 9, 12, 15, 18]] += torch.tensor([0.4, 0.1, 0.3, 0.1, 0.2, 0.05], dtype=torch.float64)
    distilled[[1, 7, 11]] -= torch.tensor([0.5, 0.1, 0.2], dtype=torch.float64)
    chosen = {name: places.tolist() for name, places in build.choose(plain, distilled).items()}
    assert chosen == {"first": [0, 1, 2, 3, 4], "distilled": [9, 15, 6], "plain": [11]}  # 6 and 12 are equal
    same = build.choose(plain, plain)
    assert (len(same["distilled"]), len(same["plain"])) == (0, 0)
    every = {place for places in chosen.values() for place in places}
    assert len(every) == build.FIRST + build.AHEAD + build.BEHIND == 9


def test_masks_are_packed_as_runs() -> None:
    mask = torch.zeros(40, 40, dtype=torch.uint8)
    mask[20, 3:9] = 2
    packed = build.runs(mask)
    assert packed.dtype == torch.uint8 and len(packed) < 12
    unpacked = torch.cat([torch.full((length,), value) for value, length in packed.tolist()])
    assert torch.equal(unpacked.view(40, 40).to(torch.uint8), mask)


def test_list_holds_scenes_truth_and_networks_as_they_are(
    data: SegmentationDataset, shown: dict[str, build.Shown], tmp_path: Path
) -> None:
    folder = tmp_path / "site"
    folder.mkdir()
    networks = {name: network(data, seed) for seed, name in enumerate(students.NAMES)}
    build.make(folder, data, networks, shown)
    assert {path.name for path in folder.iterdir()} == {
        "masks_plain.safetensors", "masks_distilled.safetensors", "masks.json",
    }  # fmt: skip
    told = json.loads((folder / "masks.json").read_text())
    assert told["models"]["distilled"] == {
        "file": "masks_distilled.safetensors", "bytes": 9, "stride": networks["distilled"].stride,
        "learned": "distilled's", "iou": 0.5,
    }  # fmt: skip
    assert (folder / "masks_plain.safetensors").read_bytes() == b"plain"
    index = torch.tensor([scene["index"] for scene in told["scenes"]])
    pixels = numbers(told["pixels"]).view(-1, 16, 16, 3).permute(0, 3, 1, 2)
    assert torch.equal(pixels, data.test.images[index])
    for place, packed in zip(index, told["masks"], strict=True):
        runs = numbers(packed).view(-1, 2).tolist()
        mask = torch.cat([torch.full((length,), value, dtype=torch.uint8) for value, length in runs])
        assert torch.equal(mask.view(16, 16), data.test.masks[place])
    assert (told["classes"], told["side"]) == (list(data.classes), 16)
    assert (told["mean"], told["std"]) == (list(data.mean), list(data.std))
    assert told["colours"] == class_colours(data.classes)
    iou = {}
    for name, model in networks.items():
        masks = predict_masks(model, data.test, data)
        iou[name] = [mean_iou(a[None], b[None], 3) for a, b in zip(masks, data.test.masks, strict=True)]
    ahead = [b - a for a, b in zip(iou["plain"], iou["distilled"], strict=True)]
    for scene in told["scenes"]:
        if scene["group"] == "first":
            assert scene["index"] < build.FIRST
        elif scene["group"] == "distilled":
            assert ahead[scene["index"]] >= sorted(ahead[build.FIRST :])[-build.AHEAD] > 0
        else:
            assert ahead[scene["index"]] == min(ahead[build.FIRST :]) < 0


def test_large_students_are_refused(
    data: SegmentationDataset, shown: dict[str, build.Shown], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "MOST_BYTES", 8)
    with pytest.raises(DataError, match="distilled student has 9 bytes; at most 8 are allowed"):
        build.make(tmp_path, data, {}, shown)


# -- the page ----------------------------------------------------------------------------------------


def test_page_holds_its_controls_and_the_numbers_of_its_students(
    data: SegmentationDataset, study: FewMasks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    students.train(study, tmp_path)
    found = students.load(data, tmp_path)
    monkeypatch.setattr(students, "shown_scenes", lambda: data)
    monkeypatch.setattr(students, "load", lambda _: found)
    monkeypatch.setattr(students, "stored", lambda: True)
    text = build.fragment()
    assert "<!--" not in text
    words = " ".join(text.split())
    assert "learned from 8 scenes with their true masks" in words and "U-Nets to 128 scenes" in words
    assert "red and green" in words and "all 24 test scenes" in words and "16 x 16 pixels" in words
    assert "\n# Two students mark garments, live\n" in text and 'id="live-picture"' in text
    for name in build.CODE:  # nothing comes from elsewhere
        program = (build.HERE / name).read_text(encoding="utf-8")
        assert not any(word in program for word in ("http:", "https:", "cdn"))


def test_tabs_lead_from_one_page_to_the_other_and_need_both(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(students, "stored", lambda: True)
    text = first_page.fragment()
    tabs = text[text.index("<nav") : text.index("</nav>")]
    assert 'href="live.html" aria-current="page"' in tabs and 'href="live_masks.html">' in tabs
    assert list(pages._live()) == ["live", "live_masks"] == list(pages.TRY_IT)
    monkeypatch.setattr(students, "stored", lambda: False)
    assert "<nav" not in first_page.fragment() and "live_masks" not in first_page.fragment()
    assert frame.pages() == ["live"] == list(pages.live_fragments())
    assert whole_site.MASK_STUDENTS == students.COMMAND  # which building the site then names


# -- the students ------------------------------------------------------------------------------------


@trained
@pytest.mark.slow
def test_stored_students_are_those_of_the_command() -> None:
    study = students.study()
    found = students.load(study.data)
    assert list(found) == ["plain", "distilled"]
    for name, (model, notes) in found.items():
        wanted = students.expected(name, study)
        assert {key: notes[key] for key in wanted} == wanted
        reached = evaluate_segmentation(model, study.data.test, study.data).mean_iou
        assert notes["test_iou"] == pytest.approx(reached, abs=0.01)
    assert found["distilled"][1]["test_iou"] > found["plain"][1]["test_iou"]
    shown = students.shown_scenes()
    assert shown.test.digest == study.data.test.digest and shown.mean == study.data.mean


def test_students_have_the_settings_that_the_study_chose(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = Masks(tiny.scenes, tmp_path)
    cells = students.cells(study)
    for cell in cells.values():
        assert cell.recipe.training.augmentation == FLIPS
        assert cell.recipe.training.epochs == 2 * study.recipe.training.epochs
    monkeypatch.setattr(students, "FLIPS", None)  # the other candidates, of scenes as they are
    assert all(cell.recipe.training.augmentation is None for cell in students.cells(study).values())
    monkeypatch.setattr(students, "FLIPS", "others")
    with pytest.raises(ArgumentError, match="for masks with mirrored scenes; found 0 of them"):
        students.cells(study)
    chosen = study.current(Rows(shipped("study"), "masks").checked())
    if not chosen:
        pytest.skip("the study's rows are of other settings: kdcourse study masks")
    for cell in cells.values():
        recipes = [row["recipe"] for row in chosen if row["about"] == cell.about]
        assert recipes and all(recipe == cell.recipe.settings for recipe in recipes)


def test_command_trains_and_stores_both(study: FewMasks, data: SegmentationDataset, tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    students.train(study, tmp_path)
    assert torch.get_num_threads() == threads and students.stored(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        "plain.safetensors",
        "distilled.safetensors",
        CHECKSUMS,
    }
    notes = {}
    for name, (model, told) in students.load(data, tmp_path).items():
        wanted = students.expected(name, study)
        assert {key: told[key] for key in wanted} == wanted
        # Of the weights as they are stored.
        assert told["test_iou"] == evaluate_segmentation(model, data.test, data).mean_iou
        assert all(
            torch.equal(weight, weight.half().float()) for weight in model.parameters() if weight.ndim > 1
        )
        notes[name] = told
    assert notes["plain"]["about"] == {"kind": "masks", "masks": 8, "long": True, "shown": 128}
    assert notes["plain"]["answers"] is None
    assert notes["distilled"]["about"] == {"kind": "answers", "scenes": 128, "long": True}
    plain, distilled = (notes[name]["recipe"] for name in students.NAMES)
    assert {name for name in plain if plain[name] != distilled[name]} == {"alpha"}
    assert (plain["alpha"], distilled["alpha"]) == (0.0, 1.0)


def test_damaged_students_and_those_of_other_test_scenes_are_refused(
    study: FewMasks, data: SegmentationDataset, tmp_path: Path
) -> None:
    assert not students.stored(tmp_path)
    students.train(study, tmp_path)
    with pytest.raises(CheckpointError, match=r"plain\.safetensors was evaluated on test scenes of digest"):
        students.load(tiny.scenes(held_out=25), tmp_path)
    (tmp_path / "distilled.safetensors").write_bytes(b"damaged")
    with pytest.raises(
        CheckpointError, match=r"distilled\.safetensors is not the file .* tools\.website\.live\.masks"
    ):
        students.load(data, tmp_path)
