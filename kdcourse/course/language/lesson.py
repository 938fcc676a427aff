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
#   kdcourse:
#     most_seconds: 240
# ---

# %% [markdown]
# # Language models
#
# A language model answers one question again and again: which token comes next? That is a classifier with many
# classes, and so everything that you know about distillation holds for it. In this lesson a GPT of 1.3 million
# parameters, which has read nine of ten chapters of Jane Austen's novels, teaches one of 45 thousand. And you meet a
# problem that images don't have: a language model reads what it has written itself.
#
# ## Objectives
#
# By the end of this lesson you can
#
# - read a teacher's next-token probabilities as soft targets, and soften them;
# - choose between the forward and the reverse KL divergence;
# - write the distillation loss of a text, with positions that don't count;
# - explain why a student should also be graded on its own texts, and build such a batch;
# - compare language models by bits per byte.
#
# **Builds on:** {{lesson soft_targets}} (temperature, entropy), {{lesson distil}} (the objective).
#
# **Time:** {{reading_minutes}} minutes to read, {{exercise_minutes}} minutes for the exercises; the machine works
# for {{machine_seconds}}.
#
# Words that are new to you are in the [glossary](glossary.md).

# %%
import copy
from dataclasses import replace

from kdcourse import data, evaluation, figures, models, widgets
from kdcourse.course import at_least, at_most, between, check, claim, progress_bar, show, use_answer
from kdcourse.data import IGNORE_TOKEN
from kdcourse.distillation import Remembered, continued, distil, entropy, reverse_kl
from kdcourse.files import shipped
from kdcourse.runs import language
from kdcourse.runs.study import study_named
from kdcourse.runs.study.rows import Rows
from kdcourse.training import fit

import torch
import torch.nn.functional as F

# %% [markdown]
# ## A text as tokens
#
# The text is Jane Austen's six novels, 269 chapters. A **token** is a frequent piece of text; this vocabulary has 512
# of them. Each chapter is cut into rows of 128 tokens. The **label** of a token is the one that follows it.

# %%
text = data.austen()
ids = text.vocabulary.encode("It is a truth universally acknowledged")
print([text.vocabulary.decode([token]) for token in ids])
print(f"{len(text.train):,} rows of {text.context} tokens; {len(text.vocabulary)} tokens in the vocabulary")
print("a row's first tokens:", text.train.tokens[0, :6].tolist())
print("and their labels:    ", text.train.labels[0, :6].tolist())
print(f"labels that don't count: {(text.train.labels == IGNORE_TOKEN).double().mean():.1%}")

# %% [markdown]
# Rows at the end of a chapter aren't full. Their last labels are `IGNORE_TOKEN`, -100, which says: this position doesn't
# count, neither in the loss nor in a measure.
#
# ## What does the teacher expect?
#
# Three teachers come with the course, each trained for about half an hour. Load one, and give it a beginning.
#
# **Predict:** after "Mr. Darcy", how many tokens share 90 % of the teacher's probability?

# %%
widgets.predict("10-share", "Tokens that share 90 %:", number=(1, 512, 1))


# %%
teacher = language.load_teachers(text)[0]


def next_logits(model, beginning):
    """Return a model's logits [V] of the token after a beginning."""
    tokens = torch.tensor([[text.vocabulary.end, *text.vocabulary.encode(beginning)]])
    with torch.no_grad():
        return model.eval()(tokens)[0, -1]


logits = next_logits(teacher, "Mr. Darcy")
show(
    figures.next_tokens("Mr. Darcy", {"teacher": logits}, text.vocabulary.tokens),
    "the eight tokens that the teacher finds likeliest after Mr. Darcy, with their probabilities.",
)
sorted_shares = logits.softmax(0).sort(descending=True).values
needed = int((sorted_shares.cumsum(0) < 0.9).sum()) + 1
widgets.reveal("10-share", needed)

# %% [markdown]
# The sign ␣ stands for a space, so ␣d is the beginning of a word. A label names one token: the one that happens to stand
# in the book. The teacher names many, each with a probability. How often does it find several tokens possible? Measure
# it at every position of 16 rows.

# %%
some = text.validation.tokens[:16]
with torch.no_grad():
    at_positions = teacher.eval()(some).flatten(0, 1)
spread = entropy(at_positions)

# %% folded=true
claim(
    "At most positions of a text the teacher finds several tokens possible",
    spread.median() > 0.5,
    median_entropy_in_nats=at_least(spread.median().item(), 0.5, digits=2),
    positions_with_a_token_above_one_half=at_most(
        100 * (at_positions.softmax(1).amax(1) > 0.5).double().mean().item(), 70, "%", digits=0
    ),
)

