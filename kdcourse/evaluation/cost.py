"""Measure what a model costs: weights, bytes, multiply-accumulates, milliseconds, images per second."""

from __future__ import annotations

import copy
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import chain
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn

from kdcourse.errors import ArgumentError
from kdcourse.models.inputs import placement
from kdcourse.models.stored import check_not_lazy, stored_tensors, unpacked
from kdcourse.training.precision import Precision, autocast


@dataclass(frozen=True)
class Cost:
    """Hold what `cost` measured.

    ``parameters`` trainable or not; ``bytes`` of the stored weights; ``macs`` multiply-accumulates per
    image; ``latency_ms`` median milliseconds for one image and ``latency_iqr_ms`` the range
    between its quartiles, over blocks of calls; ``throughput`` images per second in batches of
    ``batch_size``. The last three are None where they were not asked for. ``device``, ``precision``
    and ``threads`` (CPU threads of one operation) say under what conditions.

    ``bytes_by_type`` and ``macs_by_type`` split the bytes and the MACs by the type of the numbers, such as
    ``float32`` and ``int8``. Weights of 0 cost what others cost: they are stored, and multiplied by.
    """

    parameters: int
    bytes: int
    macs: int
    latency_ms: float | None
    latency_iqr_ms: float | None
    throughput: float | None
    batch_size: int
    device: str
    precision: str
    threads: int
    bytes_by_type: dict[str, int] = field(default_factory=dict)
    macs_by_type: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class CostRatio:
    """Hold how many times cheaper the student is than the teacher; more is better for the student.

    ``times_faster`` compares the latency of one image, ``times_throughput`` the images per second;
    both are None where either model was not timed.
    """

    times_fewer_parameters: float
    times_smaller: float
    times_fewer_macs: float
    times_faster: float | None
    times_throughput: float | None


def weight_bytes(model: nn.Module, *, as_file: bool = False) -> int:
    """Count the bytes of what a checkpoint holds: parameters and persistent buffers, each in its own type.

    The packed weights of quantized layers (``torch.ao`` and torchao) count too, with their scales. Shared weights
    count once.
    ``as_file`` gives the size of the safetensors file instead, which adds
    a header with names and shapes.

    Raises:
        ArgumentError: lazy layers that have no weights yet.
    """
    stored = _unpacked(model)
    if as_file:
        from safetensors.torch import save

        # A copy each: safetensors refuses tensors that overlap in memory.
        return len(save({name: tensor.cpu().contiguous().clone() for name, tensor in stored.items()}))
    return sum(tensor.numel() * tensor.element_size() for tensor in stored.values())


def _unpacked(model: nn.Module) -> dict[str, Tensor]:
    return {
        key: part
        for name, tensor in stored_tensors(model).items()
        for key, part in unpacked(name, tensor).items()
    }


def _bytes_by_type(model: nn.Module) -> dict[str, int]:
    """Return the bytes of `weight_bytes` by the name of their type."""
    found: dict[str, int] = {}
    for tensor in _unpacked(model).values():
        name = _type_name(tensor.dtype)
        found[name] = found.get(name, 0) + tensor.numel() * tensor.element_size()
    return found


def _type_name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _parameters(model: nn.Module) -> int:
    """Count parameters, those that quantized layers keep packed included."""
    known = sum(parameter.numel() for parameter in model.parameters())
    plain = {name for name, _ in chain(model.named_parameters(), model.named_buffers())}
    packed = {
        name: tensor
        for name, tensor in stored_tensors(model).items()
        if name not in plain and not name.endswith(("scale", "zero_point", "scale.0", "zero_point.0"))
    }
    return known + sum(tensor.numel() for tensor in packed.values())


def _quantized_flops() -> dict[Any, Callable[..., int]]:
    """Return the work of ``torch.ao``'s quantized layers, which torch's counter doesn't know, by operator."""

    def linear(images: Any, packed: Any, *_: Any, out_shape: Any = None, **__: Any) -> int:
        return 2 * math.prod(images) * int(out_shape[-1])

    def convolution(images: Any, packed: Any, *_: Any, out_shape: Any = None, **__: Any) -> int:
        return 2 * math.prod(out_shape) * math.prod(packed.unpack()[0].shape[1:])

    ops = torch.ops.quantized
    return {
        **dict.fromkeys((ops.linear_dynamic, ops.linear, ops.linear_relu, ops.linear_relu_dynamic), linear),
        **dict.fromkeys((ops.conv2d, ops.conv2d_relu), convolution),
    }


def _macs(model: nn.Module, images: Tensor, floating: str) -> dict[str, int]:
    """Count multiply-accumulates of the matrix products and convolutions of one forward pass, by type of number.

    ``floating`` is the type of those that aren't quantized.
    """
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    fast = torch.backends.mha.get_fastpath_enabled()
    counter = FlopCounterMode(display=False, custom_mapping=_quantized_flops())
    # Fused attention would hide its products from the counter.
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH), torch.no_grad(), counter:
            model(images)
    except RuntimeError as error:
        raise ArgumentError(
            f"The model can't take an image of shape {tuple(images.shape[1:])}: {error}. "
            "Pass the image_shape that the model was built for."
        ) from error
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
    found: dict[str, int] = {}
    for operator, flops in counter.get_flop_counts().get("Global", {}).items():
        name = "int8" if str(operator).startswith("quantized.") else floating
        found[name] = found.get(name, 0) + int(flops) // 2
    return found


