"""The study of methods, in miniature."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from kdcourse.cli import app
from kdcourse.distillation import methods, teacher_digest
from kdcourse.errors import ArgumentError
from kdcourse.figures import alt_text
from kdcourse.files import shipped
from kdcourse.runs import study as package
from kdcourse.runs import teachers
from kdcourse.runs.study import FOLDER, engine, half, study_named
from kdcourse.runs.study import methods as study_module
from kdcourse.runs.study import rows as rows_module
from kdcourse.runs.study.methods import HARD, KD, PLAIN, Methods
from kdcourse.runs.study.rows import Row, Rows, write_checksums
from kdcourse.training import weights
from tests.runs import tiny
from tools.readme.studies import _section


class Few(Methods):
    """Two methods, students of 2 k parameters, trained for one step."""

    search_seeds, test_seeds = (0,), (1, 2)
    model, steps, search_steps, labels, images = "pocket_2k", 1, 1, 9, 48
    elsewhere = (("pocket_2k", 48),)


def few(folder: Path, *names: str) -> Few:
    study = Few(tiny.dataset, folder)
    study.names = names or ("kd", "fitnet")
    return study


def quiet(_: str) -> None:
    return None


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the answers of two quick teachers, and their weights."""
    monkeypatch.setattr(rows_module, "cache_folder", lambda: tmp_path / "cache")
    quick = tuple(
        recipe.changed(model="pocket_2k", epochs=1, batch_size=16) for recipe in teachers.RECIPES[:2]
    )
    monkeypatch.setattr(teachers, "RECIPES", quick)
    monkeypatch.setattr(study_module, "_TEACHER", quick[0])
    half.make_answers(tiny.dataset(), tmp_path, say=quiet, progress=False)
    return tmp_path


def run(study: Few, *phases: str) -> list[Row]:
    return engine.run(study, engine.Options(phases or engine.PHASES, precision="float32"), quiet)


