from __future__ import annotations

import html
import json
import re
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from typer.testing import CliRunner

from kdcourse import cli, evaluation, training
from kdcourse.data import Augmentation
from kdcourse.errors import ArgumentError, CheckpointError, DataWarning
from kdcourse.runs import run as story
from kdcourse.runs import students, tasks, teachers
from kdcourse.runs.findings import flips_in_words
from kdcourse.runs.study import half
from tests.runs import tiny

QUIET = "--epochs 2 --seeds 2 --teachers train --teacher-epochs 4"


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KDCOURSE_CACHE", str(tmp_path / "cache"))
    # Nothing here depends on how exact a time is, and ten models were timed for a second each.
    monkeypatch.setattr(evaluation, "cost", partial(evaluation.cost, batch_size=8, seconds=0.01))


@pytest.fixture
def smaller(monkeypatch: pytest.MonkeyPatch) -> None:
    """The course's recipes with smaller models."""
    recipes = tuple(recipe.changed(model="pocket_60k") for recipe in teachers.RECIPES)
    live = tasks.CLASSIFICATION.live.changed(model="pocket_2k")
    monkeypatch.setattr(
        tasks, "CLASSIFICATION", replace(tasks.CLASSIFICATION, teacher_recipes=recipes, live=live)
    )


@pytest.mark.slow(seconds=20)
def test_the_command_tells_the_whole_story_on_pictures_of_ones_own(smaller: None, tmp_path: Path) -> None:
    pictures, out = tiny.folder(tmp_path / "pictures"), tmp_path / "out"
    arguments = ["run", "--data", str(pictures), "--out", str(out), *QUIET.split()]
    told = CliRunner().invoke(cli.app, arguments)
    assert told.exit_code == 0, told.output
    assert (out / "report.html").is_file()
    results = json.loads((out / "results.json").read_text())
    assert list(results["models"]) == [
        *(f"teacher_{k}" for k in range(1, 6)),
        "ensemble",
        "plain",
        "distilled",
    ]
    assert results["data"]["classes"] == ["a dot", "noise & co", "stripes"]
    assert results["recorded"] is None  # those belong to Fashion-MNIST
    assert results["command"].startswith("kdcourse run --data")
    for row in results["models"].values():
        assert {"parameters", "bytes", "macs", "latency_ms", "throughput"} <= row["cost"].keys()
        for one in row["runs"]:
            assert 0 <= one["test"]["accuracy"] <= 1
    assert results["models"]["ensemble"]["mean"]["agreement"] == 1
    assert results["comparison"]["times_smaller"]["parameters"] > 50
    for name in ("training_curves", "accuracy_against_cost", "reliability_diagram", "soft_target_gallery"):
        assert (out / "figures" / f"{name}.png").is_file()
        assert (out / "figures" / f"{name}.svg").is_file()

    tried = results["augmentation"]
    assert tried["chosen"] in ("flips", "no-flips") and set(tried["validation"]) == {"flips", "no-flips"}
    said = flips_in_words(tried, "accuracy")
    assert said in told.output
    assert said in html.unescape((out / "report.html").read_text()).replace("\u00a0", " ")

    # A second call trains nothing: what is stored stays, and the scores are the same.
    stored = {path: path.stat().st_mtime_ns for path in out.rglob("*.safetensors")}
    assert len(stored) == 5 + 2 + 2 * 2  # teachers, the first one with and without mirroring, students
    again = CliRunner().invoke(cli.app, arguments)
    assert again.exit_code == 0, again.output
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.safetensors")} == stored
    second = json.loads((out / "results.json").read_text())
    for name, row in results["models"].items():
        for first, now in zip(row["runs"], second["models"][name]["runs"], strict=True):
            assert now["test"] == pytest.approx(first["test"], abs=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "settings"),
    [
        ("--method dkd --set beta=2 --temperature 3", {"method": ["dkd"], "temperature": 3.0, "beta": 2.0}),
        ("--method kd --method fitnet --weight fitnet=0.5", {"alpha": 0.9, "fitnet": 0.5}),
    ],
)
def test_another_method_is_trained_and_recorded(
    options: str, settings: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher = teachers.RECIPES[0].changed(epochs=4, batch_size=16)
    live = tasks.CLASSIFICATION.live.changed(model="pocket_2k", epochs=1)
    course = replace(tasks.CLASSIFICATION, student_data=tiny.dataset, teacher_recipes=(teacher,), live=live)
    monkeypatch.setattr(tasks, "CLASSIFICATION", course)
    teachers.train_teacher(teacher, tiny.dataset(), tmp_path / "teachers", progress=False)
    arguments = [
        "run",
        "--teachers",
        str(tmp_path / "teachers"),
        "--out",
        str(tmp_path / "out"),
        "--seeds",
        "1",
    ]
    told = CliRunner().invoke(cli.app, [*arguments, *options.split()])
    assert told.exit_code == 0, told.output
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert results["settings"] == results["settings"] | settings
    assert options.split()[1] in results["command"]
    (run,) = results["models"]["distilled"]["runs"]
    parts = run["history"]["epochs"][-1]["parts"]
    assert len(parts) > 1 and all(value > 0 for value in parts.values())


@pytest.mark.slow
def test_few_labels_beside_many_images_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    quick = tuple(
        recipe.changed(model="pocket_2k", epochs=2, batch_size=16) for recipe in teachers.RECIPES[:2]
    )
    monkeypatch.setattr(teachers, "RECIPES", quick)
    answers = half.make_answers(tiny.dataset(), tmp_path / "study", say=lambda _: None, progress=False)
    monkeypatch.setattr(half, "load_answers", lambda data: answers)
    monkeypatch.setattr(tasks, "CLASSIFICATION", replace(tasks.CLASSIFICATION, student_data=tiny.dataset))
    out = tmp_path / "out"
    arguments = ["run", "--labels", "9", "--student", "pocket_2k", "--seeds", "2", "--out", str(out)]
    told = CliRunner().invoke(cli.app, arguments)
    assert told.exit_code == 0, told.output
    results = json.loads((out / "results.json").read_text())
    assert results["labels"] == {"few": 9, "images": 48} and results["recorded"] is None
    models = results["models"]
    assert list(models) == ["teacher_1", "teacher_2", "ensemble", "plain", "labelled", "distilled"]
    assert models["ensemble"]["mean"]["accuracy"] == pytest.approx(answers.accuracy)
    assert models["teacher_1"]["mean"]["nll"] is None and models["plain"]["mean"]["nll"] > 0
    assert models["distilled"]["cost"]["parameters"] == models["labelled"]["cost"]["parameters"]
    # All take the same number of steps, and only one kind learns from answers.
    steps = {name: len(models[name]["runs"][0]["history"]["epochs"]) for name in ("plain", "labelled")}
    assert steps == {"plain": 6, "labelled": 2}  # of 1 and 3 batches of 16
    learned = {name: models[name]["runs"][0]["history"]["settings"]["objective"] for name in list(models)[3:]}
    assert [name for name, objective in learned.items() if "kd" in str(objective)] == ["distilled"]
    difference = results["comparison"]["against_labels"]["mean"]
    first, second = (models[name]["mean"]["accuracy"] for name in ("labelled", "distilled"))
    assert difference == pytest.approx(second - first)
    drawn = {path.stem for path in (out / "figures").glob("*.png")}
    assert {"accuracy_against_cost", "reliability_diagram", "soft_target_gallery"} <= drawn
    assert {"labels_curve", "size_curve"} <= drawn and "masks_curve" not in drawn

    stored = {path: path.stat().st_mtime_ns for path in out.rglob("*.safetensors")}
    assert len(stored) == 3 * 2
    again = CliRunner().invoke(cli.app, arguments)
    assert again.exit_code == 0, again.output
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.safetensors")} == stored


@pytest.mark.parametrize(
    ("options", "labels"),
    [
        ({}, 550),
        ({"student": "mlp_25k", "epochs": 3, "method_settings": {"temperature": 2.0}}, 550),
        ({"labels": 100}, 100),
        ({"labels": "all"}, None),
        ({"folder": Path("mine")}, None),
        ({"task": "segmentation"}, 100),
        ({"task": "segmentation", "labels": "all"}, None),
        ({"task": "segmentation", "teachers": "train"}, None),
        ({"method": ("dkd",)}, None),
        ({"alpha": 0.5}, None),
        ({"teachers": "train"}, None),
    ],
)
def test_how_many_images_have_labels(options: dict[str, Any], labels: int | None) -> None:
    assert story.labels_of(story.RunOptions(**options)) == labels


@pytest.mark.slow(seconds=20)
def test_the_command_tells_the_story_of_masks_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    quick = teachers.SEGMENTATION_RECIPES[0].changed(model="pocket_unet", learning_rate=0.02)
    course = replace(
        tasks.SEGMENTATION,
        teacher_recipes=(quick, quick.changed(name="unet_2", seed=2)),
        student_data=tiny.scenes,
    )
    monkeypatch.setattr(tasks, "SEGMENTATION", course)
    out = tmp_path / "out"
    arguments = [
        "run", "--task", "segmentation", "--out", str(out), "--epochs", "2", "--seeds", "2",
        "--teachers", "train", "--teacher-epochs", "8",
    ]  # fmt: skip
    told = CliRunner().invoke(cli.app, arguments)
    assert told.exit_code == 0, told.output
    assert "validation mean IoU" in told.output
    assert re.search(r"model +mean IoU +95 % interval", told.output)
    results = json.loads((out / "results.json").read_text())
    assert list(results["models"]) == ["unet_1", "unet_2", "ensemble", "plain", "distilled"]
    assert results["command"].startswith("kdcourse run --task segmentation")
    for row in results["models"].values():
        assert {"parameters", "bytes", "macs", "latency_ms", "throughput"} <= row["cost"].keys()
        for one in row["runs"]:
            assert 0 <= one["test"]["iou"] <= 1 and 0 <= one["test"]["average_precision"] <= 1
    assert results["models"]["ensemble"]["mean"]["agreement"] == 1
    assert results["models"]["plain"]["interval"]["iou"] is not None
    assert results["models"]["ensemble"]["interval"]["iou"] is None
    page = (out / "report.html").read_text()
    assert "reaches a mean IoU of" in page and "Boundary IoU" in page and "is right on" not in page
    drawn = {path.stem for path in (out / "figures").glob("*.png")}
    assert drawn == {
        "segmentation_curves", "predicted_masks", "precision_recall_curves", "iou_bars", "accuracy_against_cost",
        "reliability_diagram", "masks_curve", "differing_masks",
    }  # fmt: skip
    assert "on garment scenes: test mean IoU in %" in page

    # The same teachers, few masks: three kinds of students, for the same number of steps.
    monkeypatch.setattr(tasks, "SEGMENTATION", replace(course, teachers_folder=str(out / "teachers")))
    few = tmp_path / "few"
    told = CliRunner().invoke(
        cli.app, ["run", *arguments[1:3], "--out", str(few), "--epochs", "1", "--seeds", "2", "--labels", "5"]
    )
    assert told.exit_code == 0, told.output
    results = json.loads((few / "results.json").read_text())
    assert results["labels"] == {"few": 5, "images": 64} and results["recorded"] is None
    models = results["models"]
    assert list(models)[3:] == ["plain", "labelled", "distilled"]
    settings = {name: models[name]["runs"][1]["history"]["settings"] for name in list(models)[3:]}
    assert [name for name, how in settings.items() if "pixelwise" in str(how["objective"])] == ["distilled"]
    assert settings["plain"]["data"] != settings["labelled"]["data"] == settings["distilled"]["data"]
    assert {how["precision"] for how in settings.values()} == {"float32"}
    page = (few / "report.html").read_text()
    assert "without one mask" in page and "Masks saved" in page and "trained on other scenes" in page
    assert {path.stem for path in (few / "figures").glob("*.png")} == drawn
    told = CliRunner().invoke(cli.app, ["run", *arguments[1:3], "--out", str(few), "--labels", "65"])
    assert told.exit_code == 2 and "lie in 1..64, the number of scenes" in " ".join(told.output.split())


@pytest.mark.slow
def test_interrupted_it_stops_with_a_word_and_goes_on_where_it_stopped(
    smaller: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures, out = tiny.folder(tmp_path / "pictures"), tmp_path / "out"
    course = tasks.CLASSIFICATION
    alone = replace(course, teacher_recipes=course.teacher_recipes[:1])
    monkeypatch.setattr(tasks, "CLASSIFICATION", alone)
    arguments = ["run", "--data", str(pictures), "--out", str(out), *QUIET.split()]
    train, calls = story.train_student, []

    def interrupted(*args: object, **options: object) -> object:
        calls.append(options["path"])
        if len(calls) == 3:
            raise KeyboardInterrupt
        return train(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)  # one student after the other
    monkeypatch.setattr(story, "train_student", interrupted)
    stopped = CliRunner().invoke(cli.app, arguments)
    assert stopped.exit_code == 130
    assert "resumes where this one stopped" in stopped.output
    assert not (out / "report.html").exists()
    done = {path: path.stat().st_mtime_ns for path in out.rglob("*.safetensors")}
    assert len(done) == 1 + 2 + 2  # the teacher, and with and without mirroring; two students

    finished = CliRunner().invoke(cli.app, arguments)
    assert finished.exit_code == 0, finished.output
    assert {path: path.stat().st_mtime_ns for path in done} == done


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--epochs 0", "--epochs must be at least 1; found 0"),
        ("--seeds 0", "--seeds must be at least 1; found 0"),
        ("--temperature -1", "temperature must be a finite number above 0; found -1"),
        ("--temperature nan", "temperature must be a finite number above 0; found nan"),
        ("--method dkdd", "There is no method 'dkdd'; choose one of "),
        ("--task segmentation --method pairwise --set gamma=8", "its settings are patch"),
        ("--set beta", "--set takes KEY=VALUE; found 'beta'"),
        ("--set temperature=hot", "--set temperature must be of type float; found 'hot'"),
        ("--task segmentation --method pairwise --set patch=-1", "patch"),
        ("--set temperature=-1", "found -1"),
        ("--method kd --weight dkd=3", "weights go to kd"),
        ("--weight kd=many", "--weight takes METHOD=WEIGHT"),
        ("--method channelwise", "--method channelwise is not for classification. Choose one of "),
        (
            "--task segmentation --method kd",
            "--method kd is not for segmentation. Choose one of attention, borders, ",
        ),
        ("--method kd --method kd", "each once"),
        ("--method dkd --set gamma=8", "its settings are temperature, target_weight, beta"),
        (
            "--layer student=stem",
            "no method here compares any. Leave it out, or choose --method attention or crd or fitnet or rkd",
        ),
        (
            "--method fitnet --layer student=nowhere",
            "no layer 'nowhere' that returns a tensor; its layers are ",
        ),
        ("--method fitnet --layer pupil=stem", "under 'student' and 'teacher'; found 'pupil'"),
        ("--alpha 0", "--alpha, the weight of the teacher, must be above 0 and at most 1; found 0"),
        ("--alpha 1.5", "found 1.5"),
        ("--student pocket", "There is no model 'pocket'"),
        ("--data nowhere", "nowhere"),
        ("--device tpu", "device must be auto, cpu, cuda, cuda:N (such as cuda:1) or mps; found 'tpu'"),
        ("--teachers nowhere", "no trained teachers in nowhere"),
        ("--average median", "average must be"),
        ("--task poetry", "--task must be one of classification, segmentation; found 'poetry'"),
        ("--task segmentation --student pocket_6k", "pocket_6k is no model for segmentation"),
        ("--student unet", "unet is no model for classification"),
        ("--task segmentation --data nowhere", "nowhere"),
        ("--augmentation mirrors", "must be one of auto, flips, no-flips, none; found 'mirrors'"),
        ("--augmentation none", "--teachers shipped loads trained ones. Add --teachers train"),
        ("--cache", "--cache is about images of your own. Add --data FOLDER"),
        ("--skip-damaged", "--skip-damaged is about images of your own"),
        ("--levels 0 4095", "--levels is about images of your own"),
        ("--size 32", "--size is about images of your own"),
        ("--labels many", "--labels must be a number of images or 'all'; found 'many'"),
        ("--labels 550 --alpha 0.5", "which --alpha doesn't fit. Leave it out, or use --labels all"),
        ("--labels 9", "--labels must be 'all' or lie in 10..27,500"),
        (
            "--labels 27501",
            "lie in 10..27,500, the number of images that the teachers never saw; found 27,501",
        ),
    ],
)
def test_wrong_options_are_refused_with_a_reason_and_write_nothing(
    arguments: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    refused = CliRunner().invoke(cli.app, ["run", *arguments.split()])
    assert refused.exit_code == 2
    assert message in refused.output
    assert "Traceback" not in refused.output
    assert not (tmp_path / "kdcourse-report").exists()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> teachers.TeacherRecipe:
    """One small teacher in place of five, and a smaller student."""
    teacher = teachers.RECIPES[0].changed(
        model="pocket_2k", epochs=8, augmentation=Augmentation(shift=1, erase=0.0)
    )
    live = tasks.CLASSIFICATION.live.changed(model="pocket_2k", epochs=1)
    monkeypatch.setattr(
        tasks, "CLASSIFICATION", replace(tasks.CLASSIFICATION, teacher_recipes=(teacher,), live=live)
    )
    return teacher


@pytest.mark.slow
def test_what_a_mirror_changes_is_not_mirrored(quick: teachers.TeacherRecipe, tmp_path: Path) -> None:
    pictures, out = tiny.sides(tmp_path / "pictures"), tmp_path / "out"
    arguments = ["run", "--data", str(pictures), "--out", str(out), "--teachers", "train", "--seeds", "1"]
    told = CliRunner().invoke(cli.app, arguments)
    assert told.exit_code == 0, told.output
    results = json.loads((out / "results.json").read_text())
    tried = results["augmentation"]
    assert tried["chosen"] == "no-flips"
    assert tried["validation"]["no-flips"] > 0.9 > 0.7 > tried["validation"]["flips"]
    assert "training images are not mirrored" in told.output
    [(_, _, notes)] = teachers.load_teachers(out / "teachers", story._load_data(
        story.RunOptions(folder=pictures), tasks.CLASSIFICATION, lambda _: None
    ))  # fmt: skip
    assert notes["settings"]["augmentation"] == quick.training.augmentation.without_flips().key
    # Whoever asks for no augmentation gets it untried.
    told = CliRunner().invoke(cli.app, [*arguments, "--augmentation", "none"])
    assert told.exit_code == 0, told.output
    assert json.loads((out / "results.json").read_text())["augmentation"] == {"chosen": "none"}
    notes = training.weights.read_tensors(out / "teachers" / f"{quick.name}.safetensors")[1]
    assert notes["settings"]["augmentation"] is None


def test_an_augmentation_by_name() -> None:
    for recipe in teachers.RECIPES:
        own = recipe.training.augmentation
        assert own is not None
        found = {
            name: teachers.augmented(recipe, name).training.augmentation
            for name in teachers.AUGMENTATIONS[1:]
        }
        assert found == {"flips": own, "no-flips": replace(own, flip=False), "none": None}


@pytest.mark.slow
def test_the_courses_own_images_are_mirrored_as_recorded(
    quick: teachers.TeacherRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "CLASSIFICATION", replace(tasks.CLASSIFICATION, student_data=tiny.dataset))
    told = CliRunner().invoke(cli.app, ["run", "--teachers", "train", "--seeds", "1", "--out", str(tmp_path)])
    assert told.exit_code == 0, told.output
    assert json.loads((tmp_path / "results.json").read_text())["augmentation"] == {"chosen": "flips"}
    assert not (tmp_path / "teachers" / "trials").exists()


@pytest.mark.slow
def test_a_folder_of_deep_and_damaged_files_is_read_from_a_cache(
    quick: teachers.TeacherRecipe, tmp_path: Path
) -> None:
    """Floating-point values need ``--levels``, a damaged file ``--skip-damaged``; each error names the option."""
    pictures = tmp_path / "pictures"
    images, labels = tiny.pictures(30, 3)
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        (pictures / f"c{label}").mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.astype("float32") * 2).save(pictures / f"c{label}" / f"{number}.tif")
    (pictures / "c0" / "broken.png").write_bytes(b"x")
    arguments = ["run", "--data", str(pictures), "--out", str(tmp_path / "out"), "--seeds", "1"]
    arguments += ["--teachers", "train", "--augmentation", "none"]
    told = CliRunner().invoke(cli.app, [*arguments, "--skip-damaged"])
    assert told.exit_code == 2 and re.search(r"for instance --levels \d+ \d+", told.output), told.output
    arguments += ["--levels", "0", "510"]
    told = CliRunner().invoke(cli.app, arguments)
    assert told.exit_code == 2 and "broken.png" in told.output and "add --skip-damaged" in told.output
    with pytest.warns(DataWarning, match=r"c0/broken\.png"):
        told = CliRunner().invoke(cli.app, [*arguments, "--skip-damaged", "--cache"])
    assert told.exit_code == 0, told.output
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert sum(results["data"][part] for part in ("train", "validation", "test")) == 30
    assert "--levels 0.0 510.0 --cache --skip-damaged --augmentation none" in results["command"]
    assert list((tmp_path / "cache" / "folders").iterdir())


