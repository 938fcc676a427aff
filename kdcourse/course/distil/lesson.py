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
# A label says what an image shows. A teacher's answer also says what it resembles. Which of the two teaches a small
# network more? In this lesson you write the objective that a student learns from and the step that trains it. You
# compare answers with labels on images that no teacher has seen. Then you change the student, the length of training and
# the temperature, and see whether the result stays the same.
#
# ## Objectives
#
# By the end of this lesson you can
#
# - write the distillation objective and one step of distillation, and avoid the most common mistakes;
# - compare labels with a teacher's answers fairly, and find out what each part of an answer teaches;
# - choose a temperature that suits the student and the length of training, without fooling yourself;
# - decide which view of an image the teacher should see.
#
# **Builds on:** {{lesson train_a_teacher}} (the training loop),
# {{lesson soft_targets}} (soft targets, temperature, why T squared).
#
# **Time:** {{reading_minutes}} minutes to read, {{exercise_minutes}} minutes for the exercises; the machine works
# for {{machine_seconds}}.
#
# Words that are new to you are in the [glossary](glossary.md). The code of some cells is folded, since only their output
# matters now.

# %%
from dataclasses import replace

from kdcourse import evaluation, figures, models, widgets
from kdcourse.course import at_least, at_most, between, check, claim, progress_bar, show, use_answer
from kdcourse.data import Augmentation, View, fashion_mnist
from kdcourse.distillation import SoftTargets, distil, distil_grid, hinton_loss, kd_divergence, soft_targets
from kdcourse.errors import ArgumentError
from kdcourse.files import shipped
from kdcourse.runs import recorded, study
from kdcourse.runs.few_labels import few_labels
from kdcourse.runs.study.rows import Rows
from kdcourse.training import fit

import torch
import torch.nn.functional as F

# %% [markdown]
# ## Teachers, images, student
#
# Five teachers were trained on one half of the training images. The student learns from the other half, which they
# never saw: first from 5,000 of these images. The teachers' averaged logits for them came with the course, one row per
# image. This row is the teachers' **answer**.
#
# The student is a small convolutional network.

# %%
data = fashion_mnist()
task = few_labels(data, unlabelled=5_000)
torch.manual_seed(0)
student = models.build("pocket_60k")
print(
    f"{len(task.unlabelled.train):,} images that the teachers never saw; {len(data.validation):,} to evaluate on"
)
print(f"student: {sum(p.numel() for p in student.parameters()):,} parameters")

# %% [markdown]
# Here are the predictions of both for one shirt at temperature 4, before any training of the student. The student knows
# nothing yet, so its bars are about equally high. Distillation will make the two sets of bars more alike.

# %%
shirt = data.classes.index("Shirt")
place = int(((task.held_back == shirt) & (task.logits.argmax(dim=1) == shirt)).nonzero()[0])
image = task.unlabelled.train.images[place : place + 1]
student.eval()
with torch.no_grad():
    student_logits = student(data.normalise(image))
