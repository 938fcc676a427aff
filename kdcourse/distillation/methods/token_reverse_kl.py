"""Reverse KL: expect only next tokens that the teacher expects (Gu et al. 2024)."""

from __future__ import annotations

from torch import Tensor

from kdcourse.data import Batch
from kdcourse.distillation.methods.base import Method, Outputs
from kdcourse.distillation.softening import check_temperature
from kdcourse.distillation.tokens import token_divergence


def reverse_kl(
    student_logits: Tensor, teacher_logits: Tensor, labels: Tensor, *, temperature: float = 1.0
) -> Tensor:
    """Compute ``T^2 * KL(q || p)`` of the next tokens, mean over the positions that count.

    It is large where the student expects a token and the teacher doesn't, so a student that is too small to say all
    keeps to the teacher's likeliest. Arguments, result and errors are those of `token_divergence`.

    Gradient at a position that counts, of P in all: ``T / P * q * (log q - log p - KL(q || p))``.

    Source: Gu, Dong, Wei, Huang 2024, MiniLLM (https://arxiv.org/abs/2306.08543), section 2.1, which takes it over
    whole texts that the student samples; here it is taken token by token on the texts that are given.
    """
    return token_divergence(student_logits, teacher_logits, labels, beta=1, temperature=temperature)


class TokenReverseKL(Method):
    """Expect only next tokens that the teacher expects: `reverse_kl`.

    Args:
        temperature: T > 0.

    Raises:
        ArgumentError: T out of range.
    """

    title = "Next tokens, reverse KL"
    paper = "Gu et al. 2024, https://arxiv.org/abs/2306.08543"
    tasks = ("tokens",)
    per_label = True

    def __init__(self, *, temperature: float = 1.0) -> None:
        super().__init__()
        check_temperature(temperature)
        self.temperature = temperature

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> dict[str, Tensor]:
        return {
            "token_reverse_kl": reverse_kl(
                student.logits, teacher.logits, batch.labels, temperature=self.temperature
            )
        }
