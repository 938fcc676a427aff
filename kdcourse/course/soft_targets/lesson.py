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
# # Soft targets and temperature
#
# A label says *shirt*. The ensemble says *shirt, but almost a dress, and certainly not a shoe*. A student learns from
# this more detailed prediction. In this lesson you look at it, measure it, and derive what it teaches a student. At the
# end, two students meet a kind of shoe that neither was ever shown.
#
# ## Objectives
#
# By the end of this lesson you can
#
# - read soft targets, and say what they contain that a label doesn't;
# - soften probabilities with a temperature, and measure with the entropy how soft they are;
# - derive the gradient that soft targets send to a student, and its limit when the temperature is high;
# - show, on paper and in numbers, why the distillation term is multiplied by T squared;
# - test what a student knows about a class that it was never shown.
#
# **Builds on:** {{lesson train_a_teacher}} (softmax, cross-entropy, gradients) and
# {{lesson ensembles}} (the ensemble). You will need a few derivatives, one step at a time: have paper and pencil ready.
#
# **Time:** {{reading_minutes}} minutes to read, {{exercise_minutes}} minutes for the exercises; the machine works
# for {{machine_seconds}}.
#
# Words that are new to you are in the [glossary](glossary.md).

# %%
import itertools
import math
from dataclasses import replace

from kdcourse import evaluation, figures, models, training, widgets
from kdcourse.course import at_least, at_most, between, check, claim, progress_bar, show, use_answer
from kdcourse.data import fashion_mnist
from kdcourse.distillation import (
    distil,
    hinton_loss,
    mean_softened,
    soft_targets,
    softened,
    softened_mean,
)
from kdcourse.files import shipped
from kdcourse.runs import recorded
from kdcourse.runs.study import FOLDER, half, study_named
from kdcourse.runs.study.missing import shift_for_share
from kdcourse.runs.study.rows import Rows

import torch
import torch.nn.functional as F

# %% [markdown]
# ## The teachers' logits
#
# The ensemble made one prediction for every training image, and these logits came with the course. A row holds ten
# numbers, one per class. Nearly all of this lesson is computed from them.

# %%
data = fashion_mnist()
ensemble = recorded.ensemble(data)
targets = soft_targets(ensemble, data.train, data)
# One view, the original images: nothing was shifted or mirrored.
teacher_logits = targets.logits(targets.views[0], torch.arange(len(data.train)))
labels = data.train.labels
print(f"logits of {teacher_logits.shape[0]:,} images, {teacher_logits.shape[1]} classes each")

# %% [markdown]
# ## Three shirts
#
# Here are three training images with the same label. The ensemble classifies each of them as a shirt, too. They were
# chosen because the ensemble gives a large probability to a *second* class: T-shirt for one, coat for another, dress
# for the third. The label is the same for all three. The soft targets are different. (*T = 1* above the bars means the
# ordinary softmax. T is explained below.)

# %%
probabilities = softened(teacher_logits, 1)  # the ordinary softmax
shirt = data.classes.index("Shirt")
predicted_shirt = (labels == shirt) & (teacher_logits.argmax(dim=1) == shirt)
lookalikes = [data.classes.index(name) for name in ("T-shirt/top", "Coat", "Dress")]
chosen = torch.stack([(probabilities[:, other] * predicted_shirt).argmax() for other in lookalikes])
show(
    figures.soft_target_gallery(
        data.train.images[chosen], teacher_logits[chosen], labels[chosen], data.classes, temperatures=(1,)
    ),
    "three images labelled Shirt beside the ensemble's soft targets; the second class is T-shirt/top for the first, "
    "Coat for the second and Dress for the third.",
    photographs=True,
)

# %% folded=true
second = teacher_logits[chosen].topk(2).indices[:, 1]
claim(
    "Three images with the same label have three different second classes",
    len(set(second.tolist())) == 3,
    second_classes=", ".join(data.classes[index] for index in second),
)

# %% [markdown]
# In a talk of 2014, Hinton, Vinyals and Dean called the information in the wrong classes' probabilities **dark
# knowledge**. The network always had it, but its prediction, one class, doesn't show it.
#
# **Predict:** now take all training images labelled *Shirt* together. Which other class gets the largest share of the
# ensemble's probability?

# %%
widgets.predict(
    "04-like-a-shirt",
    "Which class does the ensemble find most like a shirt?",
    choices=["T-shirt/top", "Pullover", "Dress", "Coat"],
)

# %%
shares = torch.stack([probabilities[labels == k].mean(dim=0) for k in range(10)])  # a row for each label
of_nearest, nearest = shares.clone().fill_diagonal_(0).max(dim=1)  # the label's own class left out
for name, other, share in zip(data.classes, nearest, of_nearest, strict=True):
    print(f"{name:>11} is most like {data.classes[other]}{', but hardly' if share < 0.001 else ''}")

# %%
widgets.reveal("04-like-a-shirt", data.classes[nearest[shirt]])

# %% [markdown]
# Read the list once more. Shoes resemble shoes, and tops resemble tops. Nobody told the teachers that there are such
# groups: they learned them from images and labels. (*But hardly* means less than a thousandth on average. Nothing
# resembles trousers or a bag much.) A student gets this information in addition to the label.

# %% [markdown]
# ## How confident are the teachers?
#
# These three shirts were chosen because the ensemble was in doubt. How is it with the other images that the teachers were
# trained on?
#
# **Predict:** for how many of a hundred training images does the ensemble give more than 99 % to a single class?

# %%
widgets.predict(
    "04-nearly-certain",
    "Of a hundred training images, for how many does one class get more than 99 %?",
    number=(0, 100, 1),
    unit="of 100",
)

# %% folded=true
nearly_certain = (probabilities.max(dim=1).values > 0.99).double().mean().item()
claim(
    "On most training images the ensemble's soft target is almost the label",
    nearly_certain > 0.5,
    images_with_more_than_99_percent_for_one_class=at_least(100 * nearly_certain, 75, "%", digits=1),
)
widgets.reveal("04-nearly-certain", 100 * nearly_certain, unit="of 100")