# %% [markdown]
# Type beginnings of your own, and turn the temperature. Above 1, the bars become more equal, as for images; below 1, the
# favourites take more. Let it write a few words at both ends of the slider. (A � is half of a letter: the other half is
# another token.)

# %%
widgets.writers({"teacher": teacher}, text, beginning="She could not", length=24)

# %% [markdown]
# ## Two directions
#
# The KL divergence isn't symmetric. Let p be the teacher's probabilities and q the student's.
#
# - **Forward**, KL(p || q): the sum over all tokens of log p - log q, each weighted by the *teacher's* probability p. It
#   is large where the student rules out what the teacher would say.
# - **Reverse**, KL(q || p): the sum of log q - log p, each weighted by the *student's* probability q. It is large where
#   the student says what the teacher rules out.
#
# ### Exercise: the KL divergence (easy, 5 minutes)
#
# Rows of `p` and `q` [N, V] are probabilities; those of `q` are above 0. Return the divergence of each row, [N], in
# nats. Where p is 0, the product 0 * log 0 counts as 0.
#
# <details><summary>Hint 1</summary>
#
# The sum over the tokens of `p * (log p - log q)`.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# `torch.xlogy(p, p)` is `p * log p`, and 0 where p is 0.
#
# </details>


# %%
from kdcourse.course.language.exercises import kl_divergence

# %%
check("kl_divergence", kl_divergence)

# %% [markdown]
# A small student can't copy a large teacher everywhere. What does it give up? Take a target with two bumps, and a
# student that has only one. Try every place and width, and keep the best by either divergence.
#
# **Predict:** where will the bump of the *reverse* divergence stand?

# %%
spots = ["over one of the two bumps", "between them, wide enough for both"]
widgets.predict("10-bumps", "The best single bump by reverse KL:", choices=spots)

# %%
divergence = use_answer("kl_divergence", kl_divergence)
places = torch.linspace(-4, 4, 161)


def bump(centre, width):
    """Return probabilities [161] with their maximum at a centre."""
    return (-((places - centre) ** 2) / (2 * width**2)).softmax(0)


target = 0.6 * bump(-1.5, 0.5) + 0.4 * bump(1.5, 0.5)
tried = [bump(centre, width) for centre in torch.linspace(-3, 3, 61) for width in torch.linspace(0.3, 3, 28)]
tried = torch.stack(tried).clamp(min=1e-12)
repeated = target.expand_as(tried).clamp(min=1e-12)
best = {
    "forward KL": tried[divergence(repeated, tried).argmin()],
    "reverse KL": tried[divergence(tried, repeated).argmin()],
}
show(
    figures.two_bumps(places, target, best),
    "a target with two bumps. The best single bump by forward KL lies across both; that by reverse KL covers the higher one.",
)

# %% [markdown]
# How much of each lies between the bumps, at values from -0.5 to 0.5?

# %% folded=true
middle = places.abs() < 0.5
between_bumps = {name: 100 * values[middle].sum().item() for name, values in best.items()}
claim(
    "Forward KL puts the student between the bumps, where the target has almost nothing; reverse KL doesn't",
    between_bumps["forward KL"] > 4 * between_bumps["reverse KL"],
    target=at_most(100 * target[middle].sum().item(), 5, "%", digits=1),
    forward=at_least(between_bumps["forward KL"], 10, "%", digits=1),
    reverse=at_most(between_bumps["reverse KL"], 5, "%", digits=1),
)
where = places[best["reverse KL"].argmax()].abs()
widgets.reveal("10-bumps", spots[0 if where > 0.7 else 1])

# %% [markdown]
# In a text, "between the bumps" is a mixture of two good ways to go on that is not good itself. So the reverse
# divergence is often taken for models that write. The forward one makes the student most like the teacher wherever the
# teacher's probabilities are large.
#
# ## The loss of a text
#
# ### Exercise: the loss of a text (medium, 10 minutes)
#
# For logits [B, T, V] (rows, positions, vocabulary) of student and teacher, return the mean of KL(teacher || student)
# over the positions whose label isn't -100: a single number, in nats. Only the student is trained. What stands at the
# other positions must not matter, whatever it is; and where no position counts, the loss is 0. There is no temperature
# here: the teacher's probabilities are soft already.
#
# <details><summary>Hint 1</summary>
#
# `counts = labels != -100` is a mask [B, T]; `student_logits[counts]` has one row of logits for each position that
# counts.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# `log_softmax(-1)` of both, the teacher's detached; the sum over the vocabulary and the positions; then divide by the
# number of positions, or by 1 if there are none.
#
# </details>


