# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kdcourse:
#     most_seconds: 300
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A class for every pixel
#
# So far one image had one label. Now every pixel gets a label: which garment is it, or none? Three U-Nets predict well
# together. You will distil them into a student that is forty times smaller than one of them. Then you look, pixel by
# pixel, at what it learned and where it fails.
#
# ## Objectives
#
# By the end of this lesson you can
#
# - compute intersection over union (IoU), absent classes included, and say what it tells that pixel accuracy doesn't;
# - write Hinton's objective for pixels, with the correct average;
# - read loss and IoU curves, a precision-recall curve, and masks side by side;
# - say where a small student fails, and how much of the gap to its teachers it recovered.
#
# **Builds on:** {{lesson distil}} (the objective), {{lesson evaluate}} (paired seeds, gap
# recovered).
#
# **Time:** {{reading_minutes}} minutes to read, {{exercise_minutes}} minutes for the exercises; the machine works
# for {{machine_seconds}}.
#
# Words that are new to you are in the [glossary](glossary.md).

# %%
import json

import torch
import torch.nn.functional as F

from kdcourse import evaluation, figures, models, widgets
from kdcourse.course import at_least, at_most, between, check, claim, show
from kdcourse.data import IGNORE, garment_scenes
from kdcourse.distillation import distil, soft_targets
from kdcourse.runs import recorded
from kdcourse.runs.tasks import task_of
from kdcourse.training import fit

# %% [markdown]
# ## Scenes of garments
#
# Real photographs with a class for every pixel are large to download. So the course makes its own scenes: two to five
# garments of Fashion-MNIST, coloured, scaled and rotated, one partly covering another, on a cluttered background, in
# uneven light and with noise. Training, validation and test scenes are made of different garments. The **mask** says
# for each pixel which class is visible there.

# %%
data = garment_scenes(scenes=(2000, 500, 500))
show(
    figures.scene_examples(data.train.images[:8], data.train.masks[:8], data.classes, columns=8),
    "eight training scenes and, below each, its mask laid over it. Garments partly cover one another, and there "
    "are shapes that are not garments.",
    photographs=True,
)
print(
    f"{len(data.train):,} scenes to train on, {len(data.validation)} for validation, {len(data.test)} for the test"
)
print(f"{len(data.classes)} classes: {', '.join(data.classes)}")

# %% [markdown]
# For your own images there is `kdcourse.data.segmentation_folder`. With a network connection, `oxford_pets` downloads
# real photographs of cats and dogs. Both return the same type as `garment_scenes`, so everything below works on them
# too.

# %% [markdown]
# ## What is a good mask?
#
# The first idea is pixel accuracy: the share of pixels that get the right class.
#
# **Predict:** what pixel accuracy does a "model" reach that predicts background for every pixel of every test scene?

# %%
widgets.predict(
    "07-background",
    "Pixel accuracy of predicting background everywhere:",
    number=(0, 100, 1),
    unit="%",
)

# %% folded=true
truth = data.test.masks
background_only = torch.zeros_like(truth)
background_accuracy = evaluation.pixel_accuracy(background_only, truth)
claim(
    "Predicting background everywhere is right for most pixels",
    background_accuracy > 0.5,
    pixel_accuracy=f"{100 * background_accuracy:.0f} %",
)
widgets.reveal("07-background", round(100 * background_accuracy), unit="%")

# %% [markdown]
# **Intersection over union** (IoU, also the Jaccard index) gives such a mask a low score. The PASCAL VOC challenge
# judged masks by it (Everingham et al. 2015). For one class, take the pixels that truly have it and the pixels for
# which it was predicted:
#
# $$\text{IoU} = \frac{|\text{both}|}{|\text{either}|}$$
#
# Missed pixels and false alarms both make it smaller. Pixels are counted over all images together. **Mean IoU** is
# the mean over the classes. A pixel whose class is unclear, such as the border of a pet's fur, is marked 255 in the
# true mask (`IGNORE` in code), and left out of every count.
#
# ### Exercise: IoU of one class (easy, 6 minutes)
#
# Both masks hold whole numbers, of any shape; `label` is the number of the class. Leave out the pixels where `truth` is
# `IGNORE`. If the class is in neither mask, the union is 0: return NaN, `float("nan")`.
#
# <details><summary>Hint 1</summary>
#
# `predicted & true` is True where both are, `predicted | true` where at least one is.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# First keep only the pixels that count, in both masks: `counts = truth != IGNORE`, then `truth[counts]`.
#
# </details>


