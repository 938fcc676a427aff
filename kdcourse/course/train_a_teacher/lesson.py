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
# # Train a teacher
#
# Whatever a student learns from its teacher, the teacher had to learn first, from labelled images, step by step. The
# loop for this fits on half a page. In this lesson you take it apart, put it together again and run it. You see
# training fail in the two typical ways, and look at the training of the course's own teachers.
#
# ## Objectives
#
# By the end of this lesson you can
#
# - say what cross-entropy measures, and compute it without overflow;
# - write a training step, with momentum, and name the four lines of every training loop;
# - measure accuracy on held-out images without changing the network or biasing the result;
# - read training curves: overfitting, underfitting, or neither.
#
# **Builds on:** {{lesson start_here}}: logits, parameters, the three splits.
#
# **Time:** {{reading_minutes}} minutes to read, {{exercise_minutes}} minutes for the exercises; the machine works for
# {{machine_seconds}}.
#
# The [glossary](glossary.md) explains words that are new to you.

# %%
import copy
import json
import math
from dataclasses import replace

import torch
import torch.nn.functional as F

from kdcourse import evaluation, figures, models, training, widgets
from kdcourse.course import at_least, at_most, between, check, claim, show
from kdcourse.data import Augmentation, Batches, fashion_mnist
from kdcourse.runs import teachers

data = fashion_mnist()


def first_images(count):
    """Return the data set with only the first `count` training images; validation and test stay whole."""
    return replace(data, train=data.train.subset(torch.arange(count)))


# %% [markdown]
# ## How wrong is a prediction?
#
# A network outputs logits, one number per class, and softmax turns them into probabilities. Training needs one number
# that says how wrong these are. The **cross-entropy** uses only p, the probability of the label's class: the loss is
# -log p. It is near 0 for a confident right prediction, small for an uncertain one, and large for a confident wrong
# one.
# (`log` is the natural logarithm throughout this course, and its unit is called the **nat**.)
#
# As a worked example, here are three predictions for an image whose label is class 0.

# %%
predictions = torch.tensor([[4.0, 0.0, 0.0], [1.0, 1.0, 1.0], [0.0, 4.0, 0.0]])
for name, logits in zip(("right, confident", "uncertain", "wrong, confident"), predictions, strict=True):
    probability = logits.softmax(dim=0)[0].item()
    print(f"{name:16}: p = {probability:.2f}, -log p = {-math.log(probability):.2f} nats")

# %% [markdown]
# **Predict:** a network that has not learned anything yet gives all ten classes about the same probability. What is
# its cross-entropy?

# %%
widgets.predict(
    "02-untrained",
    "What is the cross-entropy of a network that gives all ten classes the same probability?",
    number=(0, 10, 0.1),
    unit="nats",
)

# %%
widgets.reveal("02-untrained", round(math.log(10), 2), unit="nats")

# %% [markdown]
# Each of the ten classes gets p = 1/10, and -log(1/10) is log(10). That is the theory. A network with random weights
# gives some classes a little more than others, but comes close:

# %%
torch.manual_seed(0)
untrained = models.build("mlp_25k")
loss, accuracy = training.evaluate_split(untrained, data.validation, data)
claim(
    "An untrained network has about the loss of guessing, the logarithm of the number of classes",
    abs(loss - math.log(10)) < 0.5,
    its_loss_in_nats=between(loss, 2, 2.8),
    images_classified_correctly=at_most(100 * accuracy, 30, "%"),
)

# %% [markdown]
# Remember log(10). A loss that stays there means that the network learns nothing.

# %% [markdown]
# ## Logarithms of tiny probabilities
#
# If you compute log(softmax(z)) as it is written, it fails: the exponential of a large logit is infinite. But softmax
# doesn't change when you subtract the same number from all logits of an image. So subtract their maximum: then no
# exponential is larger than 1. And compute the logarithm directly, without the probability:
#
# log p_c = (z_c - m) - log(sum over k of exp(z_k - m)), where m is the largest of the z.

# %%
large = torch.tensor([1000.0, 0.0])
print("exp of the logits:            ", large.exp())
print("after subtracting the maximum:", (large - large.max()).exp())

