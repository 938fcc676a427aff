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
# # Start here
#
# Five large networks recognise ten kinds of clothing very well. In a few minutes you will transfer some of their
# knowledge to a network that is far smaller than any of them, on your own machine.
#
# ## Objectives
#
# By the end of this lesson you can
#
# - say whether your machine is ready for the course, and what to do if it isn't;
# - find your way around a lesson: predictions, exercises, checks, hints, solutions, quiz;
# - distil a first student from an ensemble of teachers, and state its size and its accuracy.
#
# **Builds on:** some Python, and an idea of how a neural network classifies images. Nothing else.
#
# **Time:** {{reading_minutes}} minutes to read, {{exercise_minutes}} minutes for the exercises; the machine works for
# {{machine_seconds}}.
#
# The [glossary](glossary.md) explains words that are new to you.

# %% [markdown]
# ## How a lesson works
#
# Run one cell after the other with Shift and Enter. Each cell holds one idea.
#
# - **Predict** before you look, then press the button. Your guess is stored, and later shown beside the true answer.
#   You remember an answer better after a guess, right or wrong.
# - An **exercise** leaves a gap in a function: replace `...` with your code and run the cell.
# - The **check** below it says whether your code is right, and if it isn't, which mistake it looks like.
# - **Hints** and the **solution** are folded. Open a hint when you are stuck, and the solution when you are done.
# - No later cell needs your answer, so you can do an exercise later.
# - A **claim** is a statement about results. Its cell tests it on your machine and prints it with its numbers. If it
#   is false, the cell stops with an error.
#
# Did a cell stop with an error that your code didn't cause? Run `kdcourse doctor` in a terminal: it says what is
# wrong with the machine and how to fix it.

# %%
import torch

from kdcourse import doctor, evaluation, figures, models, training, widgets
from kdcourse.course import at_least, at_most, between, check, claim, show, show_here
from kdcourse.data import fashion_mnist
from kdcourse.distillation import distil
from kdcourse.runs import recorded

# %% [markdown]
# ## The images
#
# Fashion-MNIST holds small grey images of ten kinds of clothing, in three splits. The training split is for training.
# The validation split is for choosing settings. The test split is for the final evaluation, and no setting in this
# course is chosen on it.

# %%
data = fashion_mnist()
print(", ".join(data.classes))
for name, split in (("training", data.train), ("validation", data.validation), ("test", data.test)):
    print(f"{name}: {len(split):,} images of {data.image_shape[1]} by {data.image_shape[2]} pixels")

# %% [markdown]
# ## The teachers
#
# Five networks were trained on these images for you. Together, with their outputs averaged, they form an
# **ensemble**. The ensemble is the **teacher** of this course.

# %%
ensemble = recorded.ensemble(data)
print(f"{len(ensemble.members)} teachers with one joint output")

# %% [markdown]
# The teacher's output says more than the right class. In the figure, the single word below each image is its label.
# The bars show the ensemble's **soft targets**, which are its probabilities for the classes. Only the four most
# likely classes are drawn, and the label's bar is darker. The **temperature** T is a setting that you will use often:
# a higher one makes small probabilities visible.

# %%
names = ("Trouser", "Shirt", "Ankle boot")
first = [int((data.validation.labels == data.classes.index(name)).nonzero()[0]) for name in names]
images, labels = data.validation.images[first], data.validation.labels[first]
logits = evaluation.predict(ensemble, images, data)
show(
    figures.soft_target_gallery(images, logits, labels, data.classes, temperatures=(1, 4)),
    "a trouser, a shirt and an ankle boot, each beside the ensemble's probabilities at temperature 1 and at 4, "
    "where more classes have a visible probability.",
)

# %%
cool, warm = (torch.softmax(logits / temperature, dim=1) for temperature in (1, 4))
claim(
    "At temperature 4 the ensemble gives the other classes more probability than at temperature 1",
    bool((warm.max(dim=1).values < cool.max(dim=1).values).all()),
    trouser_at_temperature_1=at_least(float(cool[0].max()), 0.99),
    trouser_at_temperature_4=between(float(warm[0].max()), 0.6, 0.75),
    ankle_boot_at_temperature_1=at_least(float(cool[2].max()), 0.99),
    ankle_boot_at_temperature_4=between(float(warm[2].max()), 0.5, 0.65),
)
claim(
    "The two likeliest classes of this shirt are Shirt and Coat, both with a large probability",
    {data.classes[place] for place in cool[1].topk(2).indices.tolist()} == {"Shirt", "Coat"},
    shirt=at_least(float(cool[1, data.classes.index("Shirt")]), 0.4),
    coat=at_least(float(cool[1, data.classes.index("Coat")]), 0.4),
)

