"""Headers are compiled by the C compiler that is there, and their logits compared with PyTorch's."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from kdcourse import models
from kdcourse.deploy import Board, Header, c_header, compiled_logits, find_compiler, with_rounded_weights
from kdcourse.deploy.c_header import _in_comment, _literals, _places, _string
from kdcourse.deploy.int8 import channel_scales, quantized
from kdcourse.deploy.plan import plan_of
from kdcourse.errors import ArgumentError, DataError

CLASSES = ("cat", 'a "dog"?', "gnu */ é")
MEAN, STD = (0.3, 0.6), (0.2, 0.4)
STRICT = ("-O1", "-Wall", "-Wextra", "-Werror", "-fsanitize=undefined,address", "-fno-sanitize-recover=all")
COMPILER = find_compiler()
compiled = pytest.mark.skipif(
    COMPILER is None, reason="there is no C compiler: install gcc or clang, or set $CC"
)


def moved(model: nn.Module, shape: tuple[int, int, int]) -> nn.Module:
    """BatchNorm with statistics and factors like those of a trained network, some of them negative."""
    torch.manual_seed(3)
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.normal_(part.weight)
            nn.init.normal_(part.bias)
    with torch.no_grad():
        model.train()(torch.randn(16, *shape))
    return model.eval()


def layers(*parts: nn.Module) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(*parts)


NETWORKS: dict[str, tuple[tuple[int, int, int], Any]] = {
    "pocket": ((2, 9, 14), lambda: models.PocketCNN(3, 2, widths=(4, 6), depths=(1, 2))),
    "depthwise": ((2, 11, 8), lambda: models.DepthwiseCNN(3, 2, widths=(4, 6, 5))),
    "mlp": ((2, 4, 3), lambda: models.MLP(3, 2, hidden=(5,), size=(4, 3), dropout=0.3)),
    "teacher": ((2, 8, 8), lambda: models.ResidualTeacher(3, 2, stem=3, widths=(4, 5))),
    "pool after the norm": (
        (2, 7, 10),
        lambda: layers(
            nn.Conv2d(2, 6, 5, stride=2, padding=2), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(6, 4, (1, 1), groups=2), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
            nn.Dropout(0.5), nn.Linear(4, 3, bias=False),
        ),
    ),
    "a kernel larger than the image": (
        (2, 2, 1), lambda: layers(nn.Conv2d(2, 3, 5, padding=2), nn.ReLU(), nn.Flatten(), nn.Linear(6, 3))
    ),
}  # fmt: skip


def header(model: nn.Module, shape: tuple[int, int, int], **changed: Any) -> Header:
    arguments: dict[str, Any] = {"image_shape": shape, "classes": CLASSES, "mean": MEAN, "std": STD}
    return c_header(model, **(arguments | changed))


def pictures(count: int, shape: tuple[int, int, int]) -> Tensor:
    generator = torch.Generator().manual_seed(99)
    return torch.randint(0, 256, (count, *shape), generator=generator, dtype=torch.uint8)


def asked(model: nn.Module, images: Tensor) -> Tensor:
    mean, std = (torch.tensor(numbers).view(1, -1, 1, 1) for numbers in (MEAN, STD))
    with torch.no_grad():
        return model.eval()((images / 255 - mean) / std)


@compiled
@pytest.mark.parametrize("name", NETWORKS)
def test_compiled_header_answers_as_pytorch_does(name: str) -> None:
    shape, make = NETWORKS[name]
    model, images = moved(make(), shape), pictures(20, shape)
    assert COMPILER is not None
    for weights in ("int8", "float") if name == "pocket" else ("int8",):
        found = compiled_logits(
            header(model, shape, weights=weights), images, compiler=COMPILER, flags=STRICT
        )
        wanted = asked(with_rounded_weights(model) if weights == "int8" else model, images)
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)


@compiled
def test_a_board_that_is_too_small_is_told_at_compile_time() -> None:
    shape, make = NETWORKS["mlp"]
    made = header(make(), shape)
    assert COMPILER is not None
    for name, size in (("FLASH", made.flash), ("RAM", made.ram)):
        compiled_logits(made, pictures(1, shape), compiler=COMPILER, flags=[f"-DKD_MAX_{name}={size}"])
        with pytest.raises(DataError, match=f"more {'flash' if name == 'FLASH' else 'RAM'}"):
            compiled_logits(
                made, pictures(1, shape), compiler=COMPILER, flags=[f"-DKD_MAX_{name}={size - 1}"]
            )


def test_bytes_are_those_of_the_tables_and_of_the_memory() -> None:
    shape, make = NETWORKS["mlp"]
    sizes = {weights: header(make(), shape, weights=weights) for weights in ("int8", "float")}
    # 24 -> 5 -> 3: as many weights, a scale and a shift for each of 8 outputs; image and hidden units in memory.
    assert (
        sizes["int8"].flash == 24 * 5 + 5 * 3 + 8 * 8 and sizes["float"].flash == 4 * (24 * 5 + 5 * 3) + 8 * 8
    )
    assert sizes["int8"].ram == sizes["float"].ram == 4 * (24 + 5) and sizes["int8"].macs == 24 * 5 + 5 * 3
    assert f"#define KD_RAM {4 * 29} " in sizes["int8"].text
    course = header(
        models.build("pocket_17k"), (1, 28, 28), classes=list("abcdefghij"), mean=(0.3,), std=(0.3,)
    )
    assert course.fits() and not course.fits(Board(flash=course.flash, ram=2**16))
    assert not course.fits(Board(flash=2**20, ram=course.ram))


@pytest.mark.parametrize("name", NETWORKS)
def test_values_that_are_still_to_be_read_never_share_memory(name: str) -> None:
    shape, make = NETWORKS[name]
    plan = plan_of(make().eval(), shape)
    places, size = _places(plan)
    for now, step in enumerate(plan.steps):
        later = {value for after in plan.steps[now + 1 :] for value in after.inputs}
        alive = {
            value: range(places[value], places[value] + math.prod(plan.shapes[value]))
            for value in places
            if (value in later and value < step.output) or value in step.inputs or value == step.output
        }
        assert all(part.stop <= size for part in alive.values())
        for one in alive:
            for other in alive:
                in_place = step.kind == "add" and step.output in (one, other) and not {one, other} <= later
                apart = alive[one].stop <= alive[other].start or alive[other].stop <= alive[one].start
                assert one == other or apart or in_place, (step, one, other)


def test_batchnorm_is_folded_into_what_comes_before() -> None:
    shape, make = NETWORKS["pocket"]
    plan = plan_of(make().eval(), shape)
    assert [step.kind for step in plan.steps] == ["conv", "conv", "add", "conv", "conv", "add", "conv", "add",
                                                  "maximum", "linear"]  # fmt: skip
    assert [step.pool for step in plan.steps if step.kind == "conv"] == [True, False, True, False, False]
    assert plan.macs == 9 * (2 * 4 * 8 * 14 + 4 * 4 * 4 * 7 + 4 * 6 * 4 * 6 + 2 * 6 * 6 * 2 * 3) + 6 * 3


class Branching(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(1)[:, :3] if images.mean() > 0 else -images.flatten(1)[:, :3]


@pytest.mark.parametrize(
    ("make", "changed", "message"),
    [
        (lambda: layers(nn.Conv2d(2, 3, 3), nn.GELU(), nn.Flatten(), nn.Linear(72, 3)), {},
         r"layer 1 \(GELU\): it uses the operator gelu"),
        (lambda: layers(nn.Conv2d(2, 3, 3, dilation=2), nn.Flatten(), nn.Linear(24, 3)), {},
         r"layer 0 \(Conv2d\): it uses .*dilation"),
        (lambda: layers(nn.ReLU(), nn.Flatten(), nn.Linear(96, 3)), {}, r"layer 0 \(ReLU\): it uses a ReLU that"),
        (lambda: layers(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(72, 3)), {},
         r"layer 2 \(BatchNorm2d\)"),
        (lambda: layers(nn.Conv2d(2, 3, 3, padding=1), nn.MaxPool2d(3), nn.Flatten(), nn.Linear(12, 3)), {},
         r"layer 1 \(MaxPool2d\): .*2x2"),
        (lambda: models.build("pocket_unet", num_classes=3, in_channels=2), {"image_shape": (2, 16, 16)}, "for UNet"),
        (lambda: layers(nn.Conv2d(2, 3, 3)), {}, "one class for every pixel"),
        (lambda: layers(nn.Flatten(), nn.Linear(96, 4)), {}, "returns 4 logits, and 3 classes"),
        (lambda: layers(nn.Flatten(), nn.Linear(95, 3)), {}, "torch can't export Sequential for images of shape"),
        (Branching, {}, "torch can't export Branching"),
        (lambda: layers(nn.Flatten(), nn.Linear(96, 3)), {"weights": "int4"}, "int8 or float; found 'int4'"),
        (lambda: layers(nn.Flatten(), nn.Linear(96, 3)), {"mean": (0.1,)}, "mean and std need one finite number"),
    ],
)  # fmt: skip
def test_what_cannot_be_written_is_refused_with_the_layer(make: Any, changed: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        header(make(), changed.pop("image_shape", (2, 6, 8)), **changed)


def test_names_and_notes_neither_end_a_string_nor_a_comment() -> None:
    shape, make = NETWORKS["mlp"]
    text = header(make(), shape, notes={"licence": "MIT */ int x; /*"}).text
    comment = text[: text.index("#ifndef")]
    assert comment.count("*/") == 1 and comment.count("/*") == 1 and "MIT * / int x; / *" in comment
    assert text.isascii() and _string('a"?\\é') == r'"a\042\077\134\303\251"'
    assert _in_comment({"a": "*/"}) == '{"a": "* /"}'


def test_numbers_are_written_exactly() -> None:
    numbers = torch.cat(
        [torch.randn(500) * 10.0 ** torch.randint(-30, 30, (500,)), torch.tensor([0.0, 1.0, -3e8])]
    )
    written = list(_literals(numbers))
    assert all(re.fullmatch(r"-?\d+(\.\d+)?(e[+-]\d+)?f", one) and re.search(r"[.e]", one) for one in written)
    assert torch.equal(torch.tensor([float(one[:-1]) for one in written]), numbers)


def test_rounding_to_int8_is_by_the_largest_weight_of_each_channel() -> None:
    torch.manual_seed(0)
    weight = torch.randn(6, 3, 3, 3) * torch.logspace(-4, 3, 6).view(-1, 1, 1, 1)
    weight[2] = 0
    steps, scales = quantized(weight)
    back = steps * scales.view(-1, 1, 1, 1)
    assert steps.dtype == torch.int8 and int(steps.abs().max()) == 127
    assert bool(((back - weight).abs().amax((1, 2, 3)) <= scales * 0.5001).all())
    again, _ = quantized(back)
    assert torch.equal(again, steps)
    # What BatchNorm multiplies a channel by changes its scale, and no step but for the sign.
    factor = torch.randn(6)
    other, theirs = quantized(weight * factor.view(-1, 1, 1, 1))
    assert torch.equal(other, steps * factor.sign().view(-1, 1, 1, 1).to(torch.int8))
    torch.testing.assert_close(theirs[[0, 1, 3, 4, 5]], (scales * factor.abs())[[0, 1, 3, 4, 5]])
    assert channel_scales(weight)[2] == 1


def test_a_compiler_that_fails_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shape, make = NETWORKS["mlp"]
    with pytest.raises(DataError, match=r"no-such-compiler couldn't be run"):
        compiled_logits(
            header(make(), shape), pictures(1, shape), compiler=str(tmp_path / "no-such-compiler")
        )
    monkeypatch.setenv("CC", "no-such-compiler")
    assert find_compiler() is None
    monkeypatch.delenv("CC")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_compiler() is None
