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
# # Ensembles
#
# Five people answer the same questions, and each of them makes a mistake now and then. Is their joint answer better
# than that of the best of them? In this lesson you find out for networks: how good they are together, why, and what
# that costs. This cost is the reason for the rest of the course.
#
# ## Objectives
#
# By the end of this lesson you can
#
# - average networks in two ways, and say how the two results differ;
# - measure how often members disagree, and say why an ensemble needs that;
# - tell whether a network's confidence matches its accuracy: its calibration;
# - compare what each further member adds with what it costs;
# - say what an ensemble makes of wrong labels, and what that is worth to its student.
#
# **Builds on:** {{lesson train_a_teacher}} (how a teacher is trained, cross-entropy); {{lesson why_compress}} (what
# the ensemble costs).
#
# **Time:** {{reading_minutes}} minutes to read, {{exercise_minutes}} minutes for the exercises; the machine works for
# {{machine_seconds}}.
#
# The [glossary](glossary.md) explains words that are new to you.

# %%
import itertools

from kdcourse import evaluation, figures, models, training, widgets
from kdcourse.course import at_least, at_most, between, check, claim, progress_bar, show, use_answer
from kdcourse.data import fashion_mnist
from kdcourse.distillation import distil, softened
from kdcourse.files import shipped
from kdcourse.runs import recorded, teachers
from kdcourse.runs.study import study_named
from kdcourse.runs.study.noise import noisy_labels
from kdcourse.runs.study.rows import Rows

import torch
import torch.nn.functional as F

# %% [markdown]
# ## Five teachers
#
# They learned from the same training images, but each from different initial weights. They also differ in width
# (a `teacher_wide` is wider than a `teacher`), and in how their training images were shifted, mirrored or partly
# erased. All this is on purpose, as you will see.

# %%
data = fashion_mnist()
ensemble = recorded.ensemble(data)
for recipe in teachers.RECIPES:
    change = recipe.training.augmentation
    print(
        f"{recipe.name}: {recipe.model}, seed {recipe.training.seed}; shifted by up to {change.shift} px, "
        f"{'half' if change.flip else 'none'} mirrored, a patch erased in {100 * change.erase:.0f} of 100"
    )

# %% [markdown]
# ## One image, five predictions
#
# Mostly the teachers agree. Here is the one of the first three hundred validation images on which they differ most.
# The measure is the Kullback-Leibler divergence: 0 if two sets of probabilities are equal, and larger the more they
# differ ({{lesson soft_targets}} explains it). The last panel is the ensemble. Each panel also states the entropy in
# nats: it is near 0 for a confident prediction, and larger for an uncertain one.

# %%
first = data.validation.images[:300]
predictions = ensemble.member_logits(data.normalise(first)).double()
log_p = predictions.log_softmax(dim=2)
# Between every two teachers, then the mean over all these pairs: one number per image.
divergence = (log_p.exp()[:, None] * (log_p[:, None] - log_p[None])).sum(dim=3).mean(dim=(0, 1))
apart = int(divergence.argmax())
label = int(data.validation.labels[apart])
rows = {f"teacher {n + 1}": predictions[n, apart] for n in range(5)} | {
    "ensemble": predictions[:, apart].mean(dim=0)
}
show(
    figures.softened_bars(first[apart], rows, label, data.classes),
    "an image beside the probabilities that each of five teachers and their ensemble give to the ten classes; the "
    "teachers predict different classes, and most are very confident.",
)

# %% folded=true
predicted = predictions[:, apart].argmax(dim=1)
confidence = softened(predictions[:, apart], 1).max(dim=1).values
claim(
    "Teachers can be very confident and contradict each other",
    len(predicted.unique()) > 1 and bool((confidence > 0.8).sum() >= 2),
    label=data.classes[label],
    predictions=", ".join(data.classes[index] for index in predicted.unique()),
)

# %% [markdown]
# ## The ensemble's prediction
#
# The simplest ensemble averages all members' logits for an image, class by class. Here is a worked example with two
# members and three classes.