# %% [markdown]
# ### Exercise: cross-entropy by hand (medium, 8 minutes)
#
# `logits` has one row per image and one column per class, [B, C]; `labels` holds the B right classes. Fill in the three
# gaps: each row minus its own maximum; from that the log-probabilities; and at the end the loss, the mean over the
# images. The line in between is given. It picks the label's entry from every row.
#
# <details><summary>Hint 1</summary>
#
# `logits.max(dim=1, keepdim=True).values` is the largest of each row. Its shape is [B, 1], so that you can subtract
# it from a [B, C] tensor. `sum` has the same two arguments.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# Use the formula above, with `shifted` for z - m: `shifted - (...).log()`. Between the parentheses is the sum of the
# exponentials of each row.
#
# </details>


# %%
from kdcourse.course.train_a_teacher.exercises import cross_entropy_by_hand

# %%
check("cross_entropy_by_hand", cross_entropy_by_hand)

# %% [markdown]
# ## A step downhill
#
# The loss says how wrong the network is; now make it smaller. The **gradient** says, for every parameter, how the
# loss changes when that parameter grows a little. So move each parameter the other way, by the gradient times the
# **learning rate**.
#
# One weight is enough to see it. Let the loss be (w - 3)^2, with the gradient 2 (w - 3), and start at w = 0.

# %%
weight, learning_rate = 0.0, 0.1
for step in range(1, 6):
    gradient = 2 * (weight - 3)
    weight = weight - learning_rate * gradient
    print(f"step {step}: gradient {gradient:6.2f}, weight {weight:.2f}")

# %% [markdown]
# The steps get shorter as the slope gets smaller. The slope of a network's loss is often small over long distances,
# and every batch of images gives a slightly different gradient. **Momentum** (Polyak 1964) helps with both. It keeps
# a **velocity**. At every step the velocity shrinks a little, and the new gradient is added. How much of the old
# velocity remains is a number from 0 to 1, also called momentum:
#
# - velocity = momentum * velocity + gradient
# - weight = weight - learning_rate * velocity
#
# **Predict:** the gradient stays the same for a long time, and momentum is 0.9. How many times as long as without
# momentum does a step become?

# %%
widgets.predict(
    "02-momentum",
    "With momentum 0.9 and always the same gradient, how many times as long does a step become eventually?",
    number=(1, 30, 1),
    unit="times",
)

# %%
velocity = 0.0
for _ in range(200):
    velocity = 0.9 * velocity + 1.0
widgets.reveal("02-momentum", round(velocity, 3), unit="times")

# %% [markdown]
# The velocity is the new gradient, plus 0.9 of the one before, plus 0.9 times 0.9 of the one before that, and so on.
# For equal gradients the sum is 1 / (1 - 0.9) of them. If the slope keeps its direction, the steps become long. If it
# changes from batch to batch, gradients cancel.

# %% [markdown]
# ### Exercise: a step with momentum (easy, 4 minutes)
#
# Put the two formulas into the two gaps. Return new tensors, and don't change the inputs.
#
# <details><summary>Hint 1</summary>
#
# Compute the velocity first. The weight moves by the new velocity.
#
# </details>


# %%
from kdcourse.course.train_a_teacher.exercises import momentum_step

# %%
check("momentum_step", momentum_step)

# %% [markdown]
# ## The loop
#
# The rest is repetition. Take a **batch** of images, and
#
# 1. run a forward pass,
# 2. compute the loss,
# 3. compute the gradient, from zeroed gradients: `zero_grad`, then `backward`,
# 4. take a step.
#
# One pass over all training images is an **epoch**. The learning rate isn't constant. It rises, so that the first
# steps of an untrained network are short. Then it falls to zero, so that the weights settle.

# %%
for percent in (0, 10, 20, 60, 100):
    print(
        f"after {percent:3} % of the steps: {training.one_cycle(percent / 100):.2f} of the peak learning rate"
    )

# %% [markdown]
# Here is the whole loop; the comments number the four lines. `Batches` returns the images in another order in each
# epoch. The optimizer takes the step, with momentum 0.9. It does the same as your exercise, except for a refinement
# by Nesterov. Its **weight decay** moves all weights a little towards zero. Before each step the learning rate is
# set.


