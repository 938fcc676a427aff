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
# memory, time and energy, for as long as the ensemble is in use. In this lesson you measure these costs on your own
# machine, and see what compression saves and what it costs.
#
# ## Objectives
#
# By the end of this lesson you can
#
# - say what a network costs in bytes, multiplications, working memory and time, and calculate the first two by hand;
# - explain why these costs shrink by different factors, so that a small network is not always a fast one;
# - measure a trustworthy latency;
# - explain the original idea, model compression, and show that it works without a single label.
#
# **Builds on:** {{lesson start_here}}: ensemble, student, parameters.
#
# **Time:** {{reading_minutes}} minutes to read, {{exercise_minutes}} minutes for the exercises; the machine works for
# {{machine_seconds}}.
#
# The [glossary](glossary.md) explains words that are new to you.

# %%
import statistics
from dataclasses import replace
from time import perf_counter

import torch

from kdcourse import evaluation, figures, models, training, widgets
from kdcourse.course import at_least, at_most, between, check, claim, show, show_here
from kdcourse.data import Split, fashion_mnist
from kdcourse.distillation import distil, soft_targets
from kdcourse.runs import recorded

# %% [markdown]
# ## Who pays
#
# You pay for training once, but for predictions every time: with the battery of a phone, with users' waiting time, or
# with rented computers. A camera in an orchard has only a few megabytes of free memory. A shop that classifies every
# image its customers upload pays for each of them. So a network may be as large as you like in training, but should
# be as small as possible in use.
#
# Here are two models to choose between. One is the ensemble. The other is a student that was distilled from it
# beforehand, from all training images and their labels, with more training than yours in {{lesson start_here}}. It is
# a network of the same kind, but even smaller.

# %%
data = fashion_mnist()
ensemble = recorded.ensemble(data)
student, _ = recorded.load(recorded.shipped_folder(), "distilled_seed0", data)
contestants = {"ensemble": ensemble, "student": student}
for name, model in contestants.items():
    print(f"{name}: {evaluation.cost(model, data.image_shape, latency=False).parameters:,} parameters")

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
# The course's own `evaluation.weight_bytes` adds up what the network stores. The result is a little larger than that
# of the parameters alone. A network also stores numbers that training doesn't adjust, such as the running means of
# its BatchNorm layers.

# %%
for name, model in contestants.items():
    print(f"{name}: {evaluation.weight_bytes(model) / 1e6:.3f} MB")
times_smaller = evaluation.weight_bytes(ensemble) / evaluation.weight_bytes(student)
print(f"the student is {times_smaller:.0f} times smaller")

# %% [markdown]
# A smaller number format helps too. Rounding weights to fewer bits is called **quantisation**. How small would it
# make the ensemble?

# %%
parameters = evaluation.cost(ensemble, data.image_shape, latency=False).parameters
for bits in (32, 16, 8, 4):
    print(f"ensemble at {bits:2} bits: {parameters * bits / 8 / 1e6:5.2f} MB")
claim(
    "Even with 4 bits per weight the ensemble is far larger than the student with 32",
    parameters * 4 / 8 > 10 * evaluation.weight_bytes(student),
    times_as_large=at_least(parameters * 4 / 8 / evaluation.weight_bytes(student), 10),
)

# %% [markdown]
# ## Multiplications
#
# Bytes measure what a network stores, not what it computes. Its work is counted in **multiply-accumulates**, MACs for
# short. One MAC is a multiplication, and the addition of its result to a sum. A linear layer needs one MAC per
# weight, since it uses each weight once per image.
#
# A convolution is different. It uses the same small window of weights again at every pixel.
#
# **Predict** before you count: you have seen by which factor the student is smaller. Does its work shrink by the same
# factor?

# %%
widgets.predict(
    "01-macs",
    "Does the student save multiplications by the same factor as it saves bytes?",
    choices=["no, by a smaller factor", "yes, by about the same", "no, by a larger factor"],
)

# %% [markdown]
# ### Exercise: the work of a convolution (medium, 6 minutes)
#
# A convolution has `in_channels` input channels and `out_channels` output channels. Its window is `kernel` pixels
# high and wide. It moves pixel by pixel (stride 1), and padding keeps the image's size. For each output number, it
# multiplies the whole window, in every input channel, with its weights, and adds everything up.
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
# `evaluation.cost` counts the MACs of any network, and also of any part of it. So apply it to one teacher part by
# part: first the stem, which is the first convolution, then three stages of several convolutions each. From stage to
# stage the feature maps get smaller and the channels more numerous, as the shapes in the code show (channels, height,
# width).

