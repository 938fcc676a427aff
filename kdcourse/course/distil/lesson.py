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
# # Distil
#
# You know what soft targets contain and what the temperature changes. Now you write the objective that a student learns
# from, step by step. Then you find out when it helps, when it changes nothing, and when it harms.
#
# ## Objectives
#
# By the end of this lesson you can
#
# - write the distillation objective and one step of distillation, and avoid the most common mistakes;
# - compare a distilled student with a baseline student, its plain twin, over paired seeds;
# - choose temperature and alpha on a grid without fooling yourself;
# - say when a student needs no labels, and which views its teacher should see.
#
# **Builds on:** {{lesson train_a_teacher}} (the training loop),
# {{lesson soft_targets}} (soft targets, temperature, why T squared).
#
# **Time:** {{reading_minutes}} minutes to read, {{exercise_minutes}} minutes for the exercises; the machine works
# for {{machine_seconds}}.
#
# Words that are new to you are in the [glossary](glossary.md).

# %%
import dataclasses

import torch
import torch.nn.functional as F

from kdcourse import evaluation, figures, models, widgets
from kdcourse.course import at_least, at_most, check, claim, show
from kdcourse.data import Augmentation, View, fashion_mnist
from kdcourse.distillation import SoftTargets, distil_grid, hinton_loss, kd_divergence, soft_targets
from kdcourse.errors import ArgumentError
from kdcourse.runs import recorded

# %% [markdown]
# ## Teacher, images, student
#
# The teacher is the ensemble of five. Its logits for all training images came with the course, one row per image, so
# the teacher doesn't have to run again. The student is a network with one small hidden layer.

# %%
data = fashion_mnist()
ensemble = recorded.ensemble(data)
stored = soft_targets(ensemble, data.train, data, progress=False)
torch.manual_seed(0)
student = models.build("mlp_25k")
print(stored)

# %% [markdown]
# Here are the predictions of both for one shirt at temperature 4, before any training of the student. The student knows
# nothing yet, so its bars are about equally high. Distillation will make the two sets of bars more alike.

# %%
place = int((data.train.labels == data.classes.index("Shirt")).nonzero()[0])
image = data.train.images[place : place + 1]
teacher_logits = stored.logits(View(), torch.tensor([place]))  # View(): of the original image
with torch.no_grad():
    student_logits = student(data.normalise(image))
show(
    figures.softened_bars(
        image[0],
        {"teacher": teacher_logits[0], "student": student_logits[0]},
        data.classes.index("Shirt"),
        data.classes,
        4.0,
    ),
    "a shirt and its softened probabilities at temperature 4: the teacher prefers some classes, the untrained "
    "student hardly any.",
)

# %% [markdown]
# ## The distance between two predictions
#
# The **Kullback-Leibler divergence** (KL) measures how far the student's probabilities are from the teacher's. For each
# class, take the log of the teacher's probability p minus the log of the student's probability q, and multiply by p.
# Then add up all classes. Here it is, computed for three classes:

# %%
p = torch.tensor([0.7, 0.2, 0.1])
for name, q in (("equal", p), ("nearly equal", torch.tensor([0.6, 0.3, 0.1])),
                ("reversed", torch.tensor([0.1, 0.2, 0.7]))):  # fmt: skip
    by_hand = (p * (p.log() - q.log())).sum()
    print(f"{name}: KL = {by_hand:.2f} nats")

# %% [markdown]
# The distillation term is KL between the **softened** probabilities, averaged over the batch, times T squared:
#
# $$T^2 \, \frac{1}{B} \sum_{b=1}^{B} \mathrm{KL}\big(\mathrm{softmax}(v_b / T) \,\|\, \mathrm{softmax}(z_b / T)\big)$$
#
# with v the teacher's logits, z the student's and B images. Hinton, Vinyals and Dean (2015) put T squared there
# because softening makes gradients about T squared times smaller, as you saw in
# {{lesson soft_targets}}.
#
# ### Exercise: the distillation term (medium, 8 minutes)
#
# Fill in the three gaps. `F.kl_div(a, b, reduction="batchmean", log_target=True)` takes log-probabilities on both sides
# and gives KL(b || a), averaged over the batch.
#
# <details><summary>Hint 1</summary>
#
# If you compute probabilities first and then their logarithm, the logarithm fails where a probability rounds to 0.
# `F.log_softmax(..., dim=1)` computes log-probabilities directly.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# The teacher's probabilities are the weights, so the teacher is the target: the second argument of `kl_div`.
#
# </details>


