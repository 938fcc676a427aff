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
# You have thousands of images, and labels for only a few of them. Five large networks could help, but they are far too
# large for what you want to build. In the next two minutes you train one small network in two ways, on your own
# machine, and see which way is better.
#
# ## Objectives
#
# By the end of this lesson you can
#
# - distil a first student from the answers of its teachers, and compare it fairly with a student of the labels;
# - count a network's parameters, and measure its accuracy and what it gained, with functions that you wrote yourself;
# - find your way around a lesson: predictions, exercises, checks, hints, solutions, quiz.
#
# **Builds on:** some Python, and an idea of how a neural network classifies images. Nothing else.
#
# **Time:** {{reading_minutes}} minutes to read, {{exercise_minutes}} minutes for the exercises; the machine works for
# {{machine_seconds}}.
#
# Run one cell after the other with Shift and Enter. The code of some cells is folded, since only their output matters
# now; they need to be run, too. The [glossary](glossary.md) explains words that are new to you.

# %%
from kdcourse import doctor, evaluation, figures, models, training, widgets
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
from kdcourse.runs import recorded
from kdcourse.runs.few_labels import few_labels, studied_pairs

import torch

# %% [markdown]
# ## The images
#
# Fashion-MNIST holds small grey images of ten kinds of clothing. Suppose that somebody had the time to label only 550
# of them, 55 of each kind. There are 5,500 more images, but nobody has said what they show.

# %%
data = fashion_mnist()
few = few_labels(data, labels=550, unlabelled=5_500)
print(f"{len(few.labelled.train):,} images with a label, {len(few.unlabelled.train):,} images without one")
print(", ".join(data.classes))

# %% [markdown]
# ## The teachers' answers
#
# Five large networks, the **teachers**, were trained on other images of clothing. They have never seen any of the
# images above. Their answer to an image is a probability for each of the ten kinds of clothing. The course stores the
# answers to the 5,500 images, so you needn't wait for them.
#
# Below are three of these images. The word under each image is its label, which is kept from the students. The bars in
# the middle show the teachers' answer, the four most likely kinds only; the label's bar is darker. Such probabilities
# are called **soft targets**.
#
# The teachers are so sure of the trouser and the boot that the other bars can't be seen. The **temperature** T is a
# setting that makes them visible: at T = 1 the probabilities are the teachers' own, and a higher T makes small ones
# larger. The bars on the right are for T = 4. A student learns from them in this form.

# %%
index = torch.tensor([6, 8, 5])
show(
    figures.soft_target_gallery(
        few.unlabelled.train.images[index],
        few.logits[index],
        few.held_back[index],
        data.classes,
        temperatures=(1, 4),
    ),
    "a trouser, a shirt and an ankle boot, each beside the teachers' probabilities at temperature 1 and at 4, where "
    "more kinds of clothing have a visible probability.",
)

# %% folded=true
cool, warm = (torch.softmax(few.logits[index] / temperature, dim=1) for temperature in (1, 4))
claim(
    "At temperature 4 the largest probability of each of these answers is smaller than at temperature 1",
    bool((warm.max(dim=1).values < cool.max(dim=1).values).all()),
    trouser_at_temperature_1=at_least(float(cool[0].max()), 0.99, digits=4),
    trouser_at_temperature_4=between(float(warm[0].max()), 0.6, 0.75, digits=2),
    ankle_boot_at_temperature_1=at_least(float(cool[2].max()), 0.99, digits=4),
    ankle_boot_at_temperature_4=between(float(warm[2].max()), 0.5, 0.65, digits=2),
)

# %% [markdown]
# So an answer says more than a label. It says which other kinds the image resembles, and how much.

# %% [markdown]
# ## One network, trained twice
#
# - The **plain** student learns from the 550 images and their labels.
# - The **distilled** student learns from the 5,500 other images and the teachers' answers to them. It is never shown a
#   label.
#
# All else is equal: the network, its random initial weights, and the number of training steps. In each step the network
# looks at 50 images and changes a little.
#
# **Predict:** think of a hundred images that neither student has seen. Press the button to store your guess; it is
# shown beside the result.

# %%
widgets.predict(
    "00-which-student",
    "Which of the two students classifies more of a hundred new images correctly?",
    choices=[
        "the plain student, by more than 5 images",
        "they differ by 5 images at most",
        "the distilled student, by more than 5 images",
    ],
)

# %% [markdown]
# First the plain student. It sees each of its images 40 times, in 40 **epochs**. The two seeds fix all random numbers,
# those of the initial weights and of the images' order. {{Lesson train_a_teacher}} explains the other settings.

