from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from kdcourse import evaluation
from kdcourse.data import austen, fashion_mnist, garment_scenes
from kdcourse.distillation import Ensemble
from kdcourse.errors import CheckpointError
from kdcourse.files import shipped
from kdcourse.runs import language, tasks, teachers
from kdcourse.training.weights import read_tensors
from tests.runs.tiny import dataset

QUICK = teachers.RECIPES[0].changed(epochs=2, batch_size=16)


def test_a_teacher_is_trained_stored_and_loaded_again(tmp_path: Path) -> None:
    data = dataset()
    notes = teachers.train_teacher(QUICK, data, tmp_path, progress=False)
    assert [record["epoch"] for record in notes["history"]["epochs"]] == [1, 2]
    assert not list(tmp_path.glob("*.checkpoint.safetensors"))

    [(name, model, kept)] = teachers.load_teachers(tmp_path, data)
    assert name == QUICK.name
    assert kept == notes
    assert not model.training
    stored = (tmp_path / f"{name}.safetensors").stat().st_size
    assert stored < 2.1 * sum(p.numel() for p in model.parameters())  # two bytes per weight


@pytest.mark.slow
def test_a_finished_teacher_is_not_trained_twice_but_another_recipe_is(tmp_path: Path) -> None:
    data = dataset()
    teachers.train_teacher(QUICK, data, tmp_path, progress=False)
    path = tmp_path / f"{QUICK.name}.safetensors"
    before = path.read_bytes(), path.stat().st_mtime_ns
    teachers.train_teacher(QUICK, data, tmp_path, progress=False)
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before
    teachers.train_teacher(QUICK.changed(seed=99), data, tmp_path, progress=False)
    assert path.read_bytes() != before[0]


@pytest.mark.slow
def test_an_interrupted_teacher_ends_as_if_it_never_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = dataset()
    teachers.train_teacher(QUICK, data, tmp_path / "whole", precision="float32", progress=False)

    fit = teachers.training.fit

    def stop_in_the_second_epoch(*args: object, **options: object) -> object:
        def after(epoch: int, step: int, loss: float) -> None:
            if epoch == 1 and step == 2:
                raise KeyboardInterrupt

        return fit(*args, **options, after_step=after)  # type: ignore[arg-type]

    monkeypatch.setattr(teachers.training, "fit", stop_in_the_second_epoch)
    with pytest.raises(KeyboardInterrupt):
        teachers.train_teacher(QUICK, data, tmp_path / "parts", precision="float32", progress=False)
    monkeypatch.setattr(teachers.training, "fit", fit)
    assert list((tmp_path / "parts").glob("*.checkpoint.safetensors"))
    teachers.train_teacher(QUICK, data, tmp_path / "parts", precision="float32", progress=False)

    whole, parts = (
        teachers.load_teachers(tmp_path / part, data)[0][1].state_dict() for part in ("whole", "parts")
    )
    assert all(torch.equal(whole[key], parts[key]) for key in whole)


def test_missing_changed_and_foreign_teachers_are_named(tmp_path: Path) -> None:
    data = dataset()
    with pytest.raises(CheckpointError, match=r"no trained teachers.*--teachers train"):
        teachers.load_teachers(tmp_path, data)
    teachers.train_teacher(QUICK, data, tmp_path, progress=False)
    path = tmp_path / f"{QUICK.name}.safetensors"

    with pytest.raises(CheckpointError, match=r"trained for the classes.* has x, y, z"):
        teachers.load_teachers(tmp_path, replace(data, classes=("x", "y", "z")))

    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(
        CheckpointError, match=rf"{QUICK.name}.*SHA-256 \w+ expected, \w+ found.*git checkout"
    ):
        teachers.load_teachers(tmp_path, data)
    path.unlink()
    with pytest.raises(CheckpointError, match="no file found"):
        teachers.load_teachers(tmp_path, data)
    (tmp_path / "SHA256SUMS").write_text("nonsense\n")
    with pytest.raises(CheckpointError, match="line 1 is not"):
        teachers.load_teachers(tmp_path, data)