# %%
def train_by_hand(model, data, *, epochs, learning_rate):
    """Train `model` in place by stochastic gradient descent, and return the loss of every step."""
    batches = Batches(data.train, data, batch_size=100, seed=0)
    optimizer = training.make_optimizer("sgd", model, learning_rate=learning_rate, weight_decay=5e-4)
    losses, steps = [], epochs * batches.steps
    for epoch in range(epochs):
        for batch in batches.epoch(epoch):
            share = (len(losses) + 1) / (steps + 1)
            for group in optimizer.param_groups:
                group["lr"] = learning_rate * training.one_cycle(share)

            logits = model(batch.images)  # 1
            loss = F.cross_entropy(logits, batch.labels)  # 2
            optimizer.zero_grad()  # 3
            loss.backward()
            optimizer.step()  # 4
            losses.append(loss.item())
    return losses


# %% [markdown]
# Now train a network of two small layers with it.

# %%
few = first_images(5000)
torch.manual_seed(0)
by_hand = models.build("mlp_25k")
losses = train_by_hand(by_hand, few, epochs=2, learning_rate=0.1)
claim(
    "A hundred steps of the loop bring the loss far below that of guessing",
    sum(losses[-10:]) / 10 < 0.8,
    steps=len(losses),
    loss_of_the_first_step=at_least(losses[0], 2, "nats"),
    mean_loss_of_the_last_ten=at_most(sum(losses[-10:]) / 10, 0.8, "nats"),
)

# %% [markdown]
# The course trains with `training.fit`. It adds what you want in practice: a progress bar, validation after each
# epoch, the number format that suits your machine, checkpoints for continuing an interrupted run, and clear errors
# when training diverges. The four lines are the same: open a new cell, run `training.fit??`, and find them in the
# source.
#
# Now train the same network with it, from the same initial weights, on the same images.

# %%
settings = {"batch_size": 100, "learning_rate": 0.1, "seed": 0, "progress": False}
torch.manual_seed(0)
by_fit = models.build("mlp_25k")
training.fit(by_fit, few, epochs=2, precision="float32", **settings)  # float32, as the loop by hand
apart = max(
    (one.detach() - other.detach()).abs().max().item()
    for one, other in zip(by_hand.parameters(), by_fit.parameters(), strict=True)
)
claim(
    "From the same start, fit and the loop by hand end at the same weights, up to rounding",
    apart < 1e-3,
    largest_difference_of_a_weight=at_most(apart, 0.001),
)

# %% [markdown]
# ## Accuracy on new images
#
# A network may know its training images by heart. What counts is its accuracy on other images, so some were held
# back, the **validation split**. Measuring it sounds harmless, but two things can go wrong.
#
# First, some layers behave differently during training: dropout sets units to zero at random, and BatchNorm
# normalises by the images of the batch and **stores** their statistics. `model.train()` sets train mode,
# `model.eval()` sets eval mode. Second, torch records every operation for a gradient that you won't need, unless you
# use `torch.no_grad()`.

# %%
shipped = teachers.load_teachers(teachers.shipped_folder(), data)  # the course's five: name, network, notes
teacher = copy.deepcopy(shipped[0][1])
images = data.normalise(data.validation.images[:64])


def tensors_changed_by_a_forward_pass(model):
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with torch.no_grad():
        model(images)
    return sum(not torch.equal(before[name], value) for name, value in model.state_dict().items())


changed_in_eval = tensors_changed_by_a_forward_pass(teacher.eval())
changed_in_train = tensors_changed_by_a_forward_pass(teacher.train())
claim(
    "A forward pass in train mode changes a network, even without a training step; in eval mode it doesn't",
    changed_in_eval == 0 < changed_in_train,
    batchnorm_layers=sum(isinstance(layer, torch.nn.BatchNorm2d) for layer in teacher.modules()),
    tensors_changed_in_eval_mode=changed_in_eval,
    tensors_changed_in_train_mode=changed_in_train,
)

