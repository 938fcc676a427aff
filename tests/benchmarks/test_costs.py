"""Benchmarks of costs: what they write, tell and draw, on tiny tasks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from benchmarks import ensemble_forward, growth, memory, neighbour, stored_views, teacher_training
from benchmarks.harness import Comparison, Growth
from kdcourse import models
from kdcourse.data import Split


@pytest.mark.parametrize("way", ensemble_forward.SIDES.values(), ids=ensemble_forward.SIDES)
@pytest.mark.parametrize("kind", ["mlp_25k", "pocket_2k"])
def test_every_way_of_asking_an_ensemble_gives_the_same_answer(way: Any, kind: str) -> None:
    threads = torch.get_num_threads()
    members = [models.build(kind).eval() for _ in range(2)]
    images = torch.randn(3, 1, 28, 28)
    with torch.no_grad():
        expected = torch.stack([member(images) for member in members]).mean(0)
        torch.testing.assert_close(way(members)(images), expected, rtol=1e-4, atol=1e-5)
    torch.set_num_threads(threads)


def test_members_of_several_shapes_are_batched_group_by_group() -> None:
    members = [models.build(name).eval() for name in ("mlp_25k", "mlp_109k", "mlp_25k")]
    images = torch.randn(3, 1, 28, 28)
    with torch.no_grad():
        expected = torch.stack([member(images) for member in members]).mean(0)
        torch.testing.assert_close(ensemble_forward.vmapped(members)(images), expected, rtol=1e-4, atol=1e-5)


def test_pictures_on_disk_are_copies_moved_by_rows(tmp_path: Path) -> None:
    split = Split(torch.randint(256, (5, 1, 3, 4)).to(torch.uint8), torch.arange(5))
    labels = growth.write_copies(split, 12, tmp_path / "pictures")
    written = growth.split_on_disk(tmp_path / "pictures", labels, (1, 3, 4))
    assert len(written) == 12 and written.labels.tolist() == [*range(5), *range(5), 0, 1]
    assert torch.equal(written.images[:5], split.images)
    assert torch.equal(written.images[5:10], split.images.roll(1, dims=2))
    assert torch.equal(written.images[10:], split.images[:2].roll(2, dims=2))


def test_private_memory_is_watched() -> None:
    with growth.watched_memory() as seen:
        block = torch.ones(1 << 25)  # 128 MiB: so much never comes from memory that was used and freed before
    if seen:
        assert seen[0] > 0 and seen[-1] - seen[0] > 120e6
    del block


def side(seconds: float | None, accuracy: float = 0.8, **details: float) -> dict[str, Any]:
    spread = None if seconds is None else {"median": seconds, "min": seconds, "max": seconds}
    return {"seconds": spread, "accuracy": {"mean": accuracy}, "details": details}


def test_the_trade_off_of_views_is_drawn_from_a_result(tmp_path: Path) -> None:
    names = [stored_views.side_of(views) for views in (*stored_views.VIEWS, None)]
    assert names[0] == "1 stored view" and names[-1] == stored_views.FLYING
    assert list(stored_views.BENCHMARKS[0].sides) == names
    result = {"sides": {name: side(10.0 + k) for k, name in enumerate(names)}}
    path = stored_views.draw(result, tmp_path)
    assert path is not None and path.read_bytes().startswith(b"\x89PNG")
    assert stored_views.draw({"sides": {name: side(None) for name in names}}, tmp_path) is None


@pytest.mark.parametrize(("gain", "words"), [(40.0, "pays for itself"), (-25.0, "doesn't pay for itself")])
def test_what_is_told_of_compiling_comes_from_the_result(gain: float, words: str) -> None:
    fitted = side(0.13, share_of_peak=0.62, peak_TFLOP_a_second=0.43, ms_optimizer_step=11.0, ms_data=0.5)
    compiled = side(0.12, compile_seconds=65.0, ms_saved_a_step=3.0, seconds_saved_in_a_run=gain)
    machine = {"processor": "a processor", "threads": 2}
    sides = {teacher_training.OURS: fitted, teacher_training.COMPILED: compiled}
    told = teacher_training.told({"machine": machine, "sides": sides})
    assert "62%" in told and "0.43 TFLOP/s" in told and words in told
    assert f"{abs(gain):.0f} s {'gained' if gain > 0 else 'lost'}" in told
    assert "torch.compile" not in teacher_training.told(
        {"machine": machine, "sides": {teacher_training.OURS: fitted}}
    )
    assert teacher_training.told({"machine": machine, "sides": {}}) == ""


def test_every_benchmark_has_quick_settings_that_it_knows() -> None:
    every = [
        b for m in (ensemble_forward, growth, memory, stored_views, teacher_training) for b in m.BENCHMARKS
    ]
    assert len({benchmark.name for benchmark in every}) == len(every)
    for benchmark in every:
        known = set(benchmark.settings) | ({"sizes"} if isinstance(benchmark, Growth) else set())
        assert set(benchmark.quick) <= known
        assert isinstance(benchmark, Comparison | Growth) and benchmark.question.endswith("?")


@pytest.mark.slow
def test_a_neighbour_trains_in_turn_and_is_ended() -> None:
    settings = {
        "student": "pocket_2k",
        "batch_size": 8,
        "steps": 4,
        "rounds": 1,
        "precision": "float32",
        "seed": 0,
    }
    measured = neighbour.beside({"OMP_NUM_THREADS": "1"}, "kdcourse", settings)
    alone = measured.details["ms_alone"] / 1e3
    assert alone > 0 and measured.details["times_slower_beside"] == pytest.approx(measured.seconds / alone)
    assert not [child for child in psutil.Process().children() if "benchmarks.neighbour" in child.cmdline()]