@pytest.mark.slow
def test_the_shipped_teachers_are_what_the_course_says() -> None:
    """Five, small on disk, each its recipe's; on 2,000 test pictures clearly good, together better."""
    folder = teachers.shipped_folder()
    data = fashion_mnist()
    found = teachers.load_teachers(folder, data)
    assert [name for name, _, _ in found] == [recipe.name for recipe in teachers.RECIPES]
    assert sum(path.stat().st_size for path in folder.iterdir()) < 12e6
    for recipe, (_, _, notes) in zip(teachers.RECIPES, found, strict=True):
        assert notes["settings"]["seed"] == recipe.training.seed
        assert notes["settings"]["augmentation"] == recipe.training.augmentation.key
        assert len(notes["history"]["epochs"]) == recipe.training.epochs
    some = data.test.subset(torch.arange(0, 10_000, 5))
    logits = [evaluation.predict(model, some, data) for _, model, _ in found]
    each = [evaluation.accuracy(one, some.labels) for one in logits]
    together = evaluation.accuracy(torch.stack(logits).mean(dim=0), some.labels)  # as `Ensemble` averages
    assert min(each) > 0.93
    assert together > sum(each) / len(each)


@pytest.mark.slow
def test_the_shipped_segmentation_teachers_are_what_the_course_says() -> None:
    """Three, small on disk, each its recipe's; on 100 test scenes clearly good, together better than most."""
    folder = shipped(tasks.SEGMENTATION.teachers_folder)
    data = garment_scenes(scenes=(1, 1, 100))
    found = teachers.load_teachers(folder, data)
    assert [name for name, _, _ in found] == [recipe.name for recipe in teachers.SEGMENTATION_RECIPES]
    assert sum(path.stat().st_size for path in folder.iterdir()) < 8e6
    for recipe, (_, model, notes) in zip(teachers.SEGMENTATION_RECIPES, found, strict=True):
        assert notes["settings"]["seed"] == recipe.training.seed
        assert len(notes["history"]["epochs"]) == recipe.training.epochs
        assert 1e6 <= sum(p.numel() for p in model.parameters()) <= 2e6
    models = [model for _, model, _ in found]
    each = [evaluation.evaluate_segmentation(model, data.test, data).mean_iou for model in models]
    together = evaluation.evaluate_segmentation(Ensemble(models), data.test, data).mean_iou
    assert min(each) > 0.78 and together > 0.8
    assert together > sum(each) / len(each)


@pytest.mark.slow
def test_the_shipped_language_models_are_what_the_course_says() -> None:
    text = austen()
    found = language.load_teachers(text)
    assert len(found) == len(language.RECIPES) == 3
    assert sum(path.stat().st_size for path in shipped(language.FOLDER).iterdir()) < 10e6
    assert all(1e6 < sum(p.numel() for p in model.parameters()) < 3e6 for model in found)
    tokens, labels = text.test.tokens[::9], text.test.labels[::9]
    with torch.no_grad():
        *each, together = (
            float(torch.nn.functional.cross_entropy(model(tokens).flatten(0, 1), labels.flatten()))
            for model in (*found, Ensemble(found))
        )
    assert max(each) < 2.5 and min(each) - together > 0.03  # nats per token; a uniform guess has 6.24
    for recipe in language.RECIPES:
        _, notes = read_tensors(shipped(language.FOLDER) / f"{recipe.name}.safetensors")
        assert notes["settings"] == recipe.settings | {"data": text.train.digest[:16]}
        assert len(notes["history"]["epochs"]) == recipe.training.epochs


def test_all_that_was_trained_fits_into_24_megabytes() -> None:
    folders = (
        "teachers",
        "students",
        "soft-targets",
        "segmentation-teachers",
        "study",
    )
    kept = [path for name in folders for path in shipped(name).rglob("*") if "trials" not in path.parts]
    assert sum(path.stat().st_size for path in kept) < 24e6