# %% [markdown]
# Each BatchNorm layer stores three things: the mean and the variance of its inputs, and the number of batches. All
# three have changed, in every layer.

# %% [markdown]
# ### Exercise: accuracy on held-out images (medium, 7 minutes)
#
# Write the whole function. Run the model in eval mode and without gradient. Return the share of images, 0 to 1, whose
# largest logit is that of their label. Leave the model in the mode in which it came: a network that is still training
# must not continue in eval mode.
#
# <details><summary>Hint 1</summary>
#
# `model.training` is True in train mode; store it first. `model.train(mode)` takes True or False.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# Five lines: store the mode; `model.eval()`; `with torch.no_grad():` the predictions by `argmax(dim=1)`; restore the
# mode; return the share as in {{lesson start_here}}.
#
# </details>


# %%
from kdcourse.course.train_a_teacher.exercises import validation_accuracy

# %%
check("validation_accuracy", validation_accuracy)

# %% [markdown]
# ## A small teacher, for real
#
# Now train a convolutional network. A teacher of this course is a residual network (He and others 2016): three stages
# of convolutions, with shortcuts around them. Below is a narrower version. It sees part of the images, a few times,
# each time a little shifted or mirrored (**augmentation**). The optimizer is Muon (Jordan and others 2024), as for
# the teachers. It has a velocity too, but equalises it, so that the step is about as long in every direction of a
# layer. Such a step takes more time, but fewer steps are needed.
#
# **Predict:** of a hundred images that it hasn't seen, how many will it classify correctly?

# %%
widgets.predict(
    "02-small-teacher",
    "Three epochs on 8,000 images: of a hundred new images, how many will the small teacher classify correctly?",
    number=(0, 100, 1),
    unit="of 100",
)

# %%
torch.manual_seed(0)
small = models.build("teacher", stem=8, widths=(12, 32, 96))
small_history = training.fit(
    small,
    first_images(8000),
    epochs=3,
    batch_size=128,
    learning_rate=0.05,
    optimizer="muon",
    weight_decay=5e-3,
    augmentation=Augmentation(erase=0),
    seed=0,
    progress=False,
)
claim(
    "After three epochs the network classifies most new images correctly",
    small_history.last.validation_accuracy > 0.8,
    parameters=sum(weight.numel() for weight in small.parameters()),
    accuracy=at_least(100 * small_history.last.validation_accuracy, 80, "%"),
)

# %%
widgets.reveal("02-small-teacher", round(100 * small_history.last.validation_accuracy), unit="of 100")

# %% [markdown]
# ## Two ways to go wrong
#
# **Predict:** a large network of linear layers sees the same few hundred images again and again. The loss on these
# images falls to almost nothing. What does the loss on the validation images do?

# %%
widgets.predict(
    "02-few-images",
    "500 images, fifteen epochs: the loss on the validation images ...",
    choices=["falls until the end, too", "falls, then stays where it is", "falls, then rises"],
)

# %% [markdown]
# Train the same network three times: on a few images; on the same ones with tiny steps, at a learning rate far too
# low; and on many more images. In the figure, each run has its own colour and marker. Solid lines are the validation
# split, dashed lines the training images. The left axis is logarithmic: equal distances multiply the loss by the same
# factor.

# %%
runs = {
    "500 images": (500, {"epochs": 15, "batch_size": 50, "learning_rate": 0.1}),
    "tiny steps": (500, {"epochs": 15, "batch_size": 50, "learning_rate": 0.00005}),
    "20,000 images": (20_000, {"epochs": 6, "batch_size": 128, "learning_rate": 0.1}),
}
curves = {}
for name, (count, choices) in runs.items():
    torch.manual_seed(0)
    network = models.build("mlp_200k")
    curves[name] = training.fit(
        network, first_images(count), seed=0, weight_decay=0.0, progress=False, **choices
    )
show(
    figures.training_curves({name: [history] for name, history in curves.items()}),
    "loss and accuracy of three runs by epoch, training dashed, validation solid. On 500 images the training loss "
    "falls to almost nothing while the validation loss falls, then rises; with tiny steps both hardly change; on "
    "20,000 images both fall and stay close.",
)

