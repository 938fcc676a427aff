"""`kdcourse distil`: a Hugging Face student from a teacher's predictions, written whole or not at all."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import stat
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from kdcourse import data, models
from kdcourse.cli import app
from kdcourse.runs import own_text
from tests.models import huggingface as tiny
from tests.training.launching import in_two_processes

pytest.importorskip("transformers")
pytestmark = [
    pytest.mark.slow(seconds=15),
    pytest.mark.filterwarnings("ignore::kdcourse.errors.TeacherWarning"),  # the teacher's weights are random
]
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a ``teacher``, a ``student``, and ``texts``."""
    folder = tmp_path_factory.mktemp("own")
    tiny.texts(folder / "texts")
    tiny.model(folder / "teacher", "gpt2", width=32)
    tiny.model(folder / "student", "llama", seed=1)
    for name in ("teacher", "student"):
        tiny.tokenizer().save_pretrained(folder / name)
    return folder


def _arguments(folder: Path, out: Path, *further: str) -> list[str]:
    given = {
        "teacher": folder / "teacher",
        "student": folder / "student",
        "text": folder / "texts",
        "out": out,
    }
    fixed = {"context": 16, "epochs": 2, "learning-rate": 0.01, "precision": "float32", "device": "cpu"}
    pairs = [[f"--{name}", str(value)] for name, value in (given | fixed).items()]
    return ["distil", *(part for pair in pairs for part in pair), *further]


def _run(arguments: Sequence[str]) -> tuple[int, str]:
    told = CliRunner().invoke(app, list(arguments))
    return told.exit_code, told.output


def test_a_student_learns_from_the_teacher_and_is_written_as_transformers_reads_it(
    folder: Path, tmp_path: Path
) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    code, said = _run(_arguments(folder, tmp_path / "out", "--baseline"))
    assert code == 0, said
    for name in ("teacher", "student before", "student", "text alone"):
        assert f"{name}: " in said and "bits per byte" in said
    notes = json.loads((tmp_path / "out" / own_text.NOTES).read_text())
    scores = notes["scores"]
    # What a teacher with random weights predicts can be learned from it, and not from the text.
    far = {name: scores[name]["kl_to_teacher"] for name in ("student before", "student", "text alone")}
    assert far["student"] < 0.8 * min(far["student before"], far["text alone"])
    bits = {name: of["bits_per_byte"]["mean"] for name, of in scores.items()}
    assert bits["text alone"] < min(bits["student before"], bits["teacher"])
    assert notes["methods"] == ["token_kl(temperature=1)"] and notes["text"]["documents"]["test"] == 3
    assert AutoTokenizer.from_pretrained(tmp_path / "out").get_vocab() == tiny.tokenizer().get_vocab()
    text = tiny.text_of(tmp_path / "out", folder / "texts")
    written = AutoModelForCausalLM.from_pretrained(tmp_path / "out").eval()
    same = models.build(f"transformers:{tmp_path / 'out'}", data=text, weights="DEFAULT").eval()
    tokens = text.test.tokens[:4]
    with torch.no_grad():
        assert torch.equal(written(input_ids=tokens).logits, same(tokens))
    assert sorted(os.listdir(tmp_path)) == ["out"], "no checkpoint and no part of a folder is left"
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "out").iterdir()}
    assert modes == {0o644} or sys.platform == "win32"

    code, said = _run(_arguments(folder, tmp_path / "out"))
    assert code == 2 and "is there already; choose another --out" in said