# %%
from kdcourse.course.segmentation.exercises import class_iou

# %%
check("class_iou", class_iou)

# %% [markdown]
# Now the mean. A **confusion matrix** counts pixels: its row is the true class, its column the predicted one. You can
# compute all IoUs from it.
#
# What about a class that occurs neither in the truth nor in the prediction? It says nothing about the model. If it
# counted as 0, it would punish a perfect prediction. If it counted as 1, it would reward a poor one. So it is left out.
#
# ### Exercise: mean IoU (medium, 8 minutes)
#
# Compute the mean IoU over the classes that occur, from a confusion matrix.
#
# <details><summary>Hint 1</summary>
#
# Correct pixels lie on the diagonal. The sum of a class's row is its true pixels, the sum of its column its predicted
# pixels.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# The correct pixels are in both sums, so subtract them once to get the union.
#
# </details>


# %%
from kdcourse.course.segmentation.exercises import iou_over_classes

# %%
check("iou_over_classes", iou_over_classes)

# %% folded=true
background_iou = evaluation.iou_per_class(background_only, truth, len(data.classes))
claim(
    "Mean IoU gives the background mask a low score: every garment scores 0",
    background_iou.mean() < 0.1 and not background_iou[1:].any(),
    mean_iou=at_most(background_iou.mean().item(), 0.1),
)

# %% [markdown]
# ## The teachers
#
# The teachers are three **U-Nets** (Ronneberger et al. 2015). A U-Net first halves the resolution four times, so that
# it sees the whole scene. Then it upsamples to the full size again. At each size, a skip connection appends the feature
# maps from the way down, which hold the details. The teachers were trained by `kdcourse teachers --task segmentation`,
# and came with the course.

# %% folded=true
ensemble = recorded.ensemble(data)
sizes = {name: models.names("segmentation")[name] for name in ("unet", "unet_wide", "pocket_unet")}
for name, parameters in sizes.items():
    print(f"{name:12} {parameters:>9,} parameters")
claim(
    "The student is at least forty times smaller than one teacher",
    sizes["unet"] >= 40 * sizes["pocket_unet"],
    times_smaller_than_the_smallest_teacher=at_least(sizes["unet"] / sizes["pocket_unet"], 40),
)

# %% [markdown]
# The ensemble averages logits pixel by pixel, as it did for whole images. The three are different: each began from
# its own random weights, one is wider, and one was trained on scenes with larger shifts than the others.

# %%
some = data.test.subset(torch.arange(200))


def iou_of(model):
    """Return the mean IoU on 200 test scenes."""
    return evaluation.mean_iou(evaluation.predict_masks(model, some, data), some.masks, len(data.classes))


alone, together = [iou_of(model) for model in ensemble.members], iou_of(ensemble)
claim(
    "The ensemble is better than its members on average, but hardly better than the best of them",
    together > sum(alone) / len(alone) + 0.02 and together < max(alone) + 0.02,
    mean_iou_of_the_ensemble=between(together, 0.5, 0.6),
)

# %% [markdown]
# ## The objective, pixel by pixel
#
# Treat every pixel like a small image: it has a label, and the teacher has logits for it. So compute Hinton's objective
# at each pixel, and average. Over what? The scale of the loss must not depend on the size of an image or on how many
# pixels are left out. Otherwise a learning rate that works for one batch would not work for the next. So average over
# the pixels that count, of all images of the batch together.
#
# ### Exercise: the distillation term for pixels (hard, 12 minutes)
#
# Compute $T^2 \, \text{KL}(p \,\|\, q)$ at every pixel with a mask other than `IGNORE`, averaged over these pixels.
# Logits are `[B, C, H, W]`: the classes lie along dimension 1. The teacher isn't trained: no gradient may flow to it,
# so `.detach()` its logits.
#
# <details><summary>Hint 1</summary>
#
# Use `log_softmax(..., dim=1)` of both, after dividing by T. KL at a pixel is the sum over classes of
# `p * (log p - log q)`.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# `F.kl_div(log_q, log_p, reduction="none", log_target=True)` gives the terms. `.sum(dim=1)` gives one number per pixel,
# `[B, H, W]`. Select from it with `masks != IGNORE`.
#
# </details>