# %%
few_images = curves["500 images"]
validation_loss = few_images.column("validation_loss")
risen = validation_loss[-1] / min(validation_loss)
claim(
    "With few images the network learns them by heart, while its loss on other images rises again",
    few_images.last.train_loss < 0.1 and risen > 1.1,
    last_training_loss=at_most(few_images.last.train_loss, 0.1, "nats"),
    validation_loss_over_its_smallest=at_least(risen, 1.2, "times"),
)
tiny = curves["tiny steps"]
claim(
    "With tiny steps the network doesn't even learn the training images",
    tiny.last.train_loss > 0.9 * tiny.epochs[0].train_loss,
    training_loss_over_the_first=at_least(tiny.last.train_loss / tiny.epochs[0].train_loss, 0.9, "times"),
)

# %%
turned = "falls, then rises" if risen > 1.1 else "falls, then stays where it is"
widgets.reveal("02-few-images", turned)

# %% [markdown]
# The first run is **overfitting**, the second **underfitting**. Look at the accuracy of the overfitting run, too: it
# hardly falls. The network makes about as many mistakes as before, but with more and more **confidence**, and
# cross-entropy is large for confident mistakes. A teacher that is confident in everything tells a student little more
# than the label. {{Lesson ensembles}} measures this confidence, and {{lesson soft_targets}} softens it.

# %%
best = validation_loss.index(min(validation_loss))
accuracies = few_images.column("validation_accuracy")
claim(
    "While the validation loss rises, the accuracy hardly changes",
    abs(accuracies[-1] - accuracies[best]) < 0.05,
    points_of_accuracy_between=at_most(100 * abs(accuracies[-1] - accuracies[best]), 5),
)

# %% [markdown]
# What helps? Against underfitting: a larger learning rate, more steps, a larger network. Against overfitting: above
# all, more images. If there are no more, augmentation makes new views of the old ones. Weight decay keeps weights
# small, and a smaller network can't learn as much by heart. Soft targets help as well, as you will see.

# %%
many = curves["20,000 images"]
gap = {
    name: history.last.validation_loss - history.last.train_loss
    for name, history in (("few", few_images), ("many", many))
}
claim(
    "With many more images, the same network does about as well on new ones as on its training images",
    gap["many"] < 0.3 < gap["few"] and many.last.validation_accuracy > few_images.last.validation_accuracy,
    times_as_many_images=runs["20,000 images"][0] // runs["500 images"][0],
    validation_minus_training_loss_with_few_images=at_least(gap["few"], 0.8, "nats"),
    with_many_images=at_most(gap["many"], 0.3, "nats"),
)

# %% [markdown]
# ### Exercise: a diagnosis (medium, 8 minutes)
#
# Write a function that takes two lists, the training and the validation loss after each epoch, and returns
# `"overfitting"`, `"underfitting"` or `"fits"`. Apply these rules in this order:
#
# 1. `"overfitting"`, if the last validation loss is at least 10 % above the smallest one, **and** the last training
#    loss is below the training loss of the epoch with the smallest validation loss;
# 2. `"underfitting"`, if the last training loss is still above 90 % of the first one;
# 3. `"fits"` otherwise.
#
# When it passes, try it on the runs above, in a new cell. Does it agree with you about each run?
# `diagnose(few_images.column("train_loss"), few_images.column("validation_loss"))`
#
# <details><summary>Hint 1</summary>
#
# `best = validation_loss.index(min(validation_loss))` is the epoch with the smallest validation loss, counted from 0;
# `train_loss[best]` is the training loss of that epoch.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# At least 10 % above the smallest is at least 1.1 times the smallest. You need two `if`s, each with a `return`, and
# one `return` after them. The first `if` joins its two conditions by `and`.
#
# </details>


# %%
from kdcourse.course.train_a_teacher.exercises import diagnose

# %%
check("diagnose", diagnose)

# %% [markdown]
# ## The course's teachers
#
# Five networks were trained like the small one, but they are wider, and learned from all training images and for more
# epochs (teacher 1 for a few more than the others). Their augmentation also erased patches of the images. The history
# of each training, epoch by epoch, was stored with the weights.
#
# **Predict:** on which images was teacher 1 more accurate after its first epoch?

