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
# # Evaluate honestly
#
# Here are the five plain and the five distilled students of {{lesson why_compress}} again, where in every pair the
# distilled one was a little ahead. They saw all 55,000 labels, so little was left to gain: a case where a careless
# comparison can show anything. You will find out how certain such a lead is, what it is worth, what it costs, and when
# distillation didn't help.
#
# ## Objectives
#
# By the end of this lesson you can
#
# - compute an interval for an accuracy, and know which kind of luck it covers;
# - compare two models on the same images, and two methods over paired seeds;
# - say which share of the gap to the teacher was recovered, and when not to report it;
# - judge calibration, agreement and cost in addition to accuracy, and fix a network's confidence with one number;
# - report the trials in which distillation didn't help.
#
# **Builds on:** {{lesson ensembles}} (calibration), {{lesson distil}} (paired seeds, choosing on
# validation).
#
# **Time:** {{reading_minutes}} minutes to read, {{exercise_minutes}} minutes for the exercises; the machine works
# for {{machine_seconds}}.
#
# Words that are new to you are in the [glossary](glossary.md).

# %%
import itertools
import json
import math
import operator
from dataclasses import replace
from statistics import fmean, stdev

from kdcourse import evaluation, figures, models, widgets
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
from kdcourse.data import fashion_mnist
from kdcourse.distillation import distil
from kdcourse.files import shipped
from kdcourse.runs import recorded, study
from kdcourse.runs.few_labels import few_labels
from kdcourse.runs.study.rows import Rows
from kdcourse.training import fit

import torch
import torch.nn.functional as F

# %% [markdown]
# ## What was trained
#
# The ten students are small convolutional networks, trained by `kdcourse students record`. The plain and the
# distilled student of a seed began with the same weights and saw the same views in the same order, for the same
# number of epochs. Only the objective differs: for the plain ones alpha is 0, so the teacher has no weight. Settings
# were chosen on validation images; the last part of this lesson shows every trial. The test images were used once,
# after the last epoch.

# %%
data = fashion_mnist()
record = recorded.summary(data)
for kind, recipe in record["recipes"].items():
    print(
        f"{kind}: {recipe['model']}, {recipe['epochs']} epochs, {recipe['views']} stored views, "
        f"T = {recipe['temperature']:g}, alpha = {recipe['alpha']:g}"
    )
runs = {kind: record["models"][kind]["runs"] for kind in ("plain", "distilled")}
print(f"seeds: {[run['seed'] for run in runs['plain']]}")

# %% [markdown]
# A student classifies a certain share of the test images correctly. With the same number of other images of this kind,
# the share would be slightly different. An interval says how different: a 95 % interval contains the true accuracy in
# 95 of 100 draws of test images.
#
# **Predict:** how wide is that interval for one of our students, from end to end?

# %%
widgets.predict(
    "06-wilson",
    f"A student is right on a little over nine in ten of {len(data.test):,} test images. How wide is the 95 % interval?",
    number=(0, 5, 0.1),
    unit="points",
)

# %% [markdown]
# ## Evaluate the stored weights again
#
# A table may be out of date, or describe something else. The students' weights came with the course, so evaluate them
# again. `predict` gives one row of logits for each image.

# %%
labels = data.test.labels
folder = recorded.shipped_folder()
step = progress_bar("Ten students, validation and test images", 10)
logits, held_out = {}, {}
for kind in runs:
    students = [recorded.load(folder, f"{kind}_seed{run['seed']}", data)[0] for run in runs[kind]]
    logits[kind], held_out[kind] = [], []
    for student in students:
        logits[kind].append(evaluation.predict(student, data.test, data))
        held_out[kind].append(evaluation.predict(student, data.validation, data))
        step()
scores = {kind: [evaluation.evaluate(each, labels) for each in logits[kind]] for kind in logits}

# %% folded=true
apart = max(
    abs(score.accuracy - run["test"]["accuracy"])
    for kind in runs
    for score, run in zip(scores[kind], runs[kind], strict=True)
)
claim(
    "The ten students, evaluated again from their weights, have the recorded accuracies",
    apart <= 0.0005,
    test_images=len(labels),
    largest_difference=at_most(100 * apart, 0.05, "points", digits=2),
)

# %% [markdown]
# ## One accuracy, one interval
#
# Wilson (1927) found an interval that also works for few images, and for shares near 0 or 1. Of n images, a share p was
# right. The **standard error** of p says how far such a share is typically off; 95 % of all draws stay within z = 1.96
# standard errors. The interval is
#
# $$ \frac{1}{1 + z^2 / n} \left( p + \frac{z^2}{2n} \pm z \sqrt{\frac{p (1 - p)}{n} + \frac{z^2}{4 n^2}} \right) $$
#
# For large n everything with $z^2$ becomes small, and $p \pm z \sqrt{p (1 - p) / n}$ is left. This root is the standard
# error.
#
# ### Exercise: Wilson's interval (medium, 6 minutes)
#
# Return both ends, the lower one first. `right` of `images` images were classified correctly.
#
# <details><summary>Hint 1</summary>
#
# The fraction, the middle and the root are three numbers. Compute each on a line of its own.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# If all of 10 images are right, the interval is 0.722 to 1: its upper end is 1 exactly, its lower end far below.
#
# </details>