# %% [markdown]
# On most images one class gets nearly all the probability. The information about the other classes is there, but in very
# small probabilities. The solution is to make the teacher less certain before the student learns from it. The temperature
# does that.
#
# ## Temperature
#
# Divide all the teacher's logits $v_i$ by a number $T$, the **temperature**, before the softmax:
#
# $$p_i = \frac{e^{v_i / T}}{\sum_j e^{v_j / T}}$$
#
# This is equation 1 of the paper (Hinton, Vinyals and Dean 2015). In this lesson $v$ and $p$ are always the teacher's
# logits and probabilities; the student's will be $z$ and $q$. Here is a worked example with three made-up logits.

# %%
logits = torch.tensor([6.0, 3.0, 0.0])
for temperature in (0.5, 1, 3, 10, 1000):
    powers = (logits / temperature).exp()
    shares = powers / powers.sum()
    print(f"T = {temperature:<5g}", "  ".join(f"{share:.3f}" for share in shares.tolist()))

# %% [markdown]
# - $T = 1$ is the ordinary softmax.
# - Below 1, the largest logit gets more and more; at $T \to 0$ only one class is left, as in a label.
# - Above 1, the other classes get more; at $T \to \infty$ all classes get the same share.
# - The **order** of the classes never changes, for any $T > 0$.
#
# ### Exercise: soften (easy, 4 minutes)
#
# Do this for a whole batch, logits [B, C], and for any logits, large ones too. Each image's probabilities must sum
# to 1.
#
# <details><summary>Hint 1</summary>
#
# `torch.softmax(something, dim=...)` computes the exponentials and the division. It doesn't overflow where `exp` would.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# The classes lie along axis 1. Which of the two is divided by the temperature: the logits or the probabilities?
#
# </details>


# %%
from kdcourse.course.soft_targets.exercises import softened_probabilities

# %%
check("softened_probabilities", softened_probabilities)

# %% [markdown]
# From here on, **your** function softens the teachers' predictions.

# %%
soften = use_answer("softened_probabilities", softened_probabilities)

# %% [markdown]
# ## Very small probabilities
#
# Here are three images for which the ensemble gives one class more than 99.9 %. At T = 1 their soft targets say no
# more than their labels. At higher temperatures you can see which other classes each image resembles.

# %%
certain = probabilities.max(dim=1).values > 0.999
names = ("Sneaker", "Trouser", "Bag")
examples = torch.stack([(certain & (labels == data.classes.index(name))).nonzero()[0, 0] for name in names])
show(
    figures.soft_target_gallery(
        data.train.images[examples],
        teacher_logits[examples],
        labels[examples],
        data.classes,
        temperatures=(1, 4, 8),
    ),
    "a sneaker, a trouser and a bag beside the ensemble's soft targets at temperature 1, where one class has nearly "
    "all the probability, and at 4 and 8, where the others get a visible share.",
    photographs=True,
)

# %% folded=true
warm = soften(teacher_logits[examples], 4)
claim(
    "At temperature 4 the other classes together get a far larger share than at temperature 1",
    bool((warm.max(dim=1).values < 0.95).all()),
    others_together_at_T_1=at_most(
        100 * (1 - probabilities[examples].max(dim=1).values.min().item()), 0.1, "%", digits=4
    ),
    at_T_4=at_least(100 * (1 - warm.max(dim=1).values.max().item()), 5, "%", digits=1),
)

# %% [markdown]
# Some soft targets contain more information than others. The sneaker clearly resembles the other shoes. For the trouser
# and the bag, the other classes get nearly equal shares. Their soft targets say little more than their labels, at any
# temperature.
#
# ## Choose the temperature yourself
#
# Here are ten images that the teachers were *not* trained on: the first of each class in the validation split. You see
# the predictions of all five teachers and of their ensemble. Drag T from one end to the other (or press Tab until the
# slider has the focus, then use the arrow keys). The hatched bar is the class of the label. Can you find an image on
# which the teachers agree at T = 1, but have different second classes?

# %%
first = torch.stack([(data.validation.labels == k).nonzero()[0, 0] for k in range(10)])
images = data.validation.images[first]
logits_of_five = ensemble.member_logits(data.normalise(images))
widgets.temperature_explorer(images, logits_of_five, data.validation.labels[first], data.classes)

# %% [markdown]
# ## How soft? Entropy
#
# Each panel of the explorer shows a number of **nats**. It is the **entropy** of the probabilities,
#
# $$H(p) = -\sum_i p_i \log p_i$$
#
# The entropy measures how spread out the probabilities are. It is 0 when one class has all the probability, and
# $\log C$ when all $C$ classes have the same share. A class with probability 0 adds nothing: $0 \log 0$ counts as 0. A
# computer returns NaN for it.

# %%
for shares in ([1.0, 0.0], [0.9, 0.1], [0.5, 0.5]):
    nats = -sum(share * math.log(share) for share in shares if share > 0)
    print(shares, f"{abs(nats):.2f} nats")  # abs turns -0.00 into 0.00

# %% [markdown]
# ### Exercise: entropy (medium, 5 minutes)
#
# For a batch of probabilities [B, C], return one entropy per image, [B]. Fill two gaps: the logarithms, without a NaN
# where a probability is 0, and the sum.
#
# <details><summary>Hint 1</summary>
#
# `torch.where(condition, a, b)` takes from `a` where the condition is true, and from `b` elsewhere. Which number can
# replace a probability of 0, if its logarithm is multiplied by 0 afterwards?
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# The logarithm of 1 is 0. You can safely take the logarithm of `torch.where(probabilities > 0, probabilities, 1.0)`.
#
# </details>


# %%
from kdcourse.course.soft_targets.exercises import entropy_nats

# %%
check("entropy_nats", entropy_nats)

# %% [markdown]
# Now take all training images, at several temperatures. Your two functions do the work. The dashed line is the largest
# possible entropy.

# %%
entropy_of = use_answer("entropy_nats", entropy_nats)
temperatures = (0.5, 1, 2, 4, 8, 16)
exact = teacher_logits.double()
nats = torch.stack([entropy_of(soften(exact, temperature)) for temperature in temperatures])  # [T, N]

