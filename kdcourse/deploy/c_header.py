"""Write a classifier as one C header without dependencies, and compare what it answers with PyTorch."""

from __future__ import annotations

import json
import math
import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn

from kdcourse.deploy.int8 import quantized
from kdcourse.deploy.onnx_export import check_arguments, copy_of
from kdcourse.deploy.plan import Plan, Shape, Step, plan_of
from kdcourse.errors import ArgumentError, DataError
from kdcourse.files import write_atomically

Weights = Literal["int8", "float"]
_BYTES = {"int8": 1, "float": 4}
_COMPILERS = ("cc", "gcc", "clang")
_SECONDS = 600  # that a compiled header may take for all images
# What a program needs beside tables and scratch memory: gcc -Os makes about 3 kB of code of the functions.
CODE, STACK = 4_096, 2_048


@dataclass(frozen=True)
class Board:
    """Hold the memory of a microcontroller, in bytes."""

    flash: int = 256 * 1024
    ram: int = 64 * 1024


@dataclass(frozen=True)
class Header:
    """Describe a C header.

    Attributes:
        text: of the header.
        weights: ``int8`` or ``float``.
        flash: bytes of the constant tables: weights, scales and shifts.
        ram: bytes of the scratch memory and of one row of sums; the program keeps the image and the logits itself.
        macs: multiply-accumulates of one image, all in float32.
    """

    text: str
    weights: Weights
    flash: int
    ram: int
    macs: int

    def fits(self, board: Board | None = None) -> bool:
        """Return whether tables, scratch memory, `CODE` and `STACK` fit on a board, by default one of 256 and 64 kB."""
        board = board or Board()
        return self.flash + CODE <= board.flash and self.ram + STACK <= board.ram

    def write(self, path: Path | str) -> None:
        """Write the header, whole or not at all."""
        write_atomically(Path(path), self.text)


def c_header(
    model: nn.Module,
    *,
    image_shape: tuple[int, int, int],
    classes: Sequence[str],
    mean: Sequence[float],
    std: Sequence[float],
    weights: Weights = "int8",
    notes: Mapping[str, Any] | None = None,
) -> Header:
    """Return a classifier as one C99 header: no dependencies, no heap, BatchNorm folded, all scratch memory static.

    ``#include`` it in one file and call ``kd_predict(pixels, logits)``: ``pixels`` is uint8 [C][H][W], not normalised,
    ``logits`` float [classes], and the number of the class is returned. With int8 weights each output channel has a
    scale of its own (`kdcourse.deploy.int8.quantized`); activations and arithmetic are float32 in any case.

    `compiled_logits` compiles the header and asks it; nothing is written before `Header.write`.

    Args:
        model: float32 [B, C, H, W] -> logits [B, classes]; see `kdcourse.deploy.plan.plan_of` for its layers.
        image_shape: C, H, W of one image; `Dataset.image_shape`.
        classes: their names in the order of the logits; `Dataset.classes`.
        mean, std: one number per channel, on the 0..1 scale; `Dataset.mean` and `Dataset.std`.
        weights: how they are stored.
        notes: further facts for the header's comment, such as the licence; JSON-able.

    Raises:
        ArgumentError: arguments that don't fit one another, or a network that can't be written; the layer is named.
    """
    check_arguments(image_shape, classes, mean, std)
    if weights not in get_args(Weights):
        raise ArgumentError(f"weights must be int8 or float; found {weights!r}.")
    with torch.no_grad():
        plan = plan_of(copy_of(model), image_shape)
    outputs = math.prod(plan.shapes[plan.steps[-1].output])
    if outputs != len(classes):
        raise ArgumentError(
            f"The network returns {outputs} logits, and {len(classes)} classes are named. Pass those of the model."
        )
    places, size = _places(plan)
    row = max((_columns(step, plan) for step in plan.steps), default=0)
    tables, calls, flash = _network(plan, places, weights)
    ram = 4 * (size + row)
    facts = {
        "classes": list(classes),
        "mean": list(mean),
        "std": list(std),
        "weights": weights,
        **(notes or {}),
    }
    text = _TEMPLATE.format(
        facts="\n".join(f"   {key}: {_in_comment(value)}" for key, value in facts.items()),
        channels=image_shape[0], height=image_shape[1], width=image_shape[2], classes=len(classes), flash=flash,
        ram=ram, weight={"int8": "int8_t", "float": "float"}[weights],
        runtime=Path(__file__).with_name("runtime.h").read_text(encoding="utf-8").strip(),
        names=", ".join(map(_string, classes)), tables=tables,
        factor=_floats([1 / (255 * spread) for spread in std]),
        less=_floats([centre / spread for centre, spread in zip(mean, std, strict=True)]),
        size=size, row=max(1, row), calls=calls, logits=places[plan.steps[-1].output],
    )  # fmt: skip
    return Header(text, weights, flash, ram, plan.macs)