# %%
from kdcourse.course.evaluate.exercises import wilson_ends

# %%
check("wilson_ends", wilson_ends)

# %%
interval_of = use_answer("wilson_ends", wilson_ends)
right = {kind: [each.argmax(dim=1) == labels for each in logits[kind]] for kind in logits}
first = {kind: interval_of(int(right[kind][0].sum()), len(labels)) for kind in right}
width = 100 * (first["plain"][1] - first["plain"][0])

# %%
claim(
    "The intervals of the plain and the distilled student of seed 0 overlap",
    first["plain"][1] > first["distilled"][0],
    width=between(width, 1.0, 1.1, "percentage points", digits=2),
    upper_end_of_the_plain_one=between(100 * first["plain"][1], 92.5, 93.5, "%", digits=2),
    lower_end_of_the_distilled_one=between(100 * first["distilled"][0], 91.8, 92.6, "%", digits=2),
)
widgets.reveal("06-wilson", round(width, 1), unit="points")

# %% [markdown]
# Do overlapping intervals mean that neither student is better? No. Both were tested on the **same** images, and most of
# these are easy for both or hard for both. Only the images on which they disagree can show which one is better.
#
# ## Two models on the same images
#
# ### Exercise: where two models disagree (easy, 5 minutes)
#
# `first_correct` and `second_correct` say for each image whether a model was right. Count the images that only the
# first gets right, and those that only the second gets right.
#
# <details><summary>Hint 1</summary>
#
# For tensors of True and False, `&` is 'and' and `~` is 'not', image by image.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# `.sum().item()` counts how many are True, as a Python number.
#
# </details>


# %%
from kdcourse.course.evaluate.exercises import discordant_pairs

# %%
check("discordant_pairs", discordant_pairs)

# %% [markdown]
# **McNemar's test** (1947) uses only the images that you counted. If both models were equally good, a toss of a coin
# could decide which of them is right on such an image. The **p-value** says how often coins would give a difference at
# least as large. If it is below 0.05, the difference is commonly called significant. Here are the five pairs:

# %%
count_pairs = use_answer("discordant_pairs", discordant_pairs)
pairs = list(zip(right["plain"], right["distilled"], strict=True))
counts = [count_pairs(before, after) for before, after in pairs]  # lost and won by the distilled student
p_values = [evaluation.mcnemar(before, after) for before, after in pairs]
show_here(
    "Images lost and won by the distilled student of each pair, with McNemar's p",
    "\n".join(
        f"seed {seed}: {lost} lost, {gained} won, p = {p:.3f}"
        for seed, ((lost, gained), p) in enumerate(zip(counts, p_values, strict=True))
    ),
)

# %%
claim(
    "In every pair the distilled student wins more images than it loses, but not every pair is significant",
    all(gained > lost for lost, gained in counts) and min(p_values) < 0.05 < max(p_values),
    pairs=len(counts),
    smallest_lead_in_images=at_least(min(gained - lost for lost, gained in counts), 10, digits=0),
)

# %% [markdown]
# So does a small p prove what we want to know? Try it on two plain students, which differ only in their seed. Five of
# them make ten pairs.
#
# **Predict:** in how many of these ten pairs does the test find a significant difference?

# %%
widgets.predict(
    "06-twins",
    "Ten pairs of plain students that differ only in their seed: in how many of them is p below 0.05?",
    number=(0, 10, 1),
    unit="of 10",
)

# %% folded=true
p_of_twins = [evaluation.mcnemar(one, other) for one, other in itertools.combinations(right["plain"], 2)]
significant = sum(p < 0.05 for p in p_of_twins)
claim(
    "Some pairs of plain students differ significantly, by the same test",
    significant >= 2,
    pairs=len(p_of_twins),
    significant=at_least(significant, 2, digits=0),
)
widgets.reveal("06-twins", significant, unit="of 10")

# %% [markdown]
# The test isn't wrong: one of two such networks may really be a little better than the other, because its seed was a
# lucky one. But the test is about these two trained networks only. It can't say whether distillation would help
# again, because another seed gives another network. To judge a **method**, you need several seeds.

# %% [markdown]
# ## Two methods over paired seeds
#
# As in {{lesson distil}}, take one difference for each seed, their mean, and an interval by Student's t. Here is a
# worked example for one list of n numbers:
#
# 1. Compute their mean, and their spread: the sample standard deviation (its variance divides by n - 1).
# 2. Compute the standard error of the mean: the spread divided by the root of n.
# 3. Find how many standard errors the interval needs on either side: `t_quantile(0.95, n - 1)`. That is about two for
#    many numbers. It is more for few numbers, because their spread is itself an estimate.

# %%
values = [2.0, 3.0, 7.0]
mean, spread = fmean(values), stdev(values)
standard_error = spread / math.sqrt(len(values))
t = evaluation.t_quantile(0.95, len(values) - 1)
half = t * standard_error
print(f"mean {mean:.1f}, standard error {standard_error:.1f}, t = {t:.1f}")
print(f"interval from {mean - half:.1f} to {mean + half:.1f}: three values give a wide interval")