# %%
show(
    figures.against_temperature(
        temperatures,
        {"ensemble, mean over the training images": nats.mean(dim=1).tolist()},
        quantity="entropy (nats)",
        title="A higher temperature raises the entropy",
        level=("all classes equally likely: log 10", math.log(10)),
    ),
    "the mean entropy of the ensemble's soft targets rises with temperature, from near 0 at T = 0.5 to near the "
    "logarithm of 10 at T = 16.",
)

# %% folded=true
share_of_most = nats.mean(dim=1) / math.log(10)
claim(
    "For every single image, entropy rises with temperature",
    bool((nats.diff(dim=0) > 0).all()),
    images=len(labels),
    share_of_the_largest_possible_at_T_1=at_most(100 * share_of_most[1].item(), 5, "%", digits=1),
    at_T_4=between(100 * share_of_most[3].item(), 50, 65, "%", digits=1),
    at_T_16=at_least(100 * share_of_most[5].item(), 95, "%", digits=1),
)

# %% [markdown]
# This is true for all images, not only for these: the derivative of the entropy with respect to $T$ is the variance of
# the logits under $p$, divided by $T^3$, and a variance can't be negative.
#
# A good temperature lies between the two ends. No formula says which one: you search for it in {{lesson distil}}.
#
# ## Three ways to soften an ensemble
#
# With several teachers you must also say *when* you soften. There are three ways:
#
# 1. average the logits, then soften;
# 2. average the probabilities, then soften (their logarithms serve as logits);
# 3. soften each member, then average.
#
# At T = 1 the second and third are the same by definition. At any other T all three differ. By how much? Measure half
# the sum of absolute differences of the ten probabilities: it is 0 if two ways agree, and 0.1 if a tenth of the
# probability has moved to other classes. The next cell does so for a thousand validation images.


# %%
def distance(before: torch.Tensor, after: torch.Tensor) -> float:
    """Return the mean over images of the share of probability that has moved, 0 to 1; both [N, C]."""
    return (before - after).abs().sum(dim=1).mean().item() / 2


thousand = data.normalise(data.validation.images[:1000])
step = progress_bar("A thousand images, five teachers", 10)
parts = []
for hundred in thousand.split(100):
    parts.append(ensemble.member_logits(hundred))
    step()
members = torch.cat(parts, dim=1).double()  # [members, images, classes]
log_mean = softened(members, 1).mean(dim=0).log()
several = (1, 2, 4, 8, 16)
one = [softened_mean(members, temperature) for temperature in several]
two = [soften(log_mean, temperature) for temperature in several]
three = [mean_softened(members, temperature) for temperature in several]
pairs = {"1 and 2": (one, two), "1 and 3": (one, three), "2 and 3": (two, three)}
distances = {
    f"ways {name}": [distance(*each) for each in zip(*both, strict=True)] for name, both in pairs.items()
}

# %%
show(
    figures.against_temperature(
        several,
        {name: [round(value, 6) for value in found] for name, found in distances.items()},
        quantity="share of probability moved",
        title="Three ways to soften an ensemble",
    ),
    "the distances between three ways of softening an ensemble; ways 2 and 3 are equal at T = 1 only, and ways 1 and "
    "3 approach each other as T grows.",
)

# %%
claim(
    "Softening the mean of probabilities is the mean of the softened at T = 1 and at no other temperature",
    distances["ways 2 and 3"][0] < 1e-9 < 0.005 < min(distances["ways 2 and 3"][1:]),
    distance_at_T_1=at_most(distances["ways 2 and 3"][0], 0.0001, digits=4),
    distance_at_T_4=at_least(distances["ways 2 and 3"][2], 0.02, digits=4),
)
claim(
    "Softening the mean of logits is not the mean of the softened either, but nearly so when T is high",
    distances["ways 1 and 3"][0] > 10 * distances["ways 1 and 3"][-1],
    distance_at_T_1=at_least(distances["ways 1 and 3"][0], 0.004, digits=4),
    distance_at_T_16=at_most(distances["ways 1 and 3"][-1], 0.0005, digits=4),
)

# %% [markdown]
# **Softening the mean is not the mean of the softened**, so say which one you mean. Why do ways 1 and 3 become equal? At
# a high temperature all scaled logits are small, and the softmax of small numbers is nearly linear. Then you can average
# before or after it. Way 2 averages probabilities at T = 1, where the softmax is far from linear.
#
# This course uses the first way. It stores one row of numbers per image, which you can soften by any temperature later.

# %% [markdown]
# ## What changes the student: the gradient
#
# A student has logits $z$. It learns from the teacher's softened probabilities $p$, computed from logits $v$ at the
# same $T$. The student's own probabilities are $q$. Its loss for one image is the cross-entropy $L = -\sum_k p_k \log
# q_k$.
#
# You will also meet the **Kullback-Leibler divergence**, $\mathrm{KL}(p \,\|\, q) = L - H(p)$: the cross-entropy
# minus the teacher's own entropy. It is 0 when the student's probabilities equal the teacher's. The student can't
# change $H(p)$, so both losses have the same gradient.
#
# How does $L$ change with one logit $z_i$? There are two steps:
#
# 1. $\log q_k = \dfrac{z_k}{T} - \log \sum_j e^{z_j / T}$, so
#    $\dfrac{\partial \log q_k}{\partial z_i} = \dfrac{1}{T}\big([k = i] - q_i\big)$, where $[k = i]$ is 1 if the
#    two are the same class and 0 otherwise.
# 2. Multiply by $-p_k$ and add up. The $p_k$ sum to 1, so
#
# $$\frac{\partial L}{\partial z_i} = \frac{1}{T}\,(q_i - p_i)$$
#
# This is equation 2 of the paper. If the student gives a class too much probability, a step lowers its logit. If it
# gives too little, a step raises it. Every class contributes, not only the label's. A worked example compares this
# formula with the gradient from `autograd`.

# %%
torch.manual_seed(0)
student = models.build("mlp_25k")
few = slice(0, 4)
v = teacher_logits[few]
z = student(data.normalise(data.train.images[few])).detach().requires_grad_()
T = 4.0

