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
# Whatever a student learns from its teacher, the teacher had to learn first, from labelled images, step by step. One
# such step is four lines of code. In this lesson you write them, and watch the loss fall while your own code trains a
# network. You also see training fail in two ways, and learn when to stop it.
#
# ## Objectives
#
# By the end of this lesson you can
#
# - say what cross-entropy measures, and compute it without overflow;
# - write the four lines of a training step, and the step with momentum inside it, and train a network with them;
# - measure accuracy on held-out images without changing the network or biasing the result;
# - read training curves: overfitting, underfitting, or neither;
# - stop a training early, and say what this costs.
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
from collections.abc import Callable
from dataclasses import replace

from kdcourse import figures, models, training, widgets
from kdcourse.course import (
    at_least,
    at_most,
    between,
    check,
    claim,
    live_loss,
    progress_bar,
    show,
    use_answer,
)
from kdcourse.data import Augmentation, Batches, fashion_mnist
from kdcourse.runs import teachers

import torch
import torch.nn.functional as F

# %%
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

# %%
claim(
    "An untrained network has about the loss of guessing, the logarithm of the number of classes",
    abs(loss - math.log(10)) < 0.5,
    its_loss=between(loss, 2, 2.8, "nats", digits=2),
    images_classified_correctly=at_most(100 * accuracy, 30, "%", digits=1),
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
# Now let your function walk down a gentle slope. The loss is (w - 3)^2 / 100, so the gradient is a hundred times
# smaller than before. How many steps bring w from 0 to within 0.1 of the minimum?

# %%
move = use_answer("momentum_step", momentum_step)


def steps_to_the_minimum(momentum):
    weight, velocity, steps = torch.zeros(1), torch.zeros(1), 0
    while abs(weight.item() - 3) >= 0.1:
        weight, velocity = move(weight, (weight - 3) / 50, velocity, 0.1, momentum)
        steps += 1
    return steps


without, with_momentum = steps_to_the_minimum(0.0), steps_to_the_minimum(0.9)

# %%
claim(
    "On a gentle slope, momentum comes near the minimum in far fewer steps",
    with_momentum < without,
    steps_without_momentum=at_least(without, 1500, digits=0),
    steps_with_momentum=at_most(with_momentum, 250, digits=0),
)

# %% [markdown]
# ## Four lines
#
# The rest is repetition. Take a **batch** of images, and
#
# 1. run a forward pass: the model turns the images into logits;
# 2. compute the loss of these logits;
# 3. compute the gradient of the loss, from zeroed gradients: `zero_grad`, then `backward`;
# 4. let the optimizer take a step.
#
# `backward` puts the gradient of each parameter into its `.grad`. It **adds** it to what is there already, so the old
# gradients must be set to zero before. The **optimizer** knows all parameters; its `step` moves them by their
# gradients.

# %% [markdown]
# ### Exercise: a training step (medium, 6 minutes)
#
# Write the four lines (the third is two calls). `loss_of` takes logits and labels and returns the loss, such as your
# `cross_entropy_by_hand`. Name the loss `loss`, because the last line returns it as a Python number.
#
# <details><summary>Hint 1</summary>
#
# A model is called like a function: `model(images)`. So is `loss_of`.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# `zero_grad` and `step` are methods of the optimizer and take no arguments. `backward` is a method of the loss.
#
# </details>


# %%
from kdcourse.course.train_a_teacher.exercises import training_step

# %%
check("training_step", training_step)

# %% [markdown]
# ## Your loop
#
# Now put everything together. The optimizer below holds one velocity per parameter and moves each parameter with your
# `momentum_step`. Its learning rate is set from outside, before each step.

# %%
cross_entropy = use_answer("cross_entropy_by_hand", cross_entropy_by_hand)
train_step = use_answer("training_step", training_step)


class MomentumOptimizer:
    """Move every parameter of a model by `momentum_step`."""

    def __init__(self, model):
        self.parameters = list(model.parameters())
        self.velocities = [torch.zeros_like(parameter) for parameter in self.parameters]
        self.param_groups = [{"lr": 0.0}]  # where torch's optimizers have their learning rate, too

    def zero_grad(self):
        for parameter in self.parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self):
        learning_rate = self.param_groups[0]["lr"]
        for i, parameter in enumerate(self.parameters):
            moved, self.velocities[i] = move(
                parameter, parameter.grad, self.velocities[i], learning_rate, 0.9
            )
            parameter.copy_(moved)