# %%
one, other = torch.tensor([4.0, 1.0, 0.0]), torch.tensor([1.0, 2.0, 0.0])
average = (one + other) / 2
print("first member: ", one.tolist(), "predicts class", int(one.argmax()))
print("second member:", other.tolist(), "predicts class", int(other.argmax()))
print("their average:", average.tolist(), "predicts class", int(average.argmax()))

# %% [markdown]
# The more confident member has more influence. A vote is different: there each member counts the same.

# %% [markdown]
# ### Exercise: the mean of logits (easy, 3 minutes)
#
# `member_logits` holds the logits of all members: [members, images, classes]. Return the ensemble's logits, [images,
# classes].
#
# <details><summary>Hint 1</summary>
#
# Which of the three axes must disappear?
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# `tensor.mean(dim=...)` averages along an axis; the members are axis 0.
#
# </details>


# %%
from kdcourse.course.ensembles.exercises import mean_of_logits

# %%
check("mean_of_logits", mean_of_logits)

# %% [markdown]
# ## Is it better?
#
# **Predict:** all five classify the 5,000 validation images, one by one and together. How often is the ensemble
# right?

# %%
widgets.predict(
    "03-ensemble",
    "How often is the ensemble right on the validation images?",
    choices=[
        "as often as its worst member",
        "as often as its members on average",
        "as often as its best member",
        "more often than its best member",
    ],
)

# %% [markdown]
# Five networks and five thousand images: this takes longer than all the rest of the lesson. **Your** `mean_of_logits`
# makes the ensemble, here and in the rest of the lesson.

# %%
average = use_answer("mean_of_logits", mean_of_logits)
labels = data.validation.labels
step = progress_bar("five networks", len(ensemble.members))
each = []
for member in ensemble.members:
    each.append(evaluation.predict(member, data.validation, data, batch_size=256))
    step()
member_logits = torch.stack(each)  # [members, images, classes]
logits = average(member_logits)
member_right = member_logits.argmax(dim=2) == labels  # [members, images]
right = logits.argmax(dim=1) == labels  # [images]

# %% folded=true
gains = [int(right.sum() - one.sum()) for one in member_right]
claim(
    "On these images the ensemble is right more often than each of its members",
    min(gains) > 0,
    more_images_right_than_the_best_member=at_least(min(gains), 5, "images", digits=0),
    more_than_the_worst_member=at_least(max(gains), 25, "images", digits=0),
    all_images=f"{len(labels):,}",
    accuracy_of_the_ensemble=between(100 * right.double().mean().item(), 94, 97, "%", digits=2),
)
widgets.reveal(
    "03-ensemble", "more often than its best member" if min(gains) > 0 else "as often as its best member"
)

# %% [markdown]
# Is that luck? A fair question. A difference of a few images among thousands may be reversed on other images.
# **McNemar's test** looks at the images that only one of two networks gets right, and says how often chance alone would
# divide them so unequally ({{lesson evaluate}} explains it). If that is more than once in twenty times, the difference
# isn't safe. So use a finer measure than right or wrong: the **negative log-likelihood**. It is the cross-entropy of
# {{lesson train_a_teacher}}, on images that were not used for training. It changes with every change of the label's
# probability, not only with the prediction.
#
# For each member, subtract the ensemble's loss from the member's, image by image. The mean of these differences has a
# 95 % interval, the range in which the mean would probably lie for other such images. Does any of the five intervals
# reach 0?


# %%
def losses(logits: torch.Tensor) -> torch.Tensor:
    """Return the negative log-likelihood of each image in nats: [N, C] to [N]."""
    return F.cross_entropy(logits.double(), labels, reduction="none")


member_losses = torch.stack([losses(one) for one in member_logits])  # [members, images]
differences = [evaluation.paired_difference(one.tolist(), losses(logits).tolist()) for one in member_losses]

# %% folded=true
undecided = sum(evaluation.mcnemar(one, right) > 0.05 for one in member_right)
claim(
    "The ensemble's negative log-likelihood is lower than each member's, by more than chance explains",
    all(difference.low > 0 for difference in differences),
    lowest_end_of_the_five_intervals=at_least(min(d.low for d in differences), 0.005, "nats", digits=4),
    members_whose_accuracy_alone_is_not_safely_lower=at_least(undecided, 1, "of five", digits=0),
)

