from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from kdcourse.errors import ArgumentError
from kdcourse.training import autocast, fit, measure, precision, usual_precision
from tests.distillation import tiny
from tests.training.toys import FIT, net

CPU = torch.device("cpu")


def test_autocast_computes_in_what_was_asked_for() -> None:
    layer, images = nn.Linear(3, 2), torch.ones(1, 3)
    for name, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        with autocast(CPU, name):
            assert layer(images).dtype == dtype
    for name in ("float16", "auto", "fp32"):
        with pytest.raises(ArgumentError, match=f"float32, bfloat16, float64 or.* auto; found '{name}'"):
            autocast(CPU, name)


def test_measuring_leaves_everything_as_it_was() -> None:
    model = net()
    model.second_norm.eval()
    model.head.weight.grad = torch.ones_like(model.head.weight)
    before, modes = copy.deepcopy(tiny.state(model)), [m.training for m in model.modules()]
    random = torch.get_rng_state()
    images = torch.randn(8, 1, 8, 8)
    random = torch.get_rng_state()
    times = measure(CPU, model, images)
    assert set(times) == {"float32", "bfloat16"} and all(0 < t < 60 for t in times.values())
    assert torch.equal(torch.get_rng_state(), random)
    assert tiny.same_state(model, before)
    assert [m.training for m in model.modules()] == modes
    assert torch.equal(model.head.weight.grad, torch.ones_like(model.head.weight))
    assert all(p.grad is None for n, p in model.named_parameters() if n != "head.weight")


def test_measuring_needs_no_model() -> None:
    assert min(measure("cpu", repeats=1).values()) > 0
    for given in ({"model": net()}, {"images": torch.ones(1, 1, 8, 8)}):
        with pytest.raises(ArgumentError, match="both model and images, or neither"):
            measure("cpu", **given)  # type: ignore[arg-type]


def test_a_hopeless_format_is_given_up_after_one_try(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def timed(model: nn.Module, images: Tensor, name: str) -> float:
        asked.append(name)
        return 10.0 if name == "bfloat16" else 1.0

    monkeypatch.setattr(precision, "_pass", timed)
    assert measure("cpu", net(), torch.ones(1, 1, 8, 8), repeats=3) == {"float32": 1.0, "bfloat16": 10.0}
    assert asked == ["float32"] * 4 + ["bfloat16"] * 2


def test_the_processors_features_decide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KDCOURSE_PRECISION", raising=False)
    monkeypatch.setattr(precision, "measure", lambda *_: pytest.fail("a race of timings"))
    for has, choice in ((True, "bfloat16"), (False, "float32")):
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda has=has: has)
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation, has=has: has)
        assert usual_precision(CPU) == usual_precision("cuda") == choice
        assert usual_precision("mps") == "float32"
    monkeypatch.delattr(torch.cpu, "_is_amx_tile_supported")
    assert usual_precision(CPU) == "float32"


def test_the_environment_can_decide_the_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    for wanted, otherwise in (("float32", True), ("bfloat16", False)):
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda has=otherwise: has)
        monkeypatch.setenv("KDCOURSE_PRECISION", "")
        assert usual_precision(CPU) != wanted
        monkeypatch.setenv("KDCOURSE_PRECISION", wanted)
        assert usual_precision(CPU) == wanted
    monkeypatch.setenv("KDCOURSE_PRECISION", "fp16")
    with pytest.raises(ArgumentError, match=r"KDCOURSE_PRECISION must be float32 or bfloat16.*found 'fp16'"):
        usual_precision(CPU)


def test_the_same_call_with_the_same_seed_gives_the_same_weights() -> None:
    found = set()
    for _ in range(3):
        model = net()
        told = fit(model, tiny.dataset(), **(FIT | {"precision": "auto", "epochs": 1}))
        weights = tuple(p.double().sum().item() for p in model.parameters())
        found.add((told.settings["precision"], weights))
    assert len(found) == 1 and next(iter(found))[0] == usual_precision(CPU)