# %%
from kdcourse.course.language.exercises import token_loss

# %%
check("token_loss", token_loss)

# %% [markdown]
# ## Train with it
#
# Three students of 45 thousand parameters (`gpt_50k`) begin with the same weights and take equally many steps.
#
# - *plain, 15 chapters* learns from the tokens of 15 of the 243 training chapters, which it reads six times.
# - *plain, all chapters* reads as many rows, drawn from all chapters, and each row once.
# - *distilled, 15 chapters* reads the same 15 chapters six times. It learns from your loss, that is from the teacher's
#   predictions, and uses the labels only to see which positions count.
#
# We measure **bits per byte** of chapters that nobody was trained on: the sum of -log2 P over all tokens of a
# document, divided by its bytes. They compare models whatever their tokens are. Fewer are better.
#
# **Predict:** which student needs the fewest bits?

# %%
told = ["plain, 15 chapters", "plain, all chapters", "distilled, 15 chapters"]
widgets.predict("10-fewest", "The fewest bits per byte:", choices=told)

# %%
loss = use_answer("token_loss", token_loss)
few = replace(text, train=text.train.subset(text.train.document < 15))
passes = 6
order = torch.randperm(len(text.train), generator=torch.Generator().manual_seed(0))
many = replace(text, train=text.train.subset(order[: passes * len(few.train)]))
settings = {
    "batch_size": 16,
    "learning_rate": 1e-2,
    "optimizer": "adamw",
    "weight_decay": 0.1,
    "warm_up": 0.05,
}
settings |= {"seed": 0, "precision": "float32", "validate": False, "progress": False}
remembering = Remembered(teacher)  # keeps the teacher's logits: one forward pass per row


def fresh_student():
    """Return a student with the first weights that all students have."""
    torch.manual_seed(0)
    return models.build("gpt_50k", data=text)