# %% [markdown]
# ## What is guaranteed
#
# Part of this gain follows from a theorem. For **every image**, the loss of the averaged logits is at most the *mean*
# of the members' losses.
#
# Why? The softmax of mean logits is the members' *geometric* mean probability, divided by the sum of these means over
# the classes, $Z$. So the ensemble's loss is the mean of the members' losses plus $\log Z$. A geometric mean is never
# above an arithmetic one, and arithmetic means of probabilities sum to 1. So $Z \le 1$ and $\log Z \le 0$. It is 0
# only if all members give the same probabilities: **the more they differ, the more is gained**.
#
# But the theorem is about the mean, not the best member, and about losses, not accuracy. Those you must measure.

# %% folded=true
excess = losses(logits) - member_losses.mean(dim=0)
claim(
    "On no image is the ensemble's loss above its members' mean loss",
    bool((excess <= 1e-9).all()),
    images=len(labels),
)

# %% [markdown]
# ## Disagreement
#
# So an ensemble needs differences. Five copies of one network would be no better than one.
#
# **Predict:** each of these teachers is right on roughly 95 of a hundred images. On how many of a hundred do two of
# them give different predictions?

# %% folded=true
accuracies = member_right.double().mean(dim=1)
claim(
    "Each teacher has an accuracy of about 95 %",
    bool(((accuracies - 0.95).abs() < 0.01).all()),
    lowest=between(100 * accuracies.min().item(), 94, 96, "%", digits=2),
    highest=between(100 * accuracies.max().item(), 94, 96, "%", digits=2),
)
widgets.predict(
    "03-disagreement",
    "On how many of a hundred images do two teachers give different predictions?",
    number=(0, 15, 0.5),
    unit="of 100",
)

# %% [markdown]
# ### Exercise: how often do two members differ? (medium, 7 minutes)
#
# `predictions` holds the class that each member predicts for each image: [members, images]. For every pair of
# *different* members, compute the share of images on which they differ. Return the mean over the pairs, 0 to 1. Fill in
# the two gaps: the list of all pairs (i, j), and what each pair adds to the total.
#
# <details><summary>Hint 1</summary>
#
# `predictions[i] != predictions[j]` is True where the two differ. The mean of that, as numbers, is a share.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# `list(itertools.combinations(range(3), 2))` is [(0, 1), (0, 2), (1, 2)]: every pair once, and no member with itself.
# Without `list` you couldn't count the pairs.
#
# </details>


# %%
from kdcourse.course.ensembles.exercises import pairwise_disagreement

# %%
check("pairwise_disagreement", pairwise_disagreement)

# %% [markdown]
# Now your function compares the five teachers.

# %%
how_often = use_answer("pairwise_disagreement", pairwise_disagreement)
differ = how_often(member_logits.argmax(dim=2))
errors = 1 - accuracies

# %%
claim(
    "Two teachers differ on fewer images than a single one of them gets wrong",
    differ < errors.mean().item(),
    images_on_which_two_differ=between(100 * differ, 3, 4, "of 100", digits=2),
    images_that_one_gets_wrong=between(100 * errors.mean().item(), 5, 6, "of 100", digits=2),
)
widgets.reveal("03-disagreement", 100 * differ, unit="of 100")

# %% [markdown]
# If their errors were independent, two teachers would differ on nearly twice as many images as one of them
# gets wrong. They differ on far fewer: **much of what one gets wrong, the others get wrong as well.** Some images are
# hard for every network, and some labels are doubtful. That limits an ensemble.

# %% folded=true
unanimous = (member_logits.argmax(dim=2) == logits.argmax(dim=1)).all(dim=0)
all_wrong = int((~member_right).all(dim=0).sum())
if_independent = errors.prod().item() * len(labels)
claim(
    "The errors of the five are far from independent",
    all_wrong > 1000 * if_independent,
    images_that_all_five_get_wrong=at_least(all_wrong, 100, "images", digits=0),
    expected_if_errors_were_independent=at_most(if_independent, 0.01, "images", digits=4),
)
claim(
    "Where the five disagree, the ensemble is wrong far more often",
    right[unanimous].double().mean().item() > right[~unanimous].double().mean().item() + 0.2,
    accuracy_where_all_agree=at_least(100 * right[unanimous].double().mean().item(), 97, "%", digits=1),
    accuracy_where_they_disagree=at_most(100 * right[~unanimous].double().mean().item(), 70, "%", digits=1),
)

