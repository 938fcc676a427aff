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
# # Beyond logits
#
# So far your students learned from the teacher's last layer: its logits. But a network has many layers, and each of
# them computes something about the image. Could a student learn from those, too? Researchers have proposed dozens of
# ways, and almost every paper reports that its own method wins. Here you write two of them and the core of a third. Then
# you compare all of the course's methods for such images, with the same images, the same number of steps and the same
# search for each.
#
# ## Objectives
#
# By the end of this lesson you can
#
# - place a distillation method on a map: what it matches, by which measure, on which data;
# - read what a hidden layer returns, with a hook;
# - write FitNets' hint and attention transfer, and train students with them;
# - compare networks of different widths by the distances between images;
# - read a leaderboard with a sceptical eye, and say when hidden layers help.
#
# **Builds on:** {{lesson distil}} (the objective), {{lesson evaluate}} (paired seeds, intervals).
#
# **Time:** {{reading_minutes}} minutes to read, {{exercise_minutes}} minutes for the exercises; the machine works
# for {{machine_seconds}}.
#
# Words that are new to you are in the [glossary](glossary.md).

# %%
import statistics
import textwrap
from dataclasses import replace
from itertools import pairwise

from kdcourse import evaluation, figures, models, widgets
from kdcourse.course import at_least, at_most, check, claim, progress_bar, show, use_answer
from kdcourse.data import fashion_mnist, stratified_index
from kdcourse.distillation import Method, distil, generated, methods
from kdcourse.distillation.methods.fitnet import resized
from kdcourse.files import shipped
from kdcourse.runs import study, teachers
from kdcourse.runs.study.methods import HARD, KD, PLAIN
from kdcourse.runs.study.rows import Rows
from kdcourse.training import fit

import torch
import torch.nn.functional as F
from torch import nn

# %% [markdown]
# ## A map of the methods
#
# Three questions tell most methods apart:
#
# 1. **What is matched?** The predictions; a feature map, which is what a convolution returns; maps of several sizes; or
#    the vector that the last layer gets.
# 2. **By which measure?** A divergence of probabilities; a squared difference of values; a correlation; whether a student's
#    vector can be told from those of other images (a contrast); or how far images are from each other (a relation).
# 3. **On which data?** Images with a label, images without one, or images that are generated because the real ones are
#    gone.
#
# Here are the course's methods for images with one class each, sorted by the first question. Nobody needs to know them
# all: find `kd`, which you wrote in {{lesson distil}}. Its place on the map: predictions, a divergence, any images. Then
# find one whose measure is a relation. A question of the quiz comes back to this.

# %% folded=true
board = Rows(shipped("study"), "methods").checked()
leaderboard = study.study_named("methods", shipped("study"))
results = leaderboard.summary(board)
ranked = {entry["row"]: entry for entry in results["methods"]}
matched = {
    None: "predictions",
    "map": "the last feature map",
    "stages": "feature maps of several sizes",
    "vector": "the vector before the last layer",
}
compared = [name for name in ranked if name in methods.names("labels")]
for layers, what in matched.items():
    print(f"{what}:")
    for name in sorted(name for name in compared if methods.describe(name).layers == layers):
        about = methods.describe(name)
        print(f"  {name:13} {about.title} ({about.paper.rpartition(',')[0]})")

# %% [markdown]
# ## What a hidden layer knows
#
# Take one teacher, and 1,000 validation images that it has never seen. What does each of its stages return for them? A
# **hook** tells you: a function of yours that PyTorch calls whenever a layer has computed its output. Remove it when you
# are done, or it stays there and runs every time.

# %%
data = fashion_mnist()
[(_, teacher, _)] = teachers.load_teachers(teachers.shipped_folder(), data, ["teacher_1"])
seen = data.validation.subset(torch.arange(1000))


def layer_outputs(network, names, images):
    """Return what the named layers return for uint8 images [B, 1, 28, 28], by name."""
    kept = {}

    def keep(name):
        return lambda layer, given, returned: kept.update({name: returned.detach()})

    layers = dict(network.named_modules())
    hooks = [layers[name].register_forward_hook(keep(name)) for name in names]
    network.eval()
    with torch.no_grad():
        network(data.normalise(images))
    for hook in hooks:
        hook.remove()
    return kept


stages = ["stages.0", "stages.1", "stages.2"]
kept = layer_outputs(teacher, stages, seen.images)
for name, maps in kept.items():
    print(f"{name}: {list(maps.shape)}, images x channels x height x width")

