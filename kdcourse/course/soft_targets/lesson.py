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
# A label says *shirt*. The ensemble says *shirt, but almost a T-shirt, and certainly not a shoe*. A student learns from
# this more detailed prediction. In this lesson you look at it, measure it, and find out why its loss is multiplied by T
# squared.
#
# ## Objectives
#
# By the end of this lesson you can
#
# - read soft targets, and say what they contain that a label doesn't;
# - soften probabilities with a temperature, and measure with the entropy how soft they are;
# - derive the gradient that soft targets send to a student, and its limit when the temperature is high;
# - show, on paper and in numbers, why the distillation term is multiplied by T squared.
#
# **Builds on:** {{lesson train_a_teacher}} (softmax, cross-entropy and its gradient) and
# {{lesson ensembles}} (the ensemble). You will need a few derivatives, one step at a time: have paper and pencil ready.
#
# **Time:** {{reading_minutes}} minutes to read, {{exercise_minutes}} minutes for the exercises; the machine works
# for {{machine_seconds}}.
#
# Words that are new to you are in the [glossary](glossary.md).

# %%
import itertools
import math

import torch
import torch.nn.functional as F

from kdcourse import figures, models, widgets
from kdcourse.course import at_least, at_most, between, check, claim, show
from kdcourse.data import fashion_mnist
from kdcourse.distillation import entropy, hinton_loss, soft_targets, softened
from kdcourse.runs import recorded

# %% [markdown]
# ## The teachers' logits
#
# The ensemble made one prediction for every training image, and these logits came with the course. A row holds ten
# numbers, one per class. This whole lesson is computed from them.

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
)

# %%
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
# ## Too confident to be useful
#
# There is a problem. The teachers are good, and they are very confident on the images that they were trained on.
#
# **Predict:** for how many of a hundred training images does the ensemble give more than 99 % to a single class?

# %%
widgets.predict(
    "04-nearly-certain",
    "Of a hundred training images, for how many does one class get more than 99 %?",
    number=(0, 100, 1),
    unit="of 100",
)

# %%
nearly_certain = (probabilities.max(dim=1).values > 0.99).double().mean().item()
claim(
    "On most training images the ensemble's soft target is almost the label",
    nearly_certain > 0.5,
    images_with_more_than_99_percent_for_one_class=at_least(100 * nearly_certain, 75, "%"),
)
widgets.reveal("04-nearly-certain", 100 * nearly_certain, unit="of 100")

# %% [markdown]
# So the information is there, but in very small probabilities. The solution is to make the teacher less certain before
# the student learns from it. The temperature does that.
#
# ## Temperature
#
# Divide all logits $z_i$ by a number $T$, the **temperature**, before the softmax:
#
# $$q_i = \frac{e^{z_i / T}}{\sum_j e^{z_j / T}}$$
#
# This is equation 1 of the paper. Here is a worked example with three made-up logits.

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
    "everything, and at 4 and 8, where the others get a visible share.",
)