# %% [markdown]
# ### Exercise: is the difference real? (medium, 8 minutes)
#
# Now do it for two lists of accuracies, from 0 to 1, paired by seed. Return the mean of distilled - plain and both ends
# of its 95 % interval, on that same scale.
#
# <details><summary>Hint 1</summary>
#
# Take the differences first, seed by seed. Then treat them as the one list of the worked example.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# `zip(plain, distilled, strict=True)` goes through both lists together.
#
# </details>


# %%
from kdcourse.course.evaluate.exercises import paired_interval

# %%
check("paired_interval", paired_interval)

# %% [markdown]
# Now the ten students. Here are their five differences on test images. Below them, for comparison, are five differences
# between plain students: the accuracy of the next one minus that of each. They show how much luck alone does.

# %%
accuracy = {kind: [score.accuracy for score in scores[kind]] for kind in scores}
two_plain = (accuracy["plain"], accuracy["plain"][1:] + accuracy["plain"][:1])
show(
    figures.paired_differences(
        {
            "distilled - plain": (accuracy["plain"], accuracy["distilled"]),
            "plain - plain, other seeds": two_plain,
        },
        rings_only=["plain - plain, other seeds"],
    ),
    "differences seed by seed. Distilled minus plain: all right of 0, and so is the interval. Plain minus plain of "
    "another seed: on both sides of 0, up to about as far from it as the gain itself.",
)

# %%
gain, gain_low, gain_high = use_answer("paired_interval", paired_interval)(
    accuracy["plain"], accuracy["distilled"]
)

# %%
claim(
    "Over five paired seeds the distilled students are a little better on test images",
    gain_low > 0,
    gain=between(100 * gain, 0.3, 0.7, "points", digits=2),
    lower_end_of_the_interval=at_least(100 * gain_low, 0.2, "points", digits=2),
)

# %% [markdown]
# The rings of the lower row show the spread that luck alone makes, so a single ring of the upper row could have been
# luck, too. But luck alone rarely puts all five on one side. (The lower row's mean is 0 by construction, since each plain
# student occurs once on either side. So no mean is drawn.)

# %% [markdown]
# ## The share of the gap
#
# Is this small gain a lot? It depends on how much there was to gain: the gap between the plain student and its teacher.
#
# ### Exercise: gap recovered (easy, 3 minutes)
#
# Return the share of the gap that distillation closes: 0 for nothing, 1 for the teacher's own accuracy. Return it as it
# is, even if it is below 0 or above 1, or the teacher is worse than the plain student. Whether it should be reported is
# a second question, which follows. (You needn't handle a gap of exactly 0.)
#
# <details><summary>Hint 1</summary>
#
# Divide the gain by the gap. Both are differences of accuracies, and both have a sign.
#
# </details>


# %%
from kdcourse.course.evaluate.exercises import recovered

# %%
check("recovered", recovered)

# %% [markdown]
# Now use all seeds. The teacher is the ensemble of five. It takes long to run on all test images, so we use its
# recorded accuracy here. You can check it with `recorded.ensemble(data)`.

# %%
teacher_accuracy = record["models"]["ensemble"]["mean"]["accuracy"]
means = fmean(accuracy["plain"]), fmean(accuracy["distilled"])
recovered_share = use_answer("recovered", recovered)(*means, teacher_accuracy)
gap = evaluation.gap_recovered(accuracy["plain"], accuracy["distilled"], teacher_accuracy)

# %%
claim(
    "These students recover a part of the gap, but most of it remains",
    gap.low > 0 and gap.high < 0.3,
    gap=between(100 * gap.gap, 3.1, 3.3, "percentage points", digits=2),
    recovered=between(100 * recovered_share, 10, 20, "%", digits=0),
    interval_from=at_least(100 * gap.low, 5, "%", digits=0),
    interval_to=at_most(100 * gap.high, 25, "%", digits=0),
)

# %% [markdown]
# The interval of such a share needs care. The gain and the gap are both uncertain, and they are not independent,
# because the plain student is part of both. `gap_recovered` uses Fieller's interval (1954). If the gap itself might
# be 0, or the teacher is worse than the plain student, a share means nothing, and `gap_recovered` doesn't report it:

# %%
unsure = evaluation.gap_recovered([0.80, 0.82, 0.81], [0.81, 0.82, 0.82], teacher=0.815)
print(f"reported: {unsure.reported}\n{unsure.reason}")

# %% [markdown]
# Hinton, Vinyals and Dean (2015) recovered nearly the whole gap on handwritten digits, with a student far larger than
# ours. The share depends on how large the student is, how hard the images are, and how many labels the plain student has.
# In {{lesson distil}} the plain student had few labels, and distillation recovered far more. It also depends on how well
# the plain student was trained: any distillation looks good against a badly trained one.

