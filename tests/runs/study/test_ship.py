"""The study of ways to ship a network, in miniature."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from kdcourse import deploy, models, training
from kdcourse.runs.study import engine
from kdcourse.runs.study.rows import Row
from kdcourse.runs.study.ship import AWARE, DISTILLED, INT8, PLAIN, TEACHER, Ship
from tests.runs import tiny


def quick(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return models.PocketCNN(3, 1, widths=(4,), depths=(0,))


class Few(Ship):
    """Two teachers and one student of hardly any parameters, trained for an epoch."""

    names, amounts, test_seeds, repaired = ("pocket_2k",), (0.5,), (1, 2), 24
    student_recipe = Ship.student_recipe.changed(epochs=1, batch_size=32)
    repair = Ship.repair.changed(batch_size=8)

    @cached_property
    def _members(self) -> list[tuple[nn.Module, training.History]]:
        found = []
        for seed in (0, 1):
            model = quick(seed)
            history = training.fit(model, tiny.dataset(), self.student_recipe.training, progress=False)
            found.append((model.eval(), history))
        return found

    @cached_property
    def _reference(self) -> deploy.OnnxFile:
        return deploy.OnnxFile(self._content)  # saves an export


def cells(study: Ship) -> dict[tuple[str, str], engine.Cell]:
    found = {
        (cell.about["network"], cell.about["made"]): cell for cell in study.chosen(lambda _: study.repair)
    }
    assert len(found) == len(study.chosen(lambda _: study.repair))
    return found


def train(study: Ship, cell: engine.Cell, seed: int = 1) -> Row:
    known = {**cell.settings, "seed": seed, "precision": "float32", **study.digests(cell)}
    return engine.trained(study, cell, known, "test")


@pytest.mark.slow
def test_a_row_says_what_the_file_is_and_how_it_answers(tmp_path: Path) -> None:
    study = Few(tiny.dataset, tmp_path)
    each = cells(study)
    before = [p.clone() for p in study._members[0][0].parameters()]
    pruned = train(study, each[TEACHER, "pruned 50%, repaired"])
    assert pruned["zeros"] == pytest.approx(0.5, abs=0.02) and pruned["macs_int8"] == 0
    assert (
        pruned["packed_bytes"] < pruned["bytes"]
        and pruned["times_low"] <= pruned["times"] <= pruned["times_high"]
    )
    assert all(
        map(torch.equal, before, study._members[0][0].parameters())
    )  # the stored teacher stays as it is
    aware = train(study, each["pocket_2k", AWARE])
    assert aware["macs_int8"] > 0 == aware["macs_float32"] and 0 <= aware["test_accuracy"] <= 1
    assert (
        tmp_path / "ship-students" / "pocket_2k_distilled_seed1.safetensors"
    ).exists()  # for the other rows


def made_up(study: Ship, accuracies: dict[tuple[str, str], Sequence[float]]) -> list[Row]:
    rows = []
    for place, found in accuracies.items():
        cell = cells(study)[place]
        for seed, accuracy in zip(study.test_seeds, found, strict=False):
            small = 4 if INT8 in place[1] else 1
            measured: dict[str, Any] = dict.fromkeys(("zeros", "macs_int8", "times_low", "times_high"), 0)
            measured |= {"bytes": 8_000 // small, "packed_bytes": 7_000, "macs_float32": 5, "latency_ms": 0.1}
            rows.append(
                {**cell.settings, "study": "ship", "phase": "test", "seed": seed, "precision": "float32", "data": "d",
                 "answers": None if place[1] == PLAIN else "a", "test_accuracy": accuracy, "times": 2.0 * small,
                 "machine": {"processor": "a processor"}, **measured}
            )  # fmt: skip
    return rows


def test_the_summary_compares_each_network_with_what_it_was_made_of(tmp_path: Path) -> None:
    study = Few(tiny.dataset, tmp_path)
    assert study.text([]) == "There are no results yet."
    rows = made_up(
        study,
        {
            ("pocket_2k", DISTILLED): (0.81, 0.83), ("pocket_2k", f"{DISTILLED}, {INT8}"): (0.80, 0.825),
            (TEACHER, "float"): (0.9, 0.9), (TEACHER, "pruned 50%"): (0.5, 0.6),
            (TEACHER, "pruned 50%, repaired"): (0.85, 0.9), ("ensemble", "float"): (0.95,),
        },
    )  # fmt: skip
    found = {(entry["network"], entry["made"]): entry for entry in study.summary(rows)["networks"]}
    assert found["pocket_2k", f"{DISTILLED}, {INT8}"]["against"]["mean"] == pytest.approx(-0.0075)
    assert found[TEACHER, "pruned 50%"]["against"]["mean"] == pytest.approx(-0.35)
    assert found[TEACHER, "pruned 50%, repaired"]["against"]["mean"] == pytest.approx(0.325)
    assert "low" not in found["ensemble", "float"] and "against" not in found[TEACHER, "float"]
    text = study.text(rows)
    assert (
        "int8 makes the file of pocket_2k 4.0 times smaller, changes its accuracy by -0.75 points, and takes 4.00"
        in text
    )
    assert "a processor" in text and "95.00" in text and "Not measured yet: pocket_2k plain; " not in text
    assert "Not measured yet: teacher int8; pocket_2k plain; " in text
    older = [row | {"answers": "other teachers"} for row in rows if row["answers"]]
    assert study.summary([*older, *rows]) == study.summary(rows)