# %%
from kdcourse.course.segmentation.exercises import pixel_term

# %%
check("pixel_term", pixel_term)

# %% [markdown]
# In the package this is `pixelwise_loss`, which also adds the term for the labels. Does the scale stay the same? Here
# is one batch as it is, and the same batch cut to a quarter of its area:

# %%
from kdcourse.distillation import pixelwise_loss

generator = torch.Generator().manual_seed(0)
z, v = (torch.randn(4, 11, 64, 64, generator=generator) for _ in range(2))
masks = data.train.masks[:4].long()
large = pixelwise_loss(z, v, masks, temperature=2.0, alpha=1.0)
small = pixelwise_loss(z[..., :32, :32], v[..., :32, :32], masks[..., :32, :32], temperature=2.0, alpha=1.0)
claim(
    "With a quarter of the pixels, the loss is the same to within 5 %",
    abs(large.item() - small.item()) < 0.05 * large.item(),
)

# %% [markdown]
# Two other objectives use more than one pixel at a time. `pairwise_loss` (Liu et al. 2019) compares which positions of
# an image are similar for the teacher and for the student. `channelwise_loss` (Shu et al. 2021) takes the softmax over
# the positions of an image, one class at a time, not over the classes of a pixel. It compares **where** a class is
# strongest.

# %% [markdown]
# ## Train both students
#
# You train the same network twice, from the same weights, on the same scenes in the same order: once on the masks
# alone, once on the teachers' predictions too. All settings were chosen on validation scenes; you will see the trials
# below.
#
# **Predict** before you start: which will have the higher validation IoU after ten epochs, and by how much?

# %%
outcomes = [
    "plain is ahead",
    "distilled is ahead by less than 2 points",
    "distilled is ahead by 2 points or more",
]
widgets.predict("07-gain", "Validation IoU after ten epochs (1 point is 0.01):", choices=outcomes)

# %% [markdown]
# First the teachers run on all training scenes, once, and give logits for every pixel.

# %%
targets = soft_targets(ensemble, data.train, data, progress=False)
print(f"{targets}, {targets.nbytes / 1e6:.0f} MB in memory")

# %% [markdown]
# Then you train the students, the plain one first. Each takes about a minute; a star beside the cell means that it is
# running. Both are trained in float32, not in the fastest type of this machine, so that the comparison has the same
# result on every machine.

# %%
recipe = recorded.summary(data)["recipes"]["distilled"]
settings = {
    key: recipe[key] for key in ("epochs", "batch_size", "learning_rate", "optimizer", "weight_decay")
}
settings["precision"] = "float32"
print(f"{recipe['model']}: {settings}")


def fresh_student():
    torch.manual_seed(0)
    return models.build(recipe["model"], num_classes=len(data.classes), in_channels=3)


plain = fresh_student()
plain_history = fit(plain, data, seed=0, progress=False, **settings)

# %% [markdown]
# Now train its twin. It learns from the same masks, and from a channel-wise term in addition. Its `alpha` is 0, so the
# term that you wrote has no weight here. Why? The trials after the training show it.

# %%
distilled = fresh_student()
teaching = {
    "method": "channelwise",
    "temperature": recipe["temperature"],
    "alpha": recipe["alpha"],
    "weights": {"channelwise": recipe["channelwise"]},
}
print(teaching)
distilled_history = distil(distilled, targets, data, **teaching, seed=0, progress=False, **settings)

# %%
histories = {"plain": plain_history, "distilled": distilled_history}
show(
    figures.segmentation_curves(histories),
    "loss and mean IoU over ten epochs, training dashed and validation solid. All training lines improve until the "
    "end; in validation, loss and IoU level off. The distilled student's training loss is by far the highest: it "
    "includes the channel-wise term, and can't be compared with the others.",
)
ahead = 100 * (distilled_history.last.validation_iou - plain_history.last.validation_iou)
widgets.reveal("07-gain", outcomes[0 if ahead < 0 else 1 if ahead < 2 else 2])