loss = -(soften(v, T) * torch.log_softmax(z / T, dim=1)).sum(dim=1)[0]  # of the first image
(by_autograd,) = torch.autograd.grad(loss, z)
by_hand = (soften(z.detach(), T) - soften(v, T)) / T

# %%
claim(
    "Autograd and equation 2 agree",
    bool(torch.allclose(by_autograd[0], by_hand[0], atol=1e-6)),
    logits_compared=z.shape[1],
)

# %% [markdown]
# ### Exercise: the gradient of soft targets (medium, 6 minutes)
#
# Write it for a batch: the gradient of the cross-entropy with soft targets with respect to the student's logits [B, C],
# **averaged over the batch**. Leave out T squared for now.
#
# <details><summary>Hint 1</summary>
#
# Both $p$ and $q$ are softmaxes at the temperature T, over the classes.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# The mean over B images gives each of them a weight of 1 / B. `len(student_logits)` is B.
#
# </details>


# %%
from kdcourse.course.soft_targets.exercises import soft_gradient

# %%
check("soft_gradient", soft_gradient)

# %% [markdown]
# ## When the temperature is high
#
# Let $T$ be much larger than the logits. Then $z_i / T$ is small, and $e^x \approx 1 + x$. With $C$ classes,
#
# $$\frac{\partial L}{\partial z_i} \approx \frac{1}{T}
# \left(\frac{1 + z_i / T}{C + \sum_j z_j / T} - \frac{1 + v_i / T}{C + \sum_j v_j / T}\right)$$
#
# (equation 3). Adding a constant to all logits of an image changes no probability. So we may shift each network's
# logits to have a mean of 0. Then both sums are 0, and the two 1s cancel:
#
# $$\frac{\partial L}{\partial z_i} \approx \frac{1}{C\,T^2}\,(z_i - v_i)$$
#
# (equation 4). There is no softmax any more. This is the gradient of $\frac{1}{2CT^2}\sum_i (z_i - v_i)^2$. So at a
# high temperature the student learns to **match the teacher's logits**. Ba and Caruana trained shallow networks in
# this way in 2014. (The paper credits the idea to Buciluă, Caruana and Niculescu-Mizil, 2006.)
#
# Now look at the factor **1 / T²**. One $1/T$ comes from the chain rule, because $z$ is divided by $T$. The other comes
# from the probabilities: they become more equal as $T$ grows, so their difference becomes smaller.

# %% [markdown]
# ### Exercise: the gradient when logits are matched (hard, 8 minutes)
#
# If the loss is multiplied by T squared, the gradient has a limit that doesn't depend on T. Write this limit for a
# batch, averaged over it: [B, C]. The logits that you are given need *not* have a mean of 0: subtract each image's own
# mean first. You write the whole function this time. It has the same arguments as the last one, so that you can exchange
# the two; the limit itself doesn't depend on the temperature.
#
# <details><summary>Hint 1</summary>
#
# `student_logits.mean(dim=1, keepdim=True)` is [B, 1] and can be subtracted from [B, C].
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# Equation 4 times T squared has a factor 1 / C, and the mean over the batch gives a factor 1 / B.
# `student_logits.numel()` is B times C.
#
# </details>


# %%
from kdcourse.course.soft_targets.exercises import matching_logits_gradient

# %%
check("matching_logits_gradient", matching_logits_gradient)

# %% [markdown]
# How high is high? Take an untrained student, two thousand images, and your two functions: T squared times the gradient
# at each temperature, and its limit. Two numbers compare them. The *distance* is relative to the norm of the limit: 0
# when the two are equal, 1 when the difference is as large as the limit. The *cosine* of the angle between them is 1
# when they have the same direction.

# %%
gradient = use_answer("soft_gradient", soft_gradient)
limit_of = use_answer("matching_logits_gradient", matching_logits_gradient)
some = slice(0, 2000)
v = teacher_logits[some]
with torch.no_grad():
    z = student(data.normalise(data.train.images[some]))
temperatures = (1, 2, 4, 8, 16, 32, 64)
limit = limit_of(z, v, 1)
gradients = [T**2 * gradient(z, v, T) for T in temperatures]
apart = [((one - limit).norm() / limit.norm()).item() for one in gradients]
alike = [F.cosine_similarity(one.flatten(), limit.flatten(), dim=0).item() for one in gradients]

# %%
show(
    figures.against_temperature(
        temperatures,
        {"distance, relative to the norm of the limit": apart, "cosine, 1 for the same direction": alike},
        quantity="true gradient against its limit",
        title="At high temperature, logits are matched",
    ),
    "the true gradient's direction approaches that of matched logits, and from T = 8 on its distance from the limit "
    "about halves whenever the temperature doubles.",
)

# %%
claim(
    "The higher the temperature, the closer the gradient's direction is to that of matching logits",
    all(low < high for low, high in itertools.pairwise(alike)),
    standard_deviation_of_the_teachers_logits=between(v.std(dim=1).mean().item(), 4, 5, digits=1),
    distance_at_T_4=at_least(apart[2], 0.5, digits=2),
    distance_at_T_64=at_most(apart[6], 0.1, digits=3),
)

# %% [markdown]
# So "high" means high compared with the logits. On the way there, the distance even grows at first: the true gradient
# becomes larger than its limit before it approaches it. At the temperatures that people use, about 1 to 10, equation 4 is
# only a rough guide.
#
# The difference matters. At a lower temperature, the gradient hardly depends on whether a very unlikely class has a
# logit a little or far below the others. This may help, because training didn't determine such logits well and they can
# be noise. It may also harm, if these logits contain information. The paper finds that intermediate temperatures work
# best for students that are too small to copy everything. Its authors take this as a sign that ignoring such logits
# helps.

# %% [markdown]
# ## Why T squared
#
# Now take the term without the factor: the cross-entropy with soft targets.
#
# **Predict:** the temperature doubles, from 16 to 32. How does the size of the gradient change? (Equation 4 helps,
# if 16 is high enough.)

# %% folded=true
choices = {"it stays about the same": 1, "about a half": 2, "about a quarter": 4, "about a sixteenth": 16}
widgets.predict(
    "04-without-t-squared",
    "Without the factor T squared, how does the size of the gradient change from T = 16 to T = 32?",
    choices=list(choices),
)