# %% [markdown]
# ## Right as often as confident?
#
# A student copies its teacher's confidence, too. But the teacher is right more often than the student, so the student
# may be too confident. Accuracy doesn't show that. The reliability diagram of {{lesson ensembles}} shows it, and its
# summary in one number, the expected calibration error (ECE).

# %%
show(
    figures.reliability_diagram(
        {f"{kind}, seed 0": scores[kind][0].reliability for kind in ("plain", "distilled")}
    ),
    "accuracy against confidence of the plain and the distilled student of seed 0. The distilled one is more "
    "overconfident than the plain one.",
)

# %% folded=true
error = {
    kind: [100 * score.expected_calibration_error for score in scores[kind]] for kind in scores
}  # in points
loss = {kind: [score.negative_log_likelihood for score in scores[kind]] for kind in scores}
worse = evaluation.paired_difference(error["distilled"], error["plain"])
claim(
    "The distilled students' calibration error is larger than the plain ones', on every seed",
    all(map(operator.gt, error["distilled"], error["plain"])),
    plain_students=between(fmean(error["plain"]), 1, 2, "percentage points", digits=1),
    distilled_students=between(fmean(error["distilled"]), 2, 3, "percentage points", digits=1),
    difference_of_both=at_least(worse.mean, 0.5, "percentage points", digits=1),
)

# %% [markdown]
# So distillation improved one measure and harmed another. A report with accuracy alone would hide that. But confidence
# is easy to fix: divide the logits by one temperature, chosen on validation images. Guo and colleagues (2017) call this
# **temperature scaling**. No predicted class changes, since dividing all logits by the same number keeps their order.
#
# ### Exercise: choose the temperature (medium, 6 minutes)
#
# Return the candidate T for which the cross-entropy of `logits / T` and the labels is lowest, and that cross-entropy.
# (It is the negative log-likelihood: low where the right class gets a high probability.)
#
# <details><summary>Hint 1</summary>
#
# Compute one cross-entropy per candidate, and keep the candidate with the lowest.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# `losses.index(min(losses))` is the place of the lowest loss in a list.
#
# </details>


# %%
from kdcourse.course.evaluate.exercises import best_temperature

# %%
check("best_temperature", best_temperature)

# %% [markdown]
# A fair comparison does this for **both** kinds: each of the ten students gets its own temperature, chosen on validation
# images.
#
# **Predict:** how do the two kinds compare then, in calibration and otherwise?

# %% folded=true
outcomes = [
    "The plain ones stay better calibrated",
    "Both are calibrated alike, and the distilled ones' probabilities are better",
    "Both are calibrated alike, and the distilled ones have lost their lead in accuracy",
]
widgets.predict("06-scaled", "After scaling both kinds:", choices=outcomes)

# %%
choose = use_answer("best_temperature", best_temperature)
candidates = [round(0.5 + 0.05 * step, 2) for step in range(31)]
chosen = {
    kind: [choose(each, data.validation.labels, candidates)[0] for each in held_out[kind]]
    for kind in held_out
}
scaled = {
    kind: [
        evaluation.evaluate(each / temperature, labels)
        for each, temperature in zip(logits[kind], chosen[kind], strict=True)
    ]
    for kind in logits
}
for kind in chosen:
    print(f"{kind}: T = {', '.join(f'{temperature:g}' for temperature in chosen[kind])}")

# %% folded=true
error_left = {kind: [100 * score.expected_calibration_error for score in scaled[kind]] for kind in scaled}
loss_left = {kind: [score.negative_log_likelihood for score in scaled[kind]] for kind in scaled}
apart = evaluation.paired_difference(error_left["distilled"], error_left["plain"])
lower = evaluation.paired_difference(loss["distilled"], loss["plain"])
lower_left = evaluation.paired_difference(loss_left["distilled"], loss_left["plain"])
claim(
    "With one temperature each, the calibration errors of both kinds are small and don't differ clearly, and the "
    "distilled students' negative log-likelihood is clearly lower, by more than before",
    apart.low < 0 < apart.high and lower_left.high < 0 and lower_left.mean < lower.mean,
    calibration_error_of_distilled_students=at_most(
        fmean(error_left["distilled"]), 1.2, "percentage points", digits=2
    ),
    calibration_error_of_plain_students=at_most(
        fmean(error_left["plain"]), 1.2, "percentage points", digits=2
    ),
    lead_before=at_least(-lower.mean, 0.002, "nats", digits=3),
    lead_after=at_least(-lower_left.mean, 0.01, "nats", digits=3),
    lower_end_of_its_interval=at_least(-lower_left.high, 0.005, "nats", digits=3),
)
widgets.reveal("06-scaled", outcomes[1])

# %% [markdown]
# The lead was hidden: the distilled students' probabilities were better **and** too confident, and the negative
# log-likelihood is large for confident mistakes. Scaling only the distilled ones would have been unfair; scaling both
# shows what distillation did.

# %% [markdown]
# ## Does it predict as its teacher does?
#
# ### Exercise: agreement (easy, 4 minutes)
#
# Return the share of images for which student and teacher predict the same class, right or wrong.
#
# <details><summary>Hint 1</summary>
#
# Each image is a row of logits. The predicted class is the place of the largest one.
#
# </details>