def _columns(step: Step, plan: Plan) -> int:
    """Return how many sums a convolution has in a row."""
    if step.kind != "conv" or step.weight is None:
        return 0
    width, kernel = plan.shapes[step.inputs[0]][2], step.weight.shape[3]
    return (width + 2 * step.padding - kernel) // step.stride + 1


def _places(plan: Plan) -> tuple[dict[int, int], int]:
    """Return where each value lies in the scratch memory, and the size of that, in numbers of four bytes.

    A value takes the first gap among those that are still to be read. A sum takes the place of a term that nobody reads
    again.
    """
    last = {step.output: place for place, step in enumerate(plan.steps)}
    last |= {value: place for place, step in enumerate(plan.steps) for value in step.inputs}
    last[plan.steps[-1].output] = len(plan.steps)
    places, sizes = {0: 0}, {value: math.prod(shape) for value, shape in plan.shapes.items()}
    for now, step in enumerate(plan.steps):
        if step.kind == "add" and (free := [value for value in step.inputs if last[value] == now]):
            places[step.output] = places[free[0]]
            continue
        taken = sorted(
            (places[value], places[value] + sizes[value]) for value in places if last[value] >= now
        )
        start = 0
        for low, high in taken:
            if start + sizes[step.output] <= low:
                break
            start = max(start, high)
        places[step.output] = start
    return places, max(places[value] + sizes[value] for value in places)


def _network(plan: Plan, places: Mapping[int, int], weights: Weights) -> tuple[str, str, int]:
    """Return the tables, the calls of the steps, and the bytes of the tables."""
    tables: list[str] = []
    calls: list[str] = []
    flash = 0
    for number, step in enumerate(plan.steps):
        sources = ", ".join(f"kd_memory + {places[value]}" for value in step.inputs)
        shape, target = plan.shapes[step.inputs[0]], f"kd_memory + {places[step.output]}"
        calls.append(f"    /* {_in_comment(step.layer)}: {_told(shape)} -> {_told(step.shape)} */")
        if step.weight is None:
            count = f"{math.prod(shape)}, {target}, {int(step.relu)}" if step.kind == "add" else (
                f"{shape[0]}, {math.prod(shape[1:])}, {target}"
            )  # fmt: skip
            calls.append(f"    kd_{step.kind}({sources}, {count});")
            continue
        assert step.scale is not None and step.shift is not None
        scale, kept = step.scale, step.weight
        if weights == "int8":
            kept, scales = quantized(step.weight)
            scale = scale * scales
        flash += _BYTES[weights] * kept.numel() + 8 * len(scale)
        written = (str(value) for value in kept.flatten().tolist()) if weights == "int8" else _literals(kept)
        tables += [
            f"/* {_in_comment(step.layer)} */",
            _table("kd_weight", f"kd_weights_{number}", written),
            _table("float", f"kd_scale_{number}", _literals(scale)),
            _table("float", f"kd_shift_{number}", _literals(step.shift)),
        ]
        named = f"kd_weights_{number}, kd_scale_{number}, kd_shift_{number}, {target}, {len(scale)}"
        if step.kind == "conv":
            size = f"{shape[0]}, {shape[1]}, {shape[2]}"
            how = f"{kept.shape[2]}, {step.stride}, {step.padding}, {step.groups}, {int(step.pool)}, {int(step.relu)}"
            calls.append(f"    kd_conv({sources}, {size}, {named}, {how});")
        else:
            calls.append(f"    kd_linear({sources}, {math.prod(shape)}, {named}, {int(step.relu)});")
    return "\n".join(tables), "\n".join(calls), flash


def _told(shape: Shape) -> str:
    return "x".join(map(str, shape))


def _table(kind: str, name: str, numbers: Iterable[str]) -> str:
    return f"static const {kind} {name}[] = {{\n{_lines(numbers)}\n}};"


def _lines(numbers: Iterable[str]) -> str:
    """Return numbers in lines of at most 120 characters."""
    lines = [""]
    for number in numbers:
        if len(lines[-1]) + len(number) > 118:
            lines.append("")
        lines[-1] += f"{number},"
    return "\n".join(lines)


def _literals(numbers: Tensor) -> Iterator[str]:
    """Yield numbers as C's literals, whose float32 value is exactly the number's."""
    for number in numbers.flatten().tolist():
        text = f"{number:.9g}"
        yield f"{text if '.' in text or 'e' in text else f'{text}.0'}f"


def _floats(numbers: Sequence[float]) -> str:
    return ", ".join(_literals(torch.tensor(numbers)))


def _in_comment(value: Any) -> str:
    """Return a text, or JSON, that neither ends a comment nor begins another, in ASCII."""
    text = value if isinstance(value, str) else json.dumps(value)
    text = " ".join(text.split()).replace("*/", "* /").replace("/*", "/ *")
    return text.encode("ascii", "backslashreplace").decode()