# %%
from kdcourse.course.distil.exercises import distillation_term

# %%
check("distillation_term", distillation_term)

# %% [markdown]
# ## Teacher and labels together
#
# The **objective** adds a term for the labels. `alpha` is the teacher's weight and `1 - alpha` the labels' weight. The
# labels' term is the ordinary cross-entropy at temperature 1.
#
# ### Exercise: the objective (easy, 4 minutes)
#
# `kd_divergence` is the package's own distillation term, so this exercise works even if you skipped the one above.
# Write the whole body.
#
# <details><summary>Hint 1</summary>
#
# `kd_divergence(student_logits, teacher_logits, temperature)` already includes T squared.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# `F.cross_entropy(student_logits, labels)` takes logits as they are, and averages over the batch.
#
# </details>


# %%
from kdcourse.course.distil.exercises import objective

# %%
check("objective", objective)

# %% [markdown]
# You know two cases already. At alpha = 0 the teacher has no weight, and at alpha = 1 the labels have none.

# %%
some = torch.arange(256)
z = torch.randn(256, 10, generator=torch.Generator().manual_seed(0))
v, labels = stored.logits(View(), some), data.train.labels[some]
loss = {alpha: hinton_loss(z, v, labels, temperature=4, alpha=alpha) for alpha in (0, 0.5, 1)}
claim(
    "At alpha = 0 the objective is the labels' cross-entropy, at alpha = 1 the distillation term, and in between "
    "their weighted mean",
    torch.allclose(loss[0], F.cross_entropy(z, labels))
    and torch.allclose(loss[1], kd_divergence(z, v, 4.0))
    and torch.allclose(loss[0.5], (loss[0] + loss[1]) / 2),
    images=len(some),
)

# %% [markdown]
# ## The right soft targets for each image
#
# Training shows the images in a new order every epoch, but the teacher's logits are stored in the order of the
# training set. So you must look up the rows that belong to each batch. If you get this wrong, there is no error: the
# student simply learns the predictions for other images.
#
# ### Exercise: soft targets after a shuffle (easy, 5 minutes)
#
# `order` says which image is shown first, second, and so on. A batch begins at place `start` of that order and
# has up to `size` images. Return the teacher's logits for them, in the order of the batch.
#
# <details><summary>Hint 1</summary>
#
# First find out which images are in the batch: they are a slice of `order`.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# A tensor of row numbers can be an index: `table[rows]` gives those rows in that order.
#
# </details>


# %%
from kdcourse.course.distil.exercises import targets_for_batch

# %%
check("targets_for_batch", targets_for_batch)

# %% [markdown]
# How could you notice such a mistake? The teacher almost always agrees with the labels of its own training images. So
# compare before training: does the teacher's prediction for each image of this batch match its label?

# %%
order = torch.randperm(len(data.train), generator=torch.Generator().manual_seed(1))[:2000]
labels = data.train.labels[order]
aligned = (stored.logits(View(), order).argmax(1) == labels).double().mean().item()
shifted = (stored.logits(View(), torch.arange(2000)).argmax(1) == labels).double().mean().item()
claim(
    "Soft targets looked up by image agree with the labels; those in stored order agree only by chance",
    aligned > 0.95 and shifted < 0.15,
    looked_up=at_least(100 * aligned, 95, "%"),
    stored_order=at_most(100 * shifted, 15, "%"),
)

