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
# Five large networks know ten kinds of clothing very well. In a few minutes you will pour some of what they know into
# a network far smaller than any of them, on the machine in front of you.
#
# ## Objectives
#
# By the end of this lesson you can
#
# - say whether your machine is ready for the course, and what to do if it isn't;
# - find your way around a lesson: predictions, exercises, checks, hints, solutions, quiz;
# - distil a first student from an ensemble of teachers, and say how large it is and how often it is right.
#
# **Builds on:** some Python, and an idea of what a neural network that sorts pictures does. Nothing else.
#
# **Time:** {{reading_minutes}} minutes to read, {{exercise_minutes}} minutes for the exercises; the machine works
# for {{machine_seconds}}.
#
# Words that are new to you are in the [glossary](glossary.md).

# %% [markdown]
# ## How a lesson works
#
# Run one cell after the other with Shift and Enter. Each cell holds one idea.
#
# - **Predict** before you look, and press the button: your guess is kept and later shown beside the truth. A guess
#   that you commit to, right or wrong, makes the answer stick.
# - An **exercise** leaves a gap in a function: replace the three dots by your own code and run the cell.
# - The **check** below it says whether it is right, and if it isn't, which mistake it looks like.
# - **Hints** and the **solution** are folded. Open a hint when you are stuck, the solution when you are done.
# - Nothing that comes later needs your answer, so an exercise may wait.
# - A **claim** is a sentence about results that its cell puts to the test on your machine. It is printed with the
#   numbers behind it; were it false, the lesson would stop there.
#
# If a cell stops with an error that is not yours, run `kdcourse doctor` in a terminal: it says what is wrong with
# the machine and what mends it.

# %%
import torch

from kdcourse import doctor, evaluation, figures, models, training, widgets
from kdcourse.course import at_least, at_most, between, check, claim, show, show_here
from kdcourse.data import fashion_mnist
from kdcourse.distillation import distil
from kdcourse.runs import recorded

# %% [markdown]
# ## The pictures
#
# Fashion-MNIST holds small grey pictures of ten kinds of clothing. One part of them is for training, one for
# choosing settings (the validation split), and one for the final judgement (the test split), by which
# nothing in this course is chosen.

# %%
data = fashion_mnist()
print(", ".join(data.classes))
for name, split in (("training", data.train), ("validation", data.validation), ("test", data.test)):
    print(f"{name}: {len(split):,} pictures of {data.image_shape[1]} by {data.image_shape[2]} pixels")

# %% [markdown]
# ## The teachers
#
# Five networks were trained on these pictures for you. Asked together, their answers averaged, they are an
# **ensemble**, and the ensemble is the **teacher** of this course.

# %%
ensemble = recorded.ensemble(data)
print(f"{len(ensemble.members)} teachers that answer as one")

# %% [markdown]
# A teacher knows more than the right answer. Here is what the ensemble makes of three pictures. Below each stands its
# label, a single word. The bars are the ensemble's **soft targets**: it has a probability for every class, and the
# four likeliest are drawn, that of the label dark. The **temperature** T is a knob that you will come to know
# well; turned up, it makes small probabilities visible.

# %%
names = ("Trouser", "Shirt", "Ankle boot")
first = [int((data.validation.labels == data.classes.index(name)).nonzero()[0]) for name in names]
pictures, labels = data.validation.images[first], data.validation.labels[first]
logits = evaluation.predict(ensemble, pictures, data)
show(
    figures.soft_target_gallery(pictures, logits, labels, data.classes, temperatures=(1, 4)),
    "a trouser, a shirt and an ankle boot, each beside the ensemble's probabilities at temperature 1 and at 4, "
    "where more classes get a share.",
)