# %%
warm = softened(teacher_logits[examples], 4)
claim(
    "At temperature 4 the other classes together get a far larger share than at temperature 1",
    bool((warm.max(dim=1).values < 0.95).all()),
    others_together_at_T_1=at_most(
        100 * (1 - probabilities[examples].max(dim=1).values.min().item()), 0.1, "%"
    ),
    at_T_4=at_least(100 * (1 - warm.max(dim=1).values.max().item()), 5, "%"),
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
member_logits = ensemble.member_logits(data.normalise(images))
widgets.temperature_explorer(images, member_logits, data.validation.labels[first], data.classes)

# %% [markdown]
# ## How soft? Entropy
#
# Each panel of the explorer shows a number of **nats**. It is the **entropy** of the probabilities,
#
# $$H(q) = -\sum_i q_i \log q_i$$
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
# Now take all training images, at several temperatures. The dashed line is the largest possible entropy.

# %%
temperatures = (0.5, 1, 2, 4, 8, 16)
nats = torch.stack([entropy(teacher_logits.double(), temperature) for temperature in temperatures])  # [T, N]
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

# %%
share_of_most = nats.mean(dim=1) / math.log(10)
claim(
    "For every single image, entropy rises with temperature",
    bool((nats.diff(dim=0) > 0).all()),
    images=len(labels),
    share_of_the_largest_possible_at_T_1=at_most(100 * share_of_most[1].item(), 5, "%"),
    at_T_4=between(100 * share_of_most[3].item(), 50, 65, "%"),
    at_T_16=at_least(100 * share_of_most[5].item(), 95, "%"),
)

# %% [markdown]
# This is true for all images, not only for these: the derivative of the entropy with respect to $T$ is the variance of
# the logits under $q$, divided by $T^3$, and a variance can't be negative.
#
# A good temperature lies between the two ends. No formula says which one: you search for it in {{lesson distil}}.

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

loss = -(softened(v, T) * torch.log_softmax(z / T, dim=1)).sum(dim=1)[0]  # of the first image
(by_autograd,) = torch.autograd.grad(loss, z)
by_hand = (softened(z, T) - softened(v, T)) / T
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
# mean first. You write the whole function this time. It also gets the temperature, so that it has the same arguments as
# the last one. Should it use it?
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
# How high is high? Take an untrained student, two thousand images, and the true gradient at each temperature (by
# autograd, of the course's own `hinton_loss`, which has the factor T squared). Two numbers compare it with the limit.
# The *distance* is relative to the norm of the limit: 0 when the two are equal, 1 when the difference is as large as
# the limit. The *cosine* of the angle between them is 1 when they have the same direction.

# %%
some = slice(0, 2000)
v = teacher_logits[some]
with torch.no_grad():
    z = student(data.normalise(data.train.images[some]))


def with_t_squared(temperature: float) -> torch.Tensor:
    """Return the gradient [B, C] of the course's distillation term with respect to the student's logits."""
    leaf = z.clone().requires_grad_()
    loss = hinton_loss(leaf, v, None, temperature=temperature, alpha=1)
    return torch.autograd.grad(loss, leaf)[0]


centred_z, centred_v = (logits - logits.mean(dim=1, keepdim=True) for logits in (z, v))
limit = (centred_z - centred_v) / z.numel()
temperatures = (1, 2, 4, 8, 16, 32, 64)
gradients = {temperature: with_t_squared(temperature) for temperature in temperatures}
apart = [((gradients[t] - limit).norm() / limit.norm()).item() for t in temperatures]
alike = [F.cosine_similarity(gradients[t].flatten(), limit.flatten(), dim=0).item() for t in temperatures]
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
    "The higher the temperature, the closer the gradient is to that of matching logits",
    all(low < high for low, high in itertools.pairwise(alike)),
    typical_size_of_the_teachers_logits=between(centred_v.std(dim=1).mean().item(), 4, 5),
    distance_at_T_4=at_least(apart[2], 0.5),
    distance_at_T_64=at_most(apart[6], 0.1),
)

# %% [markdown]
# So "high" means high compared with the logits. On the way there, the distance even grows at first: the true gradient
# becomes too long before it approaches the limit. At the temperatures that people use, about 1 to 10, equation 4 is
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

# %%
choices = {"it stays about the same": 1, "about a half": 2, "about a quarter": 4, "about a sixteenth": 16}
widgets.predict(
    "04-without-t-squared",
    "Without the factor T squared, how does the size of the gradient change from T = 16 to T = 32?",
    choices=list(choices),
)


# %%
def without_t_squared(temperature: float) -> torch.Tensor:
    """Return the gradient [B, C] of the cross-entropy with soft targets, by torch's own function."""
    leaf = z.clone().requires_grad_()
    loss = F.cross_entropy(leaf / temperature, softened(v, temperature))
    return torch.autograd.grad(loss, leaf)[0]