# %% [markdown]
# Now read the plots. First the dashed and the solid lines on the right: what do they say about each student on its
# training scenes and on new ones?

# %% folded=true
for name, history in histories.items():
    best = max(history.column("validation_iou"))
    claim(
        f"The {name} student's validation IoU ends at or near its best, and its training IoU is higher",
        history.last.train_iou > best,
        points_below_its_best=at_most(100 * (best - history.last.validation_iou), 1),
        points_ahead=at_least(100 * (history.last.train_iou - best), 2),
    )

# %% [markdown]
# So both have begun to overfit, although they are small. Now the solid lines on the left: validation loss is
# cross-entropy for both, so you can compare it. But one pair may be luck. Five pairs, trained exactly as you trained
# yours, came with the course, together with their curves. How do these end?

# %% folded=true
record = recorded.summary(data)
runs = {kind: record["models"][kind]["runs"] for kind in ("plain", "distilled")}
ends = {kind: [run["history"]["epochs"][-1] for run in runs[kind]] for kind in runs}


def differences(score):
    """Return distilled minus plain for the five pairs, at their last epoch."""
    pairs = zip(ends["distilled"], ends["plain"], strict=True)
    return [one[score] - other[score] for one, other in pairs]


claim(
    "In each pair the distilled student ends with the higher validation IoU, but also with the higher loss",
    min(differences("validation_iou")) > 0 and min(differences("validation_loss")) > 0,
    pairs=len(runs["plain"]),
    points_of_IoU_ahead=at_least(100 * min(differences("validation_iou")), 1),
    loss_above_the_plain_students=at_least(min(differences("validation_loss")), 0.01),
)

# %% [markdown]
# The masks are better, but the loss is worse? The loss also depends on how confident a student is. Remember this
# question until the section on precision and recall.

# %% [markdown]
# ## Which objective?
#
# Your distilled student has learned from the term printed above its training. Which of the terms helps this student?
# Here are all trials of `kdcourse students search --task segmentation`, on validation scenes, one seed each:

# %%
trials = json.loads((task_of(data).students / "search.json").read_text())["rows"]
print("T   alpha  channel-wise  flips  learning rate  optimizer  validation IoU")
for row in trials:
    how = row["recipe"]
    print(
        f"{how['temperature']:g}   {how['alpha']:<5g}  {how.get('channelwise', 0):<12g}  "
        f"{'yes' if how['augmentation'] else 'no':5}  {how['learning_rate']:<13g}  "
        f"{how['optimizer']:9}  {row['validation_iou']:.3f}"
    )


# %% folded=true
def validation_iou(**wanted):
    """Return the validation IoU of the trials with these settings."""
    return [
        row["validation_iou"] for row in trials if all(row["recipe"].get(k) == v for k, v in wanted.items())
    ]


muon = {"optimizer": "muon", "learning_rate": 0.05, "augmentation": None}
best_plain = max(validation_iou(alpha=0.0, channelwise=None, **muon))
claim(
    "The pixel-wise term at T = 4 made the student worse",
    max(validation_iou(alpha=0.9, temperature=4.0, channelwise=None, **muon)) < best_plain - 0.01,
)
claim(
    "The channel-wise term alone made the student better",
    min(validation_iou(alpha=0.0, temperature=4.0, **muon)) > best_plain + 0.005,
)

# %% [markdown]
# At alpha = 0 and channel-wise 0 the student is plain, so T has no effect. The pixel-wise term at T = 1 made no
# difference that one seed could show. At T = 4 it harmed. You saw the same in {{lesson distil}}, with a likely
# reason: a small student has no capacity left for the teacher's fine distinctions.
#
# Scenes mirrored left to right (the column "flips") made little difference, and the teachers had to run on every scene
# a second time. So you trained without them.
#
# One seed can't separate settings that are close, and the choice between them is partly luck. Of the five seeds at the
# end of this lesson, four are new.