@pytest.mark.slow
def test_the_study_runs_from_nothing_to_its_table_and_a_new_method_adds_its_rows_alone(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(package, "study_named", lambda name, out: few(out))
    told = CliRunner().invoke(app, ["study", "methods", "--precision", "float32", "--out", str(folder)])
    assert told.exit_code == 0, told.output
    rows = Rows(folder, "methods").checked()
    search = [row for row in rows if row["phase"] == "search"]
    further = [row for row in rows if row["phase"] == "further"]
    assert len(search) == 15 and len(rows) == 15 + 5 * 2 + 4 * 2
    assert {row["about"]["method"] for row in further} == {PLAIN, KD, "fitnet", "kd + fitnet"}
    study = few(folder)
    found = study.summary(rows)
    shown = {entry["row"]: entry for entry in found["methods"]}
    assert shown.keys() == {PLAIN, HARD, KD, "fitnet", "kd + fitnet"} and found["compared"] == 4
    assert [each["accuracy"] for each in found["methods"]] == sorted(
        (each["accuracy"] for each in found["methods"]), reverse=True
    )
    assert shown[KD]["extra"] == shown[PLAIN]["extra"] == 0 < shown["fitnet"]["extra"]
    assert "against_kd" not in shown[KD] and "against_plain" not in shown[PLAIN]
    (place,) = found["elsewhere"]
    assert (place["student"], place["labels"]) == ("pocket_2k", 48) and len(place["methods"]) == 4
    assert study.text(rows).count("\n") == 8 + 2 + 2 + 4
    without = study.summary([row for row in rows if row["phase"] != "further"])
    assert without == found | {"elsewhere": []}, (
        "the further phase changes nothing in the results of the test phase"
    )
    drawn = study.figure(rows)
    assert drawn is not None and "kd + fitnet: " in alt_text(drawn) and study.figure(search) is None
    assert Image.open(folder / "methods.png").info["Description"] == alt_text(drawn)
    assert f"![{alt_text(drawn)}](../data/study/methods.png)" in _section(study, rows)

    more = few(folder, "kd", "fitnet", "dist")
    assert more.summary(rows) == found, "a method that isn't trained yet is left out"
    with pytest.raises(ArgumentError, match=r"test phase is complete; 2 of 12 .* --phase test"):
        run(more, "search", "further")
    longer = run(more)
    assert {row["about"]["method"] for row in longer[len(rows) :]} == {"dist"}
    assert longer[: len(rows)] == rows and "dist" in more.text(longer)
    path = folder / half.TEACHERS / f"{teachers.RECIPES[0].name}.safetensors"
    (layers,) = {row["layers"] for row in longer if "fitnet" in row["about"]["method"]}
    teacher, content = few(folder).teacher, path.read_bytes()
    notes = weights.load_weights(teacher, path)
    with torch.no_grad():
        next(teacher.parameters()).mul_(1.01)
    weights.save_weights(teacher, path, notes)
    write_checksums(path.parent)
    again = few(folder, "kd", "fitnet", "dist")
    assert run(again) == longer, "what another processor makes of the teacher's recipe trains nothing anew"
    assert teacher_digest(again.teacher)[:16] != layers
    path.write_bytes(content)
    write_checksums(path.parent)
    other = [row | {"answers": "others", "test_accuracy": 0.0} for row in longer]
    assert more.summary([*longer, *other]) == more.summary(longer)


def test_every_method_for_labels_is_a_row_with_as_many_candidates_as_plain() -> None:
    study = Methods(tiny.dataset, Path())
    count: dict[str, set[str]] = {}
    for cell in study.candidates():
        count.setdefault(cell.about["method"], set()).add(str(cell.settings))
    deep = {name for name in methods.names("labels") if methods.describe(name).layers}
    assert count.keys() == {PLAIN, HARD, *methods.names("labels"), *(f"kd + {name}" for name in deep)}
    assert {len(tries) for tries in count.values()} == {3}


def test_the_further_phase_takes_the_best_by_validation_with_the_settings_that_won() -> None:
    study = Methods(tiny.dataset, Path())
    study.names = ("kd", "dist", "dkd", "tfkd", "fitnet")
    rows = [
        {
            "phase": "test",
            "about": {"method": name},
            "seed": seed,
            "validation_accuracy": 0.8 + 0.01 * place + 0.001 * seed,
        }
        for place, name in enumerate(study._rows())
        for seed in (10, 11)
    ]
    won = {str(cell.about): cell.recipe for cell in study.candidates()}
    cells = study.further(lambda about: won[str(about)], rows)
    best = ["kd + fitnet", "fitnet", "tfkd", "dkd"]  # the rows above are sorted from the worst to the best
    assert [cell.about["method"] for cell in cells] == [PLAIN, KD, *best] * 3
    places = [(cell.about["model"], cell.about["labels"]) for cell in cells[::6]]
    assert places == [("pocket_17k", 550), ("residual_104k", 550), ("pocket_60k", 27_500)]
    for cell in cells:
        of = won[str({"method": cell.about["method"]})]
        assert cell.recipe.model == cell.about["model"] and cell.recipe.methods == of.methods
        images = cell.about["labels"] if cell.about["method"] == PLAIN else 27_500
        assert cell.recipe.training.epochs * (images // 64) == pytest.approx(1_300, rel=0.05)
    assert [len(study.seeds(cell, range(5))) for cell in cells[::6]] == [5, 3, 5]


def test_only_the_labels_of_few_images_are_true_and_the_teachers_give_the_others(folder: Path) -> None:
    study = few(folder)
    data, _ = study.transfer_set(next(c for c in study.candidates() if c.about == {"method": KD}), 5)
    few_data, known = study.transfer_set(study.candidates()[0], 5)
    assert known is not None and len(few_data.train) == 9
    given, answers = data.train.labels.clone(), study.shipped.logits.argmax(1)
    assert torch.equal(given[known], study.unseen.train.labels[known])
    given[known] = answers[known]
    assert torch.equal(given, answers) and not torch.equal(answers, study.unseen.train.labels)
    assert torch.equal(data.test.labels, study.data.test.labels)


def test_the_finding_names_what_beats_kd_here_and_elsewhere() -> None:
    def entries(**verdicts: str) -> list[dict[str, str]]:
        return [{"row": KD}, *({"row": name, "verdict": verdict} for name, verdict in verdicts.items())]

    places = [
        {"student": "small", "labels": 550, "methods": entries(fitnet="better", rkd="noise")},
        {"student": "large", "labels": 27_500, "methods": entries(fitnet="noise", plain="worse")},
    ]
    study, found = (
        Methods(tiny.dataset, Path()),
        {"methods": entries(fitnet="noise", rkd="worse", plain="worse")},
    )
    assert study.finding(found | {"elsewhere": places}) == (
        "No method beats kd beyond noise. Not told apart from kd: fitnet. Worse: rkd. With small and 550 labels, "
        "better than kd beyond noise: fitnet. With large and 27,500 labels, better than kd beyond noise: none."
    )
    best = {"methods": entries(fitnet="better", rkd="better"), "elsewhere": []}
    assert study.finding(best) == "Better than kd beyond noise: fitnet and rkd."
    assert study.finding({"methods": [{"row": KD}], "elsewhere": []}) == ""


STORED = Rows(shipped(FOLDER), "methods")


@pytest.mark.slow
@pytest.mark.skipif(not STORED.path.exists(), reason="no rows are stored")
def test_the_stored_picture_shows_the_stored_rows() -> None:
    study = study_named("methods", STORED.path.parent)
    figure = study.figure(STORED.checked())
    assert figure is not None
    stored = Image.open(STORED.path.with_suffix(".png"))
    assert stored.info["Description"] == alt_text(figure), "run: kdcourse study methods"