# %%
from kdcourse.course.evaluate.exercises import agreement_with_teacher

# %%
check("agreement_with_teacher", agreement_with_teacher)

# %% folded=true
# With the recorded predictions of the ensemble, for the same reason as its accuracy.
recorded_agreement = {kind: [run["test"]["agreement"] for run in runs[kind]] for kind in runs}
closer = evaluation.paired_difference(recorded_agreement["distilled"], recorded_agreement["plain"])
highest = max(recorded_agreement["distilled"])
claim(
    "In every pair the distilled student agrees with the teacher more often, but still far from always",
    closer.low > 0
    and all(d > p for p, d in zip(recorded_agreement["plain"], recorded_agreement["distilled"], strict=True)),
    more=between(100 * closer.mean, 0.5, 0.9, "points", digits=2),
    highest_agreement=at_most(100 * highest, 96, "%", digits=1),
)

# %% [markdown]
# Stanton and colleagues (2021) found the same in larger networks: a student may gain accuracy without becoming a copy
# of its teacher. So don't conclude one from the other.

# %% [markdown]
# ## Where they differ
#
# So far you know how often the models are wrong. Now look at the images. Run the ensemble on the first test images, and
# browse: which model is wrong on which image, and which class did it predict? Next to each prediction you see its
# entropy in nats ({{lesson soft_targets}}): how uncertain it is.

# %%
few = 1500
ensemble = recorded.ensemble(data)
step = progress_bar("The five teachers", len(ensemble.members))
of_members = []
for member in ensemble.members:
    of_members.append(evaluation.predict(member, data.test.images[:few], data))
    step()
teacher_logits = torch.stack(of_members).mean(dim=0)
agree = use_answer("agreement_with_teacher", agreement_with_teacher)
for kind in logits:
    print(f"{kind}, seed 0: agrees on {agree(logits[kind][0][:few], teacher_logits):.1%} of these images")

# %%
predictions = {
    "teacher": teacher_logits,
    "plain": logits["plain"][0][:few],
    "distilled": logits["distilled"][0][:few],
}
widgets.mistake_browser(data.test.images[:few], labels[:few], data.classes, predictions)

# %%
show(
    figures.disagreements(
        data.test.images[:few],
        labels[:few],
        predictions["teacher"],
        predictions["distilled"],
        data.classes,
        limit=8,
    ),
    "the first eight test images for which teacher and distilled student predict different classes.",
)


# %% [markdown]
# Some of these images are hard to recognise for people, too, and some labels look wrong: that limits teacher and
# student alike. But where the plain student is wrong and the teacher is right, there was something to learn. How much of
# it did the distilled student of the same seed learn?


# %% folded=true
def count(**filters):
    return len(evaluation.find_mistakes(labels[:few], predictions, **filters))


to_learn = count(wrong=["plain"], right=["teacher"])
learned = count(wrong=["plain"], right=["teacher", "distilled"])
lost = count(wrong=["distilled"], right=["teacher", "plain"])
claim(
    "The distilled student corrects only some of the plain student's mistakes that the teacher doesn't make, and it "
    "makes others on images that teacher and plain student get right",
    0 < learned < 0.8 * to_learn and lost > 0,
    mistakes_to_correct=at_least(to_learn, 20, digits=0),
    corrected=at_most(100 * learned / to_learn, 80, "%", digits=0),
    new_mistakes=at_least(lost, 5, digits=0),
    mistakes_shared_by_all_three=at_least(count(wrong=["teacher", "plain", "distilled"]), 20, digits=0),
)

# %% [markdown]
# ## What it costs
#
# The purpose of distillation was a small network. How much smaller is it than the ensemble?

# %%
student = students[0]  # a distilled one; a plain one costs the same
step = progress_bar("The ensemble and the student", 2)
costs = []
for model in (ensemble, student):
    costs.append(evaluation.cost(model, data.image_shape, batch_size=16, seconds=0.3))
    step()
big, small = costs
times = evaluation.compare_cost(big, small)
print(
    f"parameters: {big.parameters:,} against {small.parameters:,}, {times.times_fewer_parameters:.0f} times fewer"
)
print(f"bytes: {big.bytes:,} against {small.bytes:,}, {times.times_smaller:.0f} times fewer")
print(f"multiply-accumulates per image: {times.times_fewer_macs:.0f} times fewer")

# %%
show_here(
    "Time per image",
    f"ensemble {big.latency_ms:.2f} ms, student {small.latency_ms:.2f} ms: {times.times_faster:.0f} times faster",
)

# %%
over_seeds = {kind: evaluation.mean_interval(accuracy[kind]) for kind in accuracy}
low, high = record["models"]["ensemble"]["interval"]["accuracy"]
points = [
    figures.CostPoint(
        "ensemble of five", teacher_accuracy, big.bytes, big.latency_ms, (low, high), "ensemble"
    )
]
points += [
    figures.CostPoint(
        f"{kind} student",
        over_seeds[kind].mean,
        small.bytes,
        small.latency_ms,
        (over_seeds[kind].low, over_seeds[kind].high),
        kind,
    )
    for kind in ("plain", "distilled")
]
show(
    figures.accuracy_against_cost(points),
    "test accuracy against size and time. The ensemble stands high on the right, both students lower on the left at "
    "one and the same cost, the distilled one a little above the plain one.",
)