# %% [markdown]
# ## One step
#
# Here is one step on the labels alone, as in {{lesson train_a_teacher}}, for you to read:
#
# ```python
# student.train()
# loss = F.cross_entropy(student(images), labels)
# optimizer.zero_grad()
# loss.backward()
# optimizer.step()
# ```
#
# ### Exercise: one step of distillation (hard, 10 minutes)
#
# Now add a teacher that runs on the batch. It must stay unchanged: use eval mode (no dropout, BatchNorm statistics
# fixed), and let torch record nothing for a gradient (`detach` is too late: by then torch has already stored
# everything). Use the package's `hinton_loss(student_logits, teacher_logits, labels, temperature=..., alpha=...)` and
# return the loss as a number.
#
# <details><summary>Hint 1</summary>
#
# `teacher.eval()` sets its mode. Inside `with torch.no_grad():`, torch records nothing.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# The student may be in eval mode, if it was just evaluated. After the loss: clear old gradients, backward pass, step.
# `loss.item()` turns a scalar tensor into a number.
#
# </details>


# %%
from kdcourse.course.distil.exercises import distil_step

# %%
check("distil_step", distil_step)

# %% [markdown]
# The package's `distil` runs this step in a loop. It looks up the teacher's predictions and doesn't compute them again.
# For a student of your own it is one call:
#
# ```python
# history = distil(student, ensemble, data, temperature=2, alpha=0.9, epochs=2, seed=0)
# ```
#
# `distil_grid` trains many small students at once, with the same result as if each were trained alone. You will use it
# for everything that follows.
#
# ## Does it help?
#
# First a case with few images: one in a hundred of the training set. With so few, a small network overfits. Hinton,
# Vinyals and Dean (2015, section 6) had such a case: with labels alone their network overfitted, and soft targets
# prevented it. The teacher has learned from all the images, so it can give the student more information than those few
# labels do.


# %%
def first_images(count):
    """Return the data set with only the first training images, and the teacher's logits for them."""
    keep = torch.arange(count)
    small = dataclasses.replace(data, train=data.train.subset(keep))
    logits = stored.logits(View(), keep)
    return small, SoftTargets([View()], [logits], [None], small.train, stored.teacher)