# %%
widgets.predict(
    "02-first-epoch",
    "After the first epoch of teacher 1, which accuracy was higher?",
    choices=["the one on training images", "the one on validation images"],
)

# %%
histories = {name: training.History.from_json(json.dumps(notes["history"])) for name, _, notes in shipped}
first = histories["teacher_1"]
others = [history for name, history in histories.items() if name != "teacher_1"]
show(
    figures.training_curves({"teacher 1": [first], "teachers 2 to 5": others}),
    f"loss and accuracy of the five teachers by epoch. Teacher 1 ends after {len(first)} epochs at "
    f"{100 * first.last.validation_accuracy:.1f} % of the validation images, the other four at "
    f"{100 * sum(history.last.validation_accuracy for history in others) / len(others):.1f} % on average.",
)

# %%
begin = first.epochs[0]
higher = "training" if begin.train_accuracy > begin.validation_accuracy else "validation"
claim(
    "In its first epoch, teacher 1 did better on images that it had not been trained on",
    begin.validation_accuracy > begin.train_accuracy,
    points_ahead=at_least(100 * (begin.validation_accuracy - begin.train_accuracy), 5),
)

# %%
widgets.reveal("02-first-epoch", f"the one on {higher} images")

# %% [markdown]
# Surprised? There are two reasons. The training accuracy is a mean over the whole epoch, and the network began it
# untrained, but the validation accuracy is measured at the end. And training images were shifted, mirrored and partly
# erased, while validation images are whole, so training was the harder task. Later the lines cross. Is that
# overfitting? By the rule of your exercise it isn't.

# %%
risen = [
    history.last.validation_loss / min(history.column("validation_loss")) for history in histories.values()
]
claim(
    "No teacher's validation loss ends 10 % above its minimum or higher",
    max(risen) < 1.1,
    largest_ratio_of_last_to_smallest_loss=at_most(max(risen), 1.1, "times"),
)

# %% [markdown]
# Do these curves belong to the weights on your disk? Check it.

# %%
teacher = shipped[0][1]
part = data.validation.subset(torch.arange(1000))
found = evaluation.accuracy(evaluation.predict(teacher, part, data), part.labels)
claim(
    "The stored teacher has the accuracy that its stored curve shows",
    abs(found - first.last.validation_accuracy) < 0.025,
    points_apart_on_a_thousand_images=at_most(100 * abs(found - first.last.validation_accuracy), 2.5),
)

# %%
mistakes = {
    "small": 1 - small_history.last.validation_accuracy,
    "teacher 1": 1 - first.last.validation_accuracy,
}
claim(
    "Longer training pays: the course's teacher makes far fewer mistakes than the small one above",
    mistakes["teacher 1"] < 0.8 * mistakes["small"],
    mistakes_relative_to_the_small_teacher=at_most(mistakes["teacher 1"] / mistakes["small"], 0.8, "times"),
)

# %% [markdown]
# These curves also follow a rule of this course: a result is always that of the **last** epoch. It is tempting to
# report the best one. But the best of many epochs is partly the luckiest. And if you choose by the validation images
# often enough, they become a kind of training images. Settings were chosen on the validation split, and the test
# split was used once, at the very end.

# %% [markdown]
# ## Quiz