leaf = z.clone().requires_grad_()
of_labels = torch.autograd.grad(F.cross_entropy(leaf, labels[some]), leaf)[0].norm().item()
kept = [gradients[temperature].norm().item() for temperature in temperatures]
shrunk = [without_t_squared(temperature).norm().item() for temperature in temperatures]
show(
    figures.against_temperature(
        temperatures,
        {"soft targets, with T squared": kept, "soft targets, without": shrunk},
        quantity="size of the gradient (logarithmic)",
        title="T squared keeps the gradient's size",
        logarithmic=True,
        level=("the labels", of_labels),
    ),
    "with T squared the gradient of the soft targets stays near that of the labels at every temperature; without "
    "it, it falls by three orders of magnitude between T = 1 and T = 64.",
)

# %%
claim(
    "When a high temperature doubles, the gradient becomes about four times smaller, unless T squared compensates",
    max(kept) / min(kept) < 4,
    smaller_from_T_16_to_32_without_it=between(shrunk[4] / shrunk[5], 4, 5, "times"),
    largest_over_smallest_with_it=at_most(max(kept) / min(kept), 4),
    largest_over_smallest_without_it=at_least(max(shrunk) / min(shrunk), 1000),
)
nearest_choice = min(choices, key=lambda choice: abs(math.log(shrunk[4] / shrunk[5] / choices[choice])))
widgets.reveal("04-without-t-squared", nearest_choice)

# %% [markdown]
# The two gradients differ only by this factor, exactly, at every temperature:

# %%
claim(
    "T squared times the gradient without the factor is the gradient with it",
    all(
        torch.allclose(gradients[t], t**2 * without_t_squared(t), rtol=1e-3, atol=1e-6) for t in temperatures
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
# soft targets when alpha is 0.5, from the sizes of the two gradients.

# %%
at_16 = temperatures.index(16)
for name, sizes in (("with T squared", kept), ("without", shrunk)):
    for temperature in (1, 4, 16):
        size = sizes[temperatures.index(temperature)]
        percent = 5 * round(20 * size / (size + of_labels))
        print(f"{name:>14}, T = {temperature:<2}: soft targets have about {percent:2} %")
claim(
    "At T = 16 the labels outweigh the teacher without T squared; with it, the two are comparable",
    shrunk[at_16] < 0.02 * of_labels < 0.5 * of_labels < kept[at_16] < 4 * of_labels,
    soft_over_labels_without=at_most(shrunk[at_16] / of_labels, 0.02),
    soft_over_labels_with=between(kept[at_16] / of_labels, 1, 4),
)

# %% [markdown]
# That is why the distillation term of this course, like that of the paper, is
#
# $$T^2 \cdot \mathrm{KL}(p \,\|\, q) \quad \text{averaged over the batch,}$$
#
# at every alpha and every T. The factor keeps the *size* of the soft gradient. Its *direction* (which logits it
# changes, and in which proportion) still depends on T. You tune T for this direction.

# %% [markdown]
# ## Quiz

# %%
widgets.quiz(
    "04",
    [
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
                    "Both softmaxes together make up q - p, and that shrinks like 1 / T once.",
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
# - **T squared** keeps the size of the gradient, so that you can tune temperature and alpha separately.
#
# Next: {{lesson distil}}, where you write the objective and distil many students.
#
# ## References
#
# - Geoffrey Hinton, Oriol Vinyals, Jeff Dean (2015). Distilling the Knowledge in a Neural Network. Sections 2 and 2.1,
#   equations 1 to 4. https://arxiv.org/abs/1503.02531
# - Cristian Buciluă, Rich Caruana, Alexandru Niculescu-Mizil (2006). Model Compression. KDD 2006.
#   https://doi.org/10.1145/1150402.1150464
# - Jimmy Ba, Rich Caruana (2014). Do Deep Nets Really Need to be Deep? Matching logits, section 2.
#   https://arxiv.org/abs/1312.6184
# - Geoffrey Hinton, Oriol Vinyals, Jeff Dean (2014). Dark Knowledge. Slides of a talk.
#   https://www.ttic.edu/dl/dark14.pdf
#
# All terms: [glossary](glossary.md).