def _time(run: Callable[[], None], threads: int, seconds: float) -> tuple[float, float]:
    """Return the median and interquartile range of one call, in seconds."""
    # On its way in, Timer's module looks for a compiler and warns where it finds CUDA's without a GPU.
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
    from torch.utils.benchmark import Timer

    timer = Timer("run()", globals={"run": run}, num_threads=threads)
    run()  # the first call sets up kernels and memory
    times: list[float] = []
    start = perf_counter()
    # Several short rounds: a single long one may end as one block, whose spread is unknown.
    while not times or perf_counter() - start < seconds:
        times += timer.blocked_autorange(min_run_time=seconds / 20).times
    quartiles = torch.tensor(times, dtype=torch.float64).quantile(torch.tensor([0.25, 0.5, 0.75]).double())
    return float(quartiles[1]), float(quartiles[2] - quartiles[0])


def cost(
    model: nn.Module,
    image_shape: tuple[int, int, int] = (1, 28, 28),
    *,
    latency: bool = True,
    precision: Precision = "float32",
    device: torch.device | str | None = None,
    batch_size: int = 256,
    seconds: float = 0.5,
) -> Cost:
    """Measure size, work and speed of a model, an `Ensemble` included; the model itself isn't changed.

    Everything runs on a copy in eval mode. MACs are those of matrix products, convolutions and
    attention for one image (`torch.utils.flop_counter`, which counts a multiply and an add as two);
    biases, normalisation and activations are left out. Times come from
    `torch.utils.benchmark.Timer` with warm-up, on as many threads as torch uses, and include
    neither normalising nor copying the images.

    Args:
        model: takes float [B, C, H, W].
        image_shape: C, H, W of one image.
        latency: False skips both timings.
        precision: "float32" or "bfloat16", through `torch.autocast` as in `predict`.
        device: where to time; by default where the model's weights are.
        batch_size: images at a time for the throughput.
        seconds: roughly how long each of the two timings lasts; a single batch that takes longer
            is still run to its end a few times.

    Raises:
        ArgumentError: a shape that is not three positive numbers or that the model can't take, a bad
            ``precision``, ``batch_size`` or ``seconds``.
    """
    if len(image_shape) != 3 or min(image_shape) < 1:
        raise ArgumentError(
            f"image_shape must be (channels, height, width), each at least 1; found {tuple(image_shape)}. "
            "Use dataset.image_shape."
        )
    if batch_size < 1 or not seconds > 0:
        raise ArgumentError(
            f"batch_size must be at least 1 and seconds above 0; found {batch_size} and {seconds}. "
            "Leave both out for the usual 256 and 0.5."
        )
    check_not_lazy(model)
    place, dtype = placement(model)
    place = place if device is None else torch.device(device)
    context = autocast(place, precision)
    twin = copy.deepcopy(model).to(place).eval()
    # A generator of its own: measuring must not move the seed of a training run.
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(batch_size, *image_shape, generator=generator).to(place, dtype)
    macs = _macs(twin, images[:1], precision if precision == "bfloat16" else _type_name(dtype))
    threads = torch.get_num_threads()
    timed: tuple[float | None, float | None, float | None] = (None, None, None)
    if latency:

        def forward(batch: Tensor) -> Callable[[], None]:
            def run() -> None:
                with torch.inference_mode(), context:
                    twin(batch)
                if place.type != "cpu":
                    torch.accelerator.synchronize(place)

            return run

        one, spread = _time(forward(images[:1].clone()), threads, seconds)
        many, _ = _time(forward(images), threads, seconds)
        timed = (one * 1e3, spread * 1e3, batch_size / many)
    return Cost(
        parameters=_parameters(twin),
        bytes=weight_bytes(twin),
        macs=sum(macs.values()),
        latency_ms=timed[0],
        latency_iqr_ms=timed[1],
        throughput=timed[2],
        batch_size=batch_size,
        device=str(place),
        precision=precision,
        threads=threads,
        bytes_by_type=_bytes_by_type(twin),
        macs_by_type=macs,
    )


def compare_cost(teacher: Cost, student: Cost) -> CostRatio:
    """Divide the teacher's costs by the student's: 50 means fifty times cheaper.

    Raises:
        ArgumentError: timed under different conditions, or a student without weights or MACs.
    """
    both_timed = teacher.latency_ms is not None and student.latency_ms is not None
    for name in ("device", "precision", "threads", "batch_size"):
        found = getattr(teacher, name), getattr(student, name)
        if both_timed and found[0] != found[1]:
            raise ArgumentError(
                f"Times compare only under the same conditions; the teacher's {name} was {found[0]}, the "
                f"student's {found[1]}. Measure both again in one place."
            )
    if min(student.parameters, student.bytes, student.macs) < 1:
        raise ArgumentError(
            f"A student needs weights and work to be compared; found {student.parameters} parameters, "
            f"{student.bytes} bytes and {student.macs} MACs. Check that it is the model you meant."
        )

    def over(first: float | None, second: float | None) -> float | None:
        return None if first is None or second is None else first / second

    return CostRatio(
        times_fewer_parameters=teacher.parameters / student.parameters,
        times_smaller=teacher.bytes / student.bytes,
        times_fewer_macs=teacher.macs / student.macs,
        times_faster=over(teacher.latency_ms, student.latency_ms),
        times_throughput=over(student.throughput, teacher.throughput),
    )