# %%
torch.manual_seed(0)
plain = models.build("pocket_60k")
settings = {"batch_size": 50, "learning_rate": 0.05, "optimizer": "muon", "seed": 0}
settings |= {"validate": False, "progress": False}  # no measuring in between; the bar below is enough

bar = progress_bar("plain student", 40 * 11)
_ = training.fit(plain, few.labelled, epochs=40, after_step=bar, **settings)

# %% [markdown]
# Now the distilled student. It has ten times as many images and sees each of them in 4 epochs, so both students take
# 440 steps. `alpha` is the weight of the teachers' answers. The labels get the rest, which is nothing here.

# %%
torch.manual_seed(0)
distilled = models.build("pocket_60k")

bar = progress_bar("distilled student", 4 * 110)
_ = distil(
    distilled, few.answers, few.unlabelled, temperature=4, alpha=1, epochs=4, after_step=bar, **settings
)

# %% [markdown]
# Both are measured on the same 5,000 images, which neither student nor teachers were trained on. The third board shows
# the five teachers, who answer together: their outputs are averaged. Such a team is called an **ensemble**.

# %%
new = data.validation
plain_logits = evaluation.predict(plain, new, data)
distilled_logits = evaluation.predict(distilled, new, data)
right = {
    "plain student": evaluation.accuracy(plain_logits, new.labels),
    "distilled student": evaluation.accuracy(distilled_logits, new.labels),
    "ensemble of teachers": few.teachers_accuracy,
}

# %%
show(
    figures.right_of_hundred(right),
    "a board of a hundred squares each for the plain student, the distilled student and the ensemble. A mistake is an "
    "empty square with a cross: the plain student's board has the most, the ensemble's the fewest.",
)

# %% folded=true
gained = 100 * (right["distilled student"] - right["plain student"])
choice = 0 if gained < -5 else 1 if gained <= 5 else 2
claim(
    "The student that saw no label classifies many more new images correctly than the student of 550 labels",
    gained > 5,
    plain_student=between(100 * right["plain student"], 76, 84, "%", digits=1),
    distilled_student=at_least(100 * right["distilled student"], 87, "%", digits=1),
    ensemble_of_teachers=at_least(100 * right["ensemble of teachers"], 94, "%", digits=1),
    lead_of_the_distilled_student=at_least(gained, 6, "points", digits=1),
)

# %%
widgets.reveal(
    "00-which-student",
    (
        "the plain student, by more than 5 images",
        "they differ by 5 images at most",
        "the distilled student, by more than 5 images",
    )[choice],
)

# %% [markdown]
# And the distilled student was shown not a single label. Training a small network to give the answers of its teachers
# is called **distillation**. The idea comes from Buciluă, Caruana and Niculescu-Mizil (2006); the name and the
# temperature come from Hinton, Vinyals and Dean (2015).
#
# Two things may have helped the distilled student: it saw more images, which cost nobody any work, and each answer says
# more than a label does. How much is due to either? {{Lesson distil}} returns to this question.

# %% [markdown]
# ## Where they differ
#
# Look at the images on which the two students disagree. The first twelve are shown, without selection. ✓ marks a right
# prediction and ✗ a wrong one. The percentage is the student's own probability for what it says.

# %%
show(
    figures.disagreements(
        new.images,
        new.labels,
        plain_logits,
        distilled_logits,
        data.classes,
        names=("plain student", "distilled student"),
    ),
    "twelve images that the two students classify differently, each with its true class, both predictions and their "
    "probabilities, and on how many of all images they differ.",
    photographs=True,
)

# %% folded=true
plain_right, distilled_right = (z.argmax(dim=1) == new.labels for z in (plain_logits, distilled_logits))
only_plain = int((plain_right & ~distilled_right).sum())
only_distilled = int((distilled_right & ~plain_right).sum())
claim(
    "Where only one student is right, it is most often the distilled one, but not always",
    only_distilled > only_plain > 0,
    images_that_only_the_distilled_student_gets_right=at_least(only_distilled, 400, digits=0),
    images_that_only_the_plain_student_gets_right=between(only_plain, 50, 300, digits=0),
)