# %% [markdown]
# Which other kinds of clothing does a shirt resemble, and how much? No label says so, but the teacher's probabilities
# do. Training a small network, the **student**, to give the same probabilities is called **distillation**. The idea
# comes from Buciluă, Caruana and Niculescu-Mizil (2006); the name and the temperature come from Hinton, Vinyals and
# Dean (2015).

# %% [markdown]
# ## Is my machine ready?
#
# Before you train anything, check your machine. The doctor checks Python, the packages, the images, disk space and
# memory, which takes a few seconds. `ok` means fine. `warn` means that something is missing or not ideal, but the
# course runs anyway. `FAIL` means that something needs fixing. The text after an arrow says how.

# %%
findings = doctor.checks()
verdict = (
    "This machine is ready for the course."
    if doctor.exit_status(findings) == 0
    else "Something needs fixing first."
)
show_here("The doctor's report", f"{verdict}\n\n{doctor.report(findings)}")

# %% [markdown]
# ## How large is a network?
#
# The size of a network is the number of its **parameters**, the numbers that training adjusts. This worked example
# counts the parameters of one layer by hand. The layer turns the pixels of an image into ten numbers. So it has one
# weight per pixel and class, and one bias per class.

# %%
layer = torch.nn.Linear(28 * 28, 10)
by_hand = 28 * 28 * 10 + 10
for name, parameter in layer.named_parameters():
    print(f"{name}: shape {list(parameter.shape)}, {parameter.numel():,} numbers")
print(f"by hand: {by_hand:,}")

# %% [markdown]
# ### Exercise: count a model's parameters (easy, 3 minutes)
#
# Now count the parameters of any model. `model.parameters()` goes through all of them, layer by layer, and each is a
# tensor. Return how many numbers these tensors hold together.
#
# <details><summary>Hint 1</summary>
#
# The worked example used a method of tensors that returns how many numbers a tensor holds.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# `sum(... for parameter in model.parameters())` adds up one number per parameter tensor.
#
# </details>


# %%
from kdcourse.course.start_here.exercises import count_parameters

# %%
check("count_parameters", count_parameters)

# %% [markdown]
# ## A first student
#
# The student is a network of two small layers. `torch.manual_seed` gives it the same random initial weights whenever
# you run the cell. `evaluation.cost` counts parameters as you have just done.

# %%
torch.manual_seed(0)
student = models.build("mlp_25k")
student_size, ensemble_size = (
    evaluation.cost(model, data.image_shape, latency=False).parameters for model in (student, ensemble)
)
print(f"ensemble: {ensemble_size:,} parameters\nstudent:  {student_size:,} parameters")
print(f"the ensemble is {ensemble_size / student_size:.0f} times as large")

# %% [markdown]
# **Predict:** the student will see every training image twice, together with the ensemble's soft targets. Of a
# hundred images that it has never seen, how many will it classify correctly?

# %%
widgets.predict(
    "00-first-student",
    "Of a hundred images that it has never seen, how many will the distilled student classify correctly?",
    number=(0, 100, 1),
    unit="images",
)

# %% [markdown]
# ### Exercise: the share of right predictions (easy, 4 minutes)
#
# A network outputs ten numbers per image, its **logits**. The class with the largest logit is its prediction. Fill in
# the two gaps. The first gives the predictions, one class index for each of the N images. The second says for each
# prediction whether it is right.
#
# <details><summary>Hint 1</summary>
#
# `logits` has one row per image and one column per class: [N, 10]. `argmax` returns the position of the largest
# number.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# `argmax(dim=1)` searches each row. `==` compares two tensors element by element and gives True and False.
#
# </details>


# %%
from kdcourse.course.start_here.exercises import fraction_correct

# %%
check("fraction_correct", fraction_correct)

# %% [markdown]
# ## Distil
#
# One line does it. `distil` takes the ensemble's outputs for the training images, and trains the student to match
# them at the given temperature. The outputs come with the course, so you needn't wait for them. `alpha` is the weight
# of the teacher; the labels get the rest. The other settings were tuned beforehand, and {{lesson train_a_teacher}}
# explains them.

# %%
settings = {"epochs": 2, "learning_rate": 0.05, "optimizer": "muon", "seed": 0, "progress": False}
history = distil(student, ensemble, data, temperature=4, alpha=0.9, **settings)

# %%
logits = evaluation.predict(student, data.validation, data)
distilled = evaluation.accuracy(logits, data.validation.labels)
claim(
    "A student that saw every image twice classifies most new images correctly",
    distilled > 0.8,
    accuracy=at_least(100 * distilled, 80, "%"),
    size_relative_to_the_ensemble=at_most(student_size / ensemble_size, 0.01),
)