# %% [markdown]
# Numbers alone don't show what a layer knows. So test it with the simplest classifier there is. Average each channel over
# its places, which gives one vector per image. Of 500 images, compute the mean vector of each class. Then each of the
# other 500 images gets the class whose mean is nearest. Nothing is trained.
#
# With the pixels themselves in place of the vectors, this classifier gets about 65 of 100 images right. **Predict:** how
# many with the vectors of the last stage?

# %%
guesses = ["at most 70 of 100", "71 to 84 of 100", "at least 85 of 100"]
widgets.predict("08-nearest", "Right with vectors of the teacher's last stage:", choices=guesses)


# %%
def nearest_mean(vectors, labels):
    """Return the share of the second half that is nearest to the mean of its own class in the first half."""
    half = len(vectors) // 2
    means = torch.stack([vectors[:half][labels[:half] == label].mean(0) for label in range(10)])
    return (torch.cdist(vectors[half:], means).argmin(1) == labels[half:]).double().mean().item()


known = {"pixels": nearest_mean(seen.images.flatten(1).float(), seen.labels)}
known |= {name: nearest_mean(maps.mean((2, 3)), seen.labels) for name, maps in kept.items()}

# %% folded=true
claim(
    "From stage to stage, the teacher's vectors tell the classes apart better, in the end far better than the pixels",
    known["stages.0"] < known["stages.1"] < known["stages.2"] and known["pixels"] < known["stages.2"],
    pixels=at_least(100 * known["pixels"], 55, "%", digits=0),
    first_stage=at_least(100 * known["stages.0"], 35, "%", digits=0),
    last_stage=at_least(100 * known["stages.2"], 80, "%", digits=0),
)
last = known["stages.2"]
widgets.reveal("08-nearest", guesses[0 if last <= 0.7 else 1 if last < 0.85 else 2])

# %% [markdown]
# So the last stage tells the classes apart far better than the pixels do. The averages of the first stage do worse than
# the pixels, perhaps because an average forgets where something is. Hidden layers hold what a student needs. The problem:
# a student's layers are narrower than the teacher's, and nobody said that channel 3 of one must mean what channel 3 of the
# other does.
#
# ## FitNets: a hint
#
# Romero et al. (2015) solve this with a small convolution, here a **1x1 convolution**. At every place of the map, it makes
# L new channels out of the student's K, as a linear layer does for vectors. The term is the mean squared difference between
# its output and the teacher's map. Here the convolution is trained along with the student (in the paper, the hint is a
# first stage, before distillation), and thrown away afterwards.
#
# ### Exercise: the hint (medium, 8 minutes)
#
# Apply the convolution, whose weight is `[L, K]`, to the student's map `[B, K, H, W]`, and return the mean squared
# difference from the teacher's map `[B, L, H, W]`. The teacher isn't trained: `.detach()` its map.
#
# <details><summary>Hint 1</summary>
#
# New channel l at a place is the sum over k of `weight[l, k]` times channel k there. `torch.einsum` writes exactly that;
# `F.conv2d` wants a weight of shape `[L, K, 1, 1]`.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# `torch.einsum("lk,bkhw->blhw", weight, student_map)`; then a difference, `.square()` and `.mean()`.
#
# </details>


# %%
from kdcourse.course.beyond_logits.exercises import hint_term

# %%
check("hint_term", hint_term)

# %% [markdown]
# ## Attention transfer: where does it look?
#
# Zagoruyko and Komodakis (2017) need no convolution. They ask only **where** a network is active, summed over all
# channels: an attention map. Student and teacher have one each, however many channels they have. Divided by their
# length, the maps of any two networks of the same height and width can be compared.
#
# ### Exercise: an attention map (medium, 8 minutes)
#
# Sum the squares over the channels, flatten each image's map into a row, and divide the row by its length, which is the
# root of the sum of its squares. A map that is 0 everywhere has length 0; its row stays 0.
#
# <details><summary>Hint 1</summary>
#
# The channels are dimension 1 of `[B, K, H, W]`. After the sum, `.flatten(1)` gives `[B, H * W]`.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# `F.normalize(rows, dim=1)` divides each row by its length, and leaves rows of 0 as they are.
#
# </details>


# %%
from kdcourse.course.beyond_logits.exercises import attention_map

