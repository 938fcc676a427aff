from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

import kdcourse.evaluation
from kdcourse.errors import ArgumentError
from kdcourse.evaluation import Cost, compare_cost, cost, weight_bytes


def small() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Flatten(),
        nn.Linear(4 * 8 * 8, 10),
    )


def macs(model: nn.Module, shape: tuple[int, int, int] = (1, 8, 8)) -> int:
    return cost(model, shape, latency=False).macs


def test_macs_by_hand() -> None:
    # One output of a convolution costs kernel * kernel * channels in.
    assert macs(nn.Conv2d(1, 4, 3, padding=1)) == 8 * 8 * 4 * 9
    assert macs(nn.Conv2d(6, 6, 3, padding=1, stride=2, groups=6), (6, 8, 8)) == 4 * 4 * 6 * 9
    assert macs(nn.Conv2d(6, 5, 1, bias=False), (6, 8, 8)) == 8 * 8 * 6 * 5
    assert macs(nn.Sequential(nn.Flatten(), nn.Linear(64, 10))) == 64 * 10
    assert macs(small()) == 8 * 8 * 4 * 9 + 256 * 10


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, images: Tensor) -> Tensor:
        tokens = images.flatten(2).transpose(1, 2)
        return self.attention(tokens, tokens, tokens, need_weights=False)[0].mean(1)


def test_macs_of_attention_are_not_lost_in_a_fused_kernel() -> None:
    # 16 tokens of width 8: four projections, then queries times keys, then weights times values.
    assert macs(Attention(), (8, 4, 4)) == 4 * 16 * 8 * 8 + 2 * 16 * 16 * 8
    assert torch.backends.mha.get_fastpath_enabled()


