"""Word-level distillation: fit the teacher's prediction of every next token (Kim and Rush 2016)."""

from __future__ import annotations

from torch import Tensor

from kdcourse.data import Batch
from kdcourse.distillation.methods.base import Method, Outputs
from kdcourse.distillation.softening import check_temperature
from kdcourse.distillation.tokens import token_divergence


def forward_kl(
    student_logits: Tensor, teacher_logits: Tensor, labels: Tensor, *, temperature: float = 1.0
) -> Tensor:
    """Compute ``T^2 * KL(p || q)`` of the next tokens, mean over the positions that count: `kd_divergence` per token.

    It is large where the teacher expects a token and the student doesn't, so the student covers all that the teacher
    may say. Arguments, result and errors are those of `token_divergence`.

    Gradient at a position that counts, of P in all: ``T / P * (softmax(z / T) - softmax(v / T))``.

    Source: Kim and Rush 2016 (https://arxiv.org/abs/1606.07947), section 3.1, word-level knowledge distillation;
    their cross-entropy differs from KL by the teacher's entropy, a constant for the student.
    """
    return token_divergence(student_logits, teacher_logits, labels, beta=0, temperature=temperature)


class TokenKL(Method):
    """Fit the teacher's prediction of every next token: `forward_kl`.

    Args:
        temperature: T > 0.

    Raises:
        ArgumentError: T out of range.
    """

    title = "Next tokens, forward KL"
    paper = "Kim and Rush 2016, https://arxiv.org/abs/1606.07947"
    tasks = ("tokens",)
    per_label = True

    def __init__(self, *, temperature: float = 1.0) -> None:
        super().__init__()
        check_temperature(temperature)
        self.temperature = temperature

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> dict[str, Tensor]:
        return {
            "token_kl": forward_kl(student.logits, teacher.logits, batch.labels, temperature=self.temperature)
        }