# %% [markdown]
# ## Logits or probabilities?
#
# There is another ensemble: first turn each member's logits into probabilities, then average those. As said above,
# the mean of logits is a *geometric* mean of probabilities. This one is the *arithmetic* mean. In the geometric mean,
# a single member can rule out a class with a tiny probability. In the arithmetic mean, it can't.

# %% [markdown]
# ### Exercise: the mean of probabilities (easy, 3 minutes)
#
# Compute [images, classes] probabilities from [members, images, classes] logits.
#
# <details><summary>Hint 1</summary>
#
# You need two operations, and the order matters: the softmax of a mean is not the mean of softmaxes.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# Each member's probabilities for an image sum to 1 over the classes: `softmax(dim=2)`.
#
# </details>


# %%
from kdcourse.course.ensembles.exercises import mean_of_probabilities

# %%
check("mean_of_probabilities", mean_of_probabilities)

# %% [markdown]
# Your function makes the second ensemble, too. Do the two predict the same classes? Are they equally confident?

# %%
mean_probability = use_answer("mean_of_probabilities", mean_of_probabilities)(member_logits.double())
arithmetic = mean_probability.log()  # the softmax of these logits is the mean probability

# %% folded=true
confidences = {
    "logits": softened(logits, 1).max(dim=1).values,
    "probabilities": mean_probability.max(dim=1).values,
}
claim(
    "The two ensembles nearly always predict the same class, but the mean of probabilities is less confident",
    confidences["probabilities"].mean().item() < confidences["logits"].mean().item() - 0.005,
    same_class=at_least(100 * evaluation.agreement(logits, arithmetic), 99, "%", digits=2),
    images_on_which_it_is_less_confident=at_least(
        100 * (confidences["probabilities"] < confidences["logits"]).double().mean().item(), 95, "%", digits=1
    ),
)

# %% [markdown]
# ## Put your own together
#
# This course distils from the mean of logits: one row of numbers per image.
#
# Tick the members, and choose the average. How much accuracy do you lose without one of them? Which two teachers make
# the best pair: the two best, or the two that differ most? (The panel in the middle is explained below it.)

# %%
widgets.ensemble_explorer(member_logits, labels, data.classes)

# %% [markdown]
# ## Calibration
#
# The middle panel of the explorer says how far confidence is from accuracy. A network's **confidence** is the
# probability that it gives to its own prediction. If it says 0.9 a thousand times, nine hundred of those predictions
# should be right. Then it is **calibrated**.
#
# **Predict:** on images that were not used for training, are these teachers overconfident, underconfident or neither?

# %%
widgets.predict(
    "03-confidence",
    "How does the teachers' mean confidence compare with their accuracy?",
    choices=["confidence is lower", "they are about the same", "confidence is higher"],
)

# %% [markdown]
# ### Exercise: the expected calibration error (hard, 10 minutes)
#
# Sort the images by confidence into `bins` bins of equal width from 0 to 1. In each bin, the gap is the absolute
# difference between the share of right predictions and the mean confidence. The error is the weighted mean of the
# gaps; the weight of a bin is its **share of all images**. An empty bin adds nothing, and a confidence of exactly 1
# belongs to the last bin. Write the whole function.
#
# <details><summary>Hint 1</summary>
#
# `(confidence * bins).long()` is the number of an image's bin, from 0. For a confidence of exactly 1 it is `bins`,
# one too many: `.clamp(max=bins - 1)` fixes that.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# For each bin: `inside = where == number`, and if `inside.any()`, the gap is between the mean of `correct[inside]`,
# as numbers, and the mean of `confidence[inside]`.
#
# </details>
#
# <details><summary>Hint 3</summary>
#
# The weight of a bin is the mean of `inside`, as numbers.
#
# </details>


# %%
from kdcourse.course.ensembles.exercises import calibration_error

# %%
check("calibration_error", calibration_error)

# %% [markdown]
# Your function now judges the five teachers and both ensembles, with 15 bins, as in Guo and others (2017). The errors
# are in percentage points.

