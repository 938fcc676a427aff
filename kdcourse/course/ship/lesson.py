# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Ship it
#
# A distilled student is small. How small can the file get that you give away? Two more tools make it smaller:
# **quantisation** stores numbers in fewer bits, and **pruning** removes weights. Both cost accuracy, and distillation
# can repair some of it. In this lesson you write the rounding yourself, use all three tools on one student, and find
# out in which order. In the end your student is a C program that needs neither Python nor PyTorch.
#
# ## Objectives
#
# By the end of this lesson you can
#
# - compute a scale and a zero point, round weights and activations to whole numbers, and measure what it costs;
# - calibrate on the right images, and say what goes wrong with others;
# - prune a network and repair it by distillation, and choose the order of the three tools;
# - export a student, run it without PyTorch, and compare its answers before you trust it.
#
# **Builds on:** {{lesson distil}} (a student learns from stored answers), {{lesson why_compress}} (bytes and
# multiply-accumulates).
#
# **Time:** {{reading_minutes}} minutes to read, {{exercise_minutes}} minutes for the exercises; the machine works
# for {{machine_seconds}}.
#
# Words that are new to you are in the [glossary](glossary.md).

# %%
import copy
import shlex
import subprocess
import tempfile
import zlib
from pathlib import Path

from kdcourse import deploy, evaluation, figures, training, widgets
from kdcourse.course import (
    at_least,
    at_most,
    between,
    check,
    claim,
    progress_bar,
    show,
    show_here,
    use_answer,
)
from kdcourse.data import View, fashion_mnist, stratified_index
from kdcourse.distillation import SoftTargets, distil, soft_targets
from kdcourse.files import shipped
from kdcourse.runs import recorded, study
from kdcourse.runs.study.rows import Rows
from kdcourse.runs.study.unseen import some_of

import torch
from torch import nn
from torch.nn.utils import prune

# %% [markdown]
# ## What a byte costs
#
# The student of this lesson came with the course: `pocket_17k`, distilled from the ensemble of five teachers. A weight
# is usually a float32, which takes 4 bytes. To save time, accuracy is measured on the first 2,000 validation images.

# %%
data = fashion_mnist()
ensemble = recorded.ensemble(data)
student, _ = recorded.load(recorded.shipped_folder(), "distilled_seed0", data)
images, labels = data.validation.images[:2_000], data.validation.labels[:2_000]


def accuracy(model):
    """Return the accuracy on the validation images, in %."""
    return 100 * evaluation.accuracy(evaluation.predict(model, images, data), labels)


counts = {name: sum(p.numel() for p in model.parameters()) for name, model in
          {"five teachers": ensemble, "student": student}.items()}  # fmt: skip
for name, count in counts.items():
    print(f"{name:13} {count:>9,} weights: {4 * count:>10,} bytes in float32, {count:>9,} bytes in int8")

# %% [markdown]
# Where does a byte cost something? A web page loads the file before it can answer. A microcontroller has perhaps 256 kB
# of flash memory for program and weights, and 64 kB of RAM. And each weight that a processor reads from memory takes
# time and energy, often more than the multiplication itself.
#
# Each weight in int8 is one of only 256 values. **Predict:** how many points of accuracy does the student lose if all
# its weights are rounded like this, without further training?

# %%
lost_points = ["less than 1 point", "1 to 5 points", "more than 5 points"]
widgets.predict("09-int8", "With 8 bits per weight the student loses", choices=lost_points)

# %% [markdown]
# ## Scale and zero point
#
# A whole number q stands for the value
#
# $$\text{value} = (q - \text{zero point}) \cdot \text{scale}$$
#
# The **scale** is the distance between two neighbouring values. The **zero point** is the whole number that stands for
# 0 (Jacob et al. 2018). With 8 bits, q goes from -128 to 127: `smallest` should stand for the lowest value, `largest`
# for the highest.
#
# ### Exercise: scale and zero point (medium, 8 minutes)
#
# Compute both for values between `low` and `high`. The value 0 must be exact, because convolutions pad images with
# zeros. So widen the range first if it doesn't hold 0. At least one of `low` and `high` isn't 0.
#
# <details><summary>Hint 1</summary>
#
# Between `smallest` and `largest` lie `largest - smallest` steps, and together they are as wide as the range.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# From `low` up to 0 there are `-low / scale` steps. Count them from `smallest`, and round.
#
# </details>


# %%
from kdcourse.course.ship.exercises import scale_and_zero_point

# %%
check("scale_and_zero_point", scale_and_zero_point)