def test_shipped_teachers_refuse_pictures_of_other_classes(tmp_path: Path) -> None:
    pictures = tiny.folder(tmp_path / "pictures")
    with pytest.raises(CheckpointError, match="--teachers train"):
        story.run(story.RunOptions(out=tmp_path / "out", folder=pictures, progress=False), say=lambda _: None)


def test_plain_and_distilled_students_start_equal_and_other_seeds_differ(tmp_path: Path) -> None:
    data = tiny.dataset()
    recipe = students.StudentRecipe(model="pocket_2k").changed(epochs=1, batch_size=16)
    first, _ = students.train_student(recipe, data, None, seed=0, progress=False, precision="float32")
    again, _ = students.train_student(recipe, data, None, seed=0, progress=False, precision="float32")
    other, _ = students.train_student(recipe, data, None, seed=1, progress=False, precision="float32")
    one, two, three = (list(model.parameters()) for model in (first, again, other))
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(one, three, strict=True))


def test_a_stored_student_of_another_recipe_or_damaged_is_trained_anew(tmp_path: Path) -> None:
    data, path = tiny.dataset(), tmp_path / "student.safetensors"
    recipe = students.StudentRecipe(model="pocket_2k").changed(epochs=1, batch_size=16)

    def train(recipe: students.StudentRecipe) -> dict[str, torch.Tensor]:
        students.train_student(recipe, data, None, seed=0, path=path, progress=False, precision="float32")
        return load_file(path)

    def same(some: dict[str, torch.Tensor], others: dict[str, torch.Tensor]) -> bool:
        return some.keys() == others.keys() and all(torch.equal(some[name], others[name]) for name in some)

    first = train(recipe)
    assert not same(train(recipe.changed(learning_rate=0.01)), first)
    path.write_bytes(path.read_bytes()[:1000])
    assert same(train(recipe), first)