# %%
stages = {
    "stem": (teacher.stem, (1, 28, 28)),
    "stage 1": (teacher.stages[0], (16, 28, 28)),
    "stage 2": (teacher.stages[1], (24, 14, 14)),
    "stage 3": (teacher.stages[2], (64, 7, 7)),
}
counted = {name: evaluation.cost(part, shape, latency=False) for name, (part, shape) in stages.items()}
all_parameters = sum(cost.parameters for cost in counted.values())
all_macs = sum(cost.macs for cost in counted.values())
for name, cost in counted.items():
    print(
        f"{name:8} {cost.parameters:>8,} parameters ({cost.parameters / all_parameters:4.0%})  "
        f"{cost.macs:>11,} MACs ({cost.macs / all_macs:4.0%})"
    )
early = counted["stage 1"]
claim(
    "The first stage has hardly any of the teacher's parameters, but does a large part of its work",
    early.parameters / all_parameters < 0.05 < 0.15 < early.macs / all_macs,
    share_of_parameters=at_most(early.parameters / all_parameters, 0.05),
    share_of_work=at_least(early.macs / all_macs, 0.15),
)

# %% [markdown]
# Most of the parameters and most of the work are in different places. The last stage holds most of the parameters,
# but uses each of them on a tiny feature map. The first stage has hardly any, but uses each of them at hundreds of
# pixels.
#
# Now compare the ensemble and the student. With them is another small network, `mlp_25k`, which has only linear layers.

# %%
contestants["mlp_25k"] = models.build("mlp_25k")
counted = {
    name: evaluation.cost(model, data.image_shape, latency=False) for name, model in contestants.items()
}
for name, cost in counted.items():
    print(f"{name:8} {cost.parameters:>9,} parameters  {cost.macs:>11,} MACs per image")
saved = evaluation.compare_cost(counted["ensemble"], counted["student"])
print(
    f"ensemble over student: {saved.times_fewer_parameters:.0f} times the parameters, "
    f"{saved.times_fewer_macs:.0f} times the MACs"
)
claim(
    "The mlp_25k has more parameters than the student, but does far less work",
    counted["mlp_25k"].parameters > counted["student"].parameters
    and counted["mlp_25k"].macs < counted["student"].macs / 10,
    times_the_parameters=at_least(counted["mlp_25k"].parameters / counted["student"].parameters, 1.2),
    share_of_the_work=at_most(counted["mlp_25k"].macs / counted["student"].macs, 0.1),
)

# %%
factor = saved.times_fewer_macs / saved.times_fewer_parameters
smaller, same, larger = "no, by a smaller factor", "yes, by about the same", "no, by a larger factor"
widgets.reveal("01-macs", smaller if factor < 0.8 else larger if factor > 1.25 else same)

# %% [markdown]
# So "small" can mean several things. Before you compress, ask which cost matters to you: the download, the battery,
# or the waiting time?

# %% [markdown]
# ## Working memory
#
# During a forward pass, memory holds more than the weights: it also holds the input and the output of a layer. Both
# can be freed once the next layer is done, and the teachers can run one after the other. So the least memory that a
# forward pass needs is about this: the weights, plus input and output of the largest layer.
#
# The function below finds that largest layer. It uses hooks, functions that PyTorch calls after each layer's forward
# pass. You won't need them later. Look at the printed numbers, first for one image, then for many at once.


# %%
def largest_layer(model: torch.nn.Module) -> int:
    """Return the bytes of input and output of the model's largest layer, for one image."""
    found: list[int] = []

    def note(layer, inputs, output):
        found.append(inputs[0].nbytes + output.nbytes)

    layers = [part for part in model.modules() if not list(part.children())]
    hooks = [layer.register_forward_hook(note) for layer in layers]
    with torch.inference_mode():
        model(torch.zeros(1, *data.image_shape))
    for hook in hooks:
        hook.remove()
    return max(found)


layer = {name: largest_layer(contestants[name]) / 1e6 for name in ("ensemble", "student")}
size = {name: evaluation.weight_bytes(contestants[name]) / 1e6 for name in layer}
for images in (1, 256):
    for name in layer:
        print(
            f"{name:8} {size[name]:6.2f} MB weights, {images * layer[name]:6.2f} MB layers "
            f"for {images} image{'s' * (images > 1)} at once"
        )
together = {name: size[name] + 256 * layer[name] for name in layer}
claim(
    "For a batch of 256 images, the student saves memory by a far smaller factor than size",
    together["ensemble"] / together["student"] < 10 < size["ensemble"] / size["student"],
    times_less_memory_in_batches=at_most(together["ensemble"] / together["student"], 10),
    times_smaller_weights=at_least(size["ensemble"] / size["student"], 100),
)

# %% [markdown]
# The size of a layer's input and output depends on the pixels of the image and on the channels of the first layers.
# In those layers the student isn't much narrower than a teacher.

