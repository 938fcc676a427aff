# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kdcourse:
#     most_seconds: 240
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A class for every pixel
#
# So far one image had one label. Now every pixel gets one: which garment is it, or none? Somebody has to draw such
# masks by hand, which takes a long time. For Cityscapes, a well-known data set of street scenes, one image took more
# than an hour and a half on average (Cordts et al. 2016). Images without a mask cost nothing. Can teachers turn many of those into
# a better student than a few masks do?
#
# ## Objectives
#
# By the end of this lesson you can
#
# - compute intersection over union (IoU), absent classes included, and say what it tells that pixel accuracy doesn't;
# - write Hinton's objective for pixels, with the correct average, and train a student with it that sees no mask;
# - read loss and IoU curves, a precision-recall curve, and masks side by side;
# - say where teachers help a student that labels every pixel, and where they hardly do.
#
# **Builds on:** {{lesson distil}} (the objective), {{lesson evaluate}} (paired seeds, gap
# recovered).
#
# **Time:** {{reading_minutes}} minutes to read, {{exercise_minutes}} minutes for the exercises; the machine works
# for {{machine_seconds}}.
#
# Words that are new to you are in the [glossary](glossary.md).

# %%
from dataclasses import replace

from kdcourse import evaluation, figures, models, widgets
from kdcourse.course import at_least, at_most, between, check, claim, progress_bar, show, use_answer
from kdcourse.data import IGNORE, Augmentation, garment_scenes
from kdcourse.distillation import distil, soft_targets, views_shown
from kdcourse.files import shipped
from kdcourse.runs import recorded, study
from kdcourse.runs.study.masks import repeated
from kdcourse.runs.study.rows import Rows
from kdcourse.training import fit

import torch
import torch.nn.functional as F

# %% [markdown]
# ## Scenes of garments
#
# Real photographs with a class for every pixel are large to download. So the course makes its own scenes: one to four
# garments of Fashion-MNIST, dyed and enlarged, lying on wood, tiles, a wall or grass. Training, validation and test
# scenes are made of different garments. The **mask** says for each pixel which class is visible there.

# %%
data = garment_scenes(scenes=(1500, 200, 400))
show(
    figures.scene_examples(data.train.images[:8], data.train.masks[:8], data.classes, columns=4),
    "eight training scenes and, below each, its mask laid over it. Garments of several colours lie on wood, tiles, a "
    "wall or grass; some partly cover others.",
    photographs=True,
)
print(
    f"{len(data.train):,} scenes to train on, {len(data.validation)} for validation, {len(data.test)} for the test"
)
print(f"{len(data.classes)} classes: {', '.join(data.classes)}")

# %% [markdown]
# Imagine that you could pay for **100 masks**, so that most of the scenes have none. Remember this number.
#
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
    "Predicting background everywhere is right for most pixels, and its mean IoU is low: every garment scores 0",
    background_accuracy > 0.5 and not background_iou[1:].any(),
    pixel_accuracy=f"{100 * background_accuracy:.0f} %",
    mean_iou=at_most(background_iou.mean().item(), 0.15),
)

# %% [markdown]
# ## The teachers
#
# The teachers are three **U-Nets** (Ronneberger et al. 2015). A U-Net first halves the resolution several times, so
# that it sees the whole scene. Then it upsamples to the full size again. At each size, a skip connection appends the
# feature maps from the way down, which hold the details. The three were trained by `kdcourse teachers --task
# segmentation`, on fresh scenes in every epoch, none of which is among yours. They came with the course. The ensemble
# averages their logits pixel by pixel. The student is a U-Net, too, but a narrow one.

# %% folded=true
ensemble = recorded.ensemble(data)
sizes = {name: sum(p.numel() for p in models.build(name, data=data).parameters())
         for name in ("unet", "unet_wide", "pocket_unet")}  # fmt: skip
for name, parameters in sizes.items():
    print(f"{name:12} {parameters:>9,} parameters")