# %% [markdown]
# One pass over all training images is an **epoch**. The learning rate isn't constant. It rises, so that the first
# steps of an untrained network are short. Then it falls to zero, so that the weights settle.

# %%
for percent in (0, 10, 20, 60, 100):
    print(
        f"after {percent:3} % of the steps: {training.one_cycle(percent / 100):.2f} of the peak learning rate"
    )

# %% [markdown]
# Here is the whole loop. `Batches` returns the images in another order in each epoch.


# %%
def train_by_hand(model, data, optimizer, loss_of, *, epochs, after_step=lambda loss: None):
    """Train `model` in place, and return the loss of every step."""
    batches = Batches(data.train, data, batch_size=100, seed=0)
    losses, steps = [], epochs * batches.steps
    model.train()
    for epoch in range(epochs):
        for batch in batches.epoch(epoch):
            share = (len(losses) + 1) / (steps + 1)
            for group in optimizer.param_groups:
                group["lr"] = 0.1 * training.one_cycle(share)
            losses.append(train_step(model, batch.images, batch.labels, optimizer, loss_of))
            after_step(losses[-1])
    return losses


# %% [markdown]
# **Predict:** a network of two small layers takes 400 steps, each on 100 images. At the start its loss is about 2.3
# nats. How large is it at the end?

# %%
widgets.predict(
    "02-loop",
    "Your loop begins at a loss of about 2.3 nats. How large is the loss after 400 steps?",
    number=(0, 3, 0.1),
    unit="nats",
)

# %% [markdown]
# Run the next cell and watch. Every step is your code: your loss, your four lines, your momentum.

# %%
torch.manual_seed(0)
by_hand = models.build("mlp_25k")
losses = train_by_hand(
    by_hand,
    first_images(20_000),
    MomentumOptimizer(by_hand),
    cross_entropy,
    epochs=2,
    after_step=live_loss("your loop", 400),
)

# %%
show(
    figures.step_curves(
        {"loss of a batch": losses},
        title="The loss of every step",
        mean_of=20,
        level=("guessing among ten classes", math.log(10)),
    ),
    "the loss of each of the 400 steps, and its running mean. It begins near the loss of guessing, falls steeply at "
    "first and slowly later, and goes up and down from batch to batch.",
)

# %% folded=true
at_the_end = sum(losses[-20:]) / 20
claim(
    "400 steps of the loop bring the loss far below that of guessing",
    at_the_end < 0.8,
    steps=len(losses),
    loss_of_the_first_step=at_least(losses[0], 2, "nats", digits=2),
    mean_loss_of_the_last_twenty=at_most(at_the_end, 0.8, "nats", digits=2),
)

# %%
widgets.reveal("02-loop", round(at_the_end, 1), unit="nats")

# %% [markdown]
# The loss goes up and down because each batch has other images, some easier and some harder. Only the mean of many
# steps tells how training goes.
#
# What would happen without `zero_grad`? To see it, delete it from your step and run the step's cell again. Then write
# `train_step = training_step` in a new cell here, since `use_answer` wouldn't take a wrong step, and run the two cells
# that train and plot again. Afterwards put `zero_grad` back, and run the step's cell, your new cell and the cell that
# trains once more: later cells need a right step, and the network that it trains.

# %% [markdown]
# The course trains with `training.fit`. It adds what you want in practice: a progress bar, validation after each
# epoch, the number format that suits your machine, checkpoints for continuing an interrupted run, and clear errors
# when training diverges. The four lines are the same: open a new cell, run `training.fit??`, and find them in the
# source.
#
# Is it really the same? Train one network with the loop and one with `fit`, from the same initial weights, on the same
# images, and with the same optimizer, that of torch. It takes steps with momentum, refined by Nesterov (Sutskever and
# others 2013), and has **weight decay**: every step also moves the weights a little towards zero.

# %%
few = first_images(5_000)
torch.manual_seed(0)
looped = models.build("mlp_25k")
optimizer = training.make_optimizer("sgd", looped, learning_rate=0.1, weight_decay=5e-4)
bar = progress_bar("the loop, then fit", 2 * 2 * 50)
_ = train_by_hand(looped, few, optimizer, F.cross_entropy, epochs=2, after_step=bar)