few, few_targets = first_images(len(data.train) // 100)
print(f"{len(few.train)} images, {len(few.validation):,} to evaluate students on")

# %% [markdown]
# **Predict:** ten students learn from the labels of those images alone (alpha 0): these are the *plain* students, our
# baseline. Ten learn from teacher and labels (T = 4, alpha 0.9). Each pair shares its seed: the same initial weights,
# the same order of images, the same number of steps. In how many of the ten pairs does the distilled student classify
# more validation images correctly?

# %%
widgets.predict(
    "05-pairs-won",
    "Of ten pairs, in how many is the distilled student ahead of its plain twin?",
    number=(0, 10, 1),
    unit="of 10",
)

# %%
settings = {
    "batch_size": 50,
    "optimizer": "adamw",
    "learning_rates": (3e-3,),
    "weight_decay": 0.01,
    "progress": False,
}
seeds = tuple(range(10))
pairs = distil_grid((4.0,), (0.0, 0.9), seeds, data=few, teacher=few_targets, epochs=30, **settings)


def histories(grid, alpha):
    return [row.history for row in grid.rows if row.setting.alpha == alpha]


def accuracies(grid, alpha, temperature=4.0):
    """Return the validation accuracy of each seed, 0 to 1, after the last epoch."""
    return [
        row["validation_accuracy"]
        for row in grid.table
        if row["alpha"] == alpha and row["temperature"] == temperature
    ]


show(
    figures.training_curves({"plain": histories(pairs, 0.0), "distilled": histories(pairs, 0.9)}),
    "loss and accuracy of ten plain and ten distilled students over their epochs. In the end the plain ones know "
    "nearly all training images by heart; the distilled ones are a little better on the validation images.",
)

# %% [markdown]
# Don't compare the dashed losses: each one is the student's own objective, and the distilled one contains T squared.
# You can compare the accuracies, but the two solid lines lie close together. So look at the difference within each
# pair, the mean of these differences, and a 95 % interval for that mean. If the interval lies above 0, luck
# is an unlikely explanation ({{lesson evaluate}} explains this in detail).

# %%
plain, distilled = accuracies(pairs, 0.0), accuracies(pairs, 0.9)
won = sum(new > old for old, new in zip(plain, distilled, strict=True))
gain = evaluation.paired_difference(distilled, plain)
claim(
    "With 1 % of the images, distilled students are more accurate than their plain twins",
    won >= 8 and gain.low > 0,
    seeds=len(seeds),
    pairs_won=at_least(won, 8),
    gain_in_points=at_least(100 * gain.mean, 0.5),
    lower_end_of_the_interval=at_least(100 * gain.low, 0.1),
)

# %%
widgets.reveal("05-pairs-won", won, unit="of 10")

# %% [markdown]
# ## And with all the images?
#
# Now take the whole training set, with the same temperature and alpha, for two epochs. That is not many more steps than
# before, but nearly every step shows images that the student hasn't seen yet. Batches and learning rate are larger, and
# the same for both students.
#
# **Predict:** how much will the teacher help now?

# %%
with_all = [
    "better by more than before",
    "better by about as much",
    "neither better nor worse",
    "worse than plain",
]
widgets.predict(
    "05-all-images",
    "With all training images, the same student, T = 4 and alpha = 0.9, the distilled students will be, on average,",
    choices=with_all,
)

# %%
many = distil_grid(
    (4.0,), (0.0, 0.9), seeds[:5], data=data, teacher=stored, epochs=2, validate=False,
    **settings | {"batch_size": 256, "learning_rates": (5e-3,)},
)  # fmt: skip
many_plain, many_distilled = accuracies(many, 0.0), accuracies(many, 0.9)
show(
    figures.paired_differences(
        {"1 % of the images": (plain, distilled), "all images": (many_plain, many_distilled)}
    ),
    "differences between distilled and plain students, seed by seed: right of 0 with few images, left of 0 with all.",
)

# %%
loss_of_points = evaluation.paired_difference(many_distilled, many_plain)
claim(
    "With all images and this budget, the same temperature and alpha make the small student worse",
    loss_of_points.high < 0,
    seeds=len(many_plain),
    change_in_points=at_most(100 * loss_of_points.mean, -0.4),
)

# %%
change = loss_of_points
more = change.mean > 1.5 * gain.mean
widgets.reveal(
    "05-all-images", with_all[3 if change.high < 0 else 2 if change.low <= 0 else 0 if more else 1]
)

# %% [markdown]
# So the same recipe helps in one case and harms in another. There are two likely reasons:
#
# - **There are many labels.** With few of them, the teacher's prediction for each image carries information from the
#   many labels that the student didn't get. With all of them, there is little left to add.
# - **The student is too small.** At T = 4 most of the distillation term is about how the teacher ranks unlikely
#   classes. A network this small can't learn all that, and the capacity that it uses there is missing at the decision
#   boundaries. Cho and Hariharan (2019) call it a mismatched capacity.
#
# A lower temperature is easier for the student. Which temperature is best, and which alpha? A grid can tell you.

# %% [markdown]
# ## Temperature by alpha
#
# Now use the few images again. Every cell below is the mean of five students with one temperature and one alpha. In the
# bottom row alpha is 0. There is no teacher, so the temperature has no effect, and the row must be constant. Before you
# look: which corner of the map do you expect to be the best?

# %%
grid = distil_grid(
    (1.0, 2.0, 4.0, 8.0), (0.0, 0.5, 0.9, 1.0), seeds[:5], data=few, teacher=few_targets, epochs=30, validate=False,
    **settings,
)  # fmt: skip
show(
    figures.grid_heat_map(grid),
    "validation accuracy by temperature and alpha. The bottom row, without a teacher, is the same at every "
    "temperature and the lowest of all rows.",
)

# %%
cells = grid.mean()
bottom = [cells[temperature, 0.0] for temperature in (1.0, 2.0, 4.0, 8.0)]
claim(
    "Without a teacher the temperature has no effect; with one, every cell from T = 2 on is better",
    max(bottom) - min(bottom) < 1e-6
    and min(value for (temperature, alpha), value in cells.items() if alpha > 0 and temperature >= 2)
    > bottom[0],
    students=len(grid.rows),
)

# %% [markdown]
# Now train such a map yourself, with all images. Until you press **Train**, it shows the map above. Then it fills in
# epoch by epoch. **Stop** keeps the results so far. Is the best cell the same as with few images?

# %%
widgets.live_heat_map(
    (1.0, 2.0, 4.0, 8.0), (0.0, 0.5, 0.9, 1.0), (0, 1), data=data, teacher=stored, epochs=2, result=grid,
    optimizer="adamw", learning_rates=(5e-3,), weight_decay=0.01,
)  # fmt: skip

# %% [markdown]
# ## Choosing without fooling yourself
#
# The best of many cells is best partly by luck: its five seeds happened to be good ones. So its number in the map is
# probably too high. The solution costs little: choose on some seeds, then measure on other seeds that had no part in
# the choice, against plain students of those same seeds.

# %%
best_temperature, best_alpha = max(cells, key=lambda cell: cells[cell])
fresh = tuple(range(100, 110))
again = distil_grid(
    (best_temperature,),
    (0.0, best_alpha),
    fresh,
    data=few,
    teacher=few_targets,
    epochs=30,
    validate=False,
    **settings,
)
confirmed = evaluation.paired_difference(
    accuracies(again, best_alpha, best_temperature), accuracies(again, 0.0, best_temperature)
)
claim(
    "With the chosen temperature and alpha, students are better than plain ones for ten new seeds, too",
    confirmed.low > 0,
    gain_in_points=at_least(100 * confirmed.mean, 0.4),
    lower_end_of_the_interval=at_least(100 * confirmed.low, 0.1),
)

# %% [markdown]
# We haven't used the test split. Every choice so far was made on validation images. The test images are used only once,
# in {{lesson evaluate}}.

# %% [markdown]
# ## Images without labels
#
# At alpha = 1 the labels have no weight, so you don't need any: images and the teacher's predictions are enough. The
# images on which the student learns from the teacher are a **transfer set**. (In 2006 Buciluă, Caruana and
# Niculescu-Mizil generated theirs synthetically, without a single label.) Let a student learn from ten times as many
# images, none of them labelled, in the same number of steps.

# %%
more, more_targets = first_images(10 * len(few.train))
unlabelled = distil_grid(
    (2.0,), (1.0,), seeds, data=more, teacher=more_targets, epochs=3, validate=False, **settings
)
transfer = evaluation.paired_difference(accuracies(unlabelled, 1.0, 2.0), plain)
claim(
    "Soft targets for ten times as many images, without a label, are better than the labels of the few",
    transfer.low > 0.01,
    seeds=len(seeds),
    gain_in_points=at_least(100 * transfer.mean, 1.5),
)

# %% [markdown]
# This is often the strongest reason to distil: images are cheap, labels are expensive, and a teacher can make
# predictions for any number of images.
#
# There is one limit. Our teacher was trained on these same images *with* their labels, so its predictions for them are
# better than for new ones. With images that it hasn't seen, expect a smaller gain.

# %% [markdown]
# ## The same view as the student
#
# Augmentation shifts, mirrors and covers images, so that the student sees a new view of an image each time. Which one
# should the teacher see: the original image, or the augmented view that the student sees? Here is one image
# and two views of it, with the teacher's predictions.

# %%
strong = Augmentation(shift=3, flip=True, erase=1.0, erase_sides=(8, 14))
views = [View(strong, 0, number) for number in range(2)]
spot = torch.tensor([place])
shown = torch.cat([image, *(view.apply(image, spot) for view in views)])
predictions = evaluation.predict(ensemble, shown, data)
show(
    figures.soft_target_gallery(
        shown, predictions, data.train.labels[spot].repeat(3), data.classes, temperatures=(1, 4)
    ),
    "a shirt as it is and in two views, shifted and partly covered, each beside the ensemble's soft targets; "
    "they differ from view to view.",
)

# %% [markdown]
# Beyer and colleagues (2022) give the augmented view to both. The student then copies one function on as many inputs as
# you like. They call this **function matching**, and the student gets better the longer it trains. A prediction for the
# original image, paired with its views, describes what the augmentation removed.
#
# **Predict:** eight students learn from two strong views of the few images, with the teacher's predictions for exactly
# these views. Eight twins get the same views, paired with the predictions for the original images.

# %%
either = ["those with predictions for the views", "those with predictions for the original images", "neither"]
widgets.predict(
    "05-views",
    "Which of them classify more validation images correctly?",
    choices=either,
)

# %%
every = torch.arange(len(few.train))
matching = soft_targets(ensemble, few.train, few, views=views, progress=False)
original_logits = few_targets.logits(View(), every)
mixed_up = SoftTargets(views, [original_logits] * len(views), [None] * len(views), few.train, stored.teacher)
consistent, inconsistent = (
    distil_grid(
        (4.0,), (0.9,), seeds[:8], data=few, teacher=targets, epochs=30, augmentation=strong, views=len(views),
        validate=False, **settings,
    )
    for targets in (matching, mixed_up)
)  # fmt: skip
matched, mismatched = accuracies(consistent, 0.9), accuracies(inconsistent, 0.9)
better = evaluation.paired_difference(matched, mismatched)
claim(
    "Students are better if their soft targets are for the same views, not for the original images",
    better.low > 0,
    seeds=len(matched),
    gain_in_points=at_least(100 * better.mean, 0.7),
)

# %%
widgets.reveal("05-views", either[0 if better.low > 0 else 1 if better.high < 0 else 2])

# %% [markdown]
# Why? The teacher mostly predicts the same class for a covered image, but it is less confident. Its probabilities show
# which other classes the view resembles. The predictions for the original images don't contain this information.

# %%
of_view = matching.logits(views[0], every)
on_original, on_view = (
    torch.softmax(each / 4, dim=1).max(dim=1).values.mean().item() for each in (original_logits, of_view)
)
claim(
    "For a view the teacher mostly predicts the same class as for the original image, but less confidently",
    evaluation.agreement(of_view, original_logits) > 0.9 and on_view < on_original - 0.05,
    same_class=at_least(100 * evaluation.agreement(of_view, original_logits), 90, "%"),
    softened_confidence_lost=at_least(on_original - on_view, 0.05),
)

# %% [markdown]
# `distil` offers two consistent ways:
#
# | call | the teacher sees | it runs |
# |---|---|---|
# | `distil(..., augmentation=a)` | every batch, each time | in every epoch |
# | `distil(..., augmentation=a, views=4)` | four stored views | four times, for all students |
#
# Stored views are kept on disk, by sample and view, so a grid or a second seed needs no further forward pass of the
# teacher. To mix them up, the cell above had to build the targets by hand. If you request a view for which no logits
# are stored, you get an error:

# %%
try:
    few_targets.logits(views[0], every)
except ArgumentError as error:
    print(str(error).split(";")[0])

# %% [markdown]
# Augmentation doesn't help every student. This network has one small layer and no convolutions, so a shifted image is
# a completely new one to it. Strong augmentation costs it many points, with consistent targets or not.

# %%
claim(
    "This small student is better when trained on the original images than on strong views of them",
    min(distilled) > max(matched),
    lost_in_points=at_least(100 * (sum(distilled) / len(distilled) - sum(matched) / len(matched)), 5),
)

# %% [markdown]
# The recorded students of {{lesson evaluate}} have convolutions and were trained for longer. They learned from
# four stored views.

# %% [markdown]
# ## Your own student
#
# Now it is your turn. Set temperature, alpha, student, epochs and learning rate, and press **Train**. The first run
# takes seconds. Every run is kept: choose two or more to compare them, even after a restart.
#
# A run whose loss diverges is kept as well, marked *diverged*: it shows you which learning rate is too large.
#
# Try to find out, with all the images:
#
# 1. Are the students better at T = 1 or T = 2 than at T = 4?
# 2. Is there an alpha at which the teacher helps this student? Compare with *labels alone* and the same seed.
# 3. What changes with a student four times as large, or one with convolutions?
# 4. How must you change the learning rate at T = 8?

# %%
widgets.distillation_tuner(
    data,
    stored,
    settings=widgets.RunSettings(
        method_settings={"temperature": 2.0}, alpha=0.9, epochs=2, learning_rate=0.1
    ),
    examples={
        "distilled (few images)": histories(pairs, 0.9)[0],
        "plain (few images)": histories(pairs, 0.0)[0],
    },
)

# %% [markdown]
# A result from one seed is only a guess. Change the seed and look again before you believe it.

# %% [markdown]
# ## Quiz

# %%
widgets.quiz(
    "05",
    [
        widgets.Question(
            "You raise T from 2 to 8 and forget T squared. What happens, at alpha = 0.5?",
            options=[
                widgets.Option(
                    "The labels outweigh the teacher",
                    True,
                    "The teacher's gradients shrink about as 1 / T squared, the labels' stay as they are.",
                ),
                widgets.Option(
                    "The teacher outweighs the labels",
                    False,
                    "Its gradients get smaller, not larger, when T rises.",
                ),
                widgets.Option(
                    "Nothing, the loss is only scaled",
                    False,
                    "One of its two parts is scaled, so their balance changes.",
                ),
            ],
        ),
        widgets.Question(
            "There is no error, but the training loss hardly falls and the student stays as bad as guessing, whatever "
            "the learning rate. What do you look at first?",
            options=[
                widgets.Option(
                    "Whether each batch gets the soft targets of its own images",
                    True,
                    "Misaligned targets raise no error, and an image says nothing about another image's soft targets. "
                    "Compare the teacher's predictions with the batch's labels.",
                ),
                widgets.Option(
                    "The temperature",
                    False,
                    "With the right soft targets a student is far better than guessing, at T = 1 and at T = 8.",
                ),
                widgets.Option(
                    "The number of teachers",
                    False,
                    "A student of even one trained teacher does far better than guessing.",
                ),
            ],
        ),
        widgets.Question(
            "Why does every plain student here have a distilled twin of the same seed?",
            options=[
                widgets.Option(
                    "The effect of the seed on both cancels in their difference",
                    True,
                    "Fewer pairs then suffice to tell a gain from luck.",
                ),
                widgets.Option(
                    "So that both reach the same accuracy",
                    False,
                    "They start from the same weights, but they can end differently.",
                ),
                widgets.Option(
                    "Seeds of distilled students must be chosen",
                    False,
                    "Choosing seeds would be choosing results.",
                ),
            ],
        ),
        widgets.Question(
            "The best cell of a grid shows 81 %. What will new seeds show for it, most likely?",
            options=[
                widgets.Option(
                    "A little less",
                    True,
                    "It was chosen because its result was high, and part of that was luck.",
                ),
                widgets.Option(
                    "The same",
                    False,
                    "Only if it had been chosen before you saw the results.",
                ),
                widgets.Option("A little more", False, "There is no reason to expect that."),
            ],
        ),
    ],
)

# %% [markdown]
# ## Recap
#
# - The **objective** is alpha times the distillation term (T squared times KL, averaged over the batch) plus 1 - alpha
#   times the labels' cross-entropy.
# - The teacher runs in eval mode, without gradient, and its predictions are looked up **by image and view**.
# - With few labelled images this small student gained accuracy. With all of them, T = 4 harmed it. Distillation is a
#   useful tool, not magic.
# - Compare **paired seeds** at the same budget, choose on validation, confirm on fresh seeds.
# - At alpha = 1 images need **no labels**. With augmentation, the teacher sees **the same view as the student**.
#
# Next: {{lesson evaluate}}, how to judge students honestly.
#
# ## References
#
# - Geoffrey Hinton, Oriol Vinyals, Jeff Dean (2015). Distilling the Knowledge in a Neural Network.
#   https://arxiv.org/abs/1503.02531
# - Cristian Buciluă, Rich Caruana, Alexandru Niculescu-Mizil (2006). Model Compression. KDD 2006.
#   https://doi.org/10.1145/1150402.1150464
# - Jang Hyun Cho, Bharath Hariharan (2019). On the Efficacy of Knowledge Distillation. ICCV 2019.
#   https://arxiv.org/abs/1910.01348
# - Lucas Beyer, Xiaohua Zhai, Amélie Royer, Larisa Markeeva, Rohan Anil, Alexander Kolesnikov (2022). Knowledge
#   Distillation: a Good Teacher is Patient and Consistent. CVPR 2022. https://arxiv.org/abs/2106.05237
#
# All terms: [glossary](glossary.md).
