"""`accelerate launch` with two CPU processes trains what one process trains."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch

from kdcourse.training.weights import read_tensors
from tests.training import two_processes
from tests.training.launching import in_two_processes

pytestmark = [
    pytest.mark.slow(seconds=12),
    pytest.mark.skipif(sys.platform == "win32", reason="PyTorch has no launcher for several processes there"),
]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("alone")
    threads = torch.get_num_threads()
    with torch.random.fork_rng():
        two_processes.main(folder)
    torch.set_num_threads(threads)
    return folder / "process0of1"


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("together")
    in_two_processes(str(Path(two_processes.__file__)), str(folder))
    return [folder / f"process{rank}of2" for rank in range(2)]


def assert_same_weights(one: Path, other: Path, tolerance: float) -> None:
    expected, found = read_tensors(one)[0], read_tensors(other)[0]
    assert expected.keys() == found.keys()
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], atol=tolerance, rtol=0, msg=name)


def test_weights_are_those_of_one_process(alone: Path, together: list[Path]) -> None:
    for folder in together:
        assert_same_weights(alone / "whole.safetensors", folder / "whole.safetensors", 1e-5)
    assert_same_weights(together[0] / "whole.safetensors", together[1] / "whole.safetensors", 0)


def test_an_objectives_own_layers_are_those_of_one_process(alone: Path, together: list[Path]) -> None:
    """The main process's first values count, and gradients are averaged as the model's are."""
    for name in ("objective.safetensors", "hinted.safetensors"):
        for folder in together:
            assert_same_weights(alone / name, folder / name, 1e-5)
        assert_same_weights(together[0] / name, together[1] / name, 0)


@pytest.mark.parametrize("run", ["weighed", "masks", "plain_masks", "pixelwise"])
def test_classes_and_pixels_weigh_as_in_one_process(alone: Path, together: list[Path], run: str) -> None:
    for folder in together:
        assert_same_weights(alone / f"{run}.safetensors", folder / f"{run}.safetensors", 1e-5)
    assert_same_weights(together[0] / f"{run}.safetensors", together[1] / f"{run}.safetensors", 0)


@pytest.mark.parametrize(
    "run", ["whole", "resumed", "hinted", "weighed", "masks", "plain_masks", "pixelwise"]
)
def test_history_sums_over_processes(alone: Path, together: list[Path], run: str) -> None:
    expected = json.loads((alone / ("whole.json" if run == "resumed" else f"{run}.json")).read_text())
    for folder in together:
        found = json.loads((folder / f"{run}.json").read_text())
        assert found["settings"] == expected["settings"]
        assert len(found["epochs"]) == 3
        for one, other in zip(found["epochs"], expected["epochs"], strict=True):
            parts, figures = one["parts"], {name: one[name] for name in one if name != "parts"}
            assert parts == pytest.approx(other["parts"], abs=1e-5)
            assert figures == pytest.approx({name: other[name] for name in figures}, abs=1e-5)


def test_a_broken_run_goes_on_in_two_processes(alone: Path, together: list[Path]) -> None:
    for folder in (alone, *together):
        assert_same_weights(folder / "whole.safetensors", folder / "resumed.safetensors", 0)


def test_only_the_main_process_writes_and_chooses(alone: Path, together: list[Path]) -> None:
    # Nine for the whole run, four until it is broken off, five after that.
    assert (alone / "notes.txt").read_text() == "process 0 chose\n18 checkpoints written\n"
    assert (together[0] / "notes.txt").read_text() == "process 0 chose\n18 checkpoints written\n"
    assert (together[1] / "notes.txt").read_text() == "process 0 chose\n0 checkpoints written\n"


def test_a_process_may_end_with_numbers_on_their_way() -> None:
    """Without leaving its group it was aborted now and then: a thread dropped tensors while Python shut down."""
    in_two_processes("-m", "tests.training.leaving")