settings = {"batch_size": 100, "learning_rate": 0.1, "weight_decay": 5e-4, "seed": 0, "progress": False}
torch.manual_seed(0)
by_fit = models.build("mlp_25k")
settings |= {"precision": "float32", "after_step": bar}  # float32, as the loop
_ = training.fit(by_fit, few, epochs=2, **settings)

# %% folded=true
apart = max(
    (one.detach() - other.detach()).abs().max().item()
    for one, other in zip(looped.parameters(), by_fit.parameters(), strict=True)
)
claim(
    "From the same start, fit and the loop end at the same weights, up to rounding",
    apart < 1e-3,
    largest_difference_of_a_weight=at_most(apart, 0.001, digits=6),
)

# %% [markdown]
# ## Accuracy on new images
#
# A network may know its training images by heart. What counts is its accuracy on other images, so some were held
# back, the **validation split**. Measuring it sounds harmless, but two things can go wrong.
#
# First, some layers behave differently during training. **Dropout** sets units to zero at random. **BatchNorm** (Ioffe
# and Szegedy 2015) subtracts from each feature its mean over the batch and divides by the standard deviation, so that
# the next layer always gets numbers of about the same size. It also **stores** running averages of both, and uses these
# in eval mode, where a prediction mustn't depend on the other images of a batch. `model.train()` sets train mode,
# `model.eval()` sets eval mode.
#
# Second, torch records every operation for a gradient that you won't need, unless you use `torch.no_grad()`.

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

# %%
claim(
    "A forward pass in train mode changes a network, even without a training step; in eval mode it doesn't",
    changed_in_eval == 0 < changed_in_train,
    batchnorm_layers=sum(isinstance(layer, torch.nn.BatchNorm2d) for layer in teacher.modules()),
    tensors_changed_in_eval_mode=changed_in_eval,
    tensors_changed_in_train_mode=changed_in_train,
)

# %% [markdown]
# Each BatchNorm layer stores three things: the running averages of mean and variance, and the number of batches. All
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
# From now on your function measures. It begins with the network that your loop trained, on 1,000 images that this
# network hasn't seen.

# %%
measure = use_answer("validation_accuracy", validation_accuracy)
held_out = data.normalise(data.validation.images[:1000])
held_out_labels = data.validation.labels[:1000]
of_the_loop = measure(by_hand, held_out, held_out_labels)

# %%
claim(
    "The network that the loop trained classifies most new images correctly",
    of_the_loop > 0.75,
    right=at_least(100 * of_the_loop, 75, "%", digits=1),
)

# %% [markdown]
# ## A small teacher, for real
#
# Now train a convolutional network. A **convolution** moves small filters over an image and computes the same weighted
# sum at every place; each filter gives one **channel** of the output. A teacher of this course is a residual network
# (He and others 2016): three stages of convolutions, with shortcuts that add the input of a few layers to their output.
# Below is a narrower version, with fewer channels. It sees part of the images, a few times, each time a little shifted
# or mirrored (**augmentation**).
#
# The optimizer is **Muon** (Jordan and others 2024), as for the teachers. It keeps a velocity, too, but before each
# step it replaces a layer's velocity by the nearest matrix that moves the weights equally far in all directions (an
# orthogonal one), so that a few strong directions don't outweigh the others. Such a step takes more time, but fewer
# steps are needed.
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
_ = training.fit(
    small,
    first_images(8_000),
    epochs=3,
    batch_size=128,
    learning_rate=0.05,
    optimizer="muon",
    weight_decay=5e-3,
    augmentation=Augmentation(erase=0),
    seed=0,
    validate=False,
    progress=False,
    after_step=progress_bar("small teacher", 3 * 62),
)
of_the_small_teacher = measure(small, held_out, held_out_labels)

# %%
claim(
    "After three epochs the network classifies most new images correctly",
    of_the_small_teacher > 0.8,
    parameters=sum(weight.numel() for weight in small.parameters()),
    right=at_least(100 * of_the_small_teacher, 80, "%", digits=1),
)

# %%
widgets.reveal("02-small-teacher", round(100 * of_the_small_teacher), unit="of 100")