# %% [markdown]
# The bars are 95 % intervals: over the seeds for the students, over the images for the ensemble.
#
# The distilled student's gain costs nothing at run time, since it is the same network. You pay for it in training:
# someone has to train five teachers and compute their predictions. If you have a good teacher already, that is cheap.

# %% [markdown]
# ### What is distillation worth in parameters?
#
# Instead of asking how much more accurate a distilled student is, you may ask: how large must a plain student be to reach
# the same accuracy? Train one pair of very small students yourself, on 5,000 images that no teacher has seen, as in
# {{lesson distil}}: one on the true labels, one on the teachers' answers.

# %%
task = few_labels(data, unlabelled=5_000)
labelled = replace(task.unlabelled, train=replace(task.unlabelled.train, labels=task.held_back))
settings = {"epochs": 6, "batch_size": 64, "learning_rate": 0.05, "optimizer": "muon", "weight_decay": 5e-3}
settings |= {"seed": 0, "validate": False, "progress": False}
bar = progress_bar("Two students", 2 * settings["epochs"] * (len(task.held_back) // settings["batch_size"]))
pair = []
for _ in range(2):
    torch.manual_seed(0)
    pair.append(models.build("pocket_6k"))
on_labels = fit(pair[0], labelled, **settings, after_step=bar)
on_answers = distil(
    pair[1], task.answers, task.unlabelled, temperature=2.0, alpha=1.0, **settings, after_step=bar
)

# %% folded=true
live = [100 * history.last.validation_accuracy for history in (on_labels, on_answers)]
learned = min(live) > 80
claim(
    "Two equal networks learn the task, one from labels and one from answers",
    learned,
    parameters=sum(p.numel() for p in pair[0].parameters()),
    on_true_labels=between(live[0], 83, 90, "%", digits=1),
    on_answers=between(live[1], 84, 92, "%", digits=1),
    lead_of_the_answers=between(live[1] - live[0], -1, 4, "points", digits=1),
)

# %% [markdown]
# One pair can be luck, in either direction. The course's study of sizes did the same with all 27,500 such images and
# several seeds, for networks of several sizes. All took over the augmentation that was best for `pocket_17k` on validation
# images; T was 4 for all. Then new seeds were evaluated once on the test images.
#
# **Predict:** how many parameters does a plain student need to be as accurate as the distilled one with 17,000?

# %% folded=true
factors = ["about as many: less than 1.5 times", "1.5 to 3 times as many", "more than 3 times as many"]
widgets.predict("06-worth", "The plain student needs", choices=factors)

# %% folded=true
size = study.study_named("size", shipped("study"))
by_size = size.summary(Rows(shipped("study"), "size").checked())
sizes = [entry for entry in by_size["sizes"] if "difference" in entry]
curves = study.stored()["size"]
show(
    figures.study_curves(
        figures.study_points(curves.lines),
        x=curves.x,
        title="Students of several sizes",
        teacher=curves.teacher,
    ),
    "test accuracy against the number of parameters, for students of true labels and of teachers' answers.",
)

# %% folded=true
needed = {}
print("parameters  true labels  answers  lead in points (interval)  a plain student as good needs")
for entry in sizes:
    ahead = {name: f"{100 * entry['difference'][name]:+.2f}" for name in ("mean", "low", "high")}
    needed[entry["model"]] = entry.get("worth", math.nan) / entry["parameters"]
    as_good = f"{needed[entry['model']]:.1f} times as many" if "worth" in entry else "not in the study"
    print(
        f"{entry['parameters']:10,}  {entry['plain']['accuracy']:11.1%}  {entry['taught']['accuracy']:7.1%}  "
        f"{ahead['mean']} ({ahead['low']} to {ahead['high']})      {as_good}"
    )
print(f"one teacher: {by_size['single']['accuracy']:.1%}; the five together: {by_size['ensemble']:.1%}")

# %% folded=true
claim(
    "To be as accurate as the distilled student of 17,000 parameters, a plain student needs about twice as many",
    1.5 < needed["pocket_17k"] < 3,
    times_as_many=between(needed["pocket_17k"], 1.5, 3, digits=1),
)

# %%
widgets.reveal(
    "06-worth", factors[0 if needed["pocket_17k"] < 1.5 else 1 if needed["pocket_17k"] <= 3 else 2]
)

# %% [markdown]
# The number is read from the line of the plain students, between its points. Look at the smallest student, too: it has no
# lead, and its interval includes 0, so the sign isn't settled. It learned at T = 4 as all others did, which is too high for
# it, as you saw in {{lesson distil}}. So even a careful study can be unfair to one of its candidates: the settings weren't
# chosen for this one.
#
# Now look at the largest student. It is as large as one teacher. Hinton, Vinyals and Dean distilled an ensemble into a
# network of that size, too (2015, section 4), and kept more than four fifths of the ensemble's lead. What do you see here?

# %% folded=true
leads = [100 * entry["difference"]["mean"] for entry in sizes if entry["parameters"] > 10_000]
ensemble_lead = 100 * (by_size["ensemble"] - sizes[-1]["plain"]["accuracy"])
claim(
    "From 17,000 parameters on, the larger the student, the less it gains from the teachers' answers",
    leads == sorted(leads, reverse=True),
    at_17_thousand=between(leads[0], 0.5, 1.5, "points", digits=1),
    at_the_size_of_a_teacher=between(leads[-1], 0, 0.3, "points", digits=1),
    share_of_the_lead_kept=between(100 * leads[-1] / ensemble_lead, 0, 35, "%", digits=0),
)

# %% [markdown]
# Learning from the answers to these images, a network of a teacher's size keeps only a tenth of the ensemble's lead. It
# had twelve epochs and T = 4 like all others; at its size, other settings might keep more. Nobody has searched for them
# here. What the study does show: distillation pays most where the student is small next to its teachers, yet large enough
# for what they tell it.

# %% [markdown]
# ## When it didn't help
#
# Reports tend to show the settings that worked. Here is every trial from before the ten students were trained: one seed
# each, judged on validation images. Points are distilled minus plain, for the same network, views and epochs.

# %%
trials = json.loads((folder / recorded.SEARCH).read_text())["rows"]


def shared_settings(row):
    """Return the settings that a distilled trial shares with its plain twin."""
    recipe = row["recipe"]
    return recipe["model"], recipe["epochs"], recipe["views"] or 0


twins = {shared_settings(row): row["validation_accuracy"] for row in trials if row["recipe"]["alpha"] == 0}
changes = []
for row in trials:
    alpha, temperature = row["recipe"]["alpha"], row["recipe"]["temperature"]
    if alpha > 0:
        points = 100 * (row["validation_accuracy"] - twins[shared_settings(row)])
        changes.append((*shared_settings(row), alpha, temperature, points))
print("network     epochs  views  alpha  T  points")
for model, epochs, views, alpha, temperature, change in sorted(changes, reverse=True):
    shown = round(change, 1) + 0  # not -0.0
    print(f"{model:10}  {epochs:6}  {views:5}  {alpha:5g}  {temperature:g}  {shown:+6.1f}")

# %% folded=true
hot = [change for model, *_, temperature, change in changes if model.startswith("mlp") and temperature >= 4]
claim(
    "Every small MLP distilled at a temperature of 4 or more did worse than its plain twin",
    max(hot) < 0,
    trials=len(hot),
    smallest_loss=at_least(-max(hot), 0.1, "percentage points", digits=1),
)

# %% [markdown]
# The convolutional students gained or stayed level; most MLPs lost. It isn't the number of parameters: the MLP that lost
# has 25 thousand, the convolutional student that gained 17 thousand. A possible reason: at a high temperature the student
# must learn how the teacher ranks unlikely classes, and a convolutional network may do so more easily than an MLP. These
# trials don't prove it: all of these MLPs were also trained without labels (alpha = 1).
#
# Look at one more thing. Some of these trials had the network, temperature and alpha of the recorded students, with
# fewer or more epochs. How large was the gain in those?

# %% folded=true
recipe = record["recipes"]["distilled"]
chosen = (recipe["model"], recipe["alpha"], recipe["temperature"])
trial_gains = [change for model, _, _, *rest, change in changes if (model, *rest) == chosen]
claim(
    "Each of those trials showed a larger gain than the five seeds did on test images",
    min(trial_gains) > 100 * gain,
    trials=len(trial_gains),
    smallest_gain_of_a_trial=at_least(min(trial_gains), 0.9, "points", digits=1),
    gain_over_five_seeds=between(100 * gain, 0.3, 0.7, "points", digits=1),
)

# %% [markdown]
# Part of this is chance: every trial is a single seed, and you saw how much single seeds differ. But part of it is
# systematic. Temperature and alpha were chosen **because** one of these trials had the highest result of all. It was
# partly lucky, and with new seeds and new images this luck doesn't repeat. The results on which you base a choice are
# too good on average.

# %% [markdown]
# ## Checklist
#
# 1. Use the same network, seeds, images and steps for plain and distilled. Give both the same **effort of tuning**, not
#    the same settings: a learning rate that suits one of them can make the other fail.
# 2. Choose on validation. Use the test images once, at the last epoch.
# 3. Train at least five paired seeds. Report the mean difference and its interval, not the best run.
# 4. Report the teacher's own accuracy, and the gap recovered only where there is a gap.
# 5. Report calibration, agreement and cost in addition to accuracy.
# 6. Report what you tried and what didn't help.

# %% [markdown]
# ## Quiz

# %%
widgets.quiz(
    "06",
    [
        widgets.Question(
            "Two students' Wilson intervals overlap on the same test images. What follows?",
            options=[
                widgets.Option(
                    "Nothing about which is better",
                    True,
                    "Both saw the same images, and only those on which they disagree matter. Use a paired test.",
                ),
                widgets.Option(
                    "They are equally good",
                    False,
                    "Overlapping intervals don't prove that two values are equal.",
                ),
                widgets.Option(
                    "More seeds are needed to compare these two networks",
                    False,
                    "Several seeds are for comparing methods. Compare these two networks by McNemar's test.",
                ),
            ],
        ),
        widgets.Question(
            "80 of 100 images are right. Someone tests the same network on 400 images. What happens to the interval's "
            "width?",
            options=[
                widgets.Option(
                    "It halves: from about 16 points to about 8",
                    True,
                    "The standard error is the root of 0.8 x 0.2 / n: 4 points for 100 images, 2 for 400. The interval "
                    "is about four standard errors wide.",
                ),
                widgets.Option(
                    "It becomes a quarter: from about 16 points to about 4",
                    False,
                    "n stands under a root: four times the images halve the width.",
                ),
                widgets.Option(
                    "It halves: from about 8 points to about 4",
                    False,
                    "Right about the half. But two standard errors lie on *either* side.",
                ),
            ],
        ),
        widgets.Question(
            "McNemar's test gives p = 0.2 for one pair. Over five seeds, the interval of the gain lies above 0. Which "
            "of the two is wrong?",
            options=[
                widgets.Option(
                    "Neither",
                    True,
                    "The test is about two networks that disagree on few images, the interval is about the method.",
                ),
                widgets.Option("The test", False, "It rightly says that this pair alone is no evidence."),
                widgets.Option(
                    "The interval",
                    False,
                    "Five differences of the same sign can be clear even if a single one isn't.",
                ),
            ],
        ),
        widgets.Question(
            "Plain 0.90, teacher 0.901, and five seeds that differ by up to a point. The gap recovered is 3. Report it?",
            options=[
                widgets.Option(
                    "No", True, "The gap is smaller than the noise, so a share of it means nothing."
                ),
                widgets.Option(
                    "Yes, the student passed its teacher",
                    False,
                    "Perhaps it did, but a division by nearly 0 can't show that.",
                ),
                widgets.Option(
                    "Yes, but as 1, the whole gap",
                    False,
                    "Limiting a number that means nothing doesn't give it a meaning.",
                ),
            ],
        ),
        widgets.Question(
            "A distilled student is more accurate, but its calibration error is twice as large. What do you do?",
            options=[
                widgets.Option(
                    "Report both, and try one temperature chosen on validation",
                    True,
                    "It changes no predicted class, and often fixes the confidence.",
                ),
                widgets.Option(
                    "Report accuracy, it is what counts",
                    False,
                    "That would mislead everyone who uses the confidence.",
                ),
                widgets.Option(
                    "Choose the temperature on the test images",
                    False,
                    "Then these images had a part in the choice, and can no longer be used to evaluate it.",
                ),
            ],
        ),
    ],
)

# %% [markdown]
# ## Recap
#
# - An accuracy comes with an interval: **Wilson's** for the draw of images, **Student's t** for the draw of seeds.
# - Compare two networks on the images where they **disagree** (McNemar), and two methods over **paired seeds**.
# - The recorded students **gained a little** and recovered a small share of the gap. Their calibration got worse, and
#   one temperature per student fixed it. Then their probabilities were clearly better than the plain ones'.
# - Distilled students **agree** somewhat more with their teacher and are far from copies of it.
# - Distillation **failed** for the small MLP at high temperature. That belongs in the report.
# - A result on which a choice was made is **too good** on average. Measure again on seeds and images that had no part
#   in the choice.
#
# Next: {{lesson segmentation}}, where every pixel gets a class. To distil on your own images, read them with
# `kdcourse.data.image_folder`, and call `distil` as you did here.
#
# ## References
#
# - Edwin B. Wilson (1927). Probable Inference, the Law of Succession, and Statistical Inference. Journal of the
#   American Statistical Association 22. https://doi.org/10.1080/01621459.1927.10502953
# - Quinn McNemar (1947). Note on the Sampling Error of the Difference Between Correlated Proportions or Percentages.
#   Psychometrika 12. https://doi.org/10.1007/BF02295996
# - Edgar C. Fieller (1954). Some Problems in Interval Estimation. Journal of the Royal Statistical Society B 16.
#   https://doi.org/10.1111/j.2517-6161.1954.tb00159.x
# - Chuan Guo, Geoff Pleiss, Yu Sun, Kilian Q. Weinberger (2017). On Calibration of Modern Neural Networks. ICML 2017.
#   https://arxiv.org/abs/1706.04599
# - Samuel Stanton, Pavel Izmailov, Polina Kirichenko, Alexander A. Alemi, Andrew Gordon Wilson (2021). Does Knowledge
#   Distillation Really Work? NeurIPS 2021. https://arxiv.org/abs/2106.05945
# - Geoffrey Hinton, Oriol Vinyals, Jeff Dean (2015). Distilling the Knowledge in a Neural Network.
#   https://arxiv.org/abs/1503.02531
#
# All terms: [glossary](glossary.md).