# %% [markdown]
# ### Exercise: values to whole numbers (easy, 5 minutes)
#
# Now round the values. A value outside of the range gets the nearest end: a byte that overflows would wrap around, and
# a large value would become a very small one.
#
# <details><summary>Hint 1</summary>
#
# First divide by the scale and round to the nearest whole number, then add the zero point.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# `clamp(smallest, largest)` keeps numbers inside of the range, `.to(torch.int8)` stores each in one byte.
#
# </details>


# %%
from kdcourse.course.ship.exercises import to_whole_numbers

# %%
check("to_whole_numbers", to_whole_numbers)

# %% [markdown]
# Try both on a real layer, the last convolution of the student.

# %%
scale_of = use_answer("scale_and_zero_point", scale_and_zero_point)
whole_numbers = use_answer("to_whole_numbers", to_whole_numbers)


def rounded(values, low, high, bits=8):
    """Round values in a range to whole numbers and back."""
    scale, zero_point = scale_of(low, high, bits)
    return (whole_numbers(values, scale, zero_point, bits).float() - zero_point) * scale


layers = {name: part for name, part in student.named_modules() if isinstance(part, nn.Conv2d | nn.Linear)}
name, layer = [pair for pair in layers.items() if isinstance(pair[1], nn.Conv2d)][-1]
weight = layer.weight.detach()
scale, zero_point = scale_of(weight.min().item(), weight.max().item())
back = rounded(weight, weight.min().item(), weight.max().item())
print(f"{name}: weights {list(weight.shape)}")
print("five weights:", [f"{value:+.3f}" for value in weight.flatten()[:5].tolist()])
print("in int8:     ", whole_numbers(weight, scale, zero_point).flatten()[:5].tolist())
print("and back:    ", [f"{value:+.3f}" for value in back.flatten()[:5].tolist()])

# %% folded=true
claim(
    "No weight moves by more than half a step",
    (back - weight).abs().max().item() <= 0.501 * scale,
    largest_error_in_steps=at_most((back - weight).abs().max().item() / scale, 0.501, digits=2),
    different_values_before=weight.unique().numel(),
    different_values_after=at_most(back.unique().numel(), 256),
)

# %% [markdown]
# ## Fewer bits
#
# Round all layers, with 8 bits and fewer. There are two ways to choose the range: one for the whole layer, or one for
# each output channel, which costs one more scale per channel. Luck matters with few bits, so you round three students,
# distilled with different seeds.


# %%
@torch.no_grad()
def with_rounded_weights(model, bits, per_channel=True):
    """Return a copy whose convolutions and linear layers have rounded weights."""
    twin = copy.deepcopy(model)
    for part in twin.modules():
        if isinstance(part, nn.Conv2d | nn.Linear):
            for piece in part.weight if per_channel else (part.weight,):
                low, high = piece.min().item(), piece.max().item()
                if low < high:
                    piece.copy_(rounded(piece, low, high, bits))
    return twin


in_float = accuracy(student)
three = [recorded.load(recorded.shipped_folder(), f"distilled_seed{seed}", data)[0] for seed in range(3)]
bits_tried = (2, 3, 4, 6, 8)
by_bits = {
    label: {
        bits: [accuracy(with_rounded_weights(each, bits, per_channel)) for each in three]
        for bits in bits_tried
    }
    for label, per_channel in (("one range per layer", False), ("one range per channel", True))
}
eight_bits = accuracy(with_rounded_weights(student, 8))

# %%
show(
    figures.study_curves(
        {
            label: [figures.StudyPoint(bits, sum(values) / 300) for bits, values in found.items()]
            for label, found in by_bits.items()
        },
        x="bits per weight",
        title="Rounded weights, no further training, mean of three students",
        split="validation",
    ),
    "validation accuracy against the bits per weight, 2 to 8. From 6 bits on both lines are nearly level. With 2 and 3 bits "
    "accuracy falls steeply, and more so with one range per layer.",
)

# %% folded=true
per_channel, per_layer = by_bits["one range per channel"], by_bits["one range per layer"]
claim(
    "With 8 bits per weight the student loses less than a point; with 3 bits much is lost",
    in_float - eight_bits < 1,
    in_float=between(in_float, 90, 96, "%", digits=1),
    change_with_8_bits=at_least(eight_bits - in_float, -1, "points", digits=2),
    accuracy_with_3_bits_per_layer=at_most(per_layer[3], 75, "%", digits=0),
    accuracy_with_3_bits_per_channel=at_most(per_channel[3], 88, "%", digits=0),
    lead_of_one_range_per_channel=at_least(
        [a - b for a, b in zip(per_channel[3], per_layer[3], strict=True)], 5, "points", digits=0
    ),
)
loss = in_float - eight_bits
widgets.reveal("09-int8", lost_points[0 if loss < 1 else 1 if loss < 5 else 2])