# %%
check("attention_map", attention_map)

# %% [markdown]
# ## Train with both
#
# You have 400 labelled images, and four students that start from the same weights:
#
# - **labels** learns from the labels alone;
# - **kd** also learns from the teacher's predictions, as in {{lesson distil}};
# - **hint** learns from the labels and your hint, at the last feature map;
# - **attention** learns from the labels and your attention maps, at the two sizes that both networks have.
#
# A method is a small module with a `forward` that returns its terms. `layers` says what it compares; the package finds
# these layers in both networks, and hooks do the rest. `prepare` makes the convolution.

# %%
term, where = use_answer("hint_term", hint_term), use_answer("attention_map", attention_map)
# `resized` averages the student's map down to the height and width of the teacher's.


class Hint(Method):
    """Compare the last feature maps by your hint_term."""

    title, paper, layers = "My hint", "Romero et al. 2015, https://arxiv.org/abs/1412.6550", "map"

    def prepare(self, student, teacher):
        channels = student.feature.shape[1], teacher.feature.shape[1]
        self.mix = nn.Conv2d(*channels, 1, bias=False).to(student.feature.device)

    def forward(self, student, teacher, batch):
        size = tuple(teacher.feature.shape[2:])
        return {"hint": term(resized(student.feature, size), teacher.feature, self.mix.weight[:, :, 0, 0])}


class Attention(Method):
    """Compare the maps of every common size by your attention_map."""

    title, paper, layers = (
        "My attention",
        "Zagoruyko and Komodakis 2017, https://arxiv.org/abs/1612.03928",
        "stages",
    )

    def forward(self, student, teacher, batch):
        pairs = zip(student.features.values(), teacher.features.values(), strict=True)
        return {"attention": sum(F.mse_loss(where(own), where(theirs).detach()) for own, theirs in pairs)}


# %% [markdown]
# **Predict:** will the better one of *hint* and *attention* be ahead of *kd*?

# %%
names = ["labels", "kd", "hint", "attention"]
orders = ["ahead of kd", "not ahead of kd"]
widgets.predict("08-ahead-of-kd", "On validation images, the better of hint and attention is", choices=orders)