# %% [markdown]
# ## Look at masks
#
# Numbers don't show what a model does. So compute the masks of each model for the test scenes, and its scores for
# later. Here are the first ten images, not the best ten: truth, the teachers' ensemble, plain student, distilled
# student. Black lines are the true borders.
#
# Below each mask stands its own mean IoU. For a single image it is a strict measure: a few wrong pixels of a class that
# isn't there add a 0 to the mean. So it is mostly lower than the mask looks.

# %%
ten = slice(0, 10)
compared = {"ensemble": ensemble, "plain": plain, "distilled": distilled}
scores, predicted = {}, {}
for name, model in compared.items():
    scores[name], predicted[name] = evaluation.evaluate_with_masks(model, data.test, data)
show(
    figures.predicted_masks(
        data.test.images[ten],
        truth[ten],
        {name: masks[ten] for name, masks in predicted.items()},
        data.classes,
    ),
    "ten test images, their true masks and three predicted ones, with the mean IoU of each. The ensemble's masks "
    "follow the borders, and most of its classes are right. The students find most garments, often give several "
    "classes to one, and miss some; their borders are rougher.",
    photographs=True,
)

# %% [markdown]
# Even the students find **where** a garment is. It is harder to say **which** garment it is.

# %% folded=true
garment_right = {name: (masks > 0) == (truth > 0) for name, masks in predicted.items()}
garment_or_not = {name: right.double().mean().item() for name, right in garment_right.items()}
which = {name: (masks == truth)[truth > 0].double().mean().item() for name, masks in predicted.items()}
claim(
    "The distilled student separates garments from background far better than one garment from another",
    garment_or_not["distilled"] > 0.88 and which["distilled"] < 0.5,
    pixels_right_as_garment_or_background=at_least(garment_or_not["distilled"], 0.88),
    garment_pixels_with_the_right_class=at_most(which["distilled"], 0.5),
)

# %% [markdown]
# ## Precision and recall
#
# A mask needs a decision at each pixel, but a model gives probabilities. Take one class, and call a pixel positive
# where its probability is at least some **threshold**:
#
# - **precision**: of the pixels called positive, the share that truly is;
# - **recall**: of the pixels that truly are positive, the share called positive.
#
# A high threshold is cautious: the precision is high, but many pixels are missed. A low one finds nearly all, and more
# false alarms with them. The curve over all thresholds shows how good a model is at every threshold. The area below it
# is the **average precision**.
#
# ### Exercise: one point of the curve (medium, 6 minutes)
#
# If no pixel is called positive, none is called positive wrongly: the precision is then 1.
#
# <details><summary>Hint 1</summary>
#
# `called = probability >= threshold`. Then count where both `called` and `positive` are True.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# Both shares have that count as numerator. The denominator is the number called, or the number that is positive.
#
# </details>


# %%
from kdcourse.course.segmentation.exercises import precision_recall_at

# %%
check("precision_recall_at", precision_recall_at)

# %% [markdown]
# Here are the curves of all three models, with all classes **pooled**: each pixel gives one yes-or-no decision per
# class, and all of them are counted together. Faint lines join points of equal F1, the harmonic mean of precision and
# recall.
#
# **Predict:** the distilled student has the better masks. Is its curve better too?

# %%
curve_outcomes = ["clearly better", "about the same", "clearly worse"]
widgets.predict(
    "07-curve",
    "The distilled student's average precision, compared with the plain one's:",
    choices=curve_outcomes,
)

# %% folded=true
show(
    figures.precision_recall_curves({name: found.precision_recall.micro for name, found in scores.items()}),
    "precision against recall for the ensemble, the plain and the distilled student. The ensemble's curve lies "
    "highest; those of the students nearly coincide, well below it.",
)
precision = {name: found.average_precision for name, found in scores.items()}
claim(
    "The ensemble's average precision is by far the highest",
    precision["ensemble"] > 0.05 + max(precision["plain"], precision["distilled"]),
)
apart = precision["distilled"] - precision["plain"]
widgets.reveal("07-curve", curve_outcomes[0 if apart > 0.01 else 1 if apart > -0.01 else 2])

