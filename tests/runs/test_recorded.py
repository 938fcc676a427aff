from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from kdcourse import evaluation, training
from kdcourse.data import View, fashion_mnist
from kdcourse.distillation import methods, soft_targets
from kdcourse.errors import CheckpointError
from kdcourse.runs import recorded, tasks, teachers, trials
from kdcourse.runs.students import StudentRecipe
from kdcourse.runs.tasks import AnyDataset
from tests.runs import tiny

QUICK = StudentRecipe(model="pocket_2k").changed(epochs=2, batch_size=16)
UNET = StudentRecipe(model="pocket_unet").changed(epochs=2, batch_size=16)


def miniature(
    name: str, data: AnyDataset, teacher: teachers.TeacherRecipe, student: StudentRecipe, folder: Path
) -> tasks.Task:
    """The course in miniature: one quick teacher of tiny pictures, in the place of the shipped ones."""
    teachers.train_teacher(teacher, data, folder / "teachers", progress=False)
    taught = methods.build("kd" if name == "classification" else "pixelwise", temperature=2.0)
    return replace(
        tasks.task_named(name),
        teachers_folder=str(folder / "teachers"),
        students_folder=str(folder / "students"),
        recorded={"plain": student, "distilled": student.changed(methods=taught, alpha=1.0)},
    )