# %% [markdown]
# ## How a lesson works
#
# You have met a prediction already. This is the rest:
#
# - **Predict** before you look. You remember an answer better after a guess, right or wrong.
# - An **exercise** leaves a gap in a function: replace `...` with your code and run the cell. The **check** below it
#   says whether your code is right, and if it isn't, which mistake it looks like.
# - **Hints** and the **solution** are folded. Open a hint when you are stuck, and the solution when you are done.
# - Once your function is right, **later cells use it**. Until then they use the course's own, and say so.
# - A **claim** is a statement about results. Its cell tests it on your machine, and prints what was measured here and
#   what must hold on any machine. If it is false, the cell stops with an error.
#
# Did a cell stop with an error that your code didn't cause? The doctor below says what is wrong with the machine, and
# after an arrow, how to fix it. `ok` means fine. `warn` means that something is missing or not ideal, but the course
# runs anyway. `FAIL` means that something needs fixing. `kdcourse doctor` in a terminal says the same.

# %%
findings = doctor.checks()
verdict = (
    "This machine is ready for the course."
    if doctor.exit_status(findings) == 0
    else "Something needs fixing first."
)

# %%
show_here("The doctor's report", f"{verdict}\n\n{doctor.report(findings)}")

# %% [markdown]
# ## How small is the student?
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
# Now count the student, and the five teachers that later lessons use: they were trained on all labels, and have the
# same layers as the teachers above.

# %%
count = use_answer("count_parameters", count_parameters)
ensemble = recorded.ensemble(data)
student_size = count(distilled)
ensemble_size = sum(count(member) for member in ensemble.members)
print(f"five teachers: {ensemble_size:,} parameters\nstudent:       {student_size:,} parameters")