students = {name: fresh_student() for name in told}
bar = progress_bar("Three students", 3 * (passes * len(few.train) // settings["batch_size"]))
fit(students["plain, 15 chapters"], few, epochs=passes, **settings, after_step=bar)
fit(students["plain, all chapters"], many, epochs=1, **settings, after_step=bar)
history = distil(
    students["distilled, 15 chapters"],
    remembering,
    few,
    objective=lambda logits, batch: loss(logits, batch.teacher_logits, batch.labels),
    epochs=passes,
    **settings,
    after_step=bar,
)

# %% folded=true
bits = {
    name: evaluation.bits_per_byte(model, text.test).mean
    for name, model in {"teacher": teacher, **students}.items()
}
plain, plain_all, distilled = (bits[name] for name in told)
claim(
    "The distilled student needs fewer bits than the plain one of the same text, and fewer than the plain one of all text",
    distilled < min(plain, plain_all),
    teacher=between(bits["teacher"], 1.4, 1.55, "bits per byte", digits=3),
    plain_on_15_chapters=between(plain, 2.4, 2.8, "bits per byte", digits=3),
    plain_on_all_chapters=between(plain_all, 2.3, 2.7, "bits per byte", digits=3),
    distilled_on_15_chapters=between(distilled, 2.25, 2.6, "bits per byte", digits=3),
    fewer_than_plain_on_15_chapters=at_least(plain - distilled, 0.05, digits=3),
    fewer_than_plain_on_all_chapters=at_least(plain_all - distilled, 0.01, digits=3),
)
widgets.reveal("10-fewest", min(told, key=bits.get))

# %% [markdown]
# There is one seed of each student here; five come further down.
#
# Where does the lead come from? At each position the distilled student gets the probabilities of many tokens, where the
# book has one. And its teacher has read all training chapters. So it learns more from 15 chapters than the book itself could tell it.
# The teacher stays far ahead of all students: it has 29 times the parameters, and read 19 times as many rows.

# %% [markdown]
# ## Its own text
#
# When a student writes, each token becomes part of what it reads next. It never learned from such text: the book has no
# mistakes of the student's. This is called **exposure bias**, and it may make a text worse and worse. Does it here?
#
# ### Exercise: a batch of one's own text (medium, 8 minutes)
#
# `written` [B, T + 1] holds rows that begin with `prompt` given tokens; the student wrote the rest. Return what a
# training step needs: tokens [B, T], all but the last, and their labels [B, T], the token that follows each. A label
# is -100 where the token that follows was given. Leave `written` as it is.
#
# <details><summary>Hint 1</summary>
#
# `written[:, :-1]` and `written[:, 1:]`; `.clone()` before you change labels.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# The first `prompt` tokens are given. The first of all is nobody's label, so the labels of `prompt - 1` positions were
# given.
#
# </details>


# %%
from kdcourse.course.language.exercises import own_text

# %%
check("own_text", own_text)

# %% [markdown]
# Now let teacher and students continue the same 96 beginnings of 16 tokens. Then compute how much each written token
# surprises the teacher: its -log P, in nats.
#
# **Predict:** what the teacher itself writes surprises it by about 2.2 nats per token. How much does the distilled
# student's text?

# %%
widgets.predict("10-surprise", "Surprise in nats per token:", number=(1, 10, 0.1))

# %%
as_batch = use_answer("own_text", own_text)
prompt = 16
begun = text.test.tokens[:96, :prompt]


def write(model, beginnings, seed):
    """Let a model continue rows of given tokens; return them as a batch: tokens and labels."""
    generator = torch.Generator().manual_seed(seed)
    return as_batch(continued(model, beginnings, text.context + 1 - prompt, generator=generator), prompt)


def surprises(tokens, labels):
    """Return the teacher's -log P of the labels that count, [rows, written tokens], in nats."""
    with torch.no_grad():
        lost = F.cross_entropy(teacher(tokens).transpose(1, 2), labels, reduction="none")
    return lost[:, prompt - 1 :]


surprise_of = {"teacher": surprises(*write(teacher, begun, seed=0))}
surprise_of |= {name: surprises(*write(student, begun, seed=0)) for name, student in students.items()}

# %% folded=true
nats = {name: found.mean().item() for name, found in surprise_of.items()}
claim(
    "The student's text surprises the teacher far more than the teacher's own does",
    nats[told[2]] > nats["teacher"],
    teacher=between(nats["teacher"], 1.9, 2.6, "nats per token", digits=2),
    plain_on_15_chapters=between(nats[told[0]], 5.3, 7.2, "nats per token", digits=2),
    distilled=between(nats[told[2]], 5, 6.8, "nats per token", digits=2),
    distilled_first_token=between(surprise_of[told[2]][:, 0].mean().item(), 5, 8, "nats", digits=2),
    distilled_last_32_tokens=between(
        surprise_of[told[2]][:, -32:].mean().item(), 5, 6.8, "nats per token", digits=2
    ),
)
widgets.reveal("10-surprise", round(nats[told[2]], 1))

# %% [markdown]
# Compare the first token with the last ones. Exposure bias would let the surprise grow, and it doesn't: this student
# surprises the teacher with the first token that it writes after the book's words. It is weak at every place, and not
# only where it reads itself. For a student that is nearly right, the first mistake is rare, and what it does afterwards
# counts.

# %% [markdown]
# ## Practise what you will do
#
# Two ideas are meant to help a model that writes.
#
# - **The reverse KL**, which forbids what the teacher rules out.
# - **On-policy** distillation (Agarwal et al. 2024): the student writes, and the teacher grades every token of it. No
#   gradient flows through the writing, since tokens are whole numbers.
#
# Give the distilled student 100 further steps, in three ways: with your loss on the book's rows, with the reverse KL on
# the book's rows, and with the reverse KL on its own text, a batch as your `own_text` makes it.
#
# **Predict:** compared with your loss on the same rows, what does the reverse KL do to the bits per byte of the book?

# %%
changes = ["they fall", "they stay within 0.02", "they rise"]
widgets.predict("10-reverse", "Bits per byte, reverse KL against forward KL:", choices=changes)


# %%
def trained_further(divergence, on_own_text, steps=100):
    """Return a copy of the distilled student after further steps."""
    student = copy.deepcopy(students[told[2]]).train()
    optimizer = torch.optim.AdamW(student.parameters(), lr=2e-3)
    draw = torch.Generator().manual_seed(0)
    for step in range(steps):
        index = torch.randint(len(few.train), (16,), generator=draw)
        tokens, labels = few.train.tokens[index], few.train.labels[index]
        if on_own_text:
            tokens, labels = write(student, tokens[:, :prompt], seed=step)
        with torch.no_grad():
            graded = (teacher if on_own_text else remembering)(tokens)
        optimizer.zero_grad()
        divergence(student(tokens), graded, labels).backward()
        optimizer.step()
        bar()
    return student.eval()


bar = progress_bar("Further steps", 300)
again = {
    "forward KL, book": trained_further(loss, False),
    "reverse KL, book": trained_further(reverse_kl, False),
    "reverse KL, own text": trained_further(reverse_kl, True),
}

# %% folded=true
bits_after, nats_after = {}, {}
for name, student in again.items():
    bits_after[name] = evaluation.bits_per_byte(student, text.test).mean
    nats_after[name] = surprises(*write(student, begun, seed=0)).mean().item()
forward, reverse, on_policy = again
claim(
    "The reverse KL makes the student's own text less surprising, at the price of more bits for the book",
    bits_after[reverse] > bits_after[forward] and nats_after[reverse] < nats_after[forward],
    bits_with_forward=between(bits_after[forward], 2.25, 2.6, "bits per byte", digits=3),
    bits_with_reverse=between(bits_after[reverse], 2.35, 2.8, "bits per byte", digits=3),
    bits_with_reverse_on_own_text=between(bits_after[on_policy], 2.35, 2.8, "bits per byte", digits=3),
    surprise_with_forward=between(nats_after[forward], 5, 6.8, "nats per token", digits=2),
    surprise_with_reverse=between(nats_after[reverse], 4.5, 6.2, "nats per token", digits=2),
    surprise_with_reverse_on_own_text=between(nats_after[on_policy], 4.5, 6.2, "nats per token", digits=2),
    more_bits=at_least(bits_after[reverse] - bits_after[forward], 0.05, digits=3),
    less_surprise=at_least(nats_after[forward] - nats_after[reverse], 0.2, "nats", digits=2),
)
more = bits_after[reverse] - bits_after[forward]
widgets.reveal("10-reverse", changes[0 if more < -0.02 else 1 if more <= 0.02 else 2])

# %% [markdown]
# That is what the figure with the two bumps showed. By the forward KL, the student spreads over all that the teacher may
# say: good for bits, and odd words when it writes. By the reverse KL it keeps closer to what the teacher would say. This
# is one run, and it began with a distilled student; keep that in mind for the next table.
#
# And on-policy? Compare the reverse KL with and without its own text: that taught the student about as much as the
# book's rows, no more. You saw why: this student is weak everywhere. Agarwal et al. began with students that had been
# fine-tuned before, and found on-policy distillation ahead there.

# %% [markdown]
# ## With five seeds
#
# One student of each kind could be luck. The course comes with a **study**: the same small network with random first
# weights, 500 steps, a learning rate chosen for each method, five seeds. Some rows are new:
#
# - *teacher's texts*: 1,600 rows that the teacher wrote; this student saw no probabilities.
# - `token_kl` is your loss beside a little of the labels; *three teachers* takes the mean of their probabilities.
# - `token_top_k` gets the teacher's 16 likeliest tokens alone, and the sum of all others.
# - `token_jsd` is the Jensen-Shannon divergence, which lies between the forward KL and the reverse one.
# - `on_policy` compares by that divergence too, in half of its steps on its own text.
#
# The surprise is that of 64 tokens after each of 64 beginnings.
#
# **Predict:** which student needs fewer bits per byte: one that sees the teacher's probabilities, or one that reads what
# the teacher wrote?

# %%
ways = ["sees the probabilities", "reads the teacher's texts", "both alike"]
widgets.predict("10-ways", "Fewer bits per byte are needed by the student that", choices=ways)

# %% folded=true
summary = study_named("language", shipped("study")).summary(Rows(shipped("study"), "language").checked())
found = summary["text"]
for amount, title in {"little": "15 chapters", "much": "all chapters"}.items():
    print(f"{title:26}  bits per byte  fewer than plain (interval)  surprise of its text")
    for entry in found[amount]:
        fewer = ""
        if "difference" in entry:
            low, mean, high = (-entry["difference"][end] for end in ("high", "mean", "low"))
            fewer = f"{mean:+.3f} ({low:+.3f} to {high:+.3f})"
        print(
            f"  {entry['row']:24}  {entry['bits']['mean']:.3f}          {fewer:27}  {-entry['likelihood']:.2f} nats"
        )
fewer = summary["few_and_a_teacher"]
print(
    f"token_kl on 15 chapters, against plain on all: {-fewer['mean']:+.3f} fewer bits "
    f"({-fewer['high']:+.3f} to {-fewer['low']:+.3f})"
)
of_row = {entry["row"]: entry["bits"]["mean"] for entry in found["little"]}
ahead = of_row["teacher's texts"] - of_row["token_kl"]
widgets.reveal("10-ways", ways[0 if ahead > 0.01 else 1 if ahead < -0.01 else 2])

# %% [markdown]
# `token_kl` leads with either amount of text. With 15 chapters and a teacher, the student is on average ahead even of
# the plain one that reads all chapters, though five seeds don't make that sure. With 15 chapters, the teacher's own text
# is worth no more than the book: it tells one token at a time, too. With all chapters, where the plain student reads no
# row twice, it is worth less.
#
# `token_reverse_kl` and `on_policy` pay with bits, 0.3 to 0.5 more than plain. From random first weights, the reverse KL
# gets little for it: with 15 chapters, its text surprises the teacher by 5.62 nats, and that of `token_kl` by 5.51. The
# least surprising text with 15 chapters comes from `token_jsd`.
#
# The seed matters as well: look at how wide the intervals are.

# %% [markdown]
# ## Three writers
#
# Type a beginning, and let all three go on. The bars show the eight tokens that the teacher finds likeliest, and what each
# model gives to them, at the temperature that you choose.

# %%
widgets.writers(
    {"teacher": teacher, "plain": students[told[0]], "distilled": students[told[2]]},
    text,
    beginning="It is a truth universally acknowledged",
)

# %% [markdown]
# ## Quiz

# %%
widgets.quiz(
    "10",
    [
        widgets.Question(
            "After a beginning, the teacher gives one token 0.4 and thirty others 0.02 each. The book has one of the thirty. What "
            "does the plain student learn from this position?",
            options=[
                widgets.Option(
                    "That this token is right, and all others are wrong", True, "A label names one token."
                ),
                widgets.Option(
                    "That thirty-one tokens are possible", False, "Only the soft target says that."
                ),
                widgets.Option(
                    "Nothing, since the teacher disagrees", False, "It never hears of the teacher."
                ),
            ],
        ),
        widgets.Question(
            "A student is so small that it can't follow the teacher everywhere. Which divergence makes it leave out whole ways of "
            "going on, rather than mix them?",
            options=[
                widgets.Option(
                    "The reverse KL",
                    True,
                    "What the student leaves out has weight 0 there: it costs nothing.",
                ),
                widgets.Option(
                    "The forward KL", False, "It is large wherever the student leaves something out."
                ),
                widgets.Option("Both alike", False, "Look at the two bumps again."),
            ],
        ),
        widgets.Question(
            "Two models have different vocabularies. Which figures can be compared?",
            options=[
                widgets.Option("Bits per byte", True, "Both explain the same bytes."),
                widgets.Option(
                    "Cross-entropy per token",
                    False,
                    "A token of one may be longer than a token of the other.",
                ),
                widgets.Option("None", False, "The bytes of the text are the same for both."),
            ],
        ),
        widgets.Question(
            "In on-policy distillation, why does no gradient flow through the student's writing?",
            options=[
                widgets.Option(
                    "Tokens are whole numbers, which can't be changed a little",
                    True,
                    "The gradient flows through the student's probabilities at each position, given the tokens.",
                ),
                widgets.Option("It would be too slow", False, "There is no such gradient to begin with."),
                widgets.Option("The teacher writes", False, "The student does. The teacher grades."),
            ],
        ),
    ],
)

# %% [markdown]
# ## Recap
#
# - A language model is a classifier of the next token, so its probabilities are **soft targets**: at most positions,
#   several tokens are possible.
# - **Forward KL** covers what the teacher may say; **reverse KL** keeps closer to what it would most likely say.
# - The loss is a mean over the positions that count. Select them before you compute anything.
# - A student that writes reads its own text. **On-policy** distillation trains it there, with the teacher's grades. This
#   weak student gained no more by it than by the book's rows.
# - Compare models by **bits per byte**, which don't depend on their tokens.
#
# ## References
#
# - Rishabh Agarwal, Nino Vieillard, Yongchao Zhou, Piotr Stanczyk, Sabela Ramos, Matthieu Geist, Olivier Bachem
#   (2024). On-Policy Distillation of Language Models. https://arxiv.org/abs/2306.13649
# - Yuxian Gu, Li Dong, Furu Wei, Minlie Huang (2024). MiniLLM: Knowledge Distillation of Large Language Models, which
#   takes the reverse KL. https://arxiv.org/abs/2306.08543
#
# All terms: [glossary](glossary.md).