# %% [markdown]
# Is that all? Remember the background mask: most of the pooled pixels are background. So take the average precision
# class by class, and the mean over the classes:

# %% folded=true
by_class = {name: found.precision_recall.mean_average_precision for name, found in scores.items()}
claim(
    "Pooled, the average precision of every model is higher than class by class",
    min(precision[name] - by_class[name] for name in by_class) > 0,
    points_that_pooling_added=at_least(100 * min(precision[name] - by_class[name] for name in by_class), 10),
)

# %% [markdown]
# Which student is ahead, class by class? With one pair, luck can make a difference of about a point. So look at the
# five pairs that came with the course, on the test scenes:


# %% folded=true
def mean_average_precision(kind, seed):
    """Return the mean over classes of the average precision of one student that came with the course."""
    student, _ = recorded.load(task_of(data).students, f"{kind}_seed{seed}", data)
    found, _ = evaluation.evaluate_with_masks(student, data.test, data)
    return found.precision_recall.mean_average_precision


over_seeds = {kind: [mean_average_precision(kind, run["seed"]) for run in runs[kind]] for kind in runs}
gain = evaluation.paired_difference(over_seeds["distilled"], over_seeds["plain"])
claim(
    "Class by class, the distilled students have the higher average precision, as they have the higher IoU",
    gain.low > 0,
    pairs=gain.n,
    points_ahead=between(100 * gain.mean, 2, 3.5),
)

# %% [markdown]
# So pooling hid the difference between them. For every mean, check what it is a mean **over**.
#
# Precision and recall depend only on an order: which pixels are more likely? But does the distilled student's
# confidence match its accuracy?

# %% folded=true
claim(
    "The distilled student's confidence is further from its accuracy than the plain one's",
    scores["distilled"].expected_calibration_error > scores["plain"].expected_calibration_error,
    calibration_error_of_the_plain_one=at_most(scores["plain"].expected_calibration_error, 0.045),
    calibration_error_of_the_distilled_one=at_least(scores["distilled"].expected_calibration_error, 0.03),
)

# %% [markdown]
# This fits the higher loss. A likely reason: the channel-wise term is about **where** a class is strongest. Add one
# number to a class's logits at all positions, and its softmax over positions stays the same. So this term, which has
# the larger weight, ignores such shifts. Only the masks determine how confident the student should be.

# %% [markdown]
# Choose a threshold yourself. Move the slider, and watch the mask, its IoU and the point on the curve. It starts with a
# pullover that the ensemble misses completely at a threshold of 0.5. Does it give the pullover any probability? Which
# threshold has the best IoU?

# %%
few = slice(0, 20)
widgets.threshold_explorer(
    data.test.images[few],
    truth[few],
    {name: evaluation.predict_logits(model, data.test.images[few], data) for name, model in compared.items()},
    data.classes,
)

# %% [markdown]
# Now garment by garment, for the distilled student and over all test scenes: how often is 0.5 too high?


# %%
def best_threshold(curve):
    """Return the threshold at which the mask of one class has its highest IoU."""
    precision, recall = curve.precision[:-1], curve.recall[:-1]
    iou = precision * recall / (precision + recall - precision * recall)
    return curve.thresholds[iou.nan_to_num().argmax()].item()


garments = scores["distilled"].precision_recall.per_class[1:]
early = sum(best_threshold(curve) < 0.5 for curve in garments)
claim(
    "For most garments the distilled student's masks are best at a threshold below 0.5",
    early > len(garments) / 2,
    garments=len(garments),
    of_these_below_one_half=at_least(early, 7),
)

# %% [markdown]
# If a student is unsure between three garments, none of them may reach 0.5. Then a threshold of 0.5 misses all three.

# %% [markdown]
# ## Where does the student fail?
#
# Here is the IoU class by class:

# %% folded=true
show(
    figures.iou_bars({name: found.iou_per_class for name, found in scores.items()}, data.classes),
    "IoU of every class for the ensemble, the plain and the distilled student. The ensemble leads in every class. "
    "Background is best, then trousers; shirts and coats are among the worst.",
)
shirt, sandal = data.classes.index("Shirt"), data.classes.index("Sandal")
below = [100 * (found.mean_iou - found.iou_per_class[shirt].item()) for found in scores.values()]
claim(
    "All three have a far lower IoU for shirts than on average over the classes",
    min(below) > 0,
    points_below_the_mean=at_least(min(below), 8),
)