show(
    figures.softened_bars(
        image[0], {"teachers": task.logits[place], "student": student_logits[0]}, shirt, data.classes, 4.0
    ),
    "a shirt and its softened probabilities at temperature 4: the teachers prefer some classes, the untrained "
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
# because softening makes gradients smaller, at high temperatures by about T squared, as you saw in
# {{lesson soft_targets}}.
#
# ### Exercise: the distillation term (medium, 8 minutes)
#
# Fill in the three gaps. `F.kl_div(a, b, reduction="batchmean", log_target=True)` takes log-probabilities on both sides
# and gives KL(b || a), averaged over the batch. What you write trains the next student.
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
# ## A label or an answer?
#
# Two students learn from the same 5,000 images. One gets the true labels. The other never sees a label, only the
# teachers' answers, at T = 4. They start from the same weights, and see the images in the same order and equally often.
#
# The teachers aren't always right. For how many of these images is the class that they find most likely not the label?

# %%
top_class = task.logits.argmax(dim=1)
mistaken = int((top_class != task.held_back).sum())
print(f"The teachers' most likely class is wrong for {mistaken} of {len(top_class):,} images.")

# %% [markdown]
# So one student learns from labels that people checked, the other from answers with these mistakes in them.
#
# **Predict:** which student will classify more of the validation images correctly?

# %% folded=true
labels_or_answers = [
    "the one with true labels",
    "neither: they differ by less than half a point",
    "the one with the teachers' answers",
]
widgets.predict("05-label-or-answer", "The better student is", choices=labels_or_answers)

# %% [markdown]
# Training takes some seconds. `distil` looks up the answers that belong to each batch and passes them to the objective,
# here your distillation term. The optimizer, Muon, is the one of {{lesson train_a_teacher}}. A *point* is one percentage
# point of accuracy.

# %%
term = use_answer("distillation_term", distillation_term)
settings = {"epochs": 4, "batch_size": 64, "learning_rate": 0.05, "optimizer": "muon", "weight_decay": 5e-3}
settings |= {"seed": 0, "validate": False, "progress": False}
bar = progress_bar(
    "Two students", 2 * settings["epochs"] * (len(task.unlabelled.train) // settings["batch_size"])
)


def fresh_student():
    """Return a student with the same initial weights each time."""
    torch.manual_seed(0)
    return models.build("pocket_60k")


def with_labels(labels):
    """Return the 5,000 images with these labels."""
    return replace(task.unlabelled, train=replace(task.unlabelled.train, labels=labels))


def distance(logits, batch):
    """Return how far the student's logits are from the teachers' answers to this batch."""
    return term(logits, batch.teacher_logits, 4.0)


label_student, answer_student = fresh_student(), fresh_student()
on_labels = fit(label_student, with_labels(task.held_back), **settings, after_step=bar)
on_answers = distil(
    answer_student, task.answers, task.unlabelled, objective=distance, **settings, after_step=bar
)

# %% folded=true
found = {
    "true labels": 100 * on_labels.last.validation_accuracy,
    "answers": 100 * on_answers.last.validation_accuracy,
}
lead = found["answers"] - found["true labels"]
claim(
    "The student that never saw a label classifies more images correctly than the student of the true labels",
    lead > 0,
    on_true_labels=between(found["true labels"], 80, 92, "%", digits=1),
    on_answers=between(found["answers"], 84, 94, "%", digits=1),
    lead_of_the_answers=at_least(lead, 0.2, "points", digits=1),
)

# %%
widgets.reveal("05-label-or-answer", labels_or_answers[2 if lead > 0.5 else 0 if lead < -0.5 else 1])

# %% [markdown]
# Here are some of the validation images on which the two differ, with what each of them says.

# %%
said_by_labels, said_by_answers = (
    evaluation.predict(each, data.validation, data) for each in (label_student, answer_student)
)

# %%
show(
    figures.disagreements(
        data.validation.images, data.validation.labels, said_by_labels, said_by_answers, data.classes, limit=8,
        names=("label student", "answer student"),
    ),
    "eight images on which the student of the labels and the student of the answers predict different classes, each "
    "with both predictions, marked right or wrong, and their confidence.",
    photographs=True,
)  # fmt: skip

# %% [markdown]
# One pair could be luck. And what happens with fewer images, or with more? The course comes with a **study** of this
# question: the same network, about 1,000 steps each, settings chosen on validation images, then several new seeds per point,
# evaluated once on the test images.

# %% folded=true
curves = study.stored()["labels"]
rows = Rows(shipped("study"), "labels").checked()
results = study.study_named("labels", shipped("study")).summary(rows)

# %%
show(
    figures.study_curves(
        figures.study_points(curves.lines),
        x=curves.x,
        title=curves.title,
        teacher=curves.teacher,
    ),
    "test accuracy against the number of images. The line of the teachers' answers lies above the line of the true "
    "labels wherever both were measured.",
)

# %% folded=true
on_true_labels = {entry["images"]: entry["accuracy"] for entry in results["labels"]}
print("images  true labels  answers  lead in points (interval)  labels needed")
for entry in results["answers"]:
    ahead = {name: f"{100 * entry['difference'][name]:+.1f}" for name in ("mean", "low", "high")}
    needed = f"{entry['worth']:,.0f}" if "worth" in entry else f"more than {entry['more_than']:,}"
    print(
        f"{entry['images']:6,}  {on_true_labels[entry['images']]:11.1%}  {entry['accuracy']:7.1%}  "
        f"{ahead['mean']} ({ahead['low']} to {ahead['high']})        {needed}"
    )

# %% [markdown]
# The dashed line is the accuracy of the five teachers together, which are far larger than the student. In the table, the
# interval is the 95 % interval of the lead over the seeds. The last column says how many labels the student of the
# labels needs to be as accurate as the student of these answers, read from its line in the figure.
#
# ### Why?
#
# An answer differs from a label in two ways. Its most likely class may be another one, and it has nine further
# probabilities. A third student tells you which of the two matters: it gets the same answers, reduced to their most
# likely class.
#
# **Predict:** where will the third student end?

# %% folded=true
third = [
    "nearer to the student of the true labels",
    "nearer to the student of the whole answers",
]
widgets.predict(
    "05-top-class", "With only the most likely class of each answer, the student ends", choices=third
)

# %%
bar = progress_bar(
    "A third student", settings["epochs"] * (len(task.unlabelled.train) // settings["batch_size"])
)
on_top_class = fit(fresh_student(), with_labels(top_class), **settings, after_step=bar)
found["top class"] = 100 * on_top_class.last.validation_accuracy

# %%
# A similar comparison in a study of methods: the same network, more images, five seeds.
compared = study.study_named("methods", shipped("study"))
[hard] = [
    entry
    for entry in compared.summary(Rows(shipped("study"), "methods").checked())["methods"]
    if entry["row"] == "hard answers"
]
whole = {
    end: -100 * hard["against_kd"][other]
    for end, other in (("mean", "mean"), ("low", "high"), ("high", "low"))
}
studied = whole["low"] > 0
claim(
    "Over the seeds of a study, the whole answers teach more than their most likely classes",
    studied,
    lead_in_the_study=f"{whole['mean']:+.1f} points ({whole['low']:+.1f} to {whole['high']:+.1f})",
    on_the_most_likely_class=between(found["top class"], 80, 92, "%", digits=1),
    most_likely_class_against_true_labels=between(
        found["top class"] - found["true labels"], -4, 4, "points", digits=1
    ),
    whole_answers_against_the_most_likely_class=between(
        found["answers"] - found["top class"], -1, 4, "points", digits=1
    ),
)

# %% folded=true
nearer = abs(found["top class"] - found["answers"]) < abs(found["top class"] - found["true labels"])
widgets.reveal("05-top-class", third[1 if nearer else 0])

# %% [markdown]
# So the advantage is in the other nine probabilities, which Hinton, Vinyals and Dean called *dark
# knowledge*. They say for each shirt how much it resembles a T-shirt, a pullover or a coat. A label says the same about
# every shirt. And what about the answers whose most likely class is wrong? In most of them, the correct class comes
# next:

# %%
second = task.logits.topk(2).indices[:, 1]
close_behind = (second == task.held_back)[top_class != task.held_back]
print(
    f"Of the {mistaken} answers with a wrong most likely class, {int(close_behind.sum())} have the correct class in "
    "second place."
)

# %% [markdown]
# Images are cheap, labels are expensive, and a teacher can answer for any number of images. This is often the strongest
# reason to distil. The images on which a student learns from the teacher are a **transfer set**. (In 2006 Buciluă,
# Caruana and Niculescu-Mizil generated theirs synthetically, without a single label.)

# %% [markdown]
# ## Teacher and labels together
#
# If you have labels as well, the **objective** adds a term for them. `alpha` is the teacher's weight and `1 - alpha` the
# labels' weight. The labels' term is the ordinary cross-entropy at temperature 1. Above, alpha was 1.
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
# Try it on 256 of the images, with random numbers in place of a student's logits. At alpha = 0 the teacher has no
# weight, and at alpha = 1 the labels have none.

# %%
both = use_answer("objective", objective)
z = torch.randn(256, 10, generator=torch.Generator().manual_seed(0))
loss = {alpha: both(z, task.logits[:256], task.held_back[:256], 4.0, alpha) for alpha in (0.0, 0.5, 1.0)}
for alpha, value in loss.items():
    print(f"alpha = {alpha}: {value:.2f}")

# %%
claim(
    "At alpha = 0 the objective is the labels' cross-entropy, at alpha = 1 the distillation term, and in between "
    "their weighted mean",
    torch.allclose(loss[0.0], F.cross_entropy(z, task.held_back[:256]))
    and torch.allclose(loss[1.0], kd_divergence(z, task.logits[:256], 4.0))
    and torch.allclose(loss[0.5], (loss[0.0] + loss[1.0]) / 2),
    images=len(z),
)

# %% [markdown]
# How far do a few labels and many answers get together? The study has such students, too, with more training than above:
# some learn from 550 labels alone, the others from the same labels and the teachers' answers to 27,500 images.

# %% folded=true
together = results["few"][-1]
print(
    f"550 labels alone: {together['plain']['accuracy']:.1%} of the test images (mean of {together['seeds']} seeds)"
)

# %%
widgets.predict(
    "05-few-labels",
    "With the answers to 27,500 images in addition, the mean accuracy on the test images is",
    number=(80, 95, 0.5),
    unit="%",
)

# %%
widgets.reveal("05-few-labels", round(100 * together["accuracy"], 1), unit="%")

# %% folded=true
print(
    f"550 labels and the answers: {together['accuracy']:.1%}, {100 * together['difference']['mean']:+.1f} points.\n"
    f"That is {together['gap_recovered']['value']:.0%} of the way from the labels alone to the five teachers."
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
# How could you notice such a mistake? You know by now how often the teachers agree with the labels. So compare before
# training: does the answer to each image of a batch match the image's label?

# %%
look_up = use_answer("targets_for_batch", targets_for_batch)
order = torch.randperm(len(top_class), generator=torch.Generator().manual_seed(1))
batch_labels = task.held_back[order[:2000]]
aligned = (look_up(task.logits, order, 0, 2000).argmax(1) == batch_labels).double().mean().item()
shifted = (task.logits[:2000].argmax(1) == batch_labels).double().mean().item()

# %%
claim(
    "Soft targets looked up by image agree with the labels; those in stored order agree only by chance",
    aligned > 0.9 and shifted < 0.15,
    looked_up=at_least(100 * aligned, 90, "%", digits=1),
    in_stored_order=at_most(100 * shifted, 15, "%", digits=1),
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
# return the loss as a number. Your step then trains a student for two epochs.
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
# The loop around your step shuffles 2,000 images in each of two epochs. Of the five teachers above only the answers come
# with the course. So the teacher that runs here is another one, trained on all the images.

# %%
step = use_answer("distil_step", distil_step)
pupil, teacher = fresh_student(), recorded.ensemble(data).members[0]
optimizer = torch.optim.SGD(pupil.parameters(), lr=0.05, momentum=0.9)
images, image_labels = task.unlabelled.train.images[:2000], task.held_back[:2000]
bar = progress_bar("Your step, 80 times", 80)
losses, accuracies = [], []
for epoch in range(2):
    for batch in torch.randperm(2000, generator=torch.Generator().manual_seed(epoch)).split(50):
        losses.append(
            step(pupil, teacher, data.normalise(images[batch]), image_labels[batch], optimizer, 4.0, 0.9)
        )
        bar()
    predicted = evaluation.predict(pupil, data.validation, data)
    accuracies.append(evaluation.accuracy(predicted, data.validation.labels))

# %%
show(
    figures.run_curves(
        {
            "your step": figures.RunCurve(
                losses=[((number + 1) / 40, value) for number, value in enumerate(losses)],
                accuracies=list(enumerate(accuracies, start=1)),
            )
        }
    ),
    "the loss of each of the 80 steps, which falls from step to step with some noise, and the validation accuracy after "
    "each of the two epochs.",
)

# %% folded=true
first, last = sum(losses[:10]) / 10, sum(losses[-10:]) / 10
claim(
    "The step trains: the loss falls, and the student learns to classify images",
    last < first,
    loss_of_the_last_ten_steps_over_that_of_the_first_ten=at_most(last / first, 0.7, digits=2),
    accuracy_after_two_epochs=at_least(100 * accuracies[-1], 60, "%", digits=1),
)

# %% [markdown]
# The package's `distil` runs this step in a loop. It looks up the teacher's predictions and doesn't compute them again.
# For a student of your own it is one call:
#
# ```python
# history = distil(student, teacher, data, temperature=4, alpha=0.9, epochs=13, seed=0)
# ```
#
# `distil_grid` trains many small students at once, with the same result as if each were trained alone. You will use it
# now.
#
# ## Another student, a shorter schedule
#
# Now take a student without convolutions, an **MLP** with one hidden layer of 32 units, and 26,950 images that the
# teachers never saw. Training is short: two epochs, in batches of 256. Five students learn from the true labels. Their
# five twins, with the same seeds, learn from the teachers' answers at T = 4.
#
# **Predict:** how do the twins compare?

# %% folded=true
short_outcomes = [
    "the twins with answers are better, as above",
    "there is no clear difference",
    "the twins with answers are worse",
]
widgets.predict("05-short", "After two epochs, on average over five seeds,", choices=short_outcomes)

# %%
half = few_labels(data, unlabelled=26_950)
half_labelled = replace(half.unlabelled, train=replace(half.unlabelled.train, labels=half.held_back))
short = {
    "epochs": 2,
    "batch_size": 256,
    "optimizer": "adamw",
    "learning_rates": (5e-3,),
    "weight_decay": 0.01,
}
short |= {"validate": False, "progress": False}
temperatures, seeds = (1.0, 2.0, 4.0), tuple(range(5))
half_answers = SoftTargets([View()], [half.logits], [None], half_labelled.train, half.answers.teacher)
bar = progress_bar("Students of two epochs", short["epochs"])
grid = distil_grid(
    temperatures, (0.0, 1.0), seeds, data=half_labelled, teacher=half_answers, after_epoch=bar, **short
)


def of(result, temperature, alpha):
    """Return the validation accuracy of each seed, 0 to 1, after the last epoch."""
    return [
        row["validation_accuracy"]
        for row in result.table
        if (row["temperature"], row["alpha"]) == (temperature, alpha)
    ]


plain, at_four = of(grid, 4.0, 0.0), of(grid, 4.0, 1.0)
change = evaluation.paired_difference(at_four, plain)

# %%
claim(
    "With this student and this schedule, answers at T = 4 are worse than the true labels",
    change.high < 0,
    change=at_most(
        [100 * (new - old) for new, old in zip(at_four, plain, strict=True)], -0.7, "points", digits=1
    ),
)

# %%
widgets.reveal("05-short", short_outcomes[2 if change.high < 0 else 0 if change.low > 0 else 1])

# %% [markdown]
# The same loss, the same teachers, and answers lose. What differs from before are the student and how it is trained: fewer
# steps, though on more images, with another optimizer and larger batches.
#
# ### Why?
#
# Look at what the loss asks of a student. For each image, its gradient says by how much each of the ten logits should
# change. Add up how much of this is about the two classes that the teachers find most likely, and how much about the
# other eight, which hardly ever win. Here it is for one of the plain students above.

# %%
some = torch.arange(5_000)
mlp = grid.student(temperature=1.0, alpha=0.0, seed=0)
mlp_logits = evaluation.predict(mlp, half_labelled.train.images[some], data)
likely_two = half.logits[some].topk(2).indices
about_others = {}
for temperature in temperatures:
    asked = ((mlp_logits / temperature).softmax(1) - (half.logits[some] / temperature).softmax(1)).abs()
    about_others[temperature] = 100 * float(1 - asked.gather(1, likely_two).sum() / asked.sum())

# %%
claim(
    "The higher the temperature, the more of the gradient is about the eight classes that the teachers find unlikely",
    about_others[1.0] < about_others[2.0] < about_others[4.0],
    at_T_1=between(about_others[1.0], 10, 50, "%", digits=0),
    at_T_2=between(about_others[2.0], 20, 60, "%", digits=0),
    at_T_4=between(about_others[4.0], 40, 80, "%", digits=0),
)

# %% [markdown]
# This detail made the answers useful to the convolutional student. But a student must be able to reproduce it, and needs
# the steps to learn it. A likely reason is therefore that this student spends its few steps on the order of unlikely
# classes, and learns less about the class that it has to predict. Cho and Hariharan (2019) describe students that can't
# imitate their large teachers, and call it a mismatched capacity.
#
# Is the MLP simply too small? You can find out at the end of this lesson: `pocket_17k`, which is convolutional, has
# fewer parameters.

# %% folded=true
print({name: models.names()[name] for name in ("mlp_25k", "pocket_17k")})

# %% [markdown]
# ## What can be changed?
#
# **Predict:** which change repairs it, with the same student and the same two epochs?

# %% folded=true
repairs = [
    "a higher temperature, T = 8",
    "a lower temperature, T = 1",
    "none: this student can't learn from answers",
]
widgets.predict("05-repair", "The student gets as good as its twin with true labels by", choices=repairs)

# %% [markdown]
# The cell above has trained students at T = 1 and T = 2, too. A row below shows five differences, seed by seed, their
# mean, and a 95 % interval for that mean. If the interval lies to one side of 0, luck is an unlikely explanation
# ({{lesson evaluate}} explains this in detail).

# %%
show(
    figures.paired_differences(
        {
            f"answers at T = {temperature:g}": (plain, of(grid, temperature, 1.0))
            for temperature in reversed(temperatures)
        }
    ),
    "differences from the students of true labels, seed by seed: left of 0 at T = 4, nearer to it at T = 2, and about 0 "
    "or a little right of it at T = 1.",
)

# %% folded=true
at_one = of(grid, 1.0, 1.0)
repaired = evaluation.paired_difference(at_one, at_four)
claim(
    "At T = 1 the students of the answers are better than at T = 4, and no worse than those of the true labels",
    repaired.low > 0,
    T_1_against_T_4=at_least(
        [100 * (new - old) for new, old in zip(at_one, at_four, strict=True)], 1, "points", digits=1
    ),
    T_1_against_true_labels=at_least(
        [100 * (new - old) for new, old in zip(at_one, plain, strict=True)], -0.5, "points", digits=1
    ),
)

# %%
widgets.reveal("05-repair", repairs[1 if repaired.low > 0 else 2])

# %% [markdown]
# So without a single label, students at T = 1 are about as good as those with all the labels. A rule of thumb: **if the
# schedule is short or the student simple, try a low temperature first.** Would longer training repair it, too? That is a
# question for you, at the end of this lesson.

# %% [markdown]
# A part of the harm may come from the learning rate: all temperatures had the same one here, and what suits one may be
# too high for another. The course's study of short budgets searched a rate for each temperature, for a convolutional
# student, and then trained it with five new seeds:

# %%
budgets = study.study_named("budgets", shipped("study")).summary(Rows(shipped("study"), "budgets").checked())
leads = {}
for entry in budgets["budgets"]:
    leads[entry["epochs"], entry["temperature"]] = 100 * entry["difference"]["mean"]
    print(
        f"{entry['epochs']} epochs, T = {entry['temperature']:g}: answers {entry['taught']['accuracy']:.1%}, "
        f"true labels {entry['plain']['accuracy']:.1%}, {leads[entry['epochs'], entry['temperature']]:+.1f} points"
    )

# %% folded=true
lost = {epochs: leads[epochs, 1.0] - leads[epochs, 4.0] for epochs in sorted({key[0] for key in leads})}
claim(
    "With a learning rate of its own, T = 4 loses little against T = 1, and after longer training nothing",
    max(lost.values()) < 2 and lost[max(lost)] < 0.5,
    most_lost_at_T_4=between(max(lost.values()), 0, 2, "points", digits=1),
    lost_after_eight_epochs=between(lost[max(lost)], -1, 0.5, "points", digits=1),
)

# %% [markdown]
# ### And the student's size?
#
# Another study asked which temperature suits which student. Four convolutional students of 2,000 to 61,000 parameters and
# the MLP learned for nearly 1,000 steps, from the labels or from answers at four temperatures, with five seeds each.
#
# **Predict:** which needs the lower temperature, the smallest or the largest of the convolutional students?

# %% folded=true
needs_low = ["the smallest one", "the largest one", "neither: the same temperature is best for both"]
widgets.predict("05-size", "The lower temperature is needed by", choices=needs_low)

# %% folded=true
students = study.study_named("temperature", shipped("study")).summary(
    Rows(shipped("study"), "temperature").checked()
)["students"]
gains = {
    (entry["model"], entry["steps"], entry["temperature"]): 100 * entry["difference"]["mean"]
    for entry in students
}
lengths = sorted({(models.names()[name], name, steps) for name, steps, _ in gains})
print("answers minus labels, in points      T = 1  T = 2  T = 4  T = 8")
for parameters, name, steps in lengths:
    row = "  ".join(f"{gains[name, steps, temperature]:+5.2f}" for temperature in (1.0, 2.0, 4.0, 8.0))
    print(f"{name:10}  {parameters:6,} parameters, {steps:,} steps  {row}")

# %% folded=true
small, large = "pocket_2k", "pocket_60k"
cost = {name: gains[name, 1_000, 2.0] - gains[name, 1_000, 8.0] for name in (small, large)}
claim(
    "T = 8 costs the smallest student a lot against T = 2, and the largest one nothing",
    cost[small] > 1 and cost[large] < 0.5,
    cost_for_the_smallest=at_least(cost[small], 1, "points", digits=2),
    cost_for_the_largest=at_most(cost[large], 0.5, "points", digits=2),
)

# %%
best_of_size = [
    max((1.0, 2.0, 4.0, 8.0), key=lambda temperature: gains[name, 1_000, temperature])
    for name in (small, large)
]
widgets.reveal(
    "05-size",
    needs_low[0 if best_of_size[0] < best_of_size[1] else 1 if best_of_size[0] > best_of_size[1] else 2],
)

# %% [markdown]
# So a high temperature costs the smallest student most, and the largest one nothing; T = 2 is best for the three smaller
# ones. And it isn't only the size: the MLP, with more parameters than `pocket_17k`, needs T = 1.
#
# Is it a question of time again? No: with several times as many steps, T = 8 stays worse than T = 2 for the smallest student
# (second row). Here is what these students learned, as their distance from the teachers (KL) on images of the transfer
# set, once at T = 1 and once at T = 4:

# %% folded=true
for entry in students:
    if (entry["model"], entry["steps"]) == (small, 6_000):
        print(
            f"learned at T = {entry['temperature']:g}: KL {entry['kl_1']:.3f} nats at T = 1, "
            f"{entry['kl_4']:.3f} nats at T = 4"
        )

# %% [markdown]
# A student that learns at a high temperature gets closer to its teachers where probabilities are softened, so it has
# learned what it was asked. In exchange it moves away from them at T = 1, where it decides on a class. A large student
# has room for both, a small one has to choose.

# %% [markdown]
# ## Choosing without fooling yourself
#
# Which temperature and which alpha are best depends on student, data and schedule, so you try several. Train a map of
# them yourself: until you press **Train**, it shows the students above; then it fills in epoch by epoch. In the bottom
# row alpha is 0. There is no teacher, so the temperature has no effect, and the row must be constant. **Stop** keeps the
# results so far.

# %%
widgets.live_heat_map(
    (1.0, 2.0, 4.0, 8.0), (0.0, 0.5, 1.0), (0, 1), data=half_labelled, teacher=half_answers, epochs=2, result=grid,
    optimizer="adamw", learning_rates=(5e-3,), weight_decay=0.01,
)  # fmt: skip

# %% [markdown]
# The best of many cells is best partly by luck: its seeds happened to be good ones. So its number in the map is
# probably too high. The solution costs little: choose on some seeds, then measure on other seeds that had no part in
# the choice.

# %%
cells = grid.mean()
chosen = max(temperatures, key=lambda temperature: cells[temperature, 1.0])
fresh = tuple(range(100, 110))
bar = progress_bar("Twenty students of new seeds", short["epochs"])
again = distil_grid(
    (chosen, 4.0), (1.0,), fresh, data=half_labelled, teacher=half_answers, after_epoch=bar, **short
)
confirmed = evaluation.paired_difference(of(again, chosen, 1.0), of(again, 4.0, 1.0))

# %%
claim(
    "The temperature that was chosen on five seeds is better than T = 4 for ten new seeds, too",
    confirmed.low > 0,
    chosen_temperature=f"{chosen:g}",
    gain_in_points=at_least(100 * confirmed.mean, 1, "points", digits=1),
    lower_end_of_the_interval=at_least(100 * confirmed.low, 0.6, "points", digits=1),
)

# %% [markdown]
# Every setting so far was chosen on validation images. Only the stored studies have used the test images, for their
# results.

# %% [markdown]
# ## Which view does the teacher see?
#
# Augmentation shifts, mirrors and covers images, so that the student sees a new view of an image each time. Which one
# should the teacher see: the original image, or the augmented view that the student sees? Here is one image
# and two views of it, with the predictions of the teacher that ran in your loop.

# %%
strong = Augmentation(shift=3, flip=True, erase=1.0, erase_sides=(8, 14))
views = [View(strong, 0, number) for number in range(2)]
few = task.labelled
spot = (few.train.labels == shirt).nonzero()[:1, 0]
image = few.train.images[spot]
shown = torch.cat([image, *(view.apply(image, spot) for view in views)])
show(
    figures.soft_target_gallery(
        shown,
        evaluation.predict(teacher, shown, data),
        few.train.labels[spot].repeat(3),
        data.classes,
        temperatures=(1, 4),
    ),
    "a shirt as it is and in two views, shifted and partly covered, each beside the teacher's soft targets; "
    "they differ from view to view.",
)

# %% [markdown]
# Beyer and colleagues (2022) give the augmented view to both. The student then copies one function on as many inputs as
# you like. They call this **function matching**, and the student gets better the longer it trains. The alternative is
# cheaper: one prediction per image, for the original, which is paired with all its views.
#
# **Predict:** five MLPs learn from two strong views of 550 images, with the teacher's predictions for exactly these
# views. Their five twins get the same views, paired with the predictions for the original images.

# %% folded=true
teacher_saw = [
    "those with predictions for the views",
    "those with predictions for the original images",
    "neither",
]
widgets.predict("05-views", "Which of them classify more validation images correctly?", choices=teacher_saw)

# %%
every = torch.arange(len(few.train))
matching = soft_targets(teacher, few.train, few, views=[View(), *views], progress=False)
of_originals = matching.logits(View(), every)
mixed_up = SoftTargets(views, [of_originals] * len(views), [None] * len(views), few.train, matching.teacher)
small = {
    "epochs": 30,
    "batch_size": 50,
    "optimizer": "adamw",
    "learning_rates": (3e-3,),
    "weight_decay": 0.01,
}
small |= {"validate": False, "progress": False, "augmentation": strong, "views": len(views)}
bar = progress_bar("Ten students", 2 * small["epochs"])
matched, mismatched = (
    of(distil_grid((4.0,), (1.0,), seeds, data=few, teacher=targets, after_epoch=bar, **small), 4.0, 1.0)
    for targets in (matching, mixed_up)
)
better = evaluation.paired_difference(matched, mismatched)

# %%
claim(
    "Students are better if their soft targets are for the same views, not for the original images",
    better.low > 0,
    gain=at_least(
        [100 * (new - old) for new, old in zip(matched, mismatched, strict=True)], 0.3, "points", digits=1
    ),
)

# %%
widgets.reveal("05-views", teacher_saw[0 if better.low > 0 else 1 if better.high < 0 else 2])

# %% [markdown]
# A likely reason: the teacher mostly predicts the same class for a covered image, but it is less confident. Its
# probabilities show which other classes the view resembles. The predictions for the original images don't contain this
# information.

# %%
of_view = matching.logits(views[0], every)
on_original, on_view = (
    torch.softmax(each / 4, dim=1).max(dim=1).values.mean().item() for each in (of_originals, of_view)
)

# %%
claim(
    "For a view the teacher mostly predicts the same class as for the original image, but less confidently",
    evaluation.agreement(of_view, of_originals) > 0.8 and on_view < on_original - 0.05,
    same_class=at_least(100 * evaluation.agreement(of_view, of_originals), 80, "%", digits=1),
    mean_confidence_at_T_4_for_originals=between(on_original, 0.4, 0.8, digits=2),
    mean_confidence_at_T_4_for_views=between(on_view, 0.3, 0.7, digits=2),
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
    task.answers.logits(views[0], every)
except ArgumentError as error:
    print(str(error).split(";")[0])

# %% [markdown]
# ### Do views pay?
#
# That depends on the student. To an MLP, a shifted image is a completely new one. A convolution finds the same pattern
# wherever it is.
#
# The first study of this lesson has tried this for 550 images and its convolutional student, on validation images: the
# original images alone, or a new view in every epoch, shifted by at most one pixel and mirrored half of the time. These views are so
# gentle that the label and the answer of the original image were kept for them.
#
# **Predict:** how much do gentle views add when the student learns from answers?

# %% folded=true
added = ["nothing, or less than that", "up to half a point", "more than half a point"]
widgets.predict(
    "05-gentle-views", "Gentle views of 550 images add, on average over three seeds,", choices=added
)

# %% folded=true
shown_as = {"None": "original images", "shift1-flip1-erase0x4to12": "gentle views"}
by_views, gained = {}, {}
for row in rows:
    how, about = row["recipe"], row["about"]
    views_of_row = shown_as.get(str(how["augmentation"]))
    taught_at_four = about["kind"] == "labels" or how["temperature"] == 4
    if row["phase"] == "search" and about["images"] == 550 and taught_at_four and views_of_row:
        by_views.setdefault((about["kind"], views_of_row), {})[row["seed"]] = row["validation_accuracy"]
for kind in ("labels", "answers"):
    before, after = (by_views[kind, name] for name in shown_as.values())
    gained[kind] = [100 * (after[seed] - before[seed]) for seed in sorted(after)]
    print(f"{kind}: original images {sum(before.values()) / len(before):.1%}, gentle views ", end="")
    print(f"{sum(after.values()) / len(after):.1%}")
    print(f"    gain in points, seed by seed: {', '.join(f'{each:+.1f}' for each in gained[kind])}")

# %% folded=true
mean_gain = sum(gained["answers"]) / len(gained["answers"])
widgets.reveal("05-gentle-views", added[2 if mean_gain > 0.5 else 1 if mean_gain > 0 else 0])

# %% [markdown]
# So with few images this student gains from views, whether it learns from labels or from answers: each image then shows
# it more than one example. The recorded students of {{lesson evaluate}} have convolutions, too, and learned from stored
# views.

# %% [markdown]
# ## Your own student
#
# Now it is your turn. Set temperature, alpha, student, epochs and learning rate, and press **Train**. The first run
# takes seconds. A plain twin trains along, from the same weights and for as many epochs, so that every run is a
# comparison; switch it off to save its time. Every run is kept: choose two or more to compare them, even after
# a restart.
#
# A run whose loss diverges is kept as well, marked *diverged*: it shows you which learning rate is too large.
#
# Try to find out, with the 26,950 images that the teachers never saw:
#
# 1. `pocket_17k` has fewer parameters than the MLP. Do answers at T = 4 harm it after two epochs, too?
# 2. Is the MLP nearer to its twin with labels at T = 4 if both train for 20 epochs?
# 3. Is there an alpha at which labels and answers together are better than either? Keep the seed.
# 4. How must you change the learning rate at T = 8?

# %%
widgets.distillation_tuner(
    half_labelled,
    half_answers,
    settings=widgets.RunSettings(
        method_settings={"temperature": 2.0}, alpha=0.9, epochs=2, learning_rate=0.1
    ),
    examples={"teachers' answers": on_answers, "true labels": on_labels},
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
            "T = 4 and alpha = 0.9. For a batch, KL between the softened probabilities is 0.05 and the labels' "
            "cross-entropy is 0.4. What is the objective?",
            options=[
                widgets.Option("0.76", True, "0.9 * 16 * 0.05 + 0.1 * 0.4 = 0.72 + 0.04."),
                widgets.Option(
                    "0.085",
                    False,
                    "That is 0.9 * 0.05 + 0.1 * 0.4: T squared is missing, and the teacher hardly counts.",
                ),
                widgets.Option(
                    "0.22", False, "That is 0.9 * 4 * 0.05 + 0.1 * 0.4. The factor is T squared, not T."
                ),
                widgets.Option(
                    "0.44",
                    False,
                    "That is 0.1 * 16 * 0.05 + 0.9 * 0.4: alpha is the teacher's weight, not the labels'.",
                ),
            ],
        ),
        widgets.Question(
            "A student learns only from the most likely class of each answer, another from the whole answers. What does "
            "the difference between the two show?",
            options=[
                widgets.Option(
                    "What the other nine probabilities are worth",
                    True,
                    "Everything else is the same, the teachers' mistakes included.",
                ),
                widgets.Option(
                    "What the teachers' mistakes cost",
                    False,
                    "Both learn from answers with the same mistakes. Compare the most likely classes with true labels.",
                ),
                widgets.Option(
                    "How much better the ensemble is than one teacher",
                    False,
                    "Both learn from the same ensemble.",
                ),
            ],
        ),
        widgets.Question(
            "With a short schedule and alpha = 1, your distilled student at T = 4 is worse than its plain twin. What do you try "
            "first?",
            options=[
                widgets.Option(
                    "T = 1 or T = 2",
                    True,
                    "More of the gradient is then about the likely classes. It costs no more time, either.",
                ),
                widgets.Option(
                    "T = 8",
                    False,
                    "Then even more of the gradient is about the unlikely classes.",
                ),
                widgets.Option(
                    "T squared left out, so that the teacher counts less",
                    False,
                    "At alpha = 1 this only scales the loss; the gradient keeps its direction.",
                ),
                widgets.Option(
                    "Another seed",
                    False,
                    "If all pairs point the same way, it isn't the seed. Choosing seeds would be choosing results.",
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
                    "Whether the teachers make mistakes",
                    False,
                    "The answers in this lesson have mistakes, and the student of them was the best one.",
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
# - On images that no teacher had seen, the teachers' **answers taught more than true labels**, because of the
#   probabilities of the other classes. Such a transfer set needs no labels.
# - The **objective** is alpha times the distillation term (T squared times KL, averaged over the batch) plus 1 - alpha
#   times the labels' cross-entropy.
# - The teacher runs in eval mode, without gradient, and its predictions are looked up **by image and view**.
# - A simple student on a short schedule was worse at **T = 4** than with labels. **T = 1** repaired that.
# - Compare **paired seeds** at the same budget, choose on validation, confirm on fresh seeds.
# - With augmentation, the teacher sees **the same view as the student**.
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