# %% [markdown]
# So three quarters of the bytes were hardly needed. A likely reason: each output sums many products, and their rounding
# errors, half of them up and half of them down, partly cancel. At 4 bits this begins to end. With 3, a range per channel
# helped on average, but look at the three leads: with so few bits, luck decides, and one student is no evidence.
#
# ## Calibrate
#
# Rounded weights make the file smaller. To compute with whole numbers, the inputs of each layer must be rounded, too.
# Their range isn't known before images come in. So you run some images through the network and note the smallest and
# largest input of each layer: that is **calibration**. Then the ranges stay fixed.
#
# **Predict:** 256 training images are used to calibrate. What if they were photographed in the dark, so that each pixel
# has an eighth of its value?

# %%
dark = ["nothing: ranges don't depend on brightness", "up to 5 points", "more than 5 points"]
widgets.predict("09-dark", "Calibrated in the dark, on ordinary images the student loses", choices=dark)


# %%
def input_ranges(model, examples):
    """Return the smallest and largest input of every layer on some images."""
    found, hooks = {}, []
    for name, part in model.named_modules():
        if isinstance(part, nn.Conv2d | nn.Linear):

            def note(_, inputs, name=name):
                low, high = inputs[0].min().item(), inputs[0].max().item()
                before = found.get(name, (low, high))
                found[name] = (min(low, before[0]), max(high, before[1]))

            hooks.append(part.register_forward_pre_hook(note))
    evaluation.predict(model, examples, data)
    for hook in hooks:
        hook.remove()
    return found


def in_int8(model, examples):
    """Return a copy with weights and inputs of every layer rounded to int8, calibrated on some images."""
    ranges, twin = input_ranges(model, examples), with_rounded_weights(model, 8)
    for name, part in twin.named_modules():
        if name in ranges:
            part.register_forward_pre_hook(lambda _, inputs, ends=ranges[name]: (rounded(inputs[0], *ends),))
    return twin