# %%
cool, warm = (torch.softmax(logits / temperature, dim=1) for temperature in (1, 4))
claim(
    "At temperature 4 the ensemble's answers say more about the other classes than at temperature 1",
    bool((warm.max(dim=1).values < cool.max(dim=1).values).all()),
    trouser_at_temperature_1=at_least(float(cool[0].max()), 0.99),
    trouser_at_temperature_4=between(float(warm[0].max()), 0.6, 0.75),
    ankle_boot_at_temperature_1=at_least(float(cool[2].max()), 0.99),
    ankle_boot_at_temperature_4=between(float(warm[2].max()), 0.5, 0.65),
)
claim(
    "The ensemble finds this shirt as much a coat as a shirt",
    {data.classes[place] for place in cool[1].topk(2).indices.tolist()} == {"Shirt", "Coat"},
    shirt=at_least(float(cool[1, data.classes.index("Shirt")]), 0.4),
    coat=at_least(float(cool[1, data.classes.index("Coat")]), 0.4),
)

# %% [markdown]
# Which other kinds of clothing a shirt resembles, and how much, is knowledge that no label holds. Passing it on to
# a small network, the **student**, is what **distillation** means. The idea comes from Buciluă, Caruana and
# Niculescu-Mizil (2006), the name and the temperature from Hinton, Vinyals and Dean (2015).

# %% [markdown]
# ## Is my machine ready?
#
# Before anything is trained, the doctor looks at Python, the packages, the pictures, disk and memory; that takes some
# seconds. `ok` is fine, `warn` means that the course runs without it, `FAIL` needs mending, and an arrow says
# how.

# %%
findings = doctor.checks()
verdict = (
    "This machine is ready for the course."
    if doctor.exit_status(findings) == 0
    else "Something needs mending first."
)
show_here("The doctor's report", f"{verdict}\n\n{doctor.report(findings)}")

# %% [markdown]
# ## How large is a network?
#
# A network's size is the number of its **parameters**: the numbers that training adjusts. Here is how to count
# those of one layer by hand, as a worked example. The layer turns the pixels of a picture into ten numbers, so it
# has a weight for every pixel and class, and one bias for every class.

# %%
layer = torch.nn.Linear(28 * 28, 10)
by_hand = 28 * 28 * 10 + 10
for name, parameter in layer.named_parameters():
    print(f"{name}: shape {list(parameter.shape)}, {parameter.numel():,} numbers")
print(f"by hand: {by_hand:,}")

# %% [markdown]
# ### Exercise: count a model's parameters (easy, 3 minutes)
#
# Now for any model. `model.parameters()` goes through all its parameters, layer by layer; each is a tensor.
# Return how many numbers they hold together.
#
# <details><summary>Hint 1</summary>
#
# The worked example used a method of tensors that tells how many numbers one of them holds.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# `sum(... for parameter in model.parameters())` adds up something about each.
#
# </details>


# %%
from kdcourse.course.start_here.exercises import count_parameters

# %%
check("count_parameters", count_parameters)

# %% [markdown]
# ## A first student
#
# The student is a network of two small layers. `torch.manual_seed` makes sure that its weights begin at the same
# random numbers whenever you run the cell. `evaluation.cost` counts parameters as you have just done.

# %%
torch.manual_seed(0)
student = models.build("mlp_25k")
student_size, ensemble_size = (
    evaluation.cost(model, data.image_shape, latency=False).parameters for model in (student, ensemble)
)
print(f"ensemble: {ensemble_size:,} parameters\nstudent:  {student_size:,} parameters")
print(f"the ensemble is {ensemble_size / student_size:.0f} times as large")

# %% [markdown]
# **Predict:** it will see every training picture twice, beside the ensemble's soft targets. Of a hundred pictures
# that it has never seen, how many will it name correctly?

# %%
widgets.predict(
    "00-first-student",
    "Of a hundred pictures that it has never seen, how many will the distilled student name correctly?",
    number=(0, 100, 1),
    unit="pictures",
)

# %% [markdown]
# ### Exercise: the share of right answers (easy, 4 minutes)
#
# A network gives ten numbers a picture, its **logits**; the class with the largest is its answer. Fill the two
# gaps: first the answers, one class index for each of the N pictures, then whether each of them is right.
#
# <details><summary>Hint 1</summary>
#
# `logits` has a row a picture and a column a class: [N, 10]. `argmax` finds where a largest number stands.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# `argmax(dim=1)` looks along each row. Comparing two tensors with `==` gives True and False, one by one.
#
# </details>