@pytest.fixture(params=["classification", "segmentation"])
def course(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[AnyDataset, Path]:
    """Either task in miniature: its pictures, and where its students go."""
    monkeypatch.setenv("KDCOURSE_CACHE", str(tmp_path / "cache"))
    name, folder = request.param, tmp_path / "data"
    if name == "classification":
        data: AnyDataset = tiny.dataset()
        teacher, student = teachers.RECIPES[0].changed(epochs=4, batch_size=16), QUICK
    else:
        data = tiny.scenes()
        teacher = teachers.SEGMENTATION_RECIPES[0].changed(model="pocket_unet", epochs=8, learning_rate=0.02)
        student = UNET
    monkeypatch.setattr(tasks, name.upper(), miniature(name, data, teacher, student, folder))
    return data, folder / "students"


def test_each_segmentation_model_is_asked_once() -> None:
    data, asked = tiny.scenes(), []

    class Asked(nn.Conv2d):
        def forward(self, images: Tensor) -> Tensor:
            if len(images) > 2:  # two are the trial of a memory layout
                asked.append(len(images))
            return super().forward(images)

    teacher, student = Asked(3, 3, 1), Asked(3, 3, 1)
    scores = tasks.scorer(teacher, data)
    found = scores(teacher)
    assert asked == [24] and found["agreement"] == 1.0
    apart = scores(student)
    assert asked == [24, 24]
    masks = [evaluation.predict_masks(model, data.test, data) for model in (student, teacher)]
    assert apart["agreement"] == evaluation.mask_agreement(*masks)
    assert apart["iou"] == evaluation.evaluate_segmentation(student, data.test, data).mean_iou


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KDCOURSE_CACHE", str(tmp_path / "cache"))
    teacher = teachers.RECIPES[0].changed(epochs=4, batch_size=16)
    course = miniature("classification", tiny.dataset(), teacher, QUICK, tmp_path / "data")
    monkeypatch.setattr(tasks, "CLASSIFICATION", course)
    return tmp_path / "data" / "students"


@pytest.mark.slow
def test_results_are_recorded_with_weights_that_bear_them_out(course: tuple[AnyDataset, Path]) -> None:
    data, shipped = course
    content = recorded.record(data, shipped, seeds=(0, 1), say=lambda _: None)
    assert json.loads((shipped / "recorded.json").read_text()) == content
    assert {path.name for path in shipped.glob("*.safetensors")} == {
        f"{kind}_seed{seed}.safetensors" for kind in ("plain", "distilled") for seed in (0, 1)
    }
    assert recorded.measured(data, shipped, recorded.ensemble(data), seeds=(0, 1)) == content
    assert recorded.summary(data) == content
    assert recorded.summary(replace(data, train=data.validation)) is None
    teacher, plain = (content["models"][name]["mean"] for name in ("ensemble", "plain"))
    assert teacher["agreement"] == max(teacher["agreement"], plain["agreement"]) == 1.0
    assert plain["agreement"]  # above 0
    low, high = content["models"]["plain"]["interval"][tasks.task_of(data).metric]
    assert low <= plain[tasks.task_of(data).metric] <= high

    before = {path: path.stat().st_mtime_ns for path in shipped.glob("*.safetensors")}
    recorded.record(data, shipped, seeds=(0, 1), say=lambda _: None)
    assert {path: path.stat().st_mtime_ns for path in shipped.glob("*.safetensors")} == before

    path = shipped / "plain_seed1.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    with pytest.raises(CheckpointError, match=r"plain_seed1.*students record"):
        recorded.load(shipped, "plain_seed1", data)


def test_the_search_keeps_every_trial_and_repeats_none(course: tuple[AnyDataset, Path]) -> None:
    data, shipped = course
    chosen = tasks.task_of(data).recorded
    both = (
        trials.Trial("plain", "which", chosen["plain"]),
        trials.Trial("T2", "which", chosen["distilled"]),
    )
    told: list[str] = []
    rows = recorded.search(data, shipped, trials=both[:1], say=told.append)
    rows = recorded.search(data, shipped, trials=both, say=told.append)
    assert len(rows) == len(told) == 2
    assert [row["recipe"]["alpha"] for row in rows] == [0.0, 1.0]
    assert all(0 <= row["validation_accuracy"] <= 1 for row in rows)
    assert json.loads((shipped / "search.json").read_text())["rows"] == rows


def test_names_and_settings_of_the_trials_are_unique() -> None:
    names = [trial.name for trial in trials.TRIALS]
    settings = [(json.dumps(trial.recipe.settings), trial.seed) for trial in trials.TRIALS]
    assert len(set(names)) == len(names)
    assert len(set(settings)) == len(settings)


def test_plain_and_distilled_get_the_same_budget() -> None:
    plain, distilled = trials.RECORDED["plain"], trials.RECORDED["distilled"]
    assert plain.alpha == 0 < distilled.alpha
    assert plain.model == distilled.model and plain.training == distilled.training


def test_recipes_are_written_byte_for_byte_as_they_were_recorded() -> None:
    """Else stored students and trials would no longer be recognised, and be trained again."""
    task = tasks.task_named("classification")
    known = {json.dumps(trial.recipe.settings) for trial in task.trials}
    rows = json.loads((task.students / recorded.SEARCH).read_text())["rows"]
    assert {json.dumps(row["recipe"]) for row in rows} == known
    for kind, recipe in task.recorded.items():
        for path in task.students.glob(f"{kind}_seed*.safetensors"):
            identity = training.weights.read_tensors(path)[1]["identity"]
            assert json.dumps(identity["recipe"]) == json.dumps(recipe.settings), path


def test_a_recipe_of_another_method_names_it_and_all_it_depends_on() -> None:
    distilled = StudentRecipe(model="pocket_2k", methods=methods.build("kd", temperature=2.0), alpha=0.5)
    assert distilled.settings["temperature"] == 2.0 and "method" not in distilled.settings
    others = [
        distilled.changed(weights={"kd": 0.7}),
        distilled.changed(methods=methods.build("pairwise", patch=3)),
        distilled.changed(methods=methods.build("pairwise", patch=2)),
        distilled.changed(methods=methods.build("channelwise"), weights={"channelwise": 3.0}),
        distilled.changed(methods=methods.build(["pixelwise", "channelwise"]), weights={"channelwise": 3.0}),
        distilled.changed(methods=methods.build("channelwise")),
        distilled.plain(),
    ]
    found = [json.dumps(recipe.settings) for recipe in (distilled, *others)]
    assert len({*found}) == len(found)
    assert others[1].settings["method"] == ["pairwise"] and others[1].settings["patch"] == 3


def test_soft_targets_are_stored_for_the_teachers_at_hand_alone(shipped: Path, tmp_path: Path) -> None:
    data = tiny.dataset()
    folder = tmp_path / "soft-targets"
    folder.mkdir()
    (folder / "of-other-teachers.npy").write_bytes(b"old")
    [file] = recorded.store_soft_targets(data, folder)
    assert list(folder.iterdir()) == [file]
    content = file.read_bytes()
    assert recorded.store_soft_targets(data, folder) == [file]
    assert file.read_bytes() == content


def test_the_soft_targets_that_came_along_are_the_shipped_ensembles(tmp_path: Path) -> None:
    """`soft_targets` finds them, asking about next to nothing, and every 500th picture bears them out."""
    data, teacher = fashion_mnist(), recorded.ensemble(fashion_mnist())
    targets = soft_targets(teacher, data.train, data, cache=tmp_path)
    assert [file.parent.name for file in targets.files if file] == ["soft-targets"]
    assert not list(tmp_path.iterdir())
    index = torch.arange(0, len(data.train), 500)
    answers = teacher(data.normalise(data.train.images[index]))
    torch.testing.assert_close(targets.logits(View(), index), answers, atol=0.02, rtol=0.01)


@pytest.mark.slow(seconds=40)
def test_the_recorded_results_are_those_of_the_stored_weights() -> None:
    """The whole test set, all students again: what ``recorded.json`` says is what the weights do."""
    task = tasks.task_named("classification")
    data, folder = task.student_data(), task.students
    content = json.loads((folder / "recorded.json").read_text())
    again = recorded.measured(data, folder, recorded.ensemble(data))
    assert again["data"] == content["data"]
    assert again["settings"] == content["settings"]
    for kind, row in content["models"].items():
        for run, now in zip(row["runs"], again["models"][kind]["runs"], strict=True):
            for score, value in run["test"].items():
                # Another processor may round a picture or two to the other side.
                assert now["test"][score] == pytest.approx(value, abs=5e-4), (kind, run["seed"], score)
    students = [row for kind, row in content["models"].items() if kind != "ensemble"]
    assert all(len(row["runs"]) >= 5 for row in students)
