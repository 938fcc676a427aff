"""Fit the teacher's likeliest next tokens alone: what an interface that returns a few logits allows."""

from __future__ import annotations

import math

from torch import Tensor

from kdcourse.data import Batch
from kdcourse.distillation.methods.base import Method, Outputs
from kdcourse.distillation.methods.kd import top_k_divergence
from kdcourse.distillation.softening import at_least_float32, check_temperature
from kdcourse.distillation.tokens import scored_tokens
from kdcourse.distillation.top import TopLogits
from kdcourse.errors import ArgumentError


def token_top_k_loss(
    student_logits: Tensor, teacher_logits: Tensor, labels: Tensor, *, k: int, temperature: float = 1.0
) -> Tensor:
    """Compute `top_k_divergence` of the next tokens, mean over the positions that count.

    At each position the teacher's ``k`` likeliest tokens keep their probabilities, and all others are taken as one
    event. So it is at most `forward_kl`, and the same with ``k = V - 1``.

    Args:
        student_logits: z, floating point [B, T, V]; gradients flow here.
        teacher_logits: v, floating point [B, T, V]; detached.
        labels: int64 [B, T], `kdcourse.data.IGNORE_TOKEN` where a position doesn't count.
        k: 1 or more, fewer than the V tokens.
        temperature: T > 0.

    Returns:
        Scalar in nats, float32, or float64 for float64 student logits. 0, with gradient 0, where no position counts.

    Raises:
        ArgumentError: k or T out of range; see `kdcourse.distillation.tokens.scored_tokens`.

    Source: the top-k word-level distillation of Tan, Ren, He, Qin, Zhao, Liu 2019, Multilingual Neural Machine
    Translation with Knowledge Distillation (https://arxiv.org/abs/1902.10461), section 3.3. Departure: they
    divide the k probabilities by their sum, which loses how sure the teacher is; here the rest is an event of its own.
    """
    check_temperature(temperature)
    z, v = scored_tokens(student_logits, teacher_logits, labels)
    if not 1 <= k < v.shape[1]:
        raise ArgumentError(
            f"k must be a whole number from 1 to {v.shape[1] - 1}, fewer than the {v.shape[1]} tokens; found {k}."
        )
    z, v = z.to(at_least_float32(z)), v.to(at_least_float32(student_logits))
    if not len(z):
        return z.sum()
    values, tokens = v.topk(k)
    rest = (v.scatter(1, tokens, -math.inf) / temperature).logsumexp(1, keepdim=True)
    return top_k_divergence(z, TopLogits(values, tokens, rest, (temperature,)), temperature)


class TokenTopK(Method):
    """Fit the teacher's k likeliest next tokens, all others taken as one: `token_top_k_loss`.

    Args:
        k: how many tokens.
        temperature: T > 0.

    Raises:
        ArgumentError: k below 1, T out of range; in training, k not below the size of the vocabulary.
    """

    title = "Next tokens, the teacher's top k"
    paper = "Tan et al. 2019, https://arxiv.org/abs/1902.10461"
    tasks = ("tokens",)
    per_label = True

    def __init__(self, *, k: int = 16, temperature: float = 1.0) -> None:
        super().__init__()
        if not isinstance(k, int) or k < 1:
            raise ArgumentError(f"k is a number of tokens, 1 or more; found {k!r}.")
        check_temperature(temperature)
        self.k, self.temperature = k, temperature

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> dict[str, Tensor]:
        loss = token_top_k_loss(
            student.logits, teacher.logits, batch.labels, k=self.k, temperature=self.temperature
        )
        return {"token_top_k": loss}