# %%
widgets.quiz(
    "02",
    [
        widgets.Question(
            "Training runs without an error, but the loss stays near 2.3. What does that tell you?",
            options=[
                widgets.Option(
                    "The network still does no better than guessing among ten classes",
                    True,
                    "2.3 is the logarithm of 10. Look at the learning rate, the labels, and whether steps are taken.",
                ),
                widgets.Option(
                    "It is overfitting", False, "An overfitting network has a training loss close to zero."
                ),
                widgets.Option(
                    "It has learned all that it can learn",
                    False,
                    "Then the loss would be well below that of guessing.",
                ),
            ],
        ),
        widgets.Question(
            "What happens if optimizer.zero_grad() is forgotten?",
            options=[
                widgets.Option(
                    "The gradients of all batches so far add up",
                    True,
                    "backward adds to the stored gradient, so every step would also follow old batches.",
                ),
                widgets.Option(
                    "Nothing: backward overwrites the old gradient", False, "It adds to it instead."
                ),
                widgets.Option("The weights become zero", False, "It is the gradients that are set to zero."),
            ],
        ),
        widgets.Question(
            "Why is a network evaluated in eval mode?",
            options=[
                widgets.Option(
                    "Because in train mode BatchNorm and dropout layers compute something else, and BatchNorm "
                    "updates its statistics",
                    True,
                    "The prediction would depend on the other images of the batch, and the network would change.",
                ),
                widgets.Option(
                    "Because eval mode switches the gradient off",
                    False,
                    "That is what torch.no_grad() does; the two are independent.",
                ),
                widgets.Option(
                    "Because otherwise the weights would be updated",
                    False,
                    "Only optimizer.step() updates weights. The statistics of BatchNorm do change, though.",
                ),
            ],
        ),
        widgets.Question(
            "The training loss falls and falls; the validation loss has been rising for ten epochs. What may help?",
            options=[
                widgets.Option(
                    "More images, or augmentation", True, "Then they are harder to learn by heart."
                ),
                widgets.Option("A larger network", False, "It could learn even more by heart."),
                widgets.Option("More epochs", False, "The loss would continue to rise."),
            ],
        ),
        widgets.Question(
            "The best of sixteen epochs had a validation accuracy a little above the last. Which one is reported?",
            options=[
                widgets.Option(
                    "That of the last epoch",
                    True,
                    "It was fixed beforehand, so luck had no part in the choice.",
                ),
                widgets.Option(
                    "That of the best epoch",
                    False,
                    "The best of many epochs is partly the luckiest, and another run would not reproduce it.",
                ),
                widgets.Option(
                    "The mean over all epochs",
                    False,
                    "It would include the first epochs, when the network had learned little.",
                ),
            ],
        ),
    ],
)

# %% [markdown]
# ## Recap
#
# - **Cross-entropy** is -log of the label's probability. Guessing among C classes costs log C. Compute it in log
#   space.
# - A training loop has four lines: forward pass, loss, gradient, step. **Momentum** adds up gradients; the learning
#   rate rises and falls.
# - Measure accuracy on held-out images in **eval mode** and without gradient.
# - **Overfitting:** training loss low, validation loss rising. **Underfitting:** not even the training loss falls.
#   More images help against the first, more training against the second.
# - Results are those of the **last** epoch.
#
# Next: {{lesson ensembles}}, why five such teachers together are better than the best of them.
#
# ## References
#
# - Herbert Robbins, Sutton Monro (1951). A Stochastic Approximation Method. Annals of Mathematical Statistics 22.
#   https://doi.org/10.1214/aoms/1177729586
# - Boris T. Polyak (1964). Some Methods of Speeding up the Convergence of Iteration Methods. USSR Computational
#   Mathematics and Mathematical Physics 4. https://doi.org/10.1016/0041-5553(64)90137-5
# - Ilya Sutskever, James Martens, George Dahl, Geoffrey Hinton (2013). On the Importance of Initialization and
#   Momentum in Deep Learning (with Nesterov's refinement). https://proceedings.mlr.press/v28/sutskever13.html
# - Sergey Ioffe, Christian Szegedy (2015). Batch Normalization: Accelerating Deep Network Training by Reducing
#   Internal Covariate Shift. https://arxiv.org/abs/1502.03167
# - Kaiming He, Xiangyu Zhang, Shaoqing Ren, Jian Sun (2016). Deep Residual Learning for Image Recognition.
#   https://arxiv.org/abs/1512.03385
# - Leslie N. Smith, Nicholay Topin (2018). Super-Convergence: Very Fast Training of Neural Networks Using Large
#   Learning Rates. https://arxiv.org/abs/1708.07120
# - Keller Jordan and others (2024). Muon: An optimizer for hidden layers in neural networks.
#   https://kellerjordan.github.io/posts/muon/
#
# All terms: [glossary](glossary.md).