examples = data.train.images[::200][:256]
calibrated = {"ordinary images": accuracy(in_int8(student, examples))}
calibrated["dark images"] = accuracy(in_int8(student, examples // 8))

# %% folded=true
changes = {key: value - in_float for key, value in calibrated.items()}
claim(
    "Ranges from ordinary images cost little, ranges from dark ones a lot",
    changes["ordinary images"] > -1.5 and changes["dark images"] < changes["ordinary images"],
    change_with_ordinary_images=at_least(changes["ordinary images"], -1.5, "points", digits=2),
    change_with_dark_images=at_most(changes["dark images"], -3, "points", digits=1),
)
loss = -changes["dark images"]
widgets.reveal("09-dark", dark[0 if loss < 0.5 else 1 if loss < 5 else 2])

# %% [markdown]
# Everything above the largest value of a dark image was cut off. Calibrate on images like those that the student will
# see: training images. Never on test images, because then the test would no longer be one.
#
# ## Prune, and repair
#
# Many weights are nearly 0. **Magnitude pruning** sets the smallest ones to exactly 0 (Han et al. 2015).
#
# ### Exercise: the weights that stay (medium, 6 minutes)
#
# Mark the given share of all weights with the largest absolute values.
#
# <details><summary>Hint 1</summary>
#
# `topk(count)` of a flat tensor gives its largest values, and their places as `.indices`.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# Set these places of a flat mask to True, then give it the shape of the weights: `view_as`.
#
# </details>


# %%
from kdcourse.course.ship.exercises import keep_largest

# %%
check("keep_largest", keep_largest)

# %% [markdown]
# Your function gets all weights of the student at once, so that layers with many small weights lose more of them. A
# mask from `torch.nn.utils.prune` then keeps the removed weights at 0, also while the student is trained.
#
# The repair is distillation: one short epoch with the answers of the ensemble to 6,000 training images, which came with
# the course.

# %%
largest = use_answer("keep_largest", keep_largest)


def pruned(model, removed, held=False):
    """Return a copy in which a share of the weights is 0, and with ``held`` stays so during training."""
    twin = copy.deepcopy(model)
    parts = [part for part in twin.modules() if isinstance(part, nn.Conv2d | nn.Linear)]
    mask = largest(torch.cat([part.weight.detach().flatten() for part in parts]), 1 - removed)
    for part, kept in zip(parts, mask.split([part.weight.numel() for part in parts]), strict=True):
        prune.custom_from_mask(part, "weight", kept.view_as(part.weight))
    if not held:
        deploy.finish_pruning(twin)
    return twin


index = stratified_index(data.train.labels, 6_000, 0)
answers = soft_targets(ensemble, data.train, data, progress=False).logits(View(), index)
few = some_of(data, index)
targets = SoftTargets([View()], [answers], [None], few.train, "ensemble")


def distil_again(model, seed=0, after_step=None):
    """Train a network for one epoch on the answers, in place."""
    distil(
        model, targets, few, temperature=2.0, alpha=0.9, epochs=1, batch_size=128, learning_rate=0.02, optimizer="muon",
        weight_decay=5e-3, seed=seed, precision="float32", validate=False, progress=False, after_step=after_step,
    )  # fmt: skip


# %% [markdown]
# **Predict:** nine of ten weights are removed. What accuracy is left without repair, and what with it?

# %%
widgets.predict("09-pruned", "Without repair:", number=(0, 100, 1), unit="%")

# %%
widgets.predict("09-repaired", "With one epoch of distillation:", number=(0, 100, 1), unit="%")

# %%
shares = (0.5, 0.75, 0.9)
bar = progress_bar("Three repairs", len(shares) * (len(few.train) // 128))
before, after = {}, {}
for removed in shares:
    smaller = pruned(student, removed, held=True)
    before[removed] = accuracy(smaller)
    distil_again(smaller, after_step=bar)
    after[removed] = accuracy(smaller)

# %%
show(
    figures.study_curves(
        {
            "without repair": [
                figures.StudyPoint(100 * removed, before[removed] / 100) for removed in shares
            ],
            "repaired by distillation": [
                figures.StudyPoint(100 * removed, after[removed] / 100) for removed in shares
            ],
        },
        x="share of the weights removed (%)",
        title="Pruned, and repaired by one epoch of distillation",
        split="validation",
        linear=True,
    ),
    "validation accuracy with 50, 75 and 90 % of the weights removed. Without repair it falls to guessing, with repair it "
    "stays far higher.",
)

# %% folded=true
claim(
    "One epoch of distillation repairs most of what pruning has broken",
    all(after[removed] > before[removed] for removed in (0.75, 0.9)),
    without_half_of_the_weights=between(before[0.5], 40, 95, "%", digits=1),
    without_nine_tenths=at_most(before[0.9], 60, "%", digits=1),
    repaired_without_three_quarters=at_least(after[0.75], 80, "%", digits=1),
    repaired_without_nine_tenths=at_least(after[0.9], 65, "%", digits=1),
)

# %%
widgets.reveal("09-pruned", round(before[0.9]), unit="%")

# %%
widgets.reveal("09-repaired", round(after[0.9]), unit="%")

# %% [markdown]
# ## In which order?
#
# Three tools, one budget: distil for one epoch, prune three quarters of the weights, round to int8. You start from the
# plain student, which has never seen a teacher. Distillation changes all weights, so it must come before rounding:
# otherwise the file would hold floats again. Three orders are left:
#
# 1. distil, prune, round
# 2. distil, round, prune
# 3. prune, distil, round
#
# **Predict:** which is best?

# %%
orders = ["distil, prune, round", "distil, round, prune", "prune, distil, round"]
widgets.predict(
    "09-order", "The best order on validation images:", choices=[*orders, "there is no clear difference"]
)

# %% [markdown]
# Each order is tried with three of the plain students that came with the course, one per seed. Each of them is distilled,
# for the first two orders, and pruned and then distilled, for the third: six trainings, with the same images and the same
# number of steps. The figure compares the first two orders with the third.

# %%
seeds = (0, 1, 2)
bar = progress_bar("Six trainings", 2 * len(seeds) * (len(few.train) // 128))
found = {order: [] for order in orders}
for seed in seeds:
    plain, _ = recorded.load(recorded.shipped_folder(), f"plain_seed{seed}", data)
    taught, ready = copy.deepcopy(plain), pruned(plain, 0.75, held=True)
    distil_again(taught, seed, bar)
    distil_again(ready, seed, bar)
    deploy.finish_pruning(ready)
    found[orders[0]].append(accuracy(in_int8(pruned(taught, 0.75), examples)))
    rounded_first = pruned(with_rounded_weights(taught, 8), 0.75)
    found[orders[1]].append(accuracy(in_int8(rounded_first, examples)))
    found[orders[2]].append(accuracy(in_int8(ready, examples)))

# %%
show(
    figures.paired_differences(
        {
            order: (
                [value / 100 for value in found[orders[2]]],
                [value / 100 for value in found[order]],
            )
            for order in orders[:2]
        }
    ),
    "differences in accuracy to the third order, seed by seed: both orders in which pruning comes after distillation lie "
    "far left of 0.",
)

# %% folded=true
ahead = [[a - b for a, b in zip(found[orders[2]], found[order], strict=True)] for order in orders[:2]]
claim(
    "Prune first, then distil, then round: distillation can repair only what is broken before it",
    min(ahead[0]) > 0 and min(ahead[1]) > 0,
    prune_distil_round=at_least(found[orders[2]], 75, "%", digits=1),
    ahead_of_distil_prune_round=at_least(ahead[0], 5, "points", digits=1),
    ahead_of_distil_round_prune=at_least(ahead[1], 5, "points", digits=1),
)
widgets.reveal("09-order", orders[2] if min(ahead[0] + ahead[1]) > 0 else "there is no clear difference")

# %% [markdown]
# If rounding costs too much, distillation can take it into account as well: **quantisation-aware training** rounds in
# every forward pass, and the gradient passes as if nothing had been rounded
# (`kdcourse.deploy.make_quantization_aware`). With 8 bits this student didn't need it.
#
# And the zeros? A file stores them like other numbers, and an ordinary processor multiplies by them. They save bytes
# where the file is compressed, as a web server does, and time only in a runtime that skips them. To save bytes and
# multiplications everywhere, remove whole channels (`kdcourse.deploy.narrowed`). Whether that saves time has to be
# measured: a student this small was no faster in ONNX Runtime.


# %%
def packed(model):
    """Return the bytes of the int8 weights before and after compression."""
    parts = [part for part in model.modules() if isinstance(part, nn.Conv2d | nn.Linear)]
    content = b"".join(deploy.quantized(part.weight)[0].numpy().tobytes() for part in parts)
    return len(content), len(zlib.compress(content, 9))


sizes = {"distilled student": packed(student), "pruned and repaired": packed(ready)}

# %% folded=true
print(f"int8 weights of either student: {sizes['distilled student'][0]:,} bytes")
claim(
    "Three quarters of zeros don't make the weights smaller, but compress well",
    sizes["pruned and repaired"][0] == sizes["distilled student"][0],
    compressed_to=at_most(
        100 * sizes["pruned and repaired"][1] / sizes["pruned and repaired"][0], 60, "%", digits=0
    ),
    the_unpruned_ones_to=at_least(
        100 * sizes["distilled student"][1] / sizes["distilled student"][0], 75, "%", digits=0
    ),
)

# %% [markdown]
# ## Ship it
#
# The last student of the loop above, `ready` (pruned by three quarters, then distilled), now leaves PyTorch. Each file is
# read again and compared before you trust it.
#
# ### For the web page
#
# The live page of this course computes in the browser, from a safetensors file whose matrices are float16. Here is your
# student in this format.

# %%
folder = Path(tempfile.mkdtemp(prefix="my-student-"))
notes = {"model": "pocket_17k", "classes": list(data.classes), "made": "pruned, then distilled"}
training.save_weights(ready, folder / "my_student.safetensors", notes, dtype=torch.float16)
show_here("Where your files are", str(folder))
read = copy.deepcopy(student)
training.load_weights(read, folder / "my_student.safetensors")
some = data.test.images[:2_000]
logits = evaluation.predict(ready.eval(), some, data)

# %% folded=true
agreed = evaluation.agreement(evaluation.predict(read.eval(), some, data), logits)
claim(
    "The file answers as your student does",
    agreed > 0.99,
    same_class_on_the_test_images=at_least(100 * agreed, 99, "%", digits=2),
    bytes_of_the_file=at_most((folder / "my_student.safetensors").stat().st_size, 50_000),
)

# %% [markdown]
# ### For another runtime: ONNX
#
# ONNX is a file format that many runtimes read: on phones, in browsers, in C++ and C#. The file holds the computation,
# the normalisation of the images, and the names of the classes. `export_onnx` compares it with PyTorch before it writes
# it. Then onnxruntime, which knows nothing of PyTorch, answers 2,000 test images. (Both need the packages onnx, onnxscript
# and onnxruntime. Without them the cell says so, and the lesson goes on.)

# %%
described = {"classes": data.classes, "mean": data.mean, "std": data.std}
try:
    deploy.export_onnx(ready, folder / "my_student.onnx", image_shape=data.image_shape, **described)
    small = deploy.export_onnx_int8(ready, images=data.train.images[::100][:512], **described)
    files = {"float": (folder / "my_student.onnx").read_bytes(), "int8": small}
    runtimes = {kind: deploy.OnnxFile(content) for kind, content in files.items()}
    by_onnx = {kind: runtime.logits(some) for kind, runtime in runtimes.items()}
    times = deploy.compare_times(runtimes["float"], runtimes["int8"], data.test.images[:1])
    told = f"float {times.first_ms:.3f} ms, int8 {times.second_ms:.3f} ms: int8 takes {times.ratio:.2f} times as long"
    show_here("Time per image on this machine, in onnxruntime", told)
except ImportError as error:
    files = {}
    print(error)

# %% folded=true
if files:
    claim(
        "Another runtime gives the same answers; in int8 a few differ, and the file is smaller",
        evaluation.agreement(by_onnx["float"], logits) > 0.999 and len(files["int8"]) < len(files["float"]),
        same_class_in_float=at_least(
            100 * evaluation.agreement(by_onnx["float"], logits), 99.9, "%", digits=2
        ),
        same_class_in_int8=at_least(100 * evaluation.agreement(by_onnx["int8"], logits), 95, "%", digits=2),
        bytes_of_int8_over_float=at_most(len(files["int8"]) / len(files["float"]), 0.75, digits=2),
    )

# %% [markdown]
# ### For a microcontroller: C
#
# A microcontroller has no room for a runtime. `c_header` writes your student as one C file: int8 weights as tables, and
# a function that takes the pixels of an image. It allocates no memory and needs no library. Only the weights are int8 here:
# the function computes in float, so nothing has to be calibrated.

# %%
header = deploy.c_header(
    ready, image_shape=data.image_shape, **described, notes={"licence": "yours to choose"}
)
header.write(folder / "student.h")
board = deploy.Board()
print(f"tables: {header.flash:,} bytes, of {board.flash:,} bytes of flash")
print(f"buffers: {header.ram:,} bytes, of {board.ram:,} bytes of RAM")
print(f"With its code and stack, it {'fits' if header.fits(board) else 'does not fit'} on this board.")

# %% [markdown]
# Around it you need only a few lines: read the pixels of one image from a file, print the name of the class. With a C
# compiler here, these lines become a program, and your student answers on the command line.

# %%
(folder / "main.c").write_text(r"""
#include <stdio.h>
#include "student.h"

int main(int count, char **arguments)
{
    static uint8_t pixels[KD_CHANNELS * KD_HEIGHT * KD_WIDTH];
    float logits[KD_CLASSES];
    FILE *in = count > 1 ? fopen(arguments[1], "rb") : NULL;
    if (!in || fread(pixels, sizeof pixels, 1, in) != 1) {
        fprintf(stderr, "usage: student FILE, with %d bytes, one per pixel\n", (int)sizeof pixels);
        return 1;
    }
    printf("%s\n", kd_name(kd_predict(pixels, logits)));
    return 0;
}
""")
image, truth = data.test.images[0], data.classes[data.test.labels[0]]
(folder / "image.bin").write_bytes(image.numpy().tobytes())
compiler = deploy.find_compiler()
if compiler is None:
    said = data.classes[int(logits[0].argmax())]
    print("There is no C compiler here (cc, gcc or clang), so PyTorch answers instead.")
else:
    program = folder / "student.exe"
    command = [*shlex.split(compiler), "-std=c99", "-O2", str(folder / "main.c"), "-o", str(program)]
    subprocess.run(command, check=True)
    said = subprocess.run(
        [str(program), str(folder / "image.bin")], check=True, capture_output=True, text=True
    ).stdout.strip()
print("$ ./student image.bin")
print(said)
print(f"The label of this image: {truth}")

# %% [markdown]
# One right answer is no evidence. So compare the C program with PyTorch on 2,000 test images.

# %%
if compiler is None:
    by_c = evaluation.predict(deploy.with_rounded_weights(ready), some, data)
else:
    by_c = deploy.compiled_logits(header, some, compiler=compiler)

# %% folded=true
test_accuracy = {
    name: 100 * evaluation.accuracy(each, data.test.labels[: len(each)])
    for name, each in (("pytorch", logits), ("c", by_c))
}
claim(
    "With int8 weights the C code answers nearly every test image as PyTorch does, and fits on the board",
    header.fits(board),
    same_class=at_least(100 * evaluation.agreement(by_c, logits), 97, "%", digits=2),
    test_accuracy_in_pytorch=at_least(test_accuracy["pytorch"], 75, "%", digits=1),
    change_in_c=between(test_accuracy["c"] - test_accuracy["pytorch"], -2, 2, "points", digits=2),
)

# %% [markdown]
# `kdcourse ship STUDENT --to onnx`, `--to onnx-int8` and `--to c` do all this with any classifier of the course, and with
# one of yours. They compare the answers to all test images. In float, a file that differs by more than rounding isn't
# written; for int8, the command prints how many answers change, and the accuracy before and after.

# %% [markdown]
# ## Bytes, milliseconds, accuracy
#
# The study `ship` of the course measures such files: for each network an ONNX file, run by onnxruntime on one processor,
# with three to five seeds where there are several networks of a kind. Accuracy is that on the test images. There are the
# five teachers together and each of them alone, in float, in int8 and pruned; and students of three sizes, of 2, 17 and 60
# thousand parameters.
#
# **Predict:** the file of all five teachers has about 18 MB. How many points of test accuracy separate it from the
# distilled student of 17 thousand parameters in int8, whose file is more than 500 times smaller?

# %%
widgets.predict("09-gap", "Points of accuracy:", number=(0, 20, 0.5), unit="points")

# %% folded=true
stored = Rows(shipped("study"), "ship").checked()
networks = study.study_named("ship", shipped("study")).summary(stored)["networks"]
measured = {(entry["network"], entry["made"]): entry for entry in networks}
reference = measured["pocket_17k", "plain"]["latency_ms"]
names = {
    ("ensemble", "float"): ("five teachers", "ensemble"),
    ("teacher", "float"): ("one teacher", "teacher"),
    ("teacher", "int8"): ("teacher, int8", "in int8"),
    ("teacher", "pruned 90%, repaired"): ("90 % pruned, repaired", "pruned"),
    ("pocket_60k", "distilled, int8"): ("60 k, int8", "in int8"),
    ("pocket_17k", "plain"): ("17 k, plain", "plain"),
    ("pocket_17k", "distilled"): ("17 k, distilled", "distilled"),
    ("pocket_17k", "distilled, int8"): ("17 k, int8", "in int8"),
    ("pocket_2k", "distilled, int8"): ("2 k, int8", "in int8"),
}

# %% [markdown]
# A pruned file is as long as before, since a zero takes as many bytes as another number. But zeros can be packed well, as
# in a `.zip`. So the figure compares packed files.

# %%
show(
    figures.accuracy_against_cost(
        [
            figures.CostPoint(
                label,
                measured[key]["accuracy"],
                measured[key]["packed_bytes"],
                measured[key]["times"] * reference,
                (measured[key]["low"], measured[key]["high"]) if "low" in measured[key] else None,
                role,
            )
            for key, (label, role) in names.items()
        ],
        size="size of the packed file",
    ),
    "test accuracy against the size of the packed file, and against the time per image. In int8 a teacher and the student of "
    "17 thousand parameters are as accurate as in float, and their packed files far smaller. The teacher takes as long as in "
    "float, the student twice as long.",
)

# %% folded=true
print(f"{'network':11} {'made':29} {'packed bytes':>12}  accuracy  time, over the plain student's")
for (network, made), entry in measured.items():
    print(
        f"{network:11} {made:29} {entry['packed_bytes']:>12,.0f}  {entry['accuracy']:8.2%}  {entry['times']:.1f}"
    )
whole, small = measured["ensemble", "float"], measured["pocket_17k", "distilled, int8"]
separated = 100 * (whole["accuracy"] - small["accuracy"])
pairs = {"teacher": ("float", "int8")} | {
    student: ("distilled", "distilled, int8") for student in ("pocket_2k", "pocket_17k", "pocket_60k")
}
print("\nin int8, against float:  packed bytes  accuracy, points (95 % interval)  time")
for name, (base, made) in pairs.items():
    there, change = measured[name, made], measured[name, made]["against"]
    ratios = [there[what] / measured[name, base][what] for what in ("packed_bytes", "times")]
    print(
        f"  {name:22} {ratios[0]:5.2f} times   {100 * change['mean']:+.2f} ({100 * change['low']:+.2f} to "
        f"{100 * change['high']:+.2f})            {ratios[1]:.2f} times"
    )
print("\ndistilled, against plain:  accuracy, points (95 % interval)")
for name in ("pocket_2k", "pocket_17k", "pocket_60k"):
    lead = measured[name, "distilled"]["against"]
    print(f"  {name:24} {100 * lead['mean']:+.2f} ({100 * lead['low']:+.2f} to {100 * lead['high']:+.2f})")
broken, mended = (100 * measured["teacher", f"pruned 90%{end}"]["accuracy"] for end in ("", ", repaired"))
claim(
    "Distillation repairs a teacher that has lost 90 % of its weights",
    mended > broken + 10,
    pruned=f"{broken:.1f} %",
    pruned_and_repaired=f"{mended:.1f} %",
)
widgets.reveal("09-gap", round(2 * separated) / 2, unit="points")

# %% [markdown]
# In int8, packed files are about a quarter to a half as long, and no accuracy changed beyond noise. But the students take
# twice as long as in float, and the teacher about as long, although the processor of the study has instructions for bytes.
# A likely reason: for one small image there is little to multiply. Turning numbers into bytes and back between layers takes
# time, too, and so does starting each layer. The smaller the network, the more this counts. Large networks and large
# batches can gain. So measure on the machine that you ship to, as the cell for ONNX did on yours.
#
# Distillation is different: it made the students of 17 and 60 thousand parameters more accurate, without a further byte,
# and without a further microsecond per image. (For that of 2 thousand, three seeds don't tell.) And it goes with the others:
# it repaired the pruned teacher, and in int8 the distilled students are as accurate as in float.
#
# Compare two rows in float: the teacher without 90 % of its weights, repaired, and the distilled student of 60 thousand
# parameters. The student's packed file is less than half as long, it takes a sixth of the time, and it is more accurate. The
# student was trained longer, though: 8 epochs on all training images, where the repair was one epoch on 11,000.
#
# Look at the rows "quantization-aware" and "distilled longer" as well. One more epoch with rounded numbers gave no student
# clearly more than the same epoch without rounding. Eight bits lose too little here for that to be worth its time.
#
# There is a third way to take numbers out of a layer: replace its weights by the product of two thin matrices, a **low-rank
# factorisation** (`deploy.low_rank`). Measured on the student of 17 thousand parameters, at the same bytes it lost less than
# thinner layers do, and it wasn't faster; the page "More of the command and the library" of the course's documentation has
# the numbers.

# %% [markdown]
# ## Quiz

# %%
widgets.quiz(
    "09",
    [
        widgets.Question(
            "A layer's values lie between 0 and 5.1, in 8 bits. What are scale and zero point?",
            options=[
                widgets.Option(
                    "0.02 and -128", True, "5.1 / 255 = 0.02, and 0 is the smallest whole number."
                ),
                widgets.Option(
                    "0.02 and 0", False, "Then -128 to -1 would stand for values below 0, which don't occur."
                ),
                widgets.Option(
                    "0.04 and 0", False, "That is 5.1 / 127: half of the whole numbers are never used."
                ),
                widgets.Option(
                    "50 and -128", False, "That is 255 / 5.1. The scale is the value of one step."
                ),
            ],
        ),
        widgets.Question(
            "A student in int8 is good on the validation images and bad in the warehouse, where the light is brighter. "
            "What do you check first?",
            options=[
                widgets.Option(
                    "The images that it was calibrated on",
                    True,
                    "Brighter images give larger inputs; what lies beyond the calibrated range is cut off. Compare with "
                    "the student in float.",
                ),
                widgets.Option(
                    "The number of bits of the weights", False, "Weights don't depend on the light."
                ),
                widgets.Option("The teacher", False, "It isn't there any more. What changed are the images."),
            ],
        ),
        widgets.Question(
            "You pruned half of the weights. The file is as large as before. Why?",
            options=[
                widgets.Option(
                    "A 0 takes as many bytes as any other number",
                    True,
                    "Compress the file, or remove whole channels.",
                ),
                widgets.Option(
                    "The mask takes the other half", False, "The mask is gone once pruning is finished."
                ),
                widgets.Option(
                    "Pruning needs int8 first", False, "A 0 in int8 takes one byte, like any int8."
                ),
            ],
        ),
        widgets.Question(
            "Why did pruning have to come before distillation here?",
            options=[
                widgets.Option(
                    "Training can repair only damage that is already there",
                    True,
                    "Afterwards nothing adapts the remaining weights.",
                ),
                widgets.Option(
                    "Distilled weights are larger, so they can't be pruned",
                    False,
                    "They can: you did so in two of the three orders. The damage just stayed.",
                ),
                widgets.Option(
                    "The teacher must be pruned, too",
                    False,
                    "The teacher only answers; how it was made doesn't matter to the student.",
                ),
            ],
        ),
    ],
)

# %% [markdown]
# ## Recap
#
# - A whole number q stands for (q - zero point) * scale. The range must hold 0.
# - **8 bits** cost this student next to nothing, and save three quarters of the bytes.
# - **Calibrate** on training images that look like those in use.
# - **Prune, then distil, then round**: distillation can repair only what was broken before it.
# - Zeros save bytes only when compressed, and int8 saves time only where the processor and the network suit it. Measure
#   both on the machine that you ship to.
# - Export, read the file again in another runtime, and **compare the answers** before you trust it.
#
# ## References
#
# - Benoit Jacob, Skirmantas Kligys, Bo Chen, Menglong Zhu, Matthew Tang, Andrew Howard, Hartwig Adam, Dmitry Kalenichenko
#   (2018). Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference. CVPR 2018.
#   https://arxiv.org/abs/1712.05877
# - Raghuraman Krishnamoorthi (2018). Quantizing Deep Convolutional Networks for Efficient Inference: a Whitepaper.
#   https://arxiv.org/abs/1806.08342
# - Song Han, Jeff Pool, John Tran, William Dally (2015). Learning both Weights and Connections for Efficient Neural
#   Networks. NeurIPS 2015. https://arxiv.org/abs/1506.02626
# - Geoffrey Hinton, Oriol Vinyals, Jeff Dean (2015). Distilling the Knowledge in a Neural Network.
#   https://arxiv.org/abs/1503.02531
#
# All terms: [glossary](glossary.md).