# %%
error_of = use_answer("calibration_error", calibration_error)
judged = {f"teacher {n + 1}": one for n, one in enumerate(member_logits)}
judged |= {"mean of logits": logits, "mean of probabilities": arithmetic}
calibration = {}
for name, z in judged.items():
    confidence, predicted_class = z.double().softmax(dim=1).max(dim=1)
    calibration[name] = 100 * error_of(confidence, predicted_class == labels, 15)
    print(f"{name:>21}: calibration error {calibration[name]:.1f} points")

# %% [markdown]
# A **reliability diagram** shows where such an error comes from. Each bar at the top is the accuracy in one bin; the
# hatched part is the gap to the bin's confidence. The middle row is the weight of each bin, its share of all images.
# Bins with less than a hundredth of the images are drawn faint: their accuracy is that of a few images, and says little.
# Gap times weight gives the lowest row, whose bars sum to the error. Here are the teacher with the largest error and
# both ensembles.

# %%
worst = max(list(judged)[:5], key=lambda name: calibration[name])
curves = {
    name: evaluation.reliability(judged[name], labels)
    for name in (worst, "mean of logits", "mean of probabilities")
}
show(
    figures.reliability_diagram(curves),
    "reliability diagrams of one teacher and both ensembles; most images are in the bin of the highest confidence, and "
    "this bin adds far more to the teacher's error than to that of the mean of probabilities.",
)

# %% folded=true
member_confidence = softened(member_logits, 1).max(dim=2).values.double().mean(dim=1)
claim(
    "Each teacher's mean confidence is above its accuracy",
    bool((member_confidence > accuracies).all()),
    smallest_difference=at_least(
        100 * (member_confidence - accuracies).min().item(), 0.5, "points", digits=2
    ),
)
mean_error = sum(calibration[name] for name in list(judged)[:5]) / 5
claim(
    "The ensembles are better calibrated than their members on average, the mean of probabilities most",
    calibration["mean of probabilities"] < calibration["mean of logits"] < mean_error,
    members_on_average=between(mean_error, 1.25, 1.75, "percentage points", digits=2),
    mean_of_logits=between(calibration["mean of logits"], 1, 1.3, "percentage points", digits=2),
    mean_of_probabilities=between(
        calibration["mean of probabilities"], 0.5, 1, "percentage points", digits=2
    ),
)
widgets.reveal(
    "03-confidence",
    "confidence is higher" if bool((member_confidence > accuracies).all()) else "they are about the same",
)

# %% [markdown]
# Two different things happen here. Where members differ, the mean of probabilities spreads its probability over more
# classes, and on those images high confidence was a mistake. The mean of logits is *not* less confident than its
# members. It is better calibrated because it is right more often.

# %%
claim(
    "On average the mean of logits is more confident than its members, the mean of probabilities less",
    confidences["probabilities"].mean() < member_confidence.mean() < confidences["logits"].mean(),
    members_confidence_above_accuracy=between(
        100 * (member_confidence - accuracies).mean().item(), 1.2, 1.45, "points", digits=2
    ),
    the_same_for_the_mean_of_logits=between(
        100 * (confidences["logits"].mean() - right.double().mean()).item(), 0.9, 1.2, "points", digits=2
    ),
)

# %% [markdown]
# ## The cost
#
# Now look at the cost. Five networks need five times the weights and five times the work, for every image. What does each further member add? Here is every ensemble that you can make of these five, from single
# teachers to all of them.

# %%
by_size = {
    members: [list(chosen) for chosen in itertools.combinations(range(5), members)] for members in range(1, 6)
}
averaged = {members: [average(member_logits[chosen]) for chosen in some] for members, some in by_size.items()}
accuracy = {
    members: [100 * evaluation.accuracy(z, labels) for z in some] for members, some in averaged.items()
}
loss = {members: [losses(z).mean().item() for z in some] for members, some in averaged.items()}
show(
    figures.ensemble_sizes({"validation accuracy (%)": accuracy, "loss (nats)": loss}),
    f"accuracy and loss of all {sum(map(len, by_size.values()))} ensembles by their number of members; on average, "
    "accuracy rises up to the third member and hardly after it, and loss falls with every member, each time by less.",
)