@pytest.mark.parametrize(
    ("pictures", "batch"), [(55_000, 256), (10_240, 256), (5_000, 64), (700, 16), (20, 16)]
)
def test_small_sets_get_small_batches(pictures: int, batch: int) -> None:
    assert story.batch_size_for(pictures) == batch


def test_the_command_to_repeat_holds_what_was_changed() -> None:
    settings = story.RunOptions(
        student="mlp_25k", method_settings={"temperature": 4.0}, seeds=tuple(range(5)), folder=Path("my pictures"),
        epochs=7,
    )  # fmt: skip
    assert (
        story.command(settings)
        == "kdcourse run --data 'my pictures' --student mlp_25k --temperature 4.0 --epochs 7 --seeds 5"
    )
    settings = story.RunOptions(
        method=("pixelwise", "channelwise"),
        method_settings={"temperature": 2.0},
        weights={"channelwise": 3.0},
    )
    assert (
        story.command(settings)
        == "kdcourse run --method pixelwise --method channelwise --temperature 2.0 --weight channelwise=3.0"
    )
    assert story.command(story.RunOptions()) == "kdcourse run"
    assert story.command(story.RunOptions(labels=100)) == "kdcourse run --labels 100"
    assert story.command(story.RunOptions(labels="all")) == "kdcourse run --labels all"
    own = story.RunOptions(
        folder=Path("mine"), levels=(0.0, 4095.0), cache=True, skip_damaged=True, augmentation="no-flips"
    )
    assert (
        story.command(own)
        == "kdcourse run --data mine --levels 0.0 4095.0 --cache --skip-damaged --augmentation no-flips"
    )


def test_one_seed_has_no_interval() -> None:
    run = {"seed": 0, "test": {"accuracy": 0.5}, "history": None}
    rows = {name: story.row(name, name, "m", [run], 10) for name in ("ensemble", "plain", "distilled")}
    comparison = story.compare(rows)
    assert comparison["difference"] is None
    assert not comparison["gap_recovered"]["reported"]


def test_settings_are_checked_before_anything_is_loaded() -> None:
    with pytest.raises(ArgumentError, match="different numbers"):
        story.run(story.RunOptions(seeds=(1, 1)))