def test_parameters_and_bytes() -> None:
    found = cost(small(), (1, 8, 8), latency=False)
    weights = 4 * 9 + 4 + 2 * 4 + 256 * 10 + 10
    assert found.parameters == weights
    # BatchNorm keeps mean and variance (float32) and a count (int64).
    assert found.bytes == 4 * weights + 2 * 4 * 4 + 8
    assert cost(small().bfloat16(), (1, 8, 8), latency=False).bytes == 2 * weights + 2 * 4 * 2 + 8
    assert (found.latency_ms, found.latency_iqr_ms, found.throughput) == (None, None, None)


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 4, bias=False)
        self.second = nn.Linear(4, 4, bias=False)
        self.second.weight = self.first.weight
        self.register_buffer("scratch", torch.zeros(100), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        return self.second(self.first(images.flatten(1)))


def test_shared_weights_count_once_and_scratch_not_at_all(tmp_path) -> None:
    assert weight_bytes(Tied()) == 4 * 16
    assert cost(Tied(), (1, 2, 2), latency=False).parameters == 16
    file = tmp_path / "small.safetensors"
    save_file(small().state_dict(), file)
    assert weight_bytes(small(), as_file=True) == file.stat().st_size
    assert weight_bytes(Tied(), as_file=True) > 64


class Average(nn.Module):
    def __init__(self, members: list[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, images: Tensor) -> Tensor:
        return torch.stack([member(images) for member in self.members]).mean(0)


def test_an_ensemble_costs_the_sum_of_its_members() -> None:
    one = cost(small(), (1, 8, 8), latency=False)
    three = cost(Average([small() for _ in range(3)]).eval(), (1, 8, 8), latency=False)
    assert (three.parameters, three.bytes, three.macs) == (3 * one.parameters, 3 * one.bytes, 3 * one.macs)
    ratio = compare_cost(three, one)
    assert (ratio.times_fewer_parameters, ratio.times_smaller, ratio.times_fewer_macs) == (3, 3, 3)
    assert ratio.times_faster is None and ratio.times_throughput is None


def test_times_are_measured_and_the_model_is_left_alone() -> None:
    model = small().train()
    model[1].eval()
    model[0].weight.grad = torch.ones_like(model[0].weight)
    modes = [module.training for module in model.modules()]
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    generator, threads = torch.get_rng_state(), torch.get_num_threads()
    found = cost(model, (1, 8, 8), seconds=0.05)
    assert torch.equal(torch.get_rng_state(), generator) and torch.get_num_threads() == threads
    assert [module.training for module in model.modules()] == modes
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    assert torch.equal(model[0].weight.grad, torch.ones_like(model[0].weight))
    assert all(not module._forward_hooks and not module._forward_pre_hooks for module in model.modules())
    assert found.latency_ms is not None and found.latency_iqr_ms is not None and found.throughput is not None
    assert found.latency_ms > 0 and found.latency_iqr_ms >= 0
    assert (found.device, found.precision, found.threads, found.batch_size) == (
        "cpu",
        "float32",
        threads,
        256,
    )


class Slow(nn.Module):
    """Takes 10 ms for one image, 20 ms for more, and notes how it was called."""

    calls: ClassVar[list[tuple[int, bool, bool, bool, int]]] = []

    def forward(self, images: Tensor) -> Tensor:
        half, threads = torch.is_autocast_enabled("cpu"), torch.get_num_threads()
        Slow.calls.append((len(images), self.training, torch.is_grad_enabled(), half, threads))
        time.sleep(0.01 if len(images) == 1 else 0.02)
        return images.flatten(1)


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("two_threads")
def test_latency_is_of_one_picture_and_throughput_of_a_batch() -> None:
    Slow.calls.clear()
    found = cost(Slow(), (1, 2, 2), batch_size=1000, seconds=0.1, precision="bfloat16")
    # Sleeping has a sure lower bound; the upper ones leave room for a busy machine.
    assert found.latency_ms is not None and 10 <= found.latency_ms < 1000
    assert found.throughput is not None and 500 < found.throughput <= 1000 / 0.02
    # The first call counts MACs, the others are timed.
    assert {size for size, *_ in Slow.calls[1:]} == {1, 1000}
    assert not any(training or grad for _, training, grad, *_ in Slow.calls)
    assert all(half for *_, half, _ in Slow.calls[1:])
    assert found.threads == 2 and {threads for *_, threads in Slow.calls} == {2}
    # A slow model is not run again and again: a few calls, whatever was asked for.
    Slow.calls.clear()
    cost(Slow(), (1, 2, 2), batch_size=8, seconds=0.001)
    assert len(Slow.calls) <= 10


def test_weights_in_half_precision_are_timed_too() -> None:
    assert cost(small().bfloat16(), (1, 8, 8), seconds=0.01, batch_size=4).throughput
    assert cost(small(), (1, 8, 8), seconds=0.01, batch_size=4, precision="bfloat16").precision == "bfloat16"


MEASURED = Cost(500, 2000, 1000, 4.0, 0.1, 1000.0, 256, "cpu", "float32", 2)


def test_compare_cost_divides_the_right_way_round() -> None:
    student = replace(MEASURED, parameters=10, bytes=50, macs=20, latency_ms=0.5, throughput=8000.0)
    ratio = compare_cost(MEASURED, student)
    assert ratio.times_fewer_parameters == 50 and ratio.times_smaller == 40 and ratio.times_fewer_macs == 50
    assert ratio.times_faster == 8 and ratio.times_throughput == 8


@pytest.mark.parametrize(
    ("name", "other"), [("device", "cuda:0"), ("precision", "bfloat16"), ("threads", 1), ("batch_size", 1)]
)
def test_times_under_other_conditions_are_not_compared(name: str, other: str | int) -> None:
    student = replace(MEASURED, **{name: other})
    with pytest.raises(ArgumentError, match=f"{name} was .* {other}"):
        compare_cost(MEASURED, student)
    assert compare_cost(MEASURED, replace(student, latency_ms=None)).times_faster is None


def test_bad_arguments_are_named() -> None:
    for arguments, words in [
        ({"image_shape": (28, 28)}, r"found \(28, 28\)"),
        ({"image_shape": (1, 0, 8)}, r"found \(1, 0, 8\)"),
        ({"image_shape": (3, 8, 8)}, r"can't take an image of shape \(3, 8, 8\)"),
        ({"image_shape": (1, 8, 8), "precision": "int8"}, "precision must be one of"),
        ({"image_shape": (1, 8, 8), "batch_size": 0}, "batch_size must be at least 1"),
        ({"image_shape": (1, 8, 8), "seconds": 0}, "seconds above 0"),
    ]:
        with pytest.raises(ArgumentError, match=words):
            cost(small(), **arguments)
    with pytest.raises(ArgumentError, match="found 500 parameters, 2000 bytes and 0 MACs"):
        compare_cost(MEASURED, replace(MEASURED, macs=0))


@pytest.mark.slow
def test_importing_the_room_stays_light() -> None:
    heavy = "{'torchmetrics', 'scipy', 'sklearn', 'matplotlib', 'torchvision', 'accelerate'}"
    code = f"import sys, kdcourse.evaluation; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_public_name_is_there() -> None:
    assert sorted(kdcourse.evaluation.__all__) == kdcourse.evaluation.__all__
    assert all(hasattr(kdcourse.evaluation, name) for name in kdcourse.evaluation.__all__)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::FutureWarning")
def test_a_dynamically_quantized_network_counts() -> None:
    from torch.ao.quantization import quantize_dynamic

    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10)).eval()
    found = cost(quantize_dynamic(model, {nn.Linear}, dtype=torch.qint8), (1, 8, 8), latency=False)
    plain = cost(model, (1, 8, 8), latency=False)
    assert (
        (found.parameters, found.macs) == (plain.parameters, plain.macs) == (2048 + 32 + 320 + 10, 2048 + 320)
    )
    assert (plain.macs_by_type, found.macs_by_type) == ({"float32": 2368}, {"int8": 2368})
    assert plain.bytes_by_type == {"float32": plain.bytes} and found.bytes_by_type["int8"] == 2368
    # A byte per weight, four per bias, and what scales the weights and the outputs.
    assert 2368 + 42 * 4 < found.bytes <= 2368 + 42 * 4 + 2 * 2 * (8 + 8)
    assert compare_cost(plain, found).times_smaller > 3


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::FutureWarning")
def test_a_statically_quantized_network_counts() -> None:
    from torch.ao import quantization

    model = nn.Sequential(
        quantization.QuantStub(),
        nn.Conv2d(1, 4, 3),
        nn.Flatten(),
        nn.Linear(4 * 36, 10),
        quantization.DeQuantStub(),
    ).eval()
    plain = cost(model, (1, 8, 8), latency=False)
    model.qconfig = quantization.get_default_qconfig("x86")
    prepared = quantization.prepare(model)
    prepared(torch.randn(8, 1, 8, 8))
    whole = quantization.convert(prepared)
    found = cost(whole, (1, 8, 8), latency=False)
    assert (found.parameters, found.macs) == (plain.parameters, plain.macs)
    assert plain.parameters < found.bytes < plain.bytes / 2
    assert weight_bytes(whole, as_file=True) > found.bytes


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_costs_in_other_precisions(dtype: torch.dtype) -> None:
    found = cost(small().to(dtype), (1, 8, 8), batch_size=2, seconds=0.01)
    plain = cost(small(), (1, 8, 8), latency=False)
    assert (found.parameters, found.macs) == (plain.parameters, plain.macs)
    assert found.latency_ms is not None and found.latency_ms > 0


def test_lazy_layers_without_weights_are_named() -> None:
    lazy = nn.Sequential(nn.Flatten(), nn.LazyLinear(3))
    for ask in (lambda: cost(lazy, (1, 8, 8)), lambda: weight_bytes(lazy)):
        with pytest.raises(
            ArgumentError, match=r"Sequential has lazy layers without weights \(1.weight, 1.bias\)"
        ):
            ask()
    lazy(torch.zeros(1, 1, 8, 8))
    assert cost(lazy, (1, 8, 8), latency=False).parameters == 64 * 3 + 3