# %% folded=true
mean_loss = {members: sum(found) / len(found) for members, found in loss.items()}
gained = (mean_loss[1] - mean_loss[3]) / (mean_loss[1] - mean_loss[5])
steps = [mean_loss[members] - mean_loss[members + 1] for members in range(1, 5)]
sizes = [sum(weight.numel() for weight in member.parameters()) for member in ensemble.members]
claim(
    "Each further member lowers the loss by less, and three members give most of the gain of five",
    steps == sorted(steps, reverse=True) and gained > 0.7,
    share_of_the_gain_with_three=between(100 * gained, 75, 95, "%", digits=0),
)
claim(
    "But every further member costs a whole network",
    sum(sizes) > 4.5 * min(sizes),
    parameters_of_the_smallest_member=between(min(sizes) / 1e6, 0.8, 0.9, "million", digits=2),
    parameters_of_five=between(sum(sizes) / 1e6, 4, 5, "million", digits=2),
)

# %% [markdown]
# You measured in {{lesson why_compress}} what that means in work, and in milliseconds on your machine.
#
# So here is the plan: run the five **once**, on the training images, and train a single small network on their
# outputs. Two questions about that come first.

# %% [markdown]
# ## When labels are wrong
#
# Labels are made by people, and people make mistakes. What does an ensemble make of them? Here is a hard case: for half
# of the training images, 40 of 100 labels were replaced by a wrong class, drawn at random. Five small teachers learned
# from these labels alone. Then they answered for images of the other half, whose labels were spoilt in the same way.

# %%
noisy = noisy_labels(data, share=0.4)
given, answered = noisy.data.train.labels, noisy.logits.argmax(dim=1)
wrong_labels = int((given != noisy.truth).sum())
print(f"{wrong_labels:,} of {len(given):,} labels are wrong.")

# %% [markdown]
# Two students learn from these 5,000 images. One learns from the labels, wrong ones included. The other sees no label,
# only the teachers' answers. But the teachers learned from labels of which as many are wrong. Both students are tested on
# validation images, whose labels are correct.
#
# **Predict:** how many of a hundred validation images will the two get right?

# %% folded=true
as_bad = "both about 60: a network can't be better than what it was taught"
answers_alone = "the student of labels about 60, the student of answers over 80"
both_better = "both over 65, and the student of answers more"
labels_better = "both over 65, and the student of labels more"
widgets.predict(
    "03-wrong-labels",
    "Of a hundred validation images the students get right",
    choices=[as_bad, answers_alone, both_better, labels_better],
)