# %% [markdown]
# ## Two ways to go wrong
#
# **Predict:** a larger network of linear layers sees the same 500 images fifteen times. The loss on these images falls
# to almost nothing. What does the loss on the validation images do?

# %%
widgets.predict(
    "02-few-images",
    "500 images, fifteen epochs: the loss on the validation images ...",
    choices=["falls until the end, too", "falls, then stays where it is", "falls, then rises"],
)

# %% [markdown]
# Train this network twice on the same images: once as usual, and once with tiny steps, at a learning rate far too low.
# In the figure, each run has its own colour and marker. Solid lines are the validation split, dashed lines the training
# images. The left axis is logarithmic: equal distances multiply the loss by the same factor.

# %%
learning_rates = {"500 images": 0.1, "tiny steps": 0.00005}
settings = {"batch_size": 50, "weight_decay": 0.0, "seed": 0, "progress": False}
curves, trained = {}, {}
for name, learning_rate in learning_rates.items():
    torch.manual_seed(0)
    trained[name] = models.build("mlp_200k")
    bar = progress_bar(name, 15 * 10)
    curves[name] = training.fit(
        trained[name],
        first_images(500),
        epochs=15,
        learning_rate=learning_rate,
        after_step=bar,
        **settings,
    )

# %%
show(
    figures.training_curves({name: [history] for name, history in curves.items()}),
    "loss and accuracy of two runs by epoch, training dashed, validation solid. On 500 images the training loss falls "
    "to almost nothing while the validation loss falls, then rises; with tiny steps both hardly change.",
)

# %% folded=true
few_images, tiny = curves["500 images"], curves["tiny steps"]
validation_loss, accuracies = few_images.column("validation_loss"), few_images.column("validation_accuracy")
smallest = min(validation_loss)
risen = validation_loss[-1] / smallest
claim(
    "With few images the network learns them by heart, while its loss on other images rises again",
    few_images.last.train_loss < 0.1 and risen > 1.1,
    last_training_loss=at_most(few_images.last.train_loss, 0.1, "nats", digits=3),
    smallest_validation_loss=at_most(smallest, 0.9, "nats", digits=2),
    last_validation_loss_over_the_smallest=at_least(risen, 1.2, "times", digits=2),
)
claim(
    "With tiny steps the network doesn't even learn the training images",
    tiny.last.train_loss > 0.9 * tiny.epochs[0].train_loss,
    last_training_loss_over_the_first=at_least(
        tiny.last.train_loss / tiny.epochs[0].train_loss, 0.95, "times", digits=3
    ),
)

# %% folded=true
turned = "falls, then rises" if risen > 1.1 else "falls, then stays where it is"
widgets.reveal("02-few-images", turned)

# %% [markdown]
# The first run is **overfitting**, the second **underfitting**. Look at the accuracy of the overfitting run, too: it
# doesn't fall while the loss rises. The network doesn't make more mistakes than before, but its mistakes cost more: it
# gives the right class less and less probability. It is too **confident**. A teacher that is confident in everything
# tells a student little more than the label. {{Lesson ensembles}} measures this confidence, and {{lesson soft_targets}}
# softens it.

# %% [markdown]
# ## Stop early?
#
# If the validation loss rises again, why not stop before? **Early stopping** looks at it after every epoch. When it
# hasn't reached a new minimum for some epochs, the **patience**, training stops, and the network gets back the weights
# of the best epoch.


# %%
def early_stop(validation_loss, patience):
    """Return the epoch with the smallest loss so far and the epoch at which training stops, both from 1."""
    best = 1
    for epoch, loss in enumerate(validation_loss, start=1):
        if loss < validation_loss[best - 1]:
            best = epoch
        if epoch - best == patience:
            break
    return best, epoch


best, stop = early_stop(validation_loss, patience=3)

# %%
show(
    figures.step_curves(
        {"validation loss": validation_loss, "training loss": few_images.column("train_loss")},
        title="500 images: where early stopping stops",
        unit="epoch",
        marks={"smallest validation loss": best, "training stops": stop},
    ),
    "validation and training loss of the run on 500 images by epoch, with two vertical lines: one at the epoch with "
    "the smallest validation loss, and one three epochs later, where training stops.",
)