# %%
claim(
    "The student is far smaller than its teachers together",
    70 * student_size < ensemble_size,
    parameters_of_the_teachers_per_parameter_of_the_student=at_least(
        ensemble_size / student_size, 70, digits=1
    ),
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
# Now measure both students again, for each kind of clothing by itself.

# %%
measure = use_answer("fraction_correct", fraction_correct)
by_class = {"plain student": [], "distilled student": []}
for number in range(len(data.classes)):
    of_class = new.labels == number
    for name, logits in (("plain student", plain_logits), ("distilled student", distilled_logits)):
        by_class[name].append(measure(logits[of_class], new.labels[of_class]))

# %% [markdown]
# **Predict:** some kinds of clothing are easy with 55 labels of each, and some are hard. Where do the teachers' answers
# to many images help most?

# %%
widgets.predict(
    "00-which-class",
    "For which kind of clothing is the distilled student the furthest ahead?",
    choices=list(data.classes),
)

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
points = use_answer("points_gained", points_gained)
gains = [points(*pair) for pair in zip(by_class["plain student"], by_class["distilled student"], strict=True)]

# %%
show(
    figures.class_gains(by_class, gains, data.classes),
    "for each kind of clothing the accuracy of the plain and of the distilled student, joined by a line, with the gain "
    "beside it. The kinds are sorted, the largest gain first.",
)

# %% folded=true
gain_of = dict(zip(data.classes, gains, strict=True))
plain_of = dict(zip(data.classes, by_class["plain student"], strict=True))
hard = (gain_of["T-shirt/top"] + gain_of["Shirt"]) / 2
easy = (gain_of["Trouser"] + gain_of["Ankle boot"]) / 2
claim(
    "T-shirts and shirts gain more than trousers and ankle boots, which the plain student knew already",
    hard > easy,
    T_shirts_and_shirts=at_least(hard, 6, "points", digits=1),
    trousers_and_ankle_boots=at_most(easy, 9, "points", digits=1),
    plain_student_on_trousers_and_ankle_boots=at_least(
        50 * (plain_of["Trouser"] + plain_of["Ankle boot"]), 86, "%", digits=1
    ),
)

# %%
widgets.reveal("00-which-class", max(gain_of, key=gain_of.get))

# %% [markdown]
# Trousers and ankle boots are easy to recognise, so 55 labels of each leave little to gain. But where does a T-shirt end
# and a shirt begin? 55 labels of each don't say it well. For the distilled student there were 550 images of each kind,
# and answers such as "mostly a shirt, but also somewhat of a coat".

# %% [markdown]
# ## Was it luck?
#
# One pair of students is one observation. Another seed gives other initial weights and another order of the images,
# and both accuracies change a little. The course has a study that trained both kinds of student with five other seeds,
# which also drew other images (550 with labels, 5,000 with answers), for about 1,000 steps each. The settings of both were searched beforehand, with as many candidates for either, and the
# plain student's images were augmented: shifted, mirrored and partly erased.

# %%
pairs = studied_pairs(labels=550, unlabelled=5_000)
leads = [points(plain_accuracy, distilled_accuracy) for plain_accuracy, distilled_accuracy in pairs.values()]
for (seed, (plain_accuracy, distilled_accuracy)), lead in zip(pairs.items(), leads, strict=True):
    print(
        f"seed {seed}: plain {plain_accuracy:.1%}, distilled {distilled_accuracy:.1%}, lead {lead:+.1f} points"
    )
print(f"mean lead over {len(leads)} seeds: {sum(leads) / len(leads):+.1f} points")
print(f"the distilled student is ahead with {sum(lead > 0 for lead in leads)} of {len(leads)} seeds")

# %% [markdown]
# These are stored results; `kdcourse study labels` makes them again, which takes an hour or more. They were measured on the **test**
# split of Fashion-MNIST, 10,000 images for final evaluations, on which no setting in this course is chosen. The 5,000
# new images above are the **validation** split, on which settings may be compared and chosen. All students learn from
# the **training** split.
#
# Now repeat your own pair: in the two training cells, put `torch.manual_seed(1)` and `"seed": 1` in place of 0, run
# them and the cells below them again, and compare the lead. In {{lesson evaluate}} you learn to state how certain a
# lead is.

# %% [markdown]
# ## Quiz
#
# Choose an answer to see why it is right or wrong. You can change it as often as you like.

# %%
widgets.quiz(
    "00",
    [
        widgets.Question(
            "What do soft targets tell a student that labels don't?",
            options=[
                widgets.Option(
                    "Which other classes an image resembles, and how much",
                    True,
                    "A label names one class. The teachers' probabilities say how similar the others are.",
                ),
                widgets.Option(
                    "Which class is right, without any error",
                    False,
                    "Teachers make mistakes, and a student learns these, too. Look at the shirt in the first figure: "
                    "its largest bar is Coat.",
                ),
                widgets.Option(
                    "How sure the student should be that the label is right",
                    False,
                    "Close, but the distilled student had no labels. The probabilities are about all ten classes.",
                ),
            ],
        ),
        widgets.Question(
            "Of 5,000 new images, a plain student classifies 4,100 correctly and a distilled one 4,550. What was gained?",
            options=[
                widgets.Option(
                    "9 percentage points", True, "4,100 of 5,000 is 0.82 and 4,550 is 0.91; 0.09 is 9 points."
                ),
                widgets.Option(
                    "11 percentage points",
                    False,
                    "450 is 11 percent of 4,100, the plain student's right answers. Points are the difference of two "
                    "shares of the same 5,000 images.",
                ),
                widgets.Option(
                    "50 percentage points",
                    False,
                    "The mistakes fell from 900 to 450, which is 50 percent fewer. That isn't the gain in points.",
                ),
                widgets.Option(
                    "0.09 percentage points",
                    False,
                    "The difference of the shares is 0.09, and a point is one in a hundred.",
                ),
            ],
        ),
        widgets.Question(
            "A plain student learns from 1,000 images for 24 epochs. For how many epochs "
            "should a distilled student learn from 8,000 other images, with the same batch size, for a fair comparison?",
            options=[
                widgets.Option(
                    "3",
                    True,
                    "Eight times as many images make eight times as many steps per epoch, and 24 / 8 = 3.",
                ),
                widgets.Option(
                    "24",
                    False,
                    "Then it would take eight times as many training steps, and might be ahead for that reason alone.",
                ),
                widgets.Option(
                    "192",
                    False,
                    "That is 24 times 8. More images make an epoch longer, so fewer epochs are needed, not more.",
                ),
            ],
        ),
        widgets.Question(
            "The distilled student came out ahead, by more than 5 images of a hundred. What follows?",
            options=[
                widgets.Option(
                    "On these images and with this seed, many answers taught it more than few labels",
                    True,
                    "That is what was compared: the kind of target and the number of images changed together.",
                ),
                widgets.Option(
                    "An answer of the teachers is worth more than a label",
                    False,
                    "It may be, but there were ten times as many answers as labels. To compare them, both students "
                    "need the same images.",
                ),
                widgets.Option(
                    "With 5,500 labels the plain student would still be behind",
                    False,
                    "That wasn't measured. You would have to train this third student.",
                ),
            ],
        ),
    ],
)

# %% [markdown]
# ## Recap
#
# - **Distillation** trains a small network, the **student**, to give the answers of large ones, its **teachers**. It
#   needs images, but no labels.
# - The teachers' probabilities are **soft targets**: they say how much an image resembles the other classes. A higher
#   **temperature** makes this visible.
# - Compare a distilled student with a **plain** one that has the same network, initial weights and number of steps, on
#   new images, in **percentage points**.
# - The size of a network is the number of its **parameters**. Five teachers together are an **ensemble**.
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