# %% [markdown]
# ## Time
#
# What users notice in the end is time. **Latency** is how long one image takes to be classified. Measuring it looks
# easy: read the clock, run the model, read the clock again. Do it a few times in a row.

# %%
image = data.normalise(data.validation.images[:1])
seconds = []
with torch.inference_mode():
    for _ in range(20):
        began = perf_counter()
        ensemble(image)
        seconds.append(perf_counter() - began)
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

# %% [markdown]
# `evaluation.cost` measures as you have just done, only longer: warm-up, many calls, the median. It also measures
# **throughput**, the images per second when many come at once. This is what matters to the shop. Every model gets a
# single processor core, since other programs on your machine disturb one core less than all of them.

# %%
threads = torch.get_num_threads()
torch.set_num_threads(1)
measured = {
    name: evaluation.cost(model, data.image_shape, batch_size=64, seconds=0.3)
    for name, model in contestants.items()
}
torch.set_num_threads(threads)
saved = evaluation.compare_cost(measured["ensemble"], measured["student"])
lines = [
    f"{name:8} {cost.latency_ms:8.2f} ms per image, {cost.throughput:10,.0f} images per second"
    for name, cost in measured.items()
]
lines += [
    "",
    f"The student has {saved.times_fewer_parameters:.0f} times fewer parameters and needs "
    f"{saved.times_fewer_macs:.0f} times fewer MACs.",
    f"It is {saved.times_faster:.1f} times faster for one image, and {saved.times_throughput:.1f} times for many "
    "at once.",
]
show_here("Latency and throughput", "\n".join(lines))

# %%
widgets.reveal("01-faster", saved.times_faster, unit="times")

# %% [markdown]
# On most machines the factor is smaller than that of the MACs. Starting a layer takes a fixed time, however small the
# layer is. Numbers must also be fetched from memory before they can be multiplied. So measure latency on the machine
# that will run the model, and never calculate it from a count.

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
# Try it without any labels. Below, a few thousand training images lose their labels: every one is labelled class 0.

# %%
labelled = replace(data, train=data.train.subset(torch.arange(3000)))
erased = torch.zeros_like(labelled.train.labels)
unlabelled = replace(labelled, train=Split(labelled.train.images, erased))
print(f"{len(unlabelled.train):,} images, all of them labelled {unlabelled.classes[0]!r}")

# %%
widgets.predict(
    "01-no-labels",
    "The student never sees a true label. Of a hundred new images, how many will it classify correctly?",
    choices=["about 10, as by guessing", "about 40", "more than 75"],
)

# %% [markdown]
# The outputs of the ensemble become **soft targets**: probabilities for all classes. `alpha=1` means that the labels
# have no weight. Two twins, the same network with the same initial weights, learn from labels: one from the erased
# labels, one from the true ones.

# %%
targets = soft_targets(ensemble, unlabelled.train, unlabelled, progress=False)
settings = {"epochs": 15, "batch_size": 64, "learning_rate": 0.1, "seed": 0, "progress": False}
right = {}
for learns_from in ("soft targets", "erased labels", "true labels"):
    torch.manual_seed(0)
    network = models.build("mlp_25k")
    if learns_from == "soft targets":
        distil(network, targets, unlabelled, temperature=1, alpha=1, **settings)
    else:
        training.fit(network, labelled if learns_from == "true labels" else unlabelled, **settings)
    logits = evaluation.predict(network, data.validation, data)
    right[learns_from] = 100 * evaluation.accuracy(logits, data.validation.labels)
show_here(
    "Correct predictions for a hundred new images",
    "\n".join(f"{share:5.1f} after learning from {what}" for what, share in right.items()),
)
claim(
    "From the ensemble's soft targets alone a small network learns the task about as well as from true labels",
    right["soft targets"] > 75 > right["erased labels"]
    and abs(right["soft targets"] - right["true labels"]) < 5,
    accuracy_with_soft_targets=at_least(right["soft targets"], 75, "%"),
    accuracy_with_erased_labels=at_most(right["erased labels"], 20, "%"),
    points_between_soft_targets_and_true_labels=at_most(abs(right["soft targets"] - right["true labels"]), 5),
)

# %%
share = right["soft targets"]
truth = "more than 75" if share > 75 else "about 40" if share > 25 else "about 10, as by guessing"
widgets.reveal("01-no-labels", truth)

# %% [markdown]
# Later work found better targets than the ensemble's probabilities. Ba and Caruana (2014) used its logits. Hinton,
# Vinyals and Dean (2015) softened its probabilities by a temperature, and gave the whole idea its present name,
# **distillation**. {{Lesson soft_targets}} is about both.