# %%
from kdcourse.course.start_here.exercises import fraction_correct

# %%
check("fraction_correct", fraction_correct)

# %% [markdown]
# ## Distil
#
# One line does it. `distil` takes the ensemble's answers to the training pictures (they come with the course, which
# saves you the wait) and trains the student to give the same, softened by the temperature. `alpha` says how much
# the teacher counts; the rest is left to the labels. The other settings were tried out beforehand: {{lesson train_a_teacher}}
# tells what they mean.

# %%
settings = {"epochs": 2, "learning_rate": 0.05, "optimizer": "muon", "seed": 0, "progress": False}
history = distil(student, ensemble, data, temperature=4, alpha=0.9, **settings)

# %%
logits = evaluation.predict(student, data.validation, data)
distilled = evaluation.accuracy(logits, data.validation.labels)
claim(
    "A student that saw every picture twice names most new ones correctly",
    distilled > 0.8,
    right_answers=at_least(100 * distilled, 80, "%"),
    size_beside_the_ensemble=at_most(student_size / ensemble_size, 0.01),
)

# %%
widgets.reveal("00-first-student", round(100 * distilled), unit="pictures")

# %% [markdown]
# ## Did the teacher help?
#
# To know, train a twin: the same network from the same starting numbers, with the same pictures in the same order,
# but with the labels alone. That is a **plain** student.

# %%
torch.manual_seed(0)
twin = models.build("mlp_25k")
plain_history = training.fit(twin, data, **settings)
plain = evaluation.accuracy(evaluation.predict(twin, data.validation, data), data.validation.labels)

# %% [markdown]
# ### Exercise: what was gained (easy, 3 minutes)
#
# Differences between accuracies are stated in **percentage points**: from 0.90 to 0.92 it is 2 points. Write the
# whole function this time.
#
# <details><summary>Hint 1</summary>
#
# A student that got worse has gained a negative number of points. Which accuracy is taken from which?
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# Both accuracies are shares, and a point is a hundredth. How many hundredths are in a share?
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
# Most likely the two lie close together, and either may be ahead. After so short a training there is little between
# them, your numbers differ a bit from those of another machine, and they would differ again with another seed. So
# this one pair proves nothing yet. In {{lesson distil}} you train enough pairs to tell a gain from luck, and
# in {{lesson evaluate}} you learn to say how sure you are.

# %% [markdown]
# ## Quiz
#
# Choose an answer, and it says why it is right or wrong. You may change it as often as you like.

# %%
widgets.quiz(
    "00",
    [
        widgets.Question(
            "What does a student learn from soft targets that labels don't tell?",
            options=[
                widgets.Option(
                    "Which classes a picture resembles, and how much",
                    True,
                    "A label names one class; the teacher's probabilities say how near the others are.",
                ),
                widgets.Option(
                    "Which pictures are in the test split",
                    False,
                    "The teacher is asked about training pictures only.",
                ),
                widgets.Option(
                    "The right class, which labels may lack",
                    False,
                    "Every training picture here has its label. What is new is the rest of the distribution.",
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
                    "Another seed may turn it round. A claim needs several pairs and an interval.",
                ),
                widgets.Option(
                    "That distillation helps", False, "One pair of students can't tell a gain from luck."
                ),
                widgets.Option(
                    "That the ensemble is always right",
                    False,
                    "The comparison says nothing about that, and a teacher that errs teaches its errors too.",
                ),
            ],
        ),
    ],
)

# %% [markdown]
# ## Recap
#
# - Five teachers form an **ensemble**, and the ensemble teaches the **student**.
# - Its **soft targets** hold what labels don't: how much a picture resembles the other classes. A higher
#   **temperature** brings that out.
# - A network's size is its number of **parameters**; the first student has a tiny fraction of the ensemble's.
# - Whether the teacher helped is asked against a **plain** twin, in **percentage points**, and over several seeds.
#
# Next: {{lesson why_compress}}, why one would want a small network at all, and what the large one costs on
# your machine.
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