scores, predicted = {}, {}
scores["ensemble"], predicted["ensemble"] = evaluation.evaluate_with_masks(ensemble, data.test, data)
claim(
    "The ensemble's masks are good, and the student is far smaller than one of its members",
    scores["ensemble"].mean_iou > 0.8,
    mean_iou_of_the_ensemble=at_least(scores["ensemble"].mean_iou, 0.8),
    times_smaller_than_the_smallest_teacher=at_least(sizes["unet"] / sizes["pocket_unet"], 35),
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
# In the package this is `pixelwise_loss`, which also adds the term for the labels. Further below you will meet
# objectives that look at more than one pixel at a time.

# %% [markdown]
# ## 100 masks, or answers to 1,500 scenes?
#
# You train the same network twice, from the same weights and for the same number of steps:
#
# - **plain** gets 100 scenes with their true masks, fifteen times in each epoch;
# - **distilled** gets all 1,500 scenes and no mask. It minimises the term that you wrote, at T = 1, and nothing else.
#
# **Predict** before you start: which will have the higher validation IoU after ten epochs, and by how much? (1 point is
# 0.01.)

# %%
outcomes = [
    "plain, with 100 masks",
    "distilled, ahead by less than 5 points",
    "distilled, ahead by 5 points or more",
]
widgets.predict("07-gain", "The better student on validation scenes:", choices=outcomes)

# %% [markdown]
# Both see their scenes in two views, each of which mirrors another half of them. The search of the study below
# chose this for both, on validation scenes. First the teachers give logits for every pixel of both views, once.

# %%
mirrored = Augmentation(shift=0, flip=True, erase=0.0)
views = views_shown(mirrored, 2, view_seed=0, epochs=10)
bar = progress_bar("Teachers' logits", len(views) * -(-len(data.train) // 64))
targets = soft_targets(ensemble, data.train, data, views=views, progress=False, after_batch=bar)
print(f"{targets}, {targets.nbytes / 1e6:.0f} MB in memory")

# %% [markdown]
# Then you train the students, the plain one first. The distilled one's objective gets a mask of zeros, which has no
# ignored pixel: all pixels count, and the true mask stays unseen. (It is used to draw the training curve.) Both are
# trained in float32, so that the comparison has the same result on every machine.

# %%
term = use_answer("pixel_term", pixel_term)
settings = {"epochs": 10, "batch_size": 8, "learning_rate": 0.05, "optimizer": "muon", "weight_decay": 5e-3}
settings |= {"augmentation": mirrored, "views": 2, "seed": 0, "precision": "float32", "progress": False}
bar = progress_bar("Two students", 2 * settings["epochs"] * (len(data.train) // settings["batch_size"]))


def fresh_student():
    """Return a student with the same initial weights each time."""
    torch.manual_seed(0)
    return models.build("pocket_unet", data=data)


def on_answers(logits, batch):
    """Return the distillation term at T = 1; the batch's masks aren't read."""
    return term(logits, batch.teacher_logits, torch.zeros_like(batch.labels), 1.0)


few = replace(data, train=data.train.subset(repeated(100, len(data.train), seed=0)))
plain, distilled = fresh_student(), fresh_student()
plain_history = fit(plain, few, **settings, after_step=bar)
distilled_history = distil(distilled, targets, data, objective=on_answers, **settings, after_step=bar)

# %%
histories = {"plain": plain_history, "distilled": distilled_history}
show(
    figures.segmentation_curves(histories),
    "loss and mean IoU over ten epochs, training dashed and validation solid. On its own 100 scenes the plain student "
    "ends far higher than on validation scenes, where its loss rises. The distilled student's lines part later, and by "
    "far less.",
)
ahead = 100 * (distilled_history.last.validation_iou - plain_history.last.validation_iou)
widgets.reveal("07-gain", outcomes[0 if ahead < 0 else 1 if ahead < 5 else 2])

# %% folded=true
claim(
    "Without a single mask, the distilled student has the higher validation IoU",
    ahead > 0,
    mean_iou_of_the_distilled_one=at_least(distilled_history.last.validation_iou, 0.5),
    points_ahead=at_least(ahead, 10),
)

# %% [markdown]
# Compare the dashed and the solid lines. The plain student knows its 100 scenes much better than new ones, on which its
# loss rises: it **overfits**. The distilled student overfits too, but far less. It sees fifteen times as many different
# scenes, and a teacher's probabilities for each pixel.

# %% [markdown]
# ## Look at masks
#
# Numbers don't show what a model does. Here are the first ten test images, not the best ten: truth, the teachers'
# ensemble, plain student, distilled student. Black lines are the true borders. Below each mask stands its own mean IoU.
# A few wrong pixels of a class that isn't there add a 0 to it, so it is often lower than the mask looks.

# %%
ten = slice(0, 10)
for name, model in {"plain": plain, "distilled": distilled}.items():
    scores[name], predicted[name] = evaluation.evaluate_with_masks(model, data.test, data)
show(
    figures.predicted_masks(
        data.test.images[ten],
        truth[ten],
        {name: masks[ten] for name, masks in predicted.items()},
        data.classes,
    ),
    "ten test images, their true masks and three predicted ones, with the mean IoU of each. The ensemble's masks "
    "mostly follow the borders, though it gives some garments the wrong class. The plain student often gives several "
    "classes to one garment; the distilled one does so less.",
    photographs=True,
)

# %% [markdown]
# And here are four test images in large. On the first three the distilled student is furthest ahead of the plain one,
# on the fourth it is furthest behind. Compare the masks with their scores: what costs it so much there?


# %%
def own_iou(masks):
    """Return the mean IoU of every test image alone."""
    return torch.tensor(
        [evaluation.mean_iou(m[None], t[None], len(data.classes)) for m, t in zip(masks, truth, strict=True)]
    )


order = (own_iou(predicted["distilled"]) - own_iou(predicted["plain"])).argsort()
four = torch.cat([order[-3:].flip(0), order[:1]])
show(
    figures.predicted_masks(
        data.test.images[four], truth[four], {name: m[four] for name, m in predicted.items()}, data.classes
    ),
    "four test images with their masks. On three, the distilled student's mask is right and the plain one's is not; "
    "on the fourth the plain one scores higher.",
    photographs=True,
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
# class. Faint lines join points of equal F1, the harmonic mean of precision and recall.
#
# The legend gives the average precision of these curves, in which background counts most. Judge the students by the
# average precision of each class, averaged over the classes: there every class counts the same.
#
# **Predict:** the distilled student has the better masks. Is its average precision better too?

# %%
curve_outcomes = ["better", "about the same", "worse"]
widgets.predict(
    "07-curve",
    "The distilled student's average precision, compared with the plain one's:",
    choices=curve_outcomes,
)

# %% folded=true
show(
    figures.precision_recall_curves({name: found.precision_recall.micro for name, found in scores.items()}),
    "precision against recall for the ensemble, the plain and the distilled student. The ensemble's curve lies "
    "highest, then that of the distilled student.",
)
precision = {name: found.precision_recall.mean_average_precision for name, found in scores.items()}
apart = precision["distilled"] - precision["plain"]
claim(
    "Class by class, the distilled student's average precision lies between those of the plain one and the ensemble",
    precision["plain"] < precision["distilled"] < precision["ensemble"],
    points_above_the_plain_one=at_least(100 * apart, 10),
)
widgets.reveal("07-curve", curve_outcomes[0 if apart > 0.01 else 1 if apart > -0.01 else 2])

# %% [markdown]
# Choose a threshold yourself. Move the slider, and watch the mask, its IoU and the point on the curve. Which threshold
# has the best IoU? Then choose another image or class.

# %%
first = slice(0, 12)
widgets.threshold_explorer(
    data.test.images[first],
    truth[first],
    {
        name: evaluation.predict_logits(model, data.test.images[first], data)
        for name, model in {"ensemble": ensemble, "plain": plain, "distilled": distilled}.items()
    },
    data.classes,
)

# %% [markdown]
# ## Which pixels are wrong?
#
# Here is the IoU class by class:

# %% folded=true
show(
    figures.iou_bars({name: found.iou_per_class for name, found in scores.items()}, data.classes),
    "IoU of every class for the ensemble, the plain and the distilled student. The ensemble leads in every class, "
    "and background is best for all three.",
)

# %% [markdown]
# And where in the image are the mistakes? **Boundary IoU** (Cheng et al. 2021) is the same measure for the pixels near
# borders alone.

# %% folded=true
drops = [100 * (found.mean_iou - found.boundary_iou) for found in scores.values()]
claim(
    "Near borders, all three have a lower IoU than over whole masks",
    min(drops) > 0,
    points_lost=at_least(min(drops), 5),
)

# %% [markdown]
# ## Several seeds, and more masks
#
# One pair of students proves nothing, as you know. And what if you had more scenes, or more masks? `kdcourse study masks`
# has trained students of each kind over several seeds, on 4,000 scenes (you used 1,500, to save time and memory). Before
# that came a small search on validation scenes: two candidates for 100 masks and two for answers, with one seed and half
# of the epochs. Each student was evaluated on the test scenes once.

# %% folded=true
curves = study.stored()["masks"]
results = study.study_named("masks", shipped("study")).summary(Rows(shipped("study"), "masks").checked())
show(
    figures.study_curves(
        figures.study_points(curves.lines),
        x=curves.x,
        title=curves.title,
        teacher=curves.teacher,
        score="mean IoU",
    ),
    "mean IoU against the number of masks. It is far higher with 4,000 masks than with 100. A horizontal line shows the "
    "student of the teachers' answers, which saw no mask.",
)

# %% folded=true
gain, gap = results["few"]["difference"], results["few"]["gap_recovered"]
claim(
    "Over several seeds, answers to 4,000 scenes teach more than 100 masks",
    gain["low"] > 0,
    seeds=gain["n"],
    points=at_least(100 * gain["mean"], 15),
    gap_recovered=at_least(gap["value"], 0.35),
)

# %% [markdown]
# And if all 4,000 scenes have a mask, do the teachers' answers still add something? What does more time give, to masks
# and to answers? And what do more scenes give? Without a mask, a scene costs next to nothing, so the study has also asked
# the teachers for answers to 16,000.

# %% folded=true
print("learned from                           mean IoU on test scenes (95 % interval over the seeds)")
kinds = {f"{entry['masks']:,} masks": entry for entry in results["masks"]}
kinds |= {"answers to 4,000 scenes, no mask": results["few"], "4,000 masks and answers": results["all"]}
kinds |= {
    "100 masks, twice as long": results["long"]["plain"],
    "answers to 4,000, twice as long": results["long"],
    "100 masks, 8 times as long": results["plenty"]["plain"],
    "answers to 16,000, 8 times as long": results["plenty"],
}
for name, entry in kinds.items():
    print(
        f"{name:38} {100 * entry['accuracy']:.1f} % ({100 * entry['low']:.1f} to {100 * entry['high']:.1f}), "
        f"{entry['seeds']} seeds"
    )
further = results["all"]["difference"]
print(
    f"4,000 masks and answers, minus 4,000 masks: {100 * further['mean']:+.1f} points "
    f"({100 * further['low']:+.1f} to {100 * further['high']:+.1f})"
)

# %% [markdown]
# Answers alone, all 4,000 masks, and both together lie close to each other. So to a student that has all masks, the
# answers add nothing that could be measured here. Teachers help where masks are few, which is where you need help.
#
# Twice the time gives the student of answers about a point. With four times as many scenes, and four times as many steps
# again, it gains about five more, and nobody has drawn a mask for them. So the small network can do more than it showed with
# 4,000 scenes. For 100 masks, more time brings nothing: the student knows them by heart.

# %% [markdown]
# ## Other objectives
#
# Your term treats every pixel alike and on its own. Here are four others; three of them look at more than one pixel. Each
# was added to yours, with a weight that a search chose, for students of answers alone:
#
# - **borders**: your term once more, for the pixels near a border of the teachers' mask (after Liu et al. 2024);
# - **channelwise**: where in the image is each class strongest (Shu et al. 2021)?
# - **pairwise**: which places of an image resemble each other (Liu et al. 2019)?
# - **cross_image**: which places of all images of the batch does a place resemble (Yang et al. 2022)?
#
# **Predict:** is at least one of the four better than your term alone, by more than noise?

# %%
verdicts = ["yes, at least one of them", "no, none of them"]
widgets.predict("07-objectives", "Better than the pixel-wise term alone:", choices=verdicts)

# %% folded=true
print("added          weight  mean IoU   minus answers alone (95 % interval)")
for entry in results["added"]:
    difference = entry["difference"]
    print(
        f"{entry['method']:14} {entry['weight']:6g}  {100 * entry['accuracy']:.1f} %     "
        f"{100 * difference['mean']:+.1f} points ({100 * difference['low']:+.1f} to {100 * difference['high']:+.1f}), "
        f"{difference['n']} seeds"
    )
widgets.reveal(
    "07-objectives", verdicts[0 if any(e["difference"]["low"] > 0 for e in results["added"]) else 1]
)

# %% [markdown]
# Two seeds tell little: these intervals are wide, and each of them includes 0. The search (one seed, half of the epochs)
# tried the weights 0.1, 1 and 10. `borders`, `pairwise` and `cross_image` did best with 0.1, and worse than your term
# alone with 10; `channelwise` did best with 10. Each of these is an end of the range, so other weights might do better.
# This is no evidence that a further objective helps, and none that it can't. What it costs is certain: a training with
# `pairwise` or `cross_image` takes about twice as long.
#
# **Try it:** make the scenes harder, `garment_scenes(scenes=(1500, 200, 400), clutter=0.5)`, or ask for all ten classes,
# `classes="all"`. The teachers don't know these scenes, so train one for them first:
# `fit(models.build("unet", data=data), data, epochs=9, batch_size=32, optimizer="muon", learning_rate=0.05)`.

# %% [markdown]
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
# ## Recap
#
# - Segmentation predicts a class at every pixel. Pixel accuracy flatters a model that prefers the background. Mean IoU
#   counts missed pixels and false alarms of every class that occurs.
# - Hinton's objective works for every pixel, averaged over those that count. It needs no mask.
# - **Few masks, many scenes**: a student of the teachers' answers beat one of 100 true masks.
# - A precision-recall curve shows a model at every threshold; a mask shows it at a single one.
# - With all masks, the answers added nothing measurable here. Report how much a teacher adds, with an interval.
#
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
# - Liyang Liu, Zihan Wang, Minh Hieu Phan, Bowen Zhang, Jinchao Ge, Yifan Liu (2024). BPKD: Boundary Privileged
#   Knowledge Distillation for Semantic Segmentation. https://arxiv.org/abs/2306.08075
# - Chuanguang Yang, Helong Zhou, Zhulin An, Xue Jiang, Yongjun Xu, Qian Zhang (2022). Cross-Image Relational Knowledge
#   Distillation for Semantic Segmentation. https://arxiv.org/abs/2204.06986
# - Bowen Cheng, Ross Girshick, Piotr Dollár, Alexander C. Berg, Alexander Kirillov (2021). Boundary IoU: Improving
#   Object-Centric Image Segmentation Evaluation. https://arxiv.org/abs/2103.16562
# - Marius Cordts, Mohamed Omran, Sebastian Ramos, Timo Rehfeld, Markus Enzweiler, Rodrigo Benenson, Uwe Franke, Stefan
#   Roth, Bernt Schiele (2016). The Cityscapes Dataset for Semantic Urban Scene Understanding.
#   https://arxiv.org/abs/1604.01685
# - Mark Everingham, S. M. Ali Eslami, Luc Van Gool, Christopher K. I. Williams, John Winn, Andrew Zisserman (2015). The
#   PASCAL Visual Object Classes Challenge: A Retrospective. https://doi.org/10.1007/s11263-014-0733-5
#
# All terms: [glossary](glossary.md).