# %% [markdown]
# Which classes are predicted for a shirt? The shirt's row of the confusion matrix shows it:

# %% folded=true
alike = [data.classes.index(name) for name in ("T-shirt/top", "Pullover", "Coat")]
students = {name: scores[name].confusion for name in ("plain", "distilled")}
taken = {
    name: pixels[shirt, alike].sum() / (pixels[shirt, 1:].sum() - pixels[shirt, shirt])
    for name, pixels in students.items()
}
claim(
    "When a student mistakes a shirt for another garment, it is mostly for a T-shirt, a pullover or a coat",
    min(taken.values()) > 0.5,
)

# %% [markdown]
# Classes that look alike are hard, as in every lesson before. A shirt, a coat and a pullover differ in a collar and a
# row of buttons, and at this size that is a handful of pixels. But there is a second way to fail:

# %% folded=true
lost = {name: pixels[sandal].clone() for name, pixels in students.items()}
for pixels in lost.values():
    pixels[sandal] = 0  # what is left is wrong
claim(
    "The students mostly classify the missed pixels of a sandal as background",
    all(pixels.argmax() == 0 for pixels in lost.values()),
)

# %% [markdown]
# A sandal is thin and small, and the students mistake it for background.
#
# And where in the image are the mistakes? **Boundary IoU** (Cheng et al. 2021) is the same measure for the pixels near
# borders alone.

# %% folded=true
drops = [100 * (found.mean_iou - found.boundary_iou) for found in scores.values()]
claim(
    "Near borders, all of them have a lower IoU than over whole masks",
    min(drops) > 0,
    points_lost=at_least(min(drops), 5),
)

# %% [markdown]
# ## Five seeds
#
# One pair of students proves nothing, as you know. `kdcourse students record --task segmentation` has trained five
# pairs exactly as you trained one, and used the test scenes once, at the end.

# %% folded=true
iou = {kind: [run["test"]["iou"] for run in runs[kind]] for kind in runs}
show(
    figures.paired_differences({"distilled - plain": (iou["plain"], iou["distilled"])}, score="mean IoU"),
    "difference in mean IoU, distilled minus plain, seed by seed, with the mean and its 95 % interval, which lies "
    "right of 0.",
)
gain = evaluation.paired_difference(iou["distilled"], iou["plain"])
claim(
    "Over five paired seeds the distilled students have the higher mean IoU",
    gain.low > 0,
    seeds=gain.n,
    points=between(100 * gain.mean, 1, 3),
)

# %% folded=true
gap = evaluation.gap_recovered(iou["plain"], iou["distilled"], record["models"]["ensemble"]["mean"]["iou"])
claim(
    "Distillation recovered a small share of the gap to the ensemble, and its interval is above 0",
    gap.reported and gap.low > 0 and gap.value < 0.15,
    gap_recovered=f"{gap.value:.2f} ({gap.low:.2f} to {gap.high:.2f})",
)

# %% [markdown]
# The gain is real, and small. Why so small? There are two likely reasons:
#
# - A label for an image is one fact. A mask holds thousands of facts, and these are exact, because a program drew them.
#   The more the labels say, the less the soft targets can add.
# - The students had begun to overfit, as the curves showed. Perhaps they need more scenes first.
#
# Test these reasons, over seeds:
#
# 1. Give both students fewer scenes, with `data.train.subset`. With few labels, the students of {{lesson distil}}
#    gained more. Do these?
# 2. Train the plain student on `garment_scenes(scenes=(4000, 500, 500))`. Which helps more: the teachers, or twice the
#    scenes? Here more scenes cost nothing. If a person has to draw each mask, the result tells you what to pay for.

