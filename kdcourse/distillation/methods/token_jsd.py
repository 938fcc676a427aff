"""Generalized Jensen-Shannon divergence of the next tokens (Agarwal et al. 2024)."""

from __future__ import annotations

from torch import Tensor

from kdcourse.data import Batch
from kdcourse.distillation.methods.base import Method, Outputs
from kdcourse.distillation.softening import check_temperature
from kdcourse.distillation.tokens import check_beta, token_divergence


class TokenJSD(Method):
    """Compare both predictions of every next token with their mixture: `token_divergence`.

    Args:
        beta: the teacher's share of the mixture, 0 (the forward KL) to 1 (the reverse KL).
        temperature: T > 0.

    Raises:
        ArgumentError: beta or T out of range.
    """

    title = "Next tokens, Jensen-Shannon divergence"
    paper = "Agarwal et al. 2024, https://arxiv.org/abs/2306.13649"
    tasks = ("tokens",)
    per_label = True

    def __init__(self, *, beta: float = 0.5, temperature: float = 1.0) -> None:
        super().__init__()
        check_beta(beta)
        check_temperature(temperature)
        self.beta, self.temperature = beta, temperature

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> dict[str, Tensor]:
        loss = token_divergence(
            student.logits, teacher.logits, batch.labels, beta=self.beta, temperature=self.temperature
        )
        return {"token_jsd": loss}
