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
# # Why compress
#
# The ensemble is the most accurate model that we have. So why not simply use it? Because every prediction costs
# memory, time and energy, for as long as the ensemble is in use. In this lesson you first teach a small network without
# a single label. Then you measure on your own machine what the ensemble costs, and what the small network saves.
#
# ## Objectives
#
# By the end of this lesson you can
#
# - train a small network on images without labels, and compare it fairly with a twin that has the labels;
# - say what a network costs in bytes, multiplications, working memory and time, and calculate the first two by hand;
# - explain what each of these costs depends on;
# - measure a trustworthy latency;
# - compare two kinds of student pair by pair.
#
# **Builds on:** {{lesson start_here}}: ensemble, student, parameters, percentage points.
#
# **Time:** {{reading_minutes}} minutes to read, {{exercise_minutes}} minutes for the exercises; the machine works for
# {{machine_seconds}}.
#
# The [glossary](glossary.md) explains words that are new to you.

# %%
import statistics
from dataclasses import replace
from time import perf_counter

from kdcourse import evaluation, figures, models, training, widgets
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
from kdcourse.data import Split, fashion_mnist
from kdcourse.distillation import distil, soft_targets
from kdcourse.runs import recorded

import torch

# %% [markdown]
# ## Who pays
#
# You pay for training once, but for predictions every time: with the battery of a phone, with users' waiting time, or
# with rented computers. A camera in an orchard has only a few megabytes of free memory. A shop that classifies every
# image its customers upload pays for each of them. So a network may be as large as you like in training, but should
# be as small as possible in use.

# %% [markdown]
# ## The idea: let the ensemble write the labels
#
# In the early 2000s Rich Caruana and his group built ensembles of very many models of every kind. These were better
# than the best single model (Caruana and others 2004), but far too large to use. Cristian Buciluă, Rich Caruana and
# Alexandru Niculescu-Mizil (2006) had an idea: if the ensemble knows the answers, why not let it label the data for a
# small network?
#
# 1. Take images **without labels**, as many as you can get. They are the **transfer set**.
# 2. Run the ensemble on each of them, once.
# 3. Train a small network to give the same outputs.
#
# They called it **model compression**. What they compress is not the weights, but the function that the weights
# compute. Labels are scarce and expensive, but the ensemble can label as many images as you have.
#
# In {{lesson start_here}} the student of answers saw ten times as many images as the student of labels. Now both get
# **the same images**, a few thousand of the training images. They come in two editions: with their labels, and with
# every label erased. Erased means that all images are labelled class 0.

# %%
data = fashion_mnist()
labelled = replace(data, train=data.train.subset(torch.arange(3000)))
erased = torch.zeros_like(labelled.train.labels)
unlabelled = replace(labelled, train=Split(labelled.train.images, erased))
print(f"{len(unlabelled.train):,} images, all of them labelled {unlabelled.classes[0]!r}")

# %% [markdown]
# Three students learn from these images. All are the same small network with the same initial weights, and take the
# same number of steps. Only what they learn from differs: the ensemble's answers, the true labels, or the erased
# labels. The third student is the **control**: it shows what the images alone can teach.
#
# **Predict:** think of a hundred new images again.

# %% folded=true
more_labels = "the student of labels, by more than 5 images"
about_equal = "they differ by 5 images at most"
more_answers = "the student of answers, by more than 5 images"
widgets.predict(
    "01-no-labels",
    "Which of the first two students classifies more of a hundred new images correctly?",
    choices=[more_labels, about_equal, more_answers],
)

# %% [markdown]
# First the ensemble's answers. They become **soft targets**: probabilities for all classes.
# (This ensemble was trained on all training images, with their labels. The student sees only what the ensemble makes of
# them.)