# %% [markdown]
# ## Recap
#
# - Segmentation predicts a class at every pixel. Pixel accuracy flatters a model that prefers the background. Mean IoU
#   counts missed pixels and false alarms of every class that occurs.
# - Hinton's objective works for every pixel, averaged over those that count. Here it didn't help. Comparing where in an
#   image a class is strongest did.
# - A precision-recall curve shows a model at every threshold; a mask shows it at a single one. Pooled over classes, the
#   curve makes a model look better than it is.
# - A small student confuses classes that look alike, and misses thin objects.
# - Where labels are exact and plentiful, soft targets can add less. Report how much, with an interval.
#
# ## Quiz

# %%
widgets.quiz(
    "07",
    [
        widgets.Question(
            "A class occurs neither in the true masks nor in the predicted ones. How does it count in the mean IoU?",
            options=[
                widgets.Option("None: it is left out", True, "It says nothing about the model."),
                widgets.Option("It counts as 0", False, "A perfect prediction would then score below 1."),
                widgets.Option(
                    "It counts as 1", False, "Then a model would be rewarded for classes that never occur."
                ),
            ],
        ),
        widgets.Question(
            "The distillation term is summed over pixels and divided by the number of images. What goes wrong?",
            options=[
                widgets.Option(
                    "Its scale grows with the size of the images",
                    True,
                    "On images twice as wide and high it would be four times as large, and outweigh the labels' term.",
                ),
                widgets.Option(
                    "Nothing, a factor doesn't matter",
                    False,
                    "It does: it changes the balance with the labels' term.",
                ),
                widgets.Option(
                    "The teacher's weights change",
                    False,
                    "A frozen teacher stays as it is, whatever the scale.",
                ),
            ],
        ),
        widgets.Question(
            "You raise the threshold for a class. What can happen to its recall?",
            options=[
                widgets.Option(
                    "It falls or stays", True, "Fewer pixels are called positive, so no further one is found."
                ),
                widgets.Option(
                    "It rises", False, "To find more pixels, you would have to lower the threshold."
                ),
                widgets.Option(
                    "Anything",
                    False,
                    "That is true of precision, which may rise or fall. Recall can't rise.",
                ),
            ],
        ),
        widgets.Question(
            "Pixel accuracy rises, mean IoU falls. How can that be?",
            options=[
                widgets.Option(
                    "A common class got better, a rare one worse",
                    True,
                    "Accuracy counts pixels. In mean IoU every class has the same weight.",
                ),
                widgets.Option(
                    "It can't", False, "It can: they count differently. Remember the background mask."
                ),
                widgets.Option(
                    "The borders got rougher", False, "That alone would lower both of them a little."
                ),
            ],
        ),
    ],
)

# %% [markdown]
# ## References
#
# - Han Xiao, Kashif Rasul, Roland Vollgraf (2017). Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine
#   Learning Algorithms. https://arxiv.org/abs/1708.07747
# - Olaf Ronneberger, Philipp Fischer, Thomas Brox (2015). U-Net: Convolutional Networks for Biomedical Image
#   Segmentation. https://arxiv.org/abs/1505.04597
# - Geoffrey Hinton, Oriol Vinyals, Jeff Dean (2015). Distilling the Knowledge in a Neural Network.
#   https://arxiv.org/abs/1503.02531
# - Yifan Liu, Ke Chen, Chris Liu, Zengchang Qin, Zhenbo Luo, Jingdong Wang (2019). Structured Knowledge Distillation
#   for Semantic Segmentation. https://arxiv.org/abs/1903.04197
# - Changyong Shu, Yifan Liu, Jianfei Gao, Zheng Yan, Chunhua Shen (2021). Channel-wise Knowledge Distillation for Dense
#   Prediction. https://arxiv.org/abs/2011.13256
# - Bowen Cheng, Ross Girshick, Piotr Dollár, Alexander C. Berg, Alexander Kirillov (2021). Boundary IoU: Improving
#   Object-Centric Image Segmentation Evaluation. https://arxiv.org/abs/2103.16562
# - Mark Everingham, S. M. Ali Eslami, Luc Van Gool, Christopher K. I. Williams, John Winn, Andrew Zisserman (2015). The
#   PASCAL Visual Object Classes Challenge: A Retrospective. https://doi.org/10.1007/s11263-014-0733-5