# %% folded=true
claim(
    "Early stopping saves epochs and keeps the smallest validation loss, but in this run the accuracy is higher after "
    "all epochs",
    smallest < validation_loss[-1] and accuracies[best - 1] < accuracies[-1],
    best_epoch=between(best, 1, 9, digits=0),
    epochs_trained=between(stop, 4, 12, digits=0),
    loss_at_the_best_epoch=at_most(smallest, 0.9, "nats", digits=2),
    loss_after_all_epochs=at_least(validation_loss[-1], 0.95, "nats", digits=2),
    accuracy_gained_between_them=at_least(
        100 * (accuracies[-1] - accuracies[best - 1]), 2, "points", digits=1
    ),
)

# %% [markdown]
# `training.fit(..., keep="best")` does the second half of this: it trains all epochs, and keeps the weights of the
# epoch with the highest validation **accuracy**. There are two catches.
#
# - What is best? By its loss it is one epoch, by its accuracy another. The learning rate was planned to fall to zero at
#   the last epoch; whoever stops earlier stops while the steps are still long, before the weights settle.
# - The validation images chose the epoch. So its result on **these** images is that of the luckiest epoch, and a little
#   too good. Measure the chosen network on images that had no part in the choice.

# %% [markdown]
# ## What helps?
#
# **Predict:** train the same network once more, with the same batch size, the same learning rates and the same 150
# steps. But where it saw 500 images fifteen times each, it now sees 7,500 images once each. How large is the loss on
# the validation images at the end?

# %%
widgets.predict(
    "02-more-images",
    "150 steps on 7,500 images, each seen once: compared with 500 images, the validation loss at the end is ...",
    choices=["larger", "about the same", "less than three quarters of it"],
)

# %%
torch.manual_seed(0)
trained["7,500 images"] = models.build("mlp_200k")
bar = progress_bar("7,500 images", 150)
_ = training.fit(
    trained["7,500 images"],
    first_images(7_500),
    epochs=1,
    learning_rate=0.1,
    validate=False,
    after_step=bar,
    **settings,
)
at_end = {}
for count, name in ((500, "500 images"), (7_500, "7,500 images")):
    on_training, _ = training.evaluate_split(trained[name], first_images(count).train, data)
    on_validation, right = training.evaluate_split(trained[name], data.validation, data)
    at_end[name] = on_training, on_validation, right

# %% folded=true
few_training, few_validation, few_right = at_end["500 images"]
many_training, many_validation, many_right = at_end["7,500 images"]
claim(
    "With the same number of steps, more images give a smaller loss and a higher accuracy on new images, and a smaller "
    "gap to the training images",
    many_validation < few_validation
    and many_right > few_right
    and many_validation - many_training < few_validation - few_training,
    steps_of_both=150,
    validation_loss_with_500_images=at_least(few_validation, 0.95, "nats", digits=2),
    validation_loss_with_7500_images=at_most(many_validation, 0.7, "nats", digits=2),
    validation_minus_training_loss_with_500_images=at_least(
        few_validation - few_training, 0.8, "nats", digits=2
    ),
    validation_minus_training_loss_with_7500_images=at_most(
        many_validation - many_training, 0.3, "nats", digits=2
    ),
    lead_in_accuracy=at_least(100 * (many_right - few_right), 1, "points", digits=1),
)

# %% folded=true
ratio = many_validation / few_validation
widgets.reveal(
    "02-more-images",
    "larger" if ratio > 1.1 else "about the same" if ratio > 0.75 else "less than three quarters of it",
)

# %% [markdown]
# So against overfitting, above all more images help. (Against underfitting: a larger learning rate, more steps, a larger
# network.) If there are no more images, augmentation makes new views of the old ones. Weight decay keeps weights small, and a
# smaller network can't learn as much by heart. Soft targets help as well, as you will see.

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
# When it passes, it judges the two runs above. Does it agree with you?
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

# %%
judge = use_answer("diagnose", diagnose)
for name, history in curves.items():
    print(f"{name}: {judge(history.column('train_loss'), history.column('validation_loss'))}")

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

# %% folded=true
begin = first.epochs[0]
higher = "training" if begin.train_accuracy > begin.validation_accuracy else "validation"
claim(
    "In its first epoch, teacher 1 did better on images that it had not been trained on",
    begin.validation_accuracy > begin.train_accuracy,
    validation_images=at_least(100 * begin.validation_accuracy, 75, "%", digits=1),
    lead_over_the_training_images=at_least(
        100 * (begin.validation_accuracy - begin.train_accuracy), 5, "points", digits=1
    ),
)