def _string(text: str) -> str:
    """Return a C string of the text's bytes in UTF-8."""
    plain = {*b" !#$%&'()*+,-./:;<=>@[]^_`{|}~"}  # without the quote, backslash and question mark (trigraphs)
    written = (
        chr(byte) if byte in plain or (byte < 128 and chr(byte).isalnum()) else f"\\{byte:03o}"
        for byte in text.encode()
    )
    return f'"{"".join(written)}"'


# -- compiling and asking it ----------------------------------------------------------------------


def find_compiler() -> str | None:
    """Return a C compiler: ``$CC``, else cc, gcc or clang; ``None`` where there is none."""
    chosen = os.environ.get("CC")
    if chosen:
        return chosen if shutil.which(shlex.split(chosen)[0]) else None
    return next(filter(None, map(shutil.which, _COMPILERS)), None)


def compiled_logits(
    header: Header, images: Tensor, *, compiler: str, flags: Sequence[str] = ("-O3",)
) -> Tensor:
    """Compile a header in a temporary folder and return its logits: uint8 [N, C, H, W] -> float32 [N, classes].

    Raises:
        DataError: the compiler, or what it made, ends with an error; its first lines are told.
    """
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        header.write(place / "student.h")
        (place / "main.c").write_text(_MAIN, encoding="utf-8")
        images.contiguous().numpy().tofile(place / "images")
        program = place / "student.exe"
        _call([*shlex.split(compiler), "-std=c99", *flags, str(place / "main.c"), "-o", str(program)])
        _call([str(program), str(place / "images"), str(place / "logits")])
        found = np.fromfile(place / "logits", dtype=np.float32)
    return torch.from_numpy(found.reshape(len(images), -1))


def _call(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise DataError(f"{Path(command[0]).name} couldn't be run: {error}.") from error
    if done.returncode:
        told = "; ".join(done.stderr.strip().splitlines()[:3]) or "nothing said"
        raise DataError(
            f"{Path(command[0]).name} ended with code {done.returncode}: {told}. Try another compiler, named by $CC."
        )


_MAIN = """\
#include <stdio.h>
#include "student.h"

int main(int count, char **arguments)
{
    static uint8_t pixels[KD_CHANNELS * KD_HEIGHT * KD_WIDTH];
    static float logits[KD_CLASSES];
    FILE *in = count > 1 ? fopen(arguments[1], "rb") : NULL, *out = count > 2 ? fopen(arguments[2], "wb") : NULL;
    if (!in || !out)
        return 1;
    while (fread(pixels, sizeof pixels, 1, in) == 1) {
        kd_predict(pixels, logits);
        if (fwrite(logits, sizeof logits, 1, out) != 1)
            return 1;
    }
    return fclose(out) != 0;
}
"""

_TEMPLATE = """\
/* A classifier of small images, written by kdcourse.

{facts}

   Include this file in one C99 or C++ source and call kd_predict. Nothing is allocated and nothing else is needed;
   the scratch memory is static, so one call must end before the next begins. int must have 32 bits. */
#ifndef KD_STUDENT_H
#define KD_STUDENT_H

#include <stdint.h>

#define KD_CHANNELS {channels}
#define KD_HEIGHT {height}
#define KD_WIDTH {width}
#define KD_CLASSES {classes}
#define KD_FLASH {flash} /* bytes of the constant tables; code comes on top */
#define KD_RAM {ram} /* bytes of scratch memory and of a row of sums; image, logits and calls come on top */

/* Define these before the #include to be told at compile time that a board is too small. */
#if defined(KD_MAX_FLASH) && KD_FLASH > KD_MAX_FLASH
#error "this network needs more flash than KD_MAX_FLASH"
#endif
#if defined(KD_MAX_RAM) && KD_RAM > KD_MAX_RAM
#error "this network needs more RAM than KD_MAX_RAM"
#endif

#define KD_ROW {row} /* numbers in a row of sums */

typedef {weight} kd_weight;

{runtime}

/* -- this network ------------------------------------------------------------------------------------------------ */

/* The name of class number `c`, 0 to KD_CLASSES - 1, in UTF-8. */
static inline const char *kd_name(int c)
{{
    static const char *const names[KD_CLASSES] = {{{names}}};
    return names[c];
}}

{tables}

/* Return the number of the class of an image: pixels [KD_CHANNELS][KD_HEIGHT][KD_WIDTH], 0 to 255, not normalised.
   The logits [KD_CLASSES] are written as well. */
static inline int kd_predict(const uint8_t *pixels, float *logits)
{{
    static float kd_memory[{size}];
    static const float factor[] = {{{factor}}}, less[] = {{{less}}};
    int best = 0;

    for (int i = 0; i < KD_CHANNELS * KD_HEIGHT * KD_WIDTH; i++)
        kd_memory[i] = (float)pixels[i] * factor[i / (KD_HEIGHT * KD_WIDTH)] - less[i / (KD_HEIGHT * KD_WIDTH)];
{calls}
    for (int c = 0; c < KD_CLASSES; c++) {{
        logits[c] = kd_memory[{logits} + c];
        if (logits[c] > logits[best])
            best = c;
    }}
    return best;
}}

#endif
"""