# %%
# alpha weighs the term of kd. A term on hidden layers gets a weight of its own and is added to the labels' (alpha = 0).
# Attention maps have length 1, and the mean is over up to 196 places, so their differences are tiny: hence the 500.
# cache=False: the teacher answers each batch anew, and no logits are stored on disk.
few = replace(data, train=data.train.subset(stratified_index(data.train.labels, 400, seed=0)))
settings = {"epochs": 10, "batch_size": 32, "learning_rate": 0.05, "optimizer": "muon", "weight_decay": 5e-3}
settings |= {"seed": 0, "precision": "float32", "validate": False, "progress": False}
ways = {
    "kd": {"method": "kd", "temperature": 4.0, "alpha": 0.9},
    "hint": {"method": Hint(), "alpha": 0.0, "weights": {"hint": 1.0}},
    "attention": {"method": Attention(), "alpha": 0.0, "weights": {"attention": 500.0}},
}
bar = progress_bar("Four students", 4 * settings["epochs"] * (len(few.train) // settings["batch_size"]))
students, histories = {}, {}
for name in names:
    torch.manual_seed(0)
    students[name] = models.build("pocket_17k")
    if name == "labels":
        histories[name] = fit(students[name], few, **settings, after_step=bar)
    else:
        histories[name] = distil(
            students[name], teacher, few, cache=False, after_step=bar, **ways[name], **settings
        )

# %%
judged = data.validation.subset(torch.arange(2000))
right = {
    name: 100 * evaluation.accuracy(evaluation.predict(student, judged, data), judged.labels)
    for name, student in students.items()
}

# %% folded=true
falls = {
    name: histories[name].part(name)[0] / histories[name].part(name)[-1] for name in ("hint", "attention")
}
claim(
    "Both students come closer to the teacher in what they were trained to match",
    min(falls.values()) > 1,
    hint_falls_by_a_factor_of=at_least(falls["hint"], 1.2, digits=1),
    attention_falls_by_a_factor_of=at_least(falls["attention"], 1.2, digits=1),
)
claim(
    "All four students have learned the task",
    min(right.values()) > 50,
    **{name: at_least(value, 60, "%", digits=1) for name, value in right.items()},
)
ahead = max(right["hint"], right["attention"]) - right["kd"]
widgets.reveal("08-ahead-of-kd", orders[0 if ahead > 0 else 1])

# %% [markdown]
# One seed, one weight for each term, 400 images: this tells you that your code works, not which method is better. On
# machines that round sums in another order, the same cells give other leads. And the better of two is ahead of a third by
# chance in most cases. *kd* isn't at its best here: what helped it were unlabelled images ({{lesson start_here}}), and here
# it has none.
#
# Where is each network active now? Yellow marks high activity.

# %%
shown = torch.tensor([int((seen.labels == label).nonzero()[0]) for label in (0, 1, 5, 7, 8, 9)])


def looks_at(network):
    """Return attention maps [B, 14, 14] of the first stage for the 1,000 validation images."""
    return where(layer_outputs(network, ["stages.0"], seen.images)["stages.0"]).view(-1, 14, 14)


looked = {"teacher": looks_at(teacher)} | {name: looks_at(students[name]) for name in ("labels", "attention")}
show(
    figures.attention_maps(seen.images[shown], {name: maps[shown] for name, maps in looked.items()}),
    "six images and, below each, where the first stage of three networks is active: the teacher, the student of the "
    "labels, and the student of attention transfer, whose maps resemble the teacher's more.",
    photographs=True,
)

# %% folded=true
alike = {
    name: (looked[name].flatten(1) * looked["teacher"].flatten(1)).sum(1).mean().item()
    for name in ("labels", "attention")
}
claim(
    "The student of attention transfer looks where the teacher looks, more than the student of the labels does",
    alike["attention"] > alike["labels"],
    cosine_of_the_maps=at_least(alike["attention"], 0.5, digits=2),
    more_than_with_labels=at_least(alike["attention"] - alike["labels"], 0.01, digits=2),
)

# %% [markdown]
# ## Relations: who is near whom?
#
# Park et al. (2019) compare neither values nor places, but **distances between images**. The teacher's vectors have 192
# numbers, the student's 32. That doesn't matter: if two boots are near each other for the teacher, they should be near
# each other for the student. Only proportions count, so all distances are divided by their mean.
#
# ### Exercise: distances between images (medium, 8 minutes)
#
# Return the distances between all pairs of a batch, divided by the mean over different images. An image's distance from
# itself, 0, isn't part of the mean.
#
# <details><summary>Hint 1</summary>
#
# `vectors[:, None] - vectors[None, :]` holds all differences, `[B, B, D]`. Its norm over the last dimension is the
# distance.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# There are `B * (B - 1)` distances between different images. The zeros on the diagonal don't change the sum.
#
# </details>


# %%
from kdcourse.course.beyond_logits.exercises import relative_distances

# %%
check("relative_distances", relative_distances)

# %% [markdown]
# Look at six images: two boots, two bags, a shirt and a T-shirt. Which of them are near each other for the teacher?
# Which for the student of the labels? In the tables, the darker a cell, the nearer the two images.

# %%
distances = use_answer("relative_distances", relative_distances)
places = [(9, 0), (9, 1), (8, 0), (8, 4), (6, 2), (0, 3)]  # class, and which image of it
six = torch.tensor([int((seen.labels == label).nonzero()[number]) for label, number in places])


def vectors_of(network):
    """Return the vectors that the last layer gets for 1,000 images: these networks take each channel's maximum."""
    last = [name for name, _ in network.stages.named_children()][-1]
    return layer_outputs(network, [f"stages.{last}"], seen.images)[f"stages.{last}"].amax((2, 3))


vectors = {"teacher": vectors_of(teacher), "student of the labels": vectors_of(students["labels"])}
show(
    figures.distance_tables(seen.images[six], {name: distances(each[six]) for name, each in vectors.items()}),
    "two tables of distances between six images, the teacher's and the student's. For the teacher, the two boots are "
    "nearest to each other.",
    photographs=True,
)

# %% folded=true
some = torch.arange(200)
far = {name: distances(each[some]) for name, each in vectors.items()}
same_class = seen.labels[some][:, None] == seen.labels[some][None]
same_class.fill_diagonal_(False)
other_class = seen.labels[some][:, None] != seen.labels[some][None]
ratio = {name: (each[other_class].mean() / each[same_class].mean()).item() for name, each in far.items()}
claim(
    "For both networks images of different classes are farther apart than those of one class, for the teacher more so",
    ratio["teacher"] > ratio["student of the labels"] > 1,
    ratio_of_the_teacher=at_least(ratio["teacher"], 1.3, digits=1),
    ratio_of_the_student=at_least(ratio["student of the labels"], 1.05, digits=1),
)

# %% [markdown]
# `rkd`, the method of the paper, minimises the difference between two such tables for every batch, and compares the angles
# between three images as well.
#
# ## On which data?
#
# A teacher needs no labels, so images without labels will do, as you saw in {{lesson distil}}. What if no image is left,
# because the data were private? A teacher with BatchNorm layers still holds the mean and variance of every channel over
# its training images. Start from noise, and change the pixels by gradient descent, so that the teacher gives them a class
# and their statistics come closer to these (Lopes et al. 2017, Yin et al. 2020). The next cell makes ten images in 60
# steps, and shows five. Below each stands its label: the class that the teacher finds likeliest.

# %%
bar = progress_bar("Ten images", 60)
dreamed = generated(teacher, data, 10, seed=0, steps=60, after_step=bar)
noise = generated(teacher, data, 10, seed=0, steps=0)
logits = {
    name: evaluation.predict(teacher, each.train, data)
    for name, each in (("generated", dreamed), ("noise", noise))
}
five = dreamed.train.labels.unique()[:5]
first_of = torch.tensor([int((dreamed.train.labels == label).nonzero()[0]) for label in five])
show(
    figures.soft_target_gallery(
        dreamed.train.images[first_of],
        logits["generated"][first_of],
        dreamed.train.labels[first_of],
        data.classes,
        (1,),
    ),
    "five generated images, each with the classes that the teacher finds likeliest, and their probabilities. To a person "
    "they look like noise.",
    photographs=True,
)

# %% folded=true
sure = {name: each.softmax(1).amax(1).mean().item() for name, each in logits.items()}
claim(
    "The teacher finds different classes in the generated images, and is surer of them than of noise",
    sure["generated"] > sure["noise"],
    classes_found=at_least(len(dreamed.train.labels.unique()), 4, digits=0),
    mean_confidence=at_least(100 * sure["generated"], 50, "%", digits=0),
    mean_confidence_for_noise=at_most(100 * sure["noise"], 75, "%", digits=0),
)

# %% [markdown]
# To you they look like noise: what a network takes for a class need not look like one to a person. `generated` returns a
# data set, which `distil` takes like any other. It is the last resort, for when there is no real image, not even of
# another kind.
#
# ## The leaderboard
#
# Now the question of this lesson: which method is best? `kdcourse study methods` gave all of them the same student, the
# same 550 labelled and 26,950 unlabelled images, and the same number of steps. (The student, `pocket_60k`, is one of this
# course's, with 61,000 parameters.) Each had three settings to choose from on validation images, and so had the baselines.
# Then new seeds were evaluated on the test images, once each.
#
# Two baselines matter. `plain` sees the labelled images alone. `hard answers` sees all images, with the class that the
# teachers find likeliest as the label where there is none; it needs no method at all. Every other row has these labels,
# too, and adds its method. `kd` and the other methods on predictions use those of five teachers together; only `tfkd`, a
# control, makes up its soft targets from the labels. Methods on hidden layers learn from those of one teacher, in a row of
# their own and in a second one beside `kd`.
#
# A row is better or worse than `kd` *beyond noise* if the interval of its lead excludes 0. These intervals are wide enough
# to hold for all rows at once, with 95 %.
#
# **Predict** first: what will be at the top?

# %%
kinds = [
    "kd itself",
    "another way to compare predictions",
    "a method on hidden layers, without kd",
    "a method on hidden layers, beside kd",
    "a baseline: plain or hard answers",
]
widgets.predict("08-winner", "The highest mean accuracy will have", choices=kinds)

# %%
beyond = ["none", "one to three", "four or more"]
widgets.predict("08-beyond-noise", "How many rows will beat kd beyond noise?", choices=beyond)


# %%
def kind_of(row):
    """Return the kind of a row of the leaderboard."""
    if row in (PLAIN, HARD):
        return kinds[4]
    if row == KD:
        return kinds[0]
    if " + " in row:
        return kinds[3]
    return kinds[2] if methods.describe(row).layers else kinds[1]


show(
    leaderboard.figure(board),
    "every row's lead over kd, the dashed line, in points, with an interval, the best first. Hollow grey points can't be "
    "told apart from kd; filled ones can.",
)
winner, better = (
    results["methods"][0],
    [row for row, entry in ranked.items() if entry.get("verdict") == "better"],
)
widgets.reveal("08-winner", kind_of(winner["row"]))

# %%
widgets.reveal("08-beyond-noise", beyond[0 if not better else 1 if len(better) <= 3 else 2])

# %% folded=true
print(textwrap.fill(leaderboard.finding(results), 78))
gain = ranked[KD]["against_plain"]
claim(
    "With few labels and many images, kd is far better than the labels alone",
    gain["low"] > 0,
    seeds=gain["n"],
    points=at_least(100 * gain["mean"], 1, "points", digits=1),
)

# %% [markdown]
# ## Read it with a sceptical eye
#
# **One row must be first.** Suppose that all rows were equally good, and differed by their seeds alone. The luckiest would
# still lead. By how much? Draw such rows, with the noise that rows really have from seed to seed.

# %%
of_seed = {}
for row in leaderboard.current(board):
    of_seed.setdefault(row["about"]["method"], {})[row["seed"]] = row["test_accuracy"]
taught = [list(values.values()) for name, values in of_seed.items() if name != PLAIN]
noise = 100 * statistics.mean(statistics.variance(values) for values in taught) ** 0.5
lead = 100 * (winner["accuracy"] - ranked[KD]["accuracy"])
print(f"standard deviation from seed to seed, over all rows but plain: {noise:.2f} points")
draw = torch.Generator().manual_seed(0)
for seeds in (1, len(of_seed[KD])):
    means = noise * torch.randn(10_000, len(taught), seeds, generator=draw).mean(2)
    luck = means.amax(1) - means[:, 0]  # the first row against one that was chosen beforehand
    as_far = (luck >= lead).double().mean().item()
    print(
        f"{len(taught)} equal rows, seeds per row: {seeds}. The first leads by {luck.mean():.2f} points on average, "
        f"and in {as_far:.0%} of draws by {lead:.2f} or more"
    )
print(f"here, the first leads kd by {lead:.2f} points")

# %% [markdown]
# With one seed per row, as in many papers, such a lead means nothing at all. Five seeds help, and still leave a good part
# of it to luck.
#
# **Many comparisons need wider intervals.** One interval of 95 % excludes 0 by chance once in 20 times. With so many rows,
# that happens to about one of them. So the figure's intervals hold for all rows at once. How many rows would single
# intervals call different from `kd`?

# %% folded=true
single = []
for name, values in of_seed.items():
    seeds = sorted(values.keys() & of_seed[KD].keys())
    if name != KD and len(seeds) > 1:
        of = evaluation.paired_difference([values[s] for s in seeds], [of_seed[KD][s] for s in seeds])
        single.append(of.low > 0 or of.high < 0)
told_apart = [row for row, entry in ranked.items() if entry.get("verdict") in ("better", "worse")]
print(f"told apart from kd by single intervals: {sum(single)} of {len(single)} rows")
print(f"told apart by intervals that hold for all rows at once: {len(told_apart)}")

# %% [markdown]
# **What does it cost?** Methods on hidden layers need the teacher at every step of training, and some train parameters of
# their own.

# %% folded=true
print(f"{'':24} training time   parameters that are")
print(f"{'':24} against plain   trained and thrown away")
for name in (HARD, KD, "fitnet", "attention", max(ranked, key=lambda row: ranked[row]["times"])):
    print(f"{name:24} {ranked[name]['times']:8.1f} times   {ranked[name]['extra']:>12,}")

# %% [markdown]
# **Does it hold elsewhere?** The study then trained its four best rows, `kd` and `plain` again: with a smaller student,
# with a larger one that has residual connections as the teachers do, and with all labels. They were chosen by validation
# accuracy.

# %% folded=true
for place in results["elsewhere"]:
    print(f"{place['student']}, {place['labels']:,} labels:")
    for entry in place["methods"]:
        apart = entry.get("against_kd")
        said = "" if apart is None else f", {100 * apart['mean']:+.2f} points against kd: {entry['verdict']}"
        print(f"  {entry['row']:24} {100 * entry['accuracy']:.2f} %{said}")
for row in ("similarity", "kd + similarity"):
    everywhere = [
        ranked,
        *({entry["row"]: entry for entry in place["methods"]} for place in results["elsewhere"]),
    ]
    leads = [found[row]["against_kd"]["mean"] for found in everywhere if row in found]
    print(f"{row} against kd, in points:", ", ".join(f"{100 * lead:+.2f}" for lead in leads))

# %% [markdown]
# Look at `similarity`, alone and beside `kd`. Both led `kd` on average in each of these settings, and with the smallest
# student `similarity` alone did beyond noise. On the leaderboard they were two of many that couldn't be told apart. That
# isn't a law yet, but it is the method to try next: the same row ahead in one setting after another tells more than a first
# place.
#
# **Is there an easier way?** A larger student needs no further method. It costs bytes and time for every image, though. The
# study of sizes says what it is worth:

# %% folded=true
curves = study.stored()["size"]
show(
    figures.study_curves(
        figures.study_points(curves.lines), x=curves.x, title=curves.title, teacher=curves.teacher
    ),
    "test accuracy against the number of parameters, with true labels and with the teachers' answers. Larger students "
    "are better.",
)
[taught] = [line for name, line in curves.lines.items() if name != "true labels"]
for before, after in pairwise(taught):
    step = 100 * (after["accuracy"] - before["accuracy"])
    print(f"from {before['x']:>7,} to {after['x']:>7,} parameters: {step:+.2f} points")
print(f"the leaderboard's first over kd, with 60,986 parameters: {lead:+.2f} points")

# %% [markdown]
# ## When do hidden layers help?
#
# Compare each method on hidden layers with the same student without it: alone with `hard answers`, and beside `kd` with
# `kd`.

# %% folded=true
deep = [name for name in compared if methods.describe(name).layers]
helped = {HARD: [], KD: []}
for name in deep:
    for base, row in ((HARD, name), (KD, f"{KD} + {name}")):
        if row in of_seed and base in of_seed:
            seeds = sorted(of_seed[row].keys() & of_seed[base].keys())
            of = evaluation.paired_difference(
                [of_seed[row][s] for s in seeds],
                [of_seed[base][s] for s in seeds],
                1 - 0.05 / (2 * len(deep)),
            )
            helped[base].append(of)
for base, found in helped.items():
    median = 100 * statistics.median(of.mean for of in found)
    print(
        f"added to {base}: {sum(of.low > 0 for of in found)} of {len(found)} methods help beyond noise, "
        f"{sum(of.high < 0 for of in found)} harm; median {median:+.2f} points"
    )
alone, beside = (sum(of.low > 0 for of in helped[base]) for base in (HARD, KD))
claim(
    "Hidden layers helped students that had no soft targets more often than students of kd",
    alone > beside,
    methods=len(deep),
    helped_without_soft_targets=at_least(alone, 3, digits=0),
    helped_beside_kd=at_most(beside, 1, digits=0),
)

# %% [markdown]
# So the answer of this study: hidden layers tell a student something that labels don't, and the predictions of good
# teachers tell it most of that, too. Before you use one, ask:
#
# - **Are the predictions available?** If a teacher's logits are stored, `kd` costs almost nothing. A hidden layer is too
#   large for that: 4,704 numbers per image for the teacher's first stage, against 10 logits. So the teacher must compute
#   it at every step.
# - **Is there something left to learn?** With many images and good soft targets, most methods added nothing to `kd`.
#   Whether a hint adds something where images are few has to be measured: your own run above doesn't tell.
# - **Do the tasks differ?** If the student has other classes than the teacher, predictions can't be matched at all. Hidden
#   layers can.
# - **Do the networks fit?** A method that compares places needs maps of similar size. One that compares relations needs
#   only the same batch.
# - **Was it tuned?** A weight that suits another data set can do harm. Search it, and give the baseline the same search.
#
# **Try it:** write a method of your own, as `Hint` above, and pass it to `distil`. Saved as a file, it becomes a row of the
# leaderboard: `CONTRIBUTING.md` in the course's repository says how.

# %% [markdown]
# ## Quiz

# %%
widgets.quiz(
    "08",
    [
        widgets.Question(
            "What happens to the 1x1 convolution of FitNets after training?",
            options=[
                widgets.Option(
                    "It is thrown away",
                    True,
                    "It only translates between the channels. The student runs without it.",
                ),
                widgets.Option(
                    "It stays in the student",
                    False,
                    "Then the student would be larger. Its last layer doesn't use it.",
                ),
                widgets.Option("It goes into the teacher", False, "The teacher is never changed."),
            ],
        ),
        widgets.Question(
            "A student has 32 channels, its teacher 192, with maps of the same size. Which comparison needs no further "
            "parameters?",
            options=[
                widgets.Option(
                    "Attention maps",
                    True,
                    "The sum over the channels leaves one map each, whatever their number.",
                ),
                widgets.Option(
                    "The hint", False, "32 channels can't be subtracted from 192 without a convolution."
                ),
                widgets.Option(
                    "None", False, "Sums over channels and distances between images can always be compared."
                ),
            ],
        ),
        widgets.Question(
            "`similarity` compares, for each pair of images in a batch, how alike their feature maps are in either network. "
            "Where does it stand on the map?",
            options=[
                widgets.Option(
                    "Feature maps, by a relation, on any images",
                    True,
                    "It needs no label and no channel that corresponds to another one.",
                ),
                widgets.Option(
                    "Predictions, by a divergence, on any images",
                    False,
                    "That is kd. Here no class probability is compared.",
                ),
                widgets.Option(
                    "Feature maps, by a squared difference, on labelled images",
                    False,
                    "That is near FitNets' hint, which needs a convolution. And a hint needs no label either.",
                ),
            ],
        ),
        widgets.Question(
            "All of a network's vectors become twice as long. What happens to its relative distances?",
            options=[
                widgets.Option("Nothing", True, "Their mean doubles as well, and they are divided by it."),
                widgets.Option("They double", False, "The distances do, but they are divided by their mean."),
                widgets.Option("They become four times as large", False, "Only squared distances would."),
            ],
        ),
        widgets.Question(
            "A paper compares 30 variants of a method with a baseline, on five seeds each, and reports the best one's 95 % "
            "interval, which excludes 0. What would you like to see?",
            options=[
                widgets.Option(
                    "New seeds for that variant, or an interval for 30 comparisons",
                    True,
                    "The best of 30 is partly the luckiest. Fresh seeds have no part in that choice.",
                ),
                widgets.Option(
                    "Nothing more: 95 % is enough",
                    False,
                    "Of 30 useless variants, 1.5 have such an interval by chance on average, half of them above 0.",
                ),
                widgets.Option(
                    "The best seed of the baseline",
                    False,
                    "Then two lucky results would be compared instead of one.",
                ),
            ],
        ),
    ],
)

# %% [markdown]
# ## Recap
#
# - Ask three questions of a method: **what** is matched, by **which measure**, on **which data**.
# - A hook reads what a layer returns. Later layers tell the classes apart better than early ones.
# - A **hint** matches values through a convolution; **attention** matches places; **relations** match distances between
#   images.
# - A leaderboard has a first place even if all are equal. Look for intervals that hold for all rows, the same search for
#   everybody, and fresh seeds.
# - Before you add a method, check what the simple ways give: the teachers' likeliest classes as labels, `kd`, and a larger
#   student.
#
# ## References
#
# - Adriana Romero, Nicolas Ballas, Samira Ebrahimi Kahou, Antoine Chassang, Carlo Gatta, Yoshua Bengio (2015). FitNets:
#   Hints for Thin Deep Nets. https://arxiv.org/abs/1412.6550
# - Sergey Zagoruyko, Nikos Komodakis (2017). Paying More Attention to Attention: Improving the Performance of
#   Convolutional Neural Networks via Attention Transfer. https://arxiv.org/abs/1612.03928
# - Wonpyo Park, Dongju Kim, Yan Lu, Minsu Cho (2019). Relational Knowledge Distillation.
#   https://arxiv.org/abs/1904.05068
# - Raphael Gontijo Lopes, Stefano Fenu, Thad Starner (2017). Data-Free Knowledge Distillation for Deep Neural Networks.
#   https://arxiv.org/abs/1710.07535
# - Hongxu Yin, Pavlo Molchanov, Zhizhong Li, Jose M. Alvarez, Arun Mallya, Derek Hoiem, Niraj K. Jha, Jan Kautz (2020).
#   Dreaming to Distill: Data-free Knowledge Transfer via DeepInversion. https://arxiv.org/abs/1912.08795
# - Yonglong Tian, Dilip Krishnan, Phillip Isola (2020). Contrastive Representation Distillation, which compares many
#   methods. https://arxiv.org/abs/1910.10699
#
# All terms: [glossary](glossary.md).