# %% [markdown]
# ## The idea in one figure
#
# Back to the ensemble and the student. For this figure, five students were distilled and five plain twins trained
# beforehand. Each pair had the same initial weights, and used the labels and all training images. When every setting
# was fixed, all models were evaluated on the test images, once, and the results were stored. How much accuracy does the
# small size cost?

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
    row, cost = record["models"][role], measured["ensemble" if role == "ensemble" else "student"]
    accuracy, interval = row["mean"]["accuracy"], tuple(row["interval"]["accuracy"])
    points.append(figures.CostPoint(row["label"], accuracy, cost.bytes, cost.latency_ms, interval, role))
show(
    figures.accuracy_against_cost(points),
    "accuracy on the test images against size and against time per image, both logarithmic. "
    + "; ".join(
        f"{point.label} {100 * point.accuracy:.1f} % at {point.bytes / 1e6:.2f} MB" for point in points
    )
    + ". Times were measured on this machine.",
)

# %%
ensemble_accuracy, plain_accuracy, distilled_accuracy = (point.accuracy for point in points)
widgets.reveal("01-points-lost", 100 * (ensemble_accuracy - distilled_accuracy), unit="points")

# %% [markdown]
# Higher is more accurate and further left is cheaper, so the best place is the upper left. Note that the accuracy
# axis doesn't begin at zero. The bars are 95 % intervals: over the seeds for the students, over the images for the
# ensemble.
#
# The step from the ensemble to the student goes far to the left and a little down. Distilling goes up again, **at no
# cost at all** for users of the student: same network, same bytes, same time, other weights.

# %%
compared = record["comparison"]
claim(
    "The small network is far cheaper than the ensemble and loses a few points of accuracy",
    ensemble_accuracy - distilled_accuracy < 0.05 and times_smaller > 100,
    times_smaller=at_least(times_smaller, 100),
    points_lost=at_most(100 * (ensemble_accuracy - distilled_accuracy), 5),
)
claim(
    "Distilled students are ahead of their plain twins, but most of the gap to the ensemble remains",
    compared["difference"]["low"] > 0 and compared["gap_recovered"]["high"] < 0.5,
    pairs=compared["difference"]["n"],
    points_ahead=between(100 * compared["difference"]["mean"], 0.2, 1),
    share_of_the_gap_recovered=between(compared["gap_recovered"]["value"], 0.05, 0.3),
)

# %% [markdown]
# Read the two claims together. Most of the saving comes from choosing a small network in the first place.
# Distillation then recovers part of the lost accuracy. How large that part is depends on the task, the student and
# the settings. Here the plain student is good already, so there is little to gain. In the rest of the course you
# learn how to gain it, and how to tell whether you did.

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
            "An app may download no more than a few hundred kilobytes. Which cost do you look at first?",
            options=[
                widgets.Option(
                    "Bytes of the weights", True, "They are what the file contains and what is downloaded."
                ),
                widgets.Option(
                    "MACs per image",
                    False,
                    "They say how much work a prediction is. A network with few MACs may have many weights.",
                ),
                widgets.Option(
                    "Latency", False, "It says how long a prediction takes, not how long the download takes."
                ),
            ],
        ),
        widgets.Question(
            "Two networks have equally many parameters, one is convolutional, one has linear layers only. "
            "Which does more work per image?",
            options=[
                widgets.Option(
                    "The convolutional one, as a rule",
                    True,
                    "It uses each weight again at every pixel; a linear layer uses each weight once.",
                ),
                widgets.Option(
                    "The one with linear layers",
                    False,
                    "A linear layer needs only one MAC per weight.",
                ),
                widgets.Option(
                    "Both the same: as many weights, as many multiplications",
                    False,
                    "That is true of linear layers only. The mlp_25k and the student of this lesson show the difference.",
                ),
            ],
        ),
        widgets.Question(
            "You time a network ten times, and the fifth takes twenty times as long as the others. What do you report?",
            options=[
                widgets.Option(
                    "The median after warm-up",
                    True,
                    "It is the time of a typical image, and one interruption hardly changes it.",
                ),
                widgets.Option(
                    "The mean of all ten", False, "The one outlier would make it about three times as large."
                ),
                widgets.Option(
                    "The shortest time", False, "That is the luckiest measurement. Most take longer."
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
# - Every prediction costs **bytes**, **MACs**, **working memory** and **time**.
# - These shrink by different factors. Early layers have few weights but do much of the work. Working memory depends
#   on the number of pixels. Time is hard to predict, so it is **measured**: after warm-up, by the median.
# - In **model compression** a small network learns from the ensemble's outputs. It needs images, not labels.
# - The small network saves cost. Distillation recovers part of the lost accuracy, at no cost per prediction.
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