def test_an_interrupted_training_goes_on(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert _run(_arguments(folder, tmp_path / "whole"))[0] == 0

    def broken(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(own_text, "_write", broken)
        code, said = _run(_arguments(folder, tmp_path / "parts"))
    assert code == 130 and "the same command goes on" in said
    (kept,) = tmp_path.glob("parts.*.checkpoint.safetensors")
    assert not (tmp_path / "parts").exists()

    # Another student of the same shape begins anew.
    tiny.model(tmp_path / "other", "llama", seed=5)
    tiny.tokenizer().save_pretrained(tmp_path / "other")
    other = ("--student", str(tmp_path / "other"))
    assert _run(_arguments(folder, tmp_path / "alone", *other))[0] == 0
    assert _run(_arguments(folder, tmp_path / "parts", *other))[0] == 0 and kept.exists()
    weights = {
        name: (tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "alone", "parts")
    }
    assert weights["parts"] == weights["alone"] != weights["whole"]
    shutil.rmtree(tmp_path / "parts")

    assert _run(_arguments(folder, tmp_path / "parts"))[0] == 0
    assert (tmp_path / "parts" / "model.safetensors").read_bytes() == weights["whole"] and not kept.exists()


def test_ctrl_c_in_the_first_epoch_loses_little(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_text, "_CHECKPOINT", 5)
    distil, steps = own_text.distil, list[int]()

    def counted(*given: Any, **named: Any) -> Any:
        def after_step(epoch: int, step: int, loss: float) -> None:
            steps.append(step)
            if len(steps) == 12:
                raise KeyboardInterrupt

        return distil(*given, **named, after_step=after_step)

    monkeypatch.setattr(own_text, "distil", counted)
    assert _run(_arguments(folder, tmp_path / "out"))[0] == 130
    assert _run(_arguments(folder, tmp_path / "out"))[0] == 0
    assert len(steps) == 12 + 2 * 20 - 10, "10 steps were kept"


def test_random_weights_another_configuration_and_methods(folder: Path, tmp_path: Path) -> None:
    further = [
        "--random", "--config", "num_hidden_layers=2", "--config", "tie_word_embeddings=true", "--epochs", "1",
        "--method", "on_policy", "--set", "beta=0.3", "--set", "prompt=4", "--alpha", "1",
    ]  # fmt: skip
    code, said = _run(_arguments(folder, tmp_path / "out", *further))
    assert code == 0, said
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert (
        config["num_hidden_layers"] == 2
        and config["tie_word_embeddings"] is True
        and "student before" not in said
    )
    notes = json.loads((tmp_path / "out" / own_text.NOTES).read_text())
    assert len(notes["methods"]) == 1 and notes["methods"][0].startswith("on_policy(")
    assert "prompt=4, beta=0.3" in notes["methods"][0]


def test_few_long_texts_are_cut_into_pieces(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "long").mkdir()
    for part in range(3):
        texts = sorted((folder / "texts").glob(f"*{part}.txt"))
        paragraph = "\n".join(path.read_text() for path in texts)
        (tmp_path / "long" / f"{part}.txt").write_text(
            "\n\n".join(f"{word} {paragraph}" * 12 for word in tiny.WORDS)
        )
    arguments = _arguments(folder, tmp_path / "out", "--text", str(tmp_path / "long"), "--epochs", "1")
    code, said = _run(arguments)
    assert code == 0 and "few documents; each is cut into pieces" in said, said
    (tmp_path / "short").mkdir()
    for number in range(4):
        (tmp_path / "short" / f"{number}.txt").write_text(f"the cat {number}")
    code, said = _run(_arguments(folder, tmp_path / "again", "--text", str(tmp_path / "short")))
    assert (
        code == 2 and "gives 4 documents" in said and "Take 40" in said and not (tmp_path / "again").exists()
    )


def test_a_file_in_the_way_is_told_before_the_training_and_a_folder_after_it_loses_nothing(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("mine")
    code, said = _run(_arguments(folder, tmp_path / "file" / "out"))
    assert code == 2 and "can't be written" in said and "student before" not in said
    save = own_text._write

    def late(options: own_text.TextOptions, *rest: Any) -> None:
        (options.out / "something").mkdir(parents=True)
        save(options, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(own_text, "_write", late)
        code, said = _run(_arguments(folder, tmp_path / "out"))
    assert code == 2 and "What was trained is in" in said and len(list(tmp_path.glob("out.*"))) == 1
    assert not list(tmp_path.glob(".out*"))


def test_wrong_options_are_told_before_anything_is_trained(
    folder: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    unknown = tmp_path_factory.mktemp("unknown") / "text.txt"
    unknown.write_text("\n\n".join(f"xyz{number} " * 1800 for number in range(45)))
    for further, message in (
        (["--method", "kd"], "--method kd is not for text. Choose one of on_policy, token_jsd"),
        (["--config", "num_hidden_layers=2"], "needs random weights: --random"),
        (["--set", "beta=0.3"], "token_kl has no such setting; its settings are temperature"),
        (["--student", str(folder / "nothing")], "There is no folder"),
        (["--alpha", "0"], "must lie above 0"),
        (["--random", "--config", "num_hidden_layers=many"], "No model can be built from the configuration"),
        (["--text", str(unknown)], "% of the tokens of"),
    ):
        code, said = _run(_arguments(folder, tmp_path / "out", *further))
        assert code == 2 and message in said and not list(tmp_path.iterdir()), said


def test_the_page_on_language_models_says_what_works(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, of in (("TEACHER", "teacher"), ("STUDENT", "student"), ("my_texts", "texts")):
        (tmp_path / name).symlink_to(folder / of)
    _, page = (ROOT / "docs/language.md").read_text(encoding="utf-8").split("## Models of Hugging Face")
    (command,) = re.findall(r"^    kdcourse (.+)$", page, re.M)
    code, said = _run([*shlex.split(command), "--context", "16"])
    assert code == 0 and "text alone: " in said, said
    _, lines = re.findall(r"(?:^    .+\n)+", page, re.M)
    names: dict[str, Any] = {"data": data, "models": models}
    exec(textwrap.dedent(lines).replace("context=256", "context=16"), names)
    assert names["teacher"](names["text"].test.tokens[:2]).shape == (2, 16, 20)


@pytest.mark.skipif(sys.platform == "win32", reason="PyTorch has no launcher for several processes there")
def test_two_processes_train_what_one_trains(folder: Path, tmp_path: Path) -> None:
    code, said = _run(_arguments(folder, tmp_path / "one", "--epochs", "1"))
    assert code == 0, said
    said = in_two_processes("-m", "kdcourse.cli", *_arguments(folder, tmp_path / "two", "--epochs", "1"))
    assert said.count("written to") == 1
    one, two = (json.loads((tmp_path / name / own_text.NOTES).read_text()) for name in ("one", "two"))
    assert two["scores"]["student"]["kl_to_teacher"] == pytest.approx(
        one["scores"]["student"]["kl_to_teacher"], rel=1e-3
    )