# %%
widgets.reveal("00-first-student", round(100 * distilled), unit="images")

# %% [markdown]
# ## Did the teacher help?
#
# To find out, train a twin: the same network with the same initial weights, on the same images in the same order, but
# on the labels alone. This baseline is called the **plain** student.

# %%
torch.manual_seed(0)
twin = models.build("mlp_25k")
plain_history = training.fit(twin, data, **settings)
plain = evaluation.accuracy(evaluation.predict(twin, data.validation, data), data.validation.labels)

# %% [markdown]
# ### Exercise: what was gained (easy, 3 minutes)
#
# Differences between accuracies are stated in **percentage points**: from 0.90 to 0.92 it is 2 points. This time
# write the whole function.
#
# <details><summary>Hint 1</summary>
#
# A student that got worse has gained a negative number of points. Which accuracy do you subtract from which?
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# An accuracy is a number from 0 to 1, and a point is 0.01. By what do you multiply?
#
# </details>


# %%
from kdcourse.course.start_here.exercises import points_gained

# %%
check("points_gained", points_gained)

# %%
gained = 100 * (distilled - plain)
show_here(
    "The two students' accuracies",
    f"plain:     {plain:.2%}\ndistilled: {distilled:.2%}\ngained:    {gained:+.2f} percentage points",
)

# %% [markdown]
# Your two accuracies are probably close together, and either may be higher. After such short training the difference
# is small. Your numbers differ a little from those of another machine, and another seed would change them again. So
# this one pair proves nothing yet. In {{lesson distil}} you train enough pairs to distinguish a gain from luck. In
# {{lesson evaluate}} you learn to state how certain such a result is.

# %% [markdown]
# ## Quiz
#
# Choose an answer to see why it is right or wrong. You can change it as often as you like.

# %%
widgets.quiz(
    "00",
    [
        widgets.Question(
            "What does a student learn from soft targets that labels don't contain?",
            options=[
                widgets.Option(
                    "Which classes an image resembles, and how much",
                    True,
                    "A label is one class; the teacher's probabilities say how similar the others are.",
                ),
                widgets.Option(
                    "Which images are in the test split",
                    False,
                    "The soft targets are computed for training images only.",
                ),
                widgets.Option(
                    "The right class, which labels may lack",
                    False,
                    "Every training image here has its label. What is new are the probabilities of the other classes.",
                ),
            ],
        ),
        widgets.Question(
            "The plain student reaches 0.85 and the distilled one 0.87. What was gained?",
            options=[
                widgets.Option(
                    "2 percentage points", True, "0.87 - 0.85 = 0.02, and a point is one in a hundred."
                ),
                widgets.Option(
                    "2 percent", False, "2 percent of 0.85 would be 0.017. Differences of shares are points."
                ),
                widgets.Option(
                    "0.02 percentage points", False, "A point is one in a hundred, so 0.02 makes 2 points."
                ),
            ],
        ),
        widgets.Question(
            "Your distilled student came out ahead of its plain twin. What do you know?",
            options=[
                widgets.Option(
                    "That it was ahead for this seed, on this machine",
                    True,
                    "Another seed may reverse the result. A claim needs several pairs and an interval.",
                ),
                widgets.Option(
                    "That distillation helps", False, "One pair of students can't tell a gain from luck."
                ),
                widgets.Option(
                    "That the ensemble is always right",
                    False,
                    "The comparison says nothing about that, and a teacher also teaches its errors.",
                ),
            ],
        ),
    ],
)

# %% [markdown]
# ## Recap
#
# - Five teachers form an **ensemble**, and the ensemble teaches the **student**.
# - Its **soft targets** hold what labels don't: how much an image resembles the other classes. A higher
#   **temperature** makes this visible.
# - The size of a network is its number of **parameters**. The first student has a tiny fraction of the ensemble's.
# - Did the teacher help? Compare the student with a **plain** twin, in **percentage points**, over several seeds.
#
# Next: {{lesson why_compress}}, why you would want a small network at all, and what the large one costs on your
# machine.
#
# ## References
#
# - Geoffrey Hinton, Oriol Vinyals, Jeff Dean (2015). Distilling the Knowledge in a Neural Network.
#   https://arxiv.org/abs/1503.02531
# - Cristian Buciluă, Rich Caruana, Alexandru Niculescu-Mizil (2006). Model Compression. KDD 2006.
#   https://doi.org/10.1145/1150402.1150464
# - Han Xiao, Kashif Rasul, Roland Vollgraf (2017). Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine
#   Learning Algorithms. https://arxiv.org/abs/1708.07747
#
# All terms: [glossary](glossary.md).