# %%
widgets.reveal("02-first-epoch", f"the one on {higher} images")

# %% [markdown]
# Surprised? There are two reasons. The training accuracy is a mean over the whole epoch, and the network began it
# untrained, but the validation accuracy is measured at the end. And training images were shifted, mirrored and partly
# erased, while validation images are whole, so training was the harder task. Later the lines cross. Is that
# overfitting? Ask your function.

# %%
for name, history in histories.items():
    print(f"{name}: {judge(history.column('train_loss'), history.column('validation_loss'))}")

# %% folded=true
ratios = [
    history.last.validation_loss / min(history.column("validation_loss")) for history in histories.values()
]
claim(
    "The last validation loss of every teacher is less than 10 % above its smallest",
    max(ratios) < 1.1,
    largest_ratio_of_last_to_smallest_loss=at_most(max(ratios), 1.1, "times", digits=3),
)

# %% [markdown]
# Do these curves belong to the weights on your disk? Check it, on the same 1,000 images as before.

# %%
found = measure(shipped[0][1], held_out, held_out_labels)

# %% folded=true
claim(
    "The stored teacher has the accuracy that its stored curve shows, and makes far fewer mistakes than the small one",
    abs(found - first.last.validation_accuracy) < 0.025 and 1 - found < 0.8 * (1 - of_the_small_teacher),
    stored=at_least(100 * first.last.validation_accuracy, 94, "%", digits=1),
    measured_on_a_thousand_images=between(100 * found, 92.2, 97.2, "%", digits=1),
    mistakes_per_mistake_of_the_small_teacher=at_most(
        (1 - found) / (1 - of_the_small_teacher), 0.8, digits=2
    ),
)

# %% [markdown]
# These teachers were not stopped early. The course always reports the **last** epoch, whose number was fixed
# beforehand. It is tempting to report the best one, but the best of many epochs is partly the luckiest. And if you
# choose by the validation images often enough, they become a kind of training images. Settings were chosen on the
# validation split, and the test split was used once, at the very end.

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
            "A batch has two images. Their labels get the probabilities 1/2 and 1/8. What is the cross-entropy? "
            "(log 2 is about 0.69)",
            options=[
                widgets.Option(
                    "1.39 nats",
                    True,
                    "-log(1/2) is 0.69, and -log(1/8) is three times as much, 2.08. Their mean is 1.39.",
                ),
                widgets.Option(
                    "2.77 nats",
                    False,
                    "That is the sum of both. The loss of a batch is the mean over its images.",
                ),
                widgets.Option(
                    "1.16 nats",
                    False,
                    "That is -log of the mean probability, 5/16. Take each image's logarithm first, then the mean.",
                ),
                widgets.Option(
                    "0.31 nats",
                    False,
                    "That is the mean probability, 5/16. The loss is the mean of -log p.",
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
            "Somebody trains with early stopping, and reports the validation accuracy of the epoch that was kept. What "
            "is the catch?",
            options=[
                widgets.Option(
                    "The same images chose the epoch, so the number is a little too good",
                    True,
                    "The best of many epochs is partly the luckiest. Images that had no part in the choice show less.",
                ),
                widgets.Option(
                    "The network has seen the validation images, so it knows them by heart",
                    False,
                    "No gradient ever came from them. They only chose among the epochs, which helps much less.",
                ),
                widgets.Option(
                    "A network that is stopped early is always less accurate",
                    False,
                    "It was in this lesson's run. Where the accuracy falls again, stopping early makes it higher.",
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
# - A training step has four lines: forward pass, loss, gradient, step. You wrote them, and they trained a network.
#   **Momentum** adds up gradients; the learning rate rises and falls.
# - Measure accuracy on held-out images in **eval mode** and without gradient.
# - **Overfitting:** training loss low, validation loss rising. **Underfitting:** not even the training loss falls.
#   More images help against the first, more training against the second.
# - **Early stopping** keeps the epoch that the validation images like best. So measure it on other images. Results in
#   this course are those of the **last** epoch.
#
# Next: {{lesson ensembles}}, what five such teachers can do together.
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