# %%
ensemble = recorded.ensemble(data)
bar = progress_bar("the ensemble's answers", len(unlabelled.train) // 100)
targets = soft_targets(
    ensemble, unlabelled.train, unlabelled, batch_size=100, cache=False, progress=False, after_batch=bar
)

# %% [markdown]
# Then the three students. `alpha=1` gives the labels no weight.

# %%
settings = {"epochs": 15, "batch_size": 64, "learning_rate": 0.1, "seed": 0}
settings |= {"validate": False, "progress": False}  # no measuring in between; the bar below is enough
bar = progress_bar("three students", 3 * 15 * (len(unlabelled.train) // 64))
right = {}
for learns_from in ("answers", "labels", "erased labels"):
    torch.manual_seed(0)
    network = models.build("mlp_25k")
    if learns_from == "answers":
        distil(network, targets, unlabelled, temperature=1, alpha=1, after_step=bar, **settings)
    else:
        training.fit(network, labelled if learns_from == "labels" else unlabelled, after_step=bar, **settings)
    logits = evaluation.predict(network, data.validation, data)
    right[f"student of {learns_from}"] = evaluation.accuracy(logits, data.validation.labels)

# %%
show(
    figures.right_of_hundred(right),
    "a board of a hundred squares for each student. A mistake is an empty square with a cross. The boards of the "
    "student of answers and of the student of labels look alike, with few crosses; nearly the whole board of the "
    "student of erased labels is crossed.",
)

# %% folded=true
from_answers, from_labels, from_erased = (100 * share for share in right.values())
lead = from_answers - from_labels
claim(
    "From the ensemble's answers alone a small network learns the task about as well as from true labels",
    abs(lead) < 5 and from_answers > 75 > from_erased,
    student_of_answers=at_least(from_answers, 75, "%", digits=1),
    student_of_labels=at_least(from_labels, 75, "%", digits=1),
    student_of_erased_labels=at_most(from_erased, 20, "%", digits=1),
    lead_of_the_answers=between(lead, -5, 5, "points", digits=1),
)

# %%
widgets.reveal("01-no-labels", more_labels if lead < -5 else more_answers if lead > 5 else about_equal)

# %% [markdown]
# The student of answers was shown no label, and yet it has learned the task. The control shows that images with erased
# labels teach nothing: all that the student knows came from the ensemble.
#
# On the same images, answers taught this network about as much as true labels. But a label takes somebody's time, and
# an answer only a computer's. So there can be many more answers than labels, and {{lesson distil}} shows what that is
# worth.
#
# Later work used other targets than the ensemble's probabilities. Ba and Caruana (2014) used its logits. Hinton,
# Vinyals and Dean (2015) softened its probabilities by a temperature, and gave the whole idea its present name,
# **distillation**. {{Lesson soft_targets}} is about both.

# %% [markdown]
# ## Two models to choose between
#
# So a small network can take the ensemble's place. What does that save? Here are two models to choose between. One is
# the ensemble. The other is a student that was distilled from it beforehand, with all training images and their labels,
# and trained for longer than your students. It is a network of the same kind as in {{lesson start_here}}, but even
# smaller.

# %%
student, _ = recorded.load(recorded.shipped_folder(), "distilled_seed0", data)
contestants = {"ensemble": ensemble, "student": student}
parameters = {
    name: sum(parameter.numel() for parameter in model.parameters()) for name, model in contestants.items()
}
for name, count in parameters.items():
    print(f"{name}: {count:,} parameters")

# %% [markdown]
# ## Bytes
#
# Every parameter takes up memory: in a file, in a download, in the computer's memory. How many bytes it takes depends
# on its number format. As a worked example, here is the last layer of one teacher:

# %%
teacher = ensemble.members[0]
weights = teacher.head.weight
bits = 8 * weights.element_size()
print(f"{list(weights.shape)} numbers of format {weights.dtype}, {bits} bits each")
print(f"{weights.numel():,} numbers x {bits} bits / 8 = {weights.numel() * bits / 8:,.0f} bytes")

# %% [markdown]
# ### Exercise: megabytes of weights (easy, 3 minutes)
#
# Fill in the two gaps. The first gives the bytes of `parameters` numbers of `bits` bits each. The second gives the same
# in megabytes. One megabyte (MB) is a million bytes here, as on the label of a disk; in Python `10**6` or `1e6`.
#
# <details><summary>Hint 1</summary>
#
# The worked example has the first line, with other names.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# Divide by 8 with `/`, not `//`: a parameter of 4 bits takes half a byte, and `//` would drop half bytes. The second
# line is one more division.
#
# </details>


# %%
from kdcourse.course.why_compress.exercises import weight_megabytes

# %%
check("weight_megabytes", weight_megabytes)

# %% [markdown]
# Use it for both models, and compare the result with what the networks really store, as `evaluation.weight_bytes` adds
# it up.

# %%
megabytes = use_answer("weight_megabytes", weight_megabytes)
for name, model in contestants.items():
    stored = evaluation.weight_bytes(model) / 1e6
    print(f"{name:8} {megabytes(parameters[name], 32):6.3f} MB of parameters, {stored:6.3f} MB stored")
times_smaller = evaluation.weight_bytes(ensemble) / evaluation.weight_bytes(student)
print(f"the student is {times_smaller:.0f} times smaller")

# %% [markdown]
# What is stored is a little larger, since a network also stores numbers that training doesn't adjust. Here these are
# the running means and variances of its **BatchNorm** layers, which bring the numbers inside the network to a similar
# scale.
#
# A smaller number format helps too. Rounding weights to fewer bits is called **quantisation**. How small would it
# make the ensemble?

# %%
for bits in (32, 16, 8, 4):
    print(f"ensemble at {bits:2} bits: {megabytes(parameters['ensemble'], bits):5.2f} MB")
times_as_large = megabytes(parameters["ensemble"], 4) / megabytes(parameters["student"], 32)

# %%
claim(
    "Even with 4 bits per weight the ensemble is far larger than the student with 32",
    times_as_large > 10,
    times_as_large=at_least(times_as_large, 10, digits=1),
)

# %% [markdown]
# ## Multiplications
#
# Bytes measure what a network stores, not what it computes. Its work is counted in **multiply-accumulates**, MACs for
# short. One MAC is a multiplication, and the addition of its result to a sum. A linear layer needs one MAC per
# weight, since it uses each weight once per image.
#
# A convolution is different. Its input is a stack of images, the **channels**: one for a grey photo, three for a
# coloured one, and many inside a network. Its output is such a stack, too. For every pair of an input and an output
# channel it has a small window of weights, and it uses the same window again at every pixel.
#
# **Predict** before you count: you have seen by which factor the student is smaller. Does its work shrink by the same
# factor?

# %% folded=true
by_less, by_the_same, by_more = "no, by a smaller factor", "yes, by about the same", "no, by a larger factor"
widgets.predict(
    "01-macs",
    "Does the student save multiplications by the same factor as it saves bytes?",
    choices=[by_less, by_the_same, by_more],
)

# %% [markdown]
# ### Exercise: the work of a convolution (medium, 6 minutes)
#
# A convolution has `in_channels` input channels and `out_channels` output channels. Its window is `kernel` pixels
# high and wide. It moves pixel by pixel (its **stride** is 1). A border of zeros, the **padding**, keeps the image's
# size. For each output number, it multiplies the whole window, in every input channel, with its weights, and adds
# everything up.
#
# How many MACs does it need for one image of `height` x `width` pixels? There is no bias.
#
# <details><summary>Hint 1</summary>
#
# Two questions: how many output numbers are there? How many MACs does each of them take?
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# There are `out_channels * height * width` output numbers. Each uses a window in every input channel, and a window
# has `kernel` rows and `kernel` columns.
#
# </details>


# %%
from kdcourse.course.why_compress.exercises import conv_macs

# %%
check("conv_macs", conv_macs)

# %% [markdown]
# Now count a real network, one of the teachers. To learn the size of the images at each layer, the function below
# classifies one image and notes every layer's input and output. It uses hooks, functions that PyTorch calls after each
# layer's forward pass. You won't need them later.


# %% folded=true
def layer_by_layer(model: torch.nn.Module, shape: tuple[int, ...]) -> list[tuple]:
    """Return each layer of a model with its input and its output, for one image of that shape."""
    noted: list[tuple] = []

    def note(layer, inputs, output):
        noted.append((layer, inputs[0], output))

    layers = [part for part in model.modules() if not list(part.children())]
    hooks = [layer.register_forward_hook(note) for layer in layers]
    with torch.inference_mode():
        model(torch.zeros(1, *shape))
    for hook in hooks:
        hook.remove()
    return noted


# %% [markdown]
# Count the teacher part by part: first the stem, which is the first convolution, then three stages of several
# convolutions each. From stage to stage the images inside the network get smaller and the channels more numerous, as
# the shapes in the code show (channels, height, width).

# %%
macs_of = use_answer("conv_macs", conv_macs)
stages = {
    "stem": (teacher.stem, (1, 28, 28)),
    "stage 1": (teacher.stages[0], (16, 28, 28)),
    "stage 2": (teacher.stages[1], (24, 14, 14)),
    "stage 3": (teacher.stages[2], (64, 7, 7)),
}
counted, held = {}, {}
for name, (part, shape) in stages.items():
    counted[name] = sum(
        macs_of(layer.in_channels, layer.out_channels, layer.kernel_size[0], *before.shape[2:])
        for layer, before, _ in layer_by_layer(part, shape)
        if isinstance(layer, torch.nn.Conv2d)
    )
    held[name] = sum(parameter.numel() for parameter in part.parameters())
for name in stages:
    print(
        f"{name:8} {held[name]:>8,} parameters ({held[name] / sum(held.values()):4.0%})  "
        f"{counted[name]:>11,} MACs ({counted[name] / sum(counted.values()):4.0%})"
    )

# %% folded=true
by_pytorch = {
    name: evaluation.cost(part, shape, latency=False).macs for name, (part, shape) in stages.items()
}
claim(
    "This count agrees with PyTorch's own, for every part",
    counted == by_pytorch,
    parts=len(stages),
    MACs_counted_here=sum(counted.values()),
    MACs_counted_by_PyTorch=sum(by_pytorch.values()),
)
share_of_parameters = 100 * held["stage 1"] / sum(held.values())
share_of_work = 100 * counted["stage 1"] / sum(counted.values())
claim(
    "The first stage has hardly any of the teacher's parameters, but does a large part of its work",
    share_of_parameters < 5 and share_of_work > 15,
    share_of_parameters=at_most(share_of_parameters, 5, "%", digits=1),
    share_of_work=at_least(share_of_work, 15, "%", digits=1),
)

# %% [markdown]
# Most of the parameters are in the last stage, which uses each of them on tiny images. The first stage has hardly any,
# but uses each of them at hundreds of pixels.
#
# Now compare the ensemble and the student. With them is the small network of the three students above, `mlp_25k`, which
# has only linear layers. `evaluation.cost` counts all kinds of layers.

# %%
contestants["mlp_25k"] = models.build("mlp_25k")
costs = {name: evaluation.cost(model, data.image_shape, latency=False) for name, model in contestants.items()}
for name, cost in costs.items():
    print(f"{name:8} {cost.parameters:>9,} parameters  {cost.macs:>11,} MACs per image")
saved = evaluation.compare_cost(costs["ensemble"], costs["student"])

# %% folded=true
claim(
    "The student saves multiplications by a smaller factor than parameters",
    saved.times_fewer_macs < saved.times_fewer_parameters / 2,
    times_fewer_parameters=at_least(saved.times_fewer_parameters, 200, digits=0),
    times_fewer_MACs=at_most(saved.times_fewer_macs, 80, digits=0),
)
claim(
    "The mlp_25k has more parameters than the student, but does far less work",
    costs["mlp_25k"].parameters > costs["student"].parameters
    and costs["mlp_25k"].macs < costs["student"].macs / 10,
    times_the_parameters=at_least(costs["mlp_25k"].parameters / costs["student"].parameters, 1.2, digits=1),
    share_of_the_work=at_most(100 * costs["mlp_25k"].macs / costs["student"].macs, 10, "%", digits=1),
)

# %% folded=true
factor = saved.times_fewer_macs / saved.times_fewer_parameters
widgets.reveal("01-macs", by_less if factor < 0.8 else by_more if factor > 1.25 else by_the_same)

# %% [markdown]
# So "small" can mean several things. Before you compress, ask which cost matters to you: the download, the battery,
# or the waiting time?

# %% [markdown]
# ## Working memory
#
# During a forward pass, memory holds more than the weights: each layer also has an input and an output. Both can be
# freed once the next layers have used them, and the teachers can run one after the other. So the largest layer decides.
# **Working memory** is what a forward pass needs in addition to the weights: at least the input and the output of its
# largest layer, for every image of the batch.
#
# The function that noted every layer's input and output finds that layer, too. Look at the printed numbers, first for
# one image, then for many at once.

# %%
working = {
    name: max(
        before.nbytes + after.nbytes
        for _, before, after in layer_by_layer(contestants[name], data.image_shape)
    )
    / 1e6
    for name in ("ensemble", "student")
}
size = {name: evaluation.weight_bytes(contestants[name]) / 1e6 for name in working}
for images in (1, 256):
    for name in working:
        print(
            f"{name:8} {size[name]:6.2f} MB weights, {images * working[name]:6.2f} MB working memory "
            f"for {images} image{'s' * (images > 1)} at once"
        )

# %% folded=true
together = {name: size[name] + 256 * working[name] for name in working}
claim(
    "For a batch of 256 images, the student saves memory by a far smaller factor than size",
    together["ensemble"] / together["student"] < 10 < size["ensemble"] / size["student"],
    times_less_memory_for_weights_and_batch=at_most(together["ensemble"] / together["student"], 10, digits=1),
    times_smaller_weights=at_least(size["ensemble"] / size["student"], 100, digits=0),
)

# %% [markdown]
# The size of a layer's input and output depends on the pixels of the image and on the channels of the first layers.
# In those layers the student isn't much narrower than a teacher.

# %% [markdown]
# ## Time
#
# What users notice in the end is time. **Latency** is how long one image takes to be classified. Measuring it looks
# easy: read the clock, run the model, read the clock again. Do it a few times in a row. The model gets a single
# processor core, since other programs on your machine disturb one core less than all of them.


# %%
image = data.normalise(data.validation.images[:1])


def time_calls(model, calls):
    """Classify one image so many times on one processor core, and return the seconds of each time."""
    threads, seconds = torch.get_num_threads(), []
    torch.set_num_threads(1)
    with torch.inference_mode():
        for _ in range(calls):
            began = perf_counter()
            model(image)
            seconds.append(perf_counter() - began)
    torch.set_num_threads(threads)
    return seconds


seconds = time_calls(ensemble, 20)

# %%
show_here(
    "Twenty times, one after the other",
    " ".join(f"{1000 * each:.1f}" for each in seconds)
    + f"\nmilliseconds; mean {1000 * statistics.mean(seconds):.1f}, median {1000 * statistics.median(seconds):.1f}",
)

# %% [markdown]
# No two times are alike, and the first are often the longest, since memory is allocated, code is loaded and the
# processor speeds up. That is the **warm-up**, and it is left out. Later, a single call is slow now and then, when
# the machine does something else. One such outlier increases the mean. The **median**, the value in the middle,
# hardly changes.

# %% [markdown]
# ### Exercise: a fair latency (medium, 5 minutes)
#
# Write the whole function: leave out the first 3 measurements, then return the median of the others. If there are two
# values in the middle, take their mean.
#
# <details><summary>Hint 1</summary>
#
# Drop the warm-up first, while the times are still in the order of measurement. A slice of a list, `seconds[start:]`,
# is a new list.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# `seconds[3:]` leaves out the first three. Python's `statistics` module, imported above, has a function for the
# median. By hand: sort, and take the middle.
#
# </details>


# %%
from kdcourse.course.why_compress.exercises import median_latency

# %%
check("median_latency", median_latency)

# %% [markdown]
# **Predict:** how many times faster than the ensemble is the student for one image, on one processor core of your
# machine?

# %%
widgets.predict(
    "01-faster",
    "How many times faster than the ensemble is the student here, for one image on one processor core?",
    number=(1, 300, 1),
    unit="times",
)

# %%
latency_of = use_answer("median_latency", median_latency)
latency = {name: latency_of(time_calls(model, 53)) for name, model in contestants.items()}
times_faster = latency["ensemble"] / latency["student"]

# %%
show_here(
    "Latency",
    "\n".join(f"{name:8} {1000 * seconds:8.2f} ms per image" for name, seconds in latency.items())
    + f"\n\nThe student needs {saved.times_fewer_macs:.0f} times fewer MACs than the ensemble. "
    f"It is {times_faster:.1f} times faster.",
)

# %%
widgets.reveal("01-faster", times_faster, unit="times")

# %% [markdown]
# On most quiet machines the factor is smaller than that of the MACs. Starting a layer takes a fixed time, however small the
# layer is. Numbers must also be fetched from memory before they can be multiplied. So measure latency on the machine
# that will run the model, and never calculate it from a count.
#
# `evaluation.cost` measures as you have just done, only longer. It also measures **throughput**, the images per second
# when many come at once. This is what matters to the shop.

# %%
threads = torch.get_num_threads()
torch.set_num_threads(1)
measured = {
    name: evaluation.cost(model, data.image_shape, batch_size=64, seconds=0.3)
    for name, model in contestants.items()
}
torch.set_num_threads(threads)
more = evaluation.compare_cost(measured["ensemble"], measured["student"]).times_throughput

# %%
show_here(
    "Latency and throughput",
    "\n".join(
        f"{name:8} {cost.latency_ms:8.2f} ms per image, {cost.throughput:10,.0f} images per second"
        for name, cost in measured.items()
    )
    + f"\n\nWhen many images come at once, the student classifies {more:.1f} times as many per second.",
)

# %% [markdown]
# ## Accuracy against cost
#
# How much accuracy does the small size cost? To find out, five students were distilled beforehand, and five plain ones
# trained, with the labels and all training images. When every setting was fixed, all models were evaluated on the test
# images, once, and the results were stored.

# %%
widgets.predict(
    "01-points-lost",
    "By how many percentage points is the distilled student less accurate than the ensemble?",
    number=(0, 20, 0.5),
    unit="points",
)

# %%
record = recorded.summary(data)
points = []
for role in ("ensemble", "plain", "distilled"):
    row, name = record["models"][role], "ensemble" if role == "ensemble" else "student"
    accuracy, interval = row["mean"]["accuracy"], tuple(row["interval"]["accuracy"])
    milliseconds = 1000 * latency[name]
    points.append(
        figures.CostPoint(row["label"], accuracy, measured[name].bytes, milliseconds, interval, role)
    )
show(
    figures.accuracy_against_cost(points),
    "accuracy on the test images against size and against time per image, both logarithmic. "
    + "; ".join(
        f"{point.label} {100 * point.accuracy:.1f} % at {point.bytes / 1e6:.2f} MB" for point in points
    )
    + ". Times were measured on this machine.",
)

# %% folded=true
ensemble_accuracy, plain_accuracy, distilled_accuracy = (point.accuracy for point in points)
points_lost = 100 * (ensemble_accuracy - distilled_accuracy)
claim(
    "The small network is far cheaper than the ensemble and loses a few points of accuracy",
    points_lost < 5 and times_smaller > 100,
    times_smaller=at_least(times_smaller, 100, digits=0),
    percentage_points_lost=at_most(points_lost, 5, digits=1),
)

# %%
widgets.reveal("01-points-lost", points_lost, unit="points")

# %% [markdown]
# Higher is more accurate and further left is cheaper, so the best place is the upper left. Note that the accuracy
# axis doesn't begin at zero. The times are those that you measured.
#
# The step from the ensemble to a student goes far to the left and a little down. The step from the plain students to
# the distilled ones goes up again, **at no cost at all** for users of the student: same network, same bytes, same time,
# other weights.

# %% [markdown]
# ## Pair by pair
#
# Is that last step real, or luck? The bars in the figure are 95 % intervals: over the seeds for the students, over the
# images for the ensemble. They say how far off the mean of five students, or the ensemble's share of right images, may
# be. The bars of the plain and of the distilled students overlap.
#
# But the students come in **pairs**. The plain and the distilled student of a seed had the same initial weights and saw
# the same images in the same order. So what the seed did to both of them cancels if you subtract one accuracy from the
# other, pair by pair:

# %%
accuracies = {
    kind: [run["test"]["accuracy"] for run in record["models"][kind]["runs"]]
    for kind in ("plain", "distilled")
}
leads = []
for seed, (plain, distilled) in enumerate(zip(accuracies["plain"], accuracies["distilled"], strict=True)):
    leads.append(100 * (distilled - plain))
    print(f"seed {seed}: plain {plain:.2%}, distilled {distilled:.2%}, lead {leads[-1]:+.2f} points")

# %% folded=true
compared = record["comparison"]
claim(
    "The two kinds' intervals overlap, but in every pair the distilled student is ahead",
    points[1].interval[1] > points[2].interval[0] and min(leads) > 0,
    pairs=len(leads),
    smallest_lead=at_least(min(leads), 0.2, "points", digits=2),
    mean_lead=between(100 * compared["difference"]["mean"], 0.3, 0.7, "points", digits=2),
    lower_end_of_its_interval=at_least(100 * compared["difference"]["low"], 0.2, "points", digits=2),
    upper_end_of_the_plain_interval=at_least(100 * points[1].interval[1], 92, "%", digits=2),
    lower_end_of_the_distilled_interval=at_most(100 * points[2].interval[0], 92.5, "%", digits=2),
)
claim(
    "Most of the gap between the plain students and the ensemble remains",
    compared["gap_recovered"]["high"] < 0.5,
    gap_in_percentage_points=between(100 * compared["gap_recovered"]["gap"], 3, 3.5, digits=1),
    share_recovered=between(100 * compared["gap_recovered"]["value"], 5, 30, "%", digits=0),
)

# %% [markdown]
# The interval of the mean lead lies above 0, though the intervals of the two means overlap. So to compare two kinds of
# student, look at the differences, not at two separate bars. {{Lesson evaluate}} returns to this.
#
# All of the saving comes from choosing a small network in the first place. Distillation then recovers part of the lost
# accuracy. How large that part is depends on the task, the student and the settings. Here the plain students had all
# labels and are good already, so there is little to gain. In the rest of the course you learn how to gain it, and how
# to tell whether you did.

# %% [markdown]
# ## Other ways to pay less
#
# | way | what becomes smaller | goes with distillation? |
# |---|---|---|
# | a smaller network | bytes, MACs, memory and time, each by a different factor | yes: it is the student |
# | quantisation | bytes; time too, if the processor supports the format | yes, afterwards or during |
# | pruning | number of weights; time only if whole channels are removed | yes, afterwards |
# | distillation | nothing by itself: it makes the smaller network better | – |
#
# You can combine them: Han, Mao and Dally (2016) applied pruning, then quantisation.

# %% [markdown]
# ## Quiz
#
# Choose an answer to see why it is right or wrong.

# %%
widgets.quiz(
    "01",
    [
        widgets.Question(
            "An app may download 500,000 bytes of weights. Which of these networks has the most parameters and still "
            "fits?",
            options=[
                widgets.Option(
                    "900,000 parameters of 4 bits", True, "900,000 x 4 / 8 = 450,000 bytes: half a byte each."
                ),
                widgets.Option(
                    "1,000,000 parameters of 8 bits",
                    False,
                    "That is one byte each, 1,000,000 bytes, and twice the limit.",
                ),
                widgets.Option(
                    "450,000 parameters of 16 bits",
                    False,
                    "450,000 x 16 / 8 = 900,000 bytes. At 8 bits they would fit.",
                ),
                widgets.Option(
                    "120,000 parameters of 32 bits",
                    False,
                    "They fit, with 480,000 bytes. But so does a network with more parameters.",
                ),
            ],
        ),
        widgets.Question(
            "A convolution has 16 input channels, 32 output channels and windows of 3 x 3 pixels. Its images get "
            "smaller: 14 x 14 pixels instead of 28 x 28. How many weights and MACs does it have then?",
            options=[
                widgets.Option(
                    "4,608 weights and 903,168 MACs",
                    True,
                    "16 x 32 x 3 x 3 weights, as before. Each is used at 14 x 14 = 196 pixels, a quarter of 784.",
                ),
                widgets.Option(
                    "4,608 weights and 1,806,336 MACs",
                    False,
                    "That is half of the work at 28 x 28 pixels. Both sides of the image are halved.",
                ),
                widgets.Option(
                    "1,152 weights and 903,168 MACs",
                    False,
                    "The work is right. But the window is the same for any size of the image, and so are its weights.",
                ),
                widgets.Option(
                    "4,608 weights and 56,448 MACs",
                    False,
                    "The weights are right. But each output number needs a window in all 16 input channels.",
                ),
            ],
        ),
        widgets.Question(
            "You time a network eight times: 9, 5, 4, 3, 2, 30, 2 and 4 ms. The first three are warm-up. What do you "
            "report?",
            options=[
                widgets.Option(
                    "3 ms", True, "Sorted, the other five are 2, 2, 3, 4, 30, and 3 is in the middle."
                ),
                widgets.Option("4 ms", False, "That is the median of all eight, warm-up included."),
                widgets.Option(
                    "8.2 ms", False, "That is the mean of the last five. The outlier of 30 ms increases it."
                ),
                widgets.Option(
                    "2 ms", False, "That is the shortest time, the luckiest measurement. Most take longer."
                ),
            ],
        ),
        widgets.Question(
            "Three plain students classify 90.0, 92.0 and 91.0 % of the images correctly, the distilled ones of the "
            "same seeds 90.5, 92.4 and 91.6 %. What was found?",
            options=[
                widgets.Option(
                    "The distilled ones are ahead in every pair, by 0.5 points on average",
                    True,
                    "The differences are 0.5, 0.4 and 0.6 points.",
                ),
                widgets.Option(
                    "Nothing, since 90.0 to 92.0 and 90.5 to 92.4 overlap",
                    False,
                    "They overlap because the seeds differ by up to 2 points. Within a pair that cancels.",
                ),
                widgets.Option(
                    "The distilled ones are ahead by 0.4 points, those between the two best students",
                    False,
                    "That is one pair of three, and it was chosen for its accuracy. Use all pairs.",
                ),
                widgets.Option(
                    "The distilled ones are ahead by 1.5 points",
                    False,
                    "That is the sum of the three differences. Divide it by the number of pairs.",
                ),
            ],
        ),
        widgets.Question(
            "What must the transfer set have?",
            options=[
                widgets.Option(
                    "Images like those that the student will see in use",
                    True,
                    "The student learns the ensemble's outputs for these images.",
                ),
                widgets.Option(
                    "A true label for every image",
                    False,
                    "The student of this lesson learned from images whose labels were erased.",
                ),
                widgets.Option(
                    "Images that the ensemble was not trained on",
                    False,
                    "It may contain such images, which is one of its strengths, but training images work too.",
                ),
            ],
        ),
    ],
)

# %% [markdown]
# ## Recap
#
# - In **model compression** a small network learns from the ensemble's outputs. It needs images, not labels.
# - Every prediction costs **bytes**, **MACs**, **working memory** and **time**.
# - These shrink by different factors. Early layers have few weights but do much of the work. Working memory depends
#   on the pixels and on the number of images at once. Time is hard to predict, so it is **measured**: after warm-up, by
#   the median.
# - The small network saves cost. Distillation recovers part of the lost accuracy, at no cost per prediction.
# - Two kinds of student are compared **pair by pair**: what the seed does to both cancels in the difference.
#
# Next: {{lesson train_a_teacher}}, where the knowledge comes from: how a teacher is trained.
#
# ## References
#
# - Cristian Buciluă, Rich Caruana, Alexandru Niculescu-Mizil (2006). Model Compression. KDD 2006.
#   https://doi.org/10.1145/1150402.1150464
# - Rich Caruana, Alexandru Niculescu-Mizil, Geoff Crew, Alex Ksikes (2004). Ensemble Selection from Libraries of
#   Models. ICML 2004. https://doi.org/10.1145/1015330.1015432
# - Jimmy Ba, Rich Caruana (2014). Do Deep Nets Really Need to be Deep? https://arxiv.org/abs/1312.6184
# - Geoffrey Hinton, Oriol Vinyals, Jeff Dean (2015). Distilling the Knowledge in a Neural Network.
#   https://arxiv.org/abs/1503.02531
# - Song Han, Huizi Mao, William J. Dally (2016). Deep Compression: Compressing Deep Neural Networks with Pruning,
#   Trained Quantization and Huffman Coding. https://arxiv.org/abs/1510.00149
#
# All terms: [glossary](glossary.md).