# %% [markdown]
# Compare it with something that the temperature doesn't change: the gradient of the labels' cross-entropy. The
# next cell does so for two students: the untrained one, and one after a short training on labels.

# %%
torch.manual_seed(0)
trained = models.build("mlp_25k")
ten_thousand = replace(data, train=data.train.subset(torch.arange(10_000)))
how = {"batch_size": 64, "learning_rate": 3e-3, "optimizer": "adamw", "weight_decay": 1e-2, "seed": 0}
how |= {"precision": "float32", "validate": False, "progress": False}
bar = progress_bar("a short training", 3 * (10_000 // 64))
training.fit(trained, ten_thousand, epochs=3, after_step=bar, **how)

# Sizes of the soft targets' gradient, divided by that of the labels' gradient, for each student.
with_t_squared, without = {}, {}
for name, model in {"untrained": student, "trained": trained}.items():
    with torch.no_grad():
        z = model.eval()(data.normalise(data.train.images[some]))
    of_labels = ((softened(z, 1) - F.one_hot(labels[some], 10)) / len(z)).norm()
    sizes = [(gradient(z, v, T).norm() / of_labels).item() for T in temperatures]
    without[name] = sizes
    with_t_squared[name] = [T**2 * size for T, size in zip(temperatures, sizes, strict=True)]

# %%
show(
    figures.against_temperature(
        temperatures,
        {f"{name}, with T squared": sizes for name, sizes in with_t_squared.items()}
        | {f"{name}, without": sizes for name, sizes in without.items()},
        quantity="soft gradient / label gradient\n(logarithmic)",
        title="Without T squared, the soft targets' gradient nearly vanishes",
        logarithmic=True,
        level=("as large as that of the labels", 1.0),
    ),
    "with T squared the gradient of the soft targets stays between half and four times that of the labels at every "
    "temperature, for both students; without it, it falls by three orders of magnitude between T = 1 and T = 64.",
)

# %% folded=true
largest_change = {
    name: [max(sizes) / min(sizes) for sizes in some_sizes.values()]
    for name, some_sizes in (("with", with_t_squared), ("without", without))
}
quarter = without["untrained"][4] / without["untrained"][5]
claim(
    "With T squared the size of the gradient still depends on the temperature, but by a small factor; without it, by a "
    "factor of more than five hundred",
    max(largest_change["with"]) < 5 < 500 < min(largest_change["without"]),
    untrained_student_largest_over_smallest_with_it=at_most(largest_change["with"][0], 4, digits=1),
    trained_student_largest_over_smallest_with_it=at_most(largest_change["with"][1], 5, digits=1),
    smallest_ratio_to_the_labels_with_it=at_least(min(map(min, with_t_squared.values())), 0.5, digits=2),
    largest_ratio_to_the_labels_with_it=at_most(max(map(max, with_t_squared.values())), 4.5, digits=2),
    largest_over_smallest_without_it=at_least(min(largest_change["without"]), 500, digits=0),
    times_smaller_from_T_16_to_32_without_it=between(quarter, 4, 5, digits=1),
)
nearest_choice = min(choices, key=lambda choice: abs(math.log(quarter / choices[choice])))
widgets.reveal("04-without-t-squared", nearest_choice)

# %% [markdown]
# The course's own `hinton_loss` has the factor T squared. So its gradient, by autograd, must be T squared times the
# gradient that you wrote, at every temperature.


# %%
def of_hinton_loss(temperature: float) -> torch.Tensor:
    """Return the gradient [B, C] of the course's distillation term with respect to the student's logits."""
    leaf = z.clone().requires_grad_()
    return torch.autograd.grad(hinton_loss(leaf, v, None, temperature=temperature, alpha=1), leaf)[0]


# %%
claim(
    "T squared times the gradient without the factor is the gradient of hinton_loss",
    all(
        torch.allclose(of_hinton_loss(each), each**2 * gradient(z, v, each), rtol=1e-3, atol=1e-6)
        for each in temperatures
    ),
    temperatures=", ".join(str(temperature) for temperature in temperatures),
)

# %% [markdown]
# ## Does it matter?
#
# A factor in front of a loss acts like a different learning rate. If the loss had only the soft targets, that would be
# nearly the only effect: gradient descent would take smaller steps, and you could raise the learning rate.
#
# But the usual objective adds **two** terms, soft targets with weight alpha and labels with weight 1 - alpha. Without
# T squared, every change of the temperature also changes their balance. Then you can't tell whether the temperature
# helped, or whether the labels counted for more. The next cell computes how much of the total gradient comes from the
# soft targets when alpha is 0.5, from the sizes of the two gradients of the trained student.

# %%
share_of_soft = {
    name: {T: 100 * ratio / (1 + ratio) for T, ratio in zip(temperatures, ratios, strict=True)}
    for name, ratios in (("with", with_t_squared["trained"]), ("without", without["trained"]))
}

# %%
claim(
    "With T squared the soft targets have a large share of the gradient at every temperature; without it, the labels "
    "soon decide alone",
    share_of_soft["without"][16] < 5 < 40 < min(share_of_soft["with"].values()),
    share_with_T_squared_at_T_1=between(share_of_soft["with"][1], 40, 60, "%", digits=0),
    at_T_4=between(share_of_soft["with"][4], 60, 85, "%", digits=0),
    at_T_16=between(share_of_soft["with"][16], 55, 80, "%", digits=0),
    share_without_at_T_1=between(share_of_soft["without"][1], 40, 60, "%", digits=0),
    without_at_T_4=at_most(share_of_soft["without"][4], 25, "%", digits=0),
    without_at_T_16=at_most(share_of_soft["without"][16], 2, "%", digits=1),
)

# %% [markdown]
# That is why the distillation term of this course, like that of the paper, is
#
# $$T^2 \cdot \mathrm{KL}(p \,\|\, q) \quad \text{averaged over the batch,}$$
#
# at every alpha and every T. The factor keeps the *size* of the soft gradient comparable at all temperatures, though
# not constant. Its *direction* (which logits it changes, and in which proportion) still depends on T. You tune T for
# this direction.

# %% [markdown]
# ## A class that the student never saw
#
# One question is left: how much can a student learn from very small probabilities?
#
# Five teachers like those above were trained on one half of the training images. The other half, which they never saw,
# is for the students. Their answers to it came with the course. Now **take away every image labelled *Sneaker***.

# %%
unseen = half.unseen_data(data)  # the half that these teachers never saw
answers = half.load_answers(data)  # their logits for it
missing = data.classes.index("Sneaker")
kept = (unseen.train.labels != missing).nonzero().flatten()
no_sneakers = replace(unseen, train=unseen.train.subset(kept))
targets = answers.targets(no_sneakers.train, index=kept)
print(f"{len(unseen.train):,} images; {len(kept):,} without the sneakers")

# %% [markdown]
# Two students, with the same initial weights, get the same images in the same order:
#
# - the **plain** student learns from the labels, of which nine classes are left;
# - the **distilled** student learns from the teachers' answers at T = 1, and gets no label.
#
# Then both are shown images that nobody was trained on, and sneakers are among them.
#
# One correction is fair. A class that was never right gets a low logit. So a constant is added to each student's
# sneaker logit, just large enough that a tenth of all images are called sneakers: there are ten classes, and all are
# equally common. This needs no label. And it can't tell the student *which* images are sneakers, since it is the same
# for all images. A student that knows nothing about sneakers would find about a tenth of them, by chance.
#
# **Predict:** how many of a hundred sneakers will each student find?

# %%
widgets.predict(
    "04-missing-plain",
    "The plain student: of a hundred sneakers, how many does it find?",
    number=(0, 100, 5),
    unit="of 100",
)

# %%
widgets.predict(
    "04-missing-distilled",
    "The distilled student: of a hundred sneakers, how many does it find?",
    number=(0, 100, 5),
    unit="of 100",
)

# %% [markdown]
# Train both. The second one is trained by the gradient that **you** wrote: `imitate` is a loss whose gradient with
# respect to the logits is exactly what your `soft_gradient` returns.


# %%
def imitate(logits, batch):
    """Return a scalar whose gradient with respect to the logits is `soft_gradient` at T = 1."""
    return (logits * gradient(logits.detach(), batch.teacher_logits, 1.0)).sum()


epochs = 8
steps = epochs * (len(kept) // 64)

torch.manual_seed(0)
plain = models.build("mlp_25k")
bar = progress_bar("plain student", steps)
training.fit(plain, no_sneakers, epochs=epochs, after_step=bar, **how)

torch.manual_seed(0)
distilled = models.build("mlp_25k")
bar = progress_bar("distilled student", steps)
_ = distil(distilled, targets, no_sneakers, objective=imitate, epochs=epochs, after_step=bar, **how)

# %% [markdown]
# Correct both sneaker logits in the same way, and count the sneakers that each student finds.


# %%
new = data.validation
sneakers = (new.labels == missing).nonzero().flatten()


def found_among_sneakers(logits):
    """Return the share of the sneakers that are classified as sneakers."""
    return evaluation.accuracy(logits[sneakers], new.labels[sneakers])


def corrected(model):
    """Return the logits for all new images, each with the same number added to its sneaker logit."""
    logits = evaluation.predict(model, new, data)
    logits[:, missing] += shift_for_share(logits, missing, share=1 / 10)
    return logits


logits_of = {"plain student": corrected(plain), "distilled student": corrected(distilled)}
found = {name: found_among_sneakers(logits) for name, logits in logits_of.items()}

# %%
show(
    figures.right_of_hundred(found),
    "a board of a hundred squares for each student, filled for sneakers that it finds. The plain student finds few, "
    "the distilled student most.",
)

# %% folded=true
by_plain, by_distilled = (100 * share for share in found.values())
as_they_are = [100 * found_among_sneakers(evaluation.predict(each, new, data)) for each in (plain, distilled)]
claim(
    "The distilled student finds most sneakers and the plain student few, although all images with this label were left "
    "out for both",
    by_distilled > 50 > 30 > by_plain,
    found_by_the_plain_student=at_most(by_plain, 30, "%", digits=1),
    found_by_the_distilled_student=at_least(by_distilled, 60, "%", digits=1),
    without_the_correction_by_the_plain_student=at_most(as_they_are[0], 5, "%", digits=1),
    without_the_correction_by_the_distilled_student=between(as_they_are[1], 1, 80, "%", digits=1),
    sneakers_among_the_new_images=len(sneakers),
)

# %%
widgets.reveal("04-missing-plain", by_plain, unit="of 100")

# %%
widgets.reveal("04-missing-distilled", by_distilled, unit="of 100")

# %% [markdown]
# Look at two sneakers: the first one that the distilled student finds, and the first one that it misses. Each panel
# shows one student's probabilities, with the corrected logit of *sneaker*. What does it take the missed one for?

# %%
hits = logits_of["distilled student"][sneakers].argmax(dim=1) == missing
one_found, one_missed = sneakers[hits][0], sneakers[~hits][0]


def both_students(place):
    """Return a figure of an image and both students' probabilities."""
    predictions = {name: logits[place] for name, logits in logits_of.items()}
    return figures.softened_bars(new.images[place], predictions, missing, data.classes)


# %%
show(
    both_students(one_found),
    "a sneaker that the distilled student finds, beside the probabilities of both students.",
    photographs=True,
)

# %%
show(
    both_students(one_missed),
    "a sneaker that the distilled student takes for something else, beside the probabilities of both students.",
    photographs=True,
)

# %% [markdown]
# ## What do the answers say about it?
#
# There was no image with this label. So look at what the teachers' answers say about sneakers on the images that the
# students *did* get.

# %%
shares = softened(answers.logits[kept].float(), 1)[:, missing]
seen = no_sneakers.train
for k, name in enumerate(data.classes):
    if k != missing:
        print(f"{name:>11}: {100 * shares[seen.labels == k].mean().item():.2f} % sneaker on average")

# %% [markdown]
# On boots and sandals the answers contain a small probability of a sneaker, on clothes practically none. Here are the
# ankle boot, the sandal and the bag with the largest one:

# %%
most_like_one = torch.stack(
    [
        (shares * (seen.labels == data.classes.index(name))).argmax()
        for name in ("Ankle boot", "Sandal", "Bag")
    ]
)
show(
    figures.soft_target_gallery(
        seen.images[most_like_one],
        answers.logits[kept][most_like_one].float(),
        seen.labels[most_like_one],
        data.classes,
        temperatures=(1,),
    ),
    "images labelled ankle boot, sandal and bag, whose soft targets give a large probability to the sneaker.",
    photographs=True,
)

# %% folded=true
a_tenth = int((shares > 0.1).sum())
boots = shares[seen.labels == data.classes.index("Ankle boot")].mean().item()
claim(
    "Only few images without a sneaker's label have more than a tenth of a sneaker in their answer",
    a_tenth < 0.01 * len(kept),
    such_images=between(a_tenth, 150, 200, digits=0),
    of_all_images=f"{len(kept):,}",
    mean_probability_of_a_sneaker_for_ankle_boots=between(100 * boots, 2, 3, "%", digits=2),
)

# %% [markdown]
# A sceptic looks at these images and objects: *the first two are sneakers, and their labels are wrong! So the student
# did see a few sneakers, and the teachers told it so.* That is a good objection. Test it: leave out **every** image whose
# answer has more than a tenth of a sneaker, and train a third student on the others. The most that it is ever told is
# *a tenth of a sneaker*.
#
# **Predict:** how many of a hundred sneakers does it find now?

# %%
widgets.predict(
    "04-missing-strictly",
    "No answer has more than a tenth of a sneaker. Of a hundred sneakers, how many does this student find?",
    number=(0, 100, 5),
    unit="of 100",
)

# %%
less = kept[shares <= 0.1]
hardly_a_sneaker = replace(unseen, train=unseen.train.subset(less))
torch.manual_seed(0)
third = models.build("mlp_25k")
bar = progress_bar("third student", epochs * (len(less) // 64))
_ = distil(
    third,
    answers.targets(hardly_a_sneaker.train, index=less),
    hardly_a_sneaker,
    objective=imitate,
    epochs=epochs,
    after_step=bar,
    **how,
)
by_third = 100 * found_among_sneakers(corrected(third))

# %%
claim(
    "A student whose answers never have more than a tenth of a sneaker still finds most sneakers",
    by_third > 50,
    found_by_the_third_student=at_least(by_third, 50, "%", digits=1),
    by_the_distilled_student=at_least(by_distilled, 60, "%", digits=1),
    by_the_plain_student=at_most(by_plain, 30, "%", digits=1),
)
widgets.reveal("04-missing-strictly", by_third, unit="of 100")

# %% [markdown]
# So the images with wrong labels explain only a part. For the plain student, the target of the class *sneaker* is 0 on
# every image: on a shirt, on a high boot and on a low, flat boot alike. It learns that this class never occurs, and
# nothing about what it looks like. For a distilled student, the target is nearly 0 on a shirt, small on a high boot, and
# larger on a low, flat one. These differences say **what makes an image more like a sneaker**. A real sneaker has more of
# it than the images that the student saw.
#
# Hinton, Vinyals and Dean left out the digit 3 (section 3 of the paper). Their student was never shown a 3. After its
# bias for this class had been raised, it got 98.6 % of the threes right.
#
# ## Is it luck?
#
# That was one class and one seed. The command `kdcourse study missing` did the same for three classes, each left out in
# turn, with settings searched for both kinds of student, five new seeds, and the 10,000 test images. Its results came
# with the course.
#
# **Predict:** a trouser resembles nothing much, as you have seen. Will the distilled student find trousers?

# %%
widgets.predict(
    "04-missing-trouser",
    "No trouser is shown to the students. Of a hundred trousers, how many does the distilled student find?",
    number=(0, 100, 5),
    unit="of 100",
)

# %%
folder = shipped(FOLDER)
stored = study_named("missing", folder).summary(Rows(folder, "missing").checked())
classes = stored["classes"]
names = [entry["missing"] for entry in classes]
shares_found = {
    name: [entry[kind]["found"]["accuracy"] for entry in classes]
    for name, kind in (("plain student", "labels"), ("distilled student", "answers"))
}
gains = [100 * (b - a) for a, b in zip(*shares_found.values(), strict=True)]

# %%
show(
    figures.class_gains(shares_found, gains, names),
    "for each of the three classes left out, the share of its images that both students find, mean over five seeds. "
    "The distilled student finds most images of every class, the plain student few.",
)
print("found, mean over the seeds (95 % interval):")
for entry in classes:
    told = []
    for name, kind in (("plain", "labels"), ("distilled", "answers")):
        of = entry[kind]["found"]
        told.append(f"{name} {100 * of['accuracy']:.0f} % ({100 * of['low']:.0f} to {100 * of['high']:.0f})")
    print(f"{entry['missing']:>10}: {', '.join(told)}")

# %% folded=true
least_of_distilled = 100 * min(shares_found["distilled student"])
most_of_plain = 100 * max(shares_found["plain student"])
claim(
    "For each of the three classes, the distilled student finds most images, and far more than the plain one",
    all(one["answers"]["found"]["low"] > one["labels"]["found"]["high"] for one in classes),
    fewest_found_by_the_distilled_student=at_least(least_of_distilled, 50, "%", digits=0),
    most_found_by_the_plain_student=at_most(most_of_plain, 30, "%", digits=0),
    seeds=classes[0]["answers"]["found"]["seeds"],
)
widgets.reveal(
    "04-missing-trouser",
    100 * shares_found["distilled student"][names.index("Trouser")],
    unit="of 100",
)

# %% [markdown]
# But why trousers, if nothing resembles them much? Look at the answers once more, as you did for the sneakers:

# %%
trouser = data.classes.index("Trouser")
of_a_trouser = softened(answers.logits.float(), 1)[:, trouser]
for k, name in enumerate(data.classes):
    if k != trouser:
        print(
            f"{name:>11}: {100 * of_a_trouser[unseen.train.labels == k].mean().item():.2f} % trouser on average"
        )

# %% [markdown]
# All of these are small, but they aren't equal: dresses have the most, shoes practically nothing. A student needs no
# image that looks much like a trouser. It needs images that resemble a trouser more and others that resemble it less.
#
# This is what the name *dark knowledge* is about. The correction needs to know how common the class is. But which images
# belong to the class, the student learned from numbers that a label throws away.

# %% [markdown]
# ## Quiz

# %%
widgets.quiz(
    "04",
    [
        widgets.Question(
            "A teacher's logits for two classes are 6 and 2. How many times as probable is the first class as the "
            "second at T = 4?",
            options=[
                widgets.Option(
                    "About 2.7 times",
                    True,
                    "The ratio of two probabilities is e to the power of their logits' difference over T: (6 - 2) / 4 "
                    "is 1, and e is about 2.7.",
                ),
                widgets.Option(
                    "3 times",
                    False,
                    "That is the ratio of the logits. A softmax depends on their difference.",
                ),
                widgets.Option(
                    "About 55 times",
                    False,
                    "That is the ratio at T = 1: e to the power of 4. At T = 4 the difference is divided by 4.",
                ),
            ],
        ),
        widgets.Question(
            "You raise the temperature. What happens to the teacher's prediction, the most probable class?",
            options=[
                widgets.Option(
                    "It stays the same",
                    True,
                    "All logits are divided by the same positive number, so their order stays.",
                ),
                widgets.Option(
                    "It may change, since small probabilities grow",
                    False,
                    "They grow, but none overtakes another: the order of the logits stays.",
                ),
                widgets.Option(
                    "It becomes more accurate",
                    False,
                    "The prediction is the same class as before, right or wrong. Only the confidence changes.",
                ),
            ],
        ),
        widgets.Question(
            "On a training image the teacher's entropy at T = 1 is nearly 0. What can a student still learn there?",
            options=[
                widgets.Option(
                    "Which other classes the image resembles, as a higher T shows",
                    True,
                    "Two nearly certain predictions can have very different logits. A higher temperature shows it.",
                ),
                widgets.Option(
                    "Nothing but the label",
                    False,
                    "Nearly so at T = 1. But the order and the size of the small probabilities are still there.",
                ),
                widgets.Option(
                    "That the teacher is right",
                    False,
                    "Entropy says how uncertain a prediction is, not whether it is right.",
                ),
            ],
        ),
        widgets.Question(
            "Where do the two factors 1 / T in the gradient at high temperature come from?",
            options=[
                widgets.Option(
                    "From the chain rule, and from probabilities that become more equal",
                    True,
                    "d(z / T) / dz is one; the difference q - p, about (z - v) / (C T), is the other.",
                ),
                widgets.Option(
                    "From the softmax of teacher and of student, one each",
                    False,
                    "Both softmaxes together make up q - p, which shrinks as 1 / T: that is one of the two factors.",
                ),
                widgets.Option(
                    "From the mean over the batch",
                    False,
                    "That gives 1 / B, whatever the temperature is.",
                ),
            ],
        ),
        widgets.Question(
            "Somebody forgets T squared, trains with alpha = 0.5 at T = 10, and finds: soft targets don't help. "
            "What do you say?",
            options=[
                widgets.Option(
                    "The student was trained on labels almost alone",
                    True,
                    "The soft term's gradient was a hundredth of what it should have been.",
                ),
                widgets.Option(
                    "The learning rate was too small",
                    False,
                    "The label term had its full size. A larger rate would have made its steps too large.",
                ),
                widgets.Option(
                    "Nothing was wrong: T squared is a matter of taste",
                    False,
                    "With a single term it is nearly that. With two, it decides how much the teacher counts.",
                ),
            ],
        ),
        widgets.Question(
            "Both students' sneaker logits were raised until a tenth of the images were called sneakers. Why did one "
            "student find far more of the sneakers?",
            options=[
                widgets.Option(
                    "Its targets said how much each image resembles a sneaker",
                    True,
                    "So its sneaker logit is higher for images that look like one. For the other student, every image "
                    "had the same target for this class, 0.",
                ),
                widgets.Option(
                    "Its sneaker logit was raised by more",
                    False,
                    "However large it is, the same number is added for all images: it can't say which of them are "
                    "sneakers.",
                ),
                widgets.Option(
                    "Among its images were a few sneakers with a wrong label",
                    False,
                    "There were, and the plain student got them, too. Without them, the third student still found most "
                    "sneakers.",
                ),
            ],
        ),
    ],
)

# %% [markdown]
# ## Recap
#
# - **Soft targets** show how much an image resembles each class. Three shirts with one label can have three
#   different second classes: **dark knowledge**.
# - A good teacher is nearly certain on its training images. A **temperature** above 1 makes the small
#   probabilities larger. The order of the classes stays the same, and the **entropy** rises.
# - The gradient of soft targets is $(q - p) / T$: every class contributes.
# - At a temperature that is high compared with the logits it becomes $(z - v) / (C\,T^2)$, with logits of mean 0: the
#   student **matches logits**.
# - **T squared** keeps the gradient of the soft targets comparable in size to that of the labels, at every temperature.
# - **Small probabilities teach.** A student that never got an image labelled *Sneaker* finds most sneakers, because its
#   soft targets for other shoes said how much these resemble one.
#
# Next: {{lesson distil}}, where you write the objective and distil many students.
#
# ## References
#
# - Geoffrey Hinton, Oriol Vinyals, Jeff Dean (2015). Distilling the Knowledge in a Neural Network. Sections 2 and 2.1,
#   equations 1 to 4; section 3, the missing class. https://arxiv.org/abs/1503.02531
# - Cristian Buciluă, Rich Caruana, Alexandru Niculescu-Mizil (2006). Model Compression. KDD 2006.
#   https://doi.org/10.1145/1150402.1150464
# - Jimmy Ba, Rich Caruana (2014). Do Deep Nets Really Need to be Deep? Matching logits, section 2.
#   https://arxiv.org/abs/1312.6184
# - Geoffrey Hinton, Oriol Vinyals, Jeff Dean (2014). Dark Knowledge. Slides of a talk.
#   https://www.ttic.edu/dl/dark14.pdf
#
# All terms: [glossary](glossary.md).