# %%
settings = {"epochs": 2, "batch_size": 64, "learning_rate": 0.05, "optimizer": "muon", "weight_decay": 5e-3}
settings |= {"seed": 0, "validate": False, "progress": False}
bar = progress_bar("Two students", 2 * settings["epochs"] * (len(given) // settings["batch_size"]))
students = []
for learns_from in ("labels", "answers"):
    torch.manual_seed(0)
    student = models.build("pocket_17k")
    if learns_from == "labels":
        training.fit(student, noisy.data, after_step=bar, **settings)
    else:
        distil(student, noisy.answers, noisy.data, temperature=1, alpha=1, after_step=bar, **settings)
    students.append(100 * evaluation.accuracy(evaluation.predict(student, data.validation, data), labels))

# %% folded=true
of_labels, of_answers = students
claim(
    "Both students get far more right than 60 of 100, and the student of answers gets the most right",
    of_answers > of_labels > 65,
    correct_labels=between(100 - 100 * wrong_labels / len(given), 58, 62, "%", digits=0),
    student_of_labels=between(of_labels, 68, 86, "%", digits=1),
    student_of_answers=between(of_answers, 80, 90, "%", digits=1),
    lead_of_the_answers=at_least(of_answers - of_labels, 2, "points", digits=1),
)

# %% folded=true
widgets.reveal("03-wrong-labels", both_better if of_answers > of_labels > 65 else labels_better)

# %% [markdown]
# A wrong label says something else for each image, so wrong labels can't be learned from images, except by heart. What
# the labels of similar images have in common can: so networks average over labels, and an ensemble over networks. How many of the teachers'
# answers are wrong, on images that they never saw?

# %%
wrong_answers = int((answered != noisy.truth).sum())
print(f"Of the labels, {wrong_labels:,} are wrong; of the teachers' most likely classes, {wrong_answers:,}.")

# %% [markdown]
# The course's study of this question has more training, settings searched for either kind, and five new seeds for each
# row, evaluated once on the test images:

# %%
found = study_named("noise", shipped("study")).summary(Rows(shipped("study"), "noise").checked())["noise"]
for entry in found:
    print(
        f"{entry['noise']:4.0%} of the labels wrong: teachers together {entry['teachers']:.1%}, "
        f"student of labels {entry['plain']['accuracy']:.1%}, of answers {entry['taught']['accuracy']:.1%}"
    )

# %% folded=true
none, some, many = (100 * entry["difference"]["mean"] for entry in found)
claim(
    "The more labels are wrong, the more the teachers' answers are worth",
    none < some < many and all(entry["difference"]["low"] > 0 for entry in found[1:]),
    lead_of_the_answers_with_all_labels_correct=between(none, -2, 4, "points", digits=1),
    with_a_fifth_wrong=at_least(some, 1.5, "points", digits=1),
    with_two_fifths_wrong=at_least(many, 3, "points", digits=1),
)

# %% [markdown]
# ## Must all five teach?
#
# Together the five teachers are better than any of them. So a student of all five should be better than a student of
# one, by as much? The course has a study of this, with the five teachers of {{lesson start_here}}, which were trained on
# one half of the training images. Students (`pocket_60k`) learned from their answers to the other half, and all were
# evaluated on the test images.
#
# **Predict:** students of one teacher's answers, and students of all five teachers' answers, to the same images.

# %% folded=true
less = "by less than half of the teachers' lead"
most = "by half of the teachers' lead or more"
widgets.predict(
    "03-one-teacher",
    "The students of all five are better than the students of one",
    choices=[less, most, "not at all: they are worse"],
)

# %%
found = study_named("members", shipped("study")).summary(Rows(shipped("study"), "members").checked())
for entry in found["members"]:
    print(
        f"{entry['members']} of the teachers: student {entry['accuracy']:.1%} "
        f"({entry['low']:.1%} to {entry['high']:.1%})"
    )
teachers_lead = 100 * (found["ensemble"] - found["teachers"][0])
students_lead = [100 * entry["lead"]["mean"] for entry in found["members"][1:]]

# %% folded=true
claim(
    "Students gain less from further teachers than the teachers gain from each other",
    max(students_lead) < teachers_lead / 2,
    lead_of_five_teachers_over_one=between(teachers_lead, 0.5, 1.2, "points", digits=1),
    lead_of_their_students=between(students_lead[-1], -0.3, 0.5, "points", digits=1),
    largest_lead_of_a_student=between(max(students_lead), 0, 0.6, "points", digits=1),
    seeds=found["members"][0]["seeds"],
)
widgets.reveal("03-one-teacher", less if students_lead[-1] < teachers_lead / 2 else most)

# %% [markdown]
# For these students, one good teacher does nearly everything. (These are stored results of five seeds; the
# differences are too small to show with one pair on your machine.) A better teacher makes a better student only as far
# as the student can follow.

# %% [markdown]
# What do a teacher's outputs say beyond the right class? The next lesson shows it.

# %% [markdown]
# ## Quiz

# %%
widgets.quiz(
    "03",
    [
        widgets.Question(
            "You average five copies of one and the same trained network. What do you gain?",
            options=[
                widgets.Option(
                    "Nothing, but it costs five times as much",
                    True,
                    "They agree everywhere, so the mean is the output of each of them.",
                ),
                widgets.Option(
                    "A lower loss, by the theorem",
                    False,
                    "The theorem says at most the mean loss. Where all outputs are the same, it is equal.",
                ),
                widgets.Option(
                    "Better calibration",
                    False,
                    "Averaging spreads probability only where members differ, and copies never do.",
                ),
            ],
        ),
        widgets.Question(
            "One member gives the right class a tiny probability, four a large one. Which ensemble is affected more?",
            options=[
                widgets.Option(
                    "The mean of logits",
                    True,
                    "It is a geometric mean of probabilities: one tiny factor makes the whole mean small.",
                ),
                widgets.Option(
                    "The mean of probabilities",
                    False,
                    "One of five probabilities changes their mean by 0.2 at most.",
                ),
                widgets.Option(
                    "Neither: both predict the same class",
                    False,
                    "They often do, but the probabilities differ, and here by a lot.",
                ),
            ],
        ),
        widgets.Question(
            "A network's mean confidence equals its accuracy. Is it calibrated?",
            options=[
                widgets.Option(
                    "Not necessarily",
                    True,
                    "It may be overconfident in one bin and underconfident in another. You see that only bin by bin.",
                ),
                widgets.Option(
                    "Yes, that is the definition",
                    False,
                    "By the definition, the two must be equal at every level of confidence, not only on average.",
                ),
                widgets.Option(
                    "Yes, if it is an ensemble",
                    False,
                    "Ensembles tend to be better calibrated, but nothing guarantees it.",
                ),
            ],
        ),
        widgets.Question(
            "Which errors can't more members fix?",
            options=[
                widgets.Option(
                    "Images that all of them get wrong",
                    True,
                    "Errors that members share stay in every average.",
                ),
                widgets.Option(
                    "Errors that only come from a member's random initial weights",
                    False,
                    "Those differ from member to member, so averaging reduces them.",
                ),
                widgets.Option(
                    "Images on which members disagree",
                    False,
                    "There the ensemble often follows the members that are right: it gains most where they disagree.",
                ),
            ],
        ),
        widgets.Question(
            "Of 1,000 images, 900 are in a bin with mean confidence 0.95 and accuracy 0.93, and 100 in a bin with mean "
            "confidence 0.60 and accuracy 0.70. What is the expected calibration error, in percentage points?",
            options=[
                widgets.Option(
                    "2.8",
                    True,
                    "0.9 * 2 + 0.1 * 10: each gap counts with its bin's share of the images.",
                ),
                widgets.Option(
                    "6",
                    False,
                    "That is the mean of the two gaps, 2 and 10. But one bin holds nine times as many images.",
                ),
                widgets.Option(
                    "0.8",
                    False,
                    "There the two gaps cancel: too confident in one bin, not confident enough in the other. Take the "
                    "absolute value of each gap.",
                ),
            ],
        ),
    ],
)

# %% [markdown]
# ## Recap
#
# - An **ensemble** averages its members. Its loss on an image is at most its members' mean loss, and the more they
#   **disagree**, the more is gained. Whether it beats the best member must be measured.
# - The ensemble gets wrong what all members get wrong: their errors are far from independent.
# - The mean of **logits** and the mean of **probabilities** are different ensembles. State which one you mean.
# - A network is **calibrated** if its confidence matches its accuracy. These teachers are too confident, their
#   ensembles less so.
# - Each member costs a whole network and adds less than the one before. Distillation is meant to cut this cost.
# - An ensemble passes on few of the mistakes in its labels. The more labels are wrong, the more its answers are worth.
#
# Next: {{lesson soft_targets}}, what the ensemble knows about an image besides its label.
#
# ## References
#
# - Lars Kai Hansen, Peter Salamon (1990). Neural Network Ensembles. IEEE Transactions on Pattern Analysis and Machine
#   Intelligence 12(10). https://doi.org/10.1109/34.58871
# - Anders Krogh, Jesper Vedelsby (1994). Neural Network Ensembles, Cross Validation, and Active Learning. NIPS 7.
#   https://papers.nips.cc/paper/1001-neural-network-ensembles-cross-validation-and-active-learning
# - Balaji Lakshminarayanan, Alexander Pritzel, Charles Blundell (2017). Simple and Scalable Predictive Uncertainty
#   Estimation using Deep Ensembles. https://arxiv.org/abs/1612.01474
# - Chuan Guo, Geoff Pleiss, Yu Sun, Kilian Q. Weinberger (2017). On Calibration of Modern Neural Networks.
#   https://arxiv.org/abs/1706.04599
# - Geoffrey Hinton, Oriol Vinyals, Jeff Dean (2015). Distilling the Knowledge in a Neural Network. Section 1.
#   https://arxiv.org/abs/1503.02531
#
# All terms: [glossary](glossary.md).
