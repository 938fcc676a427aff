"""On-policy distillation: the student writes, the teacher grades every token (Agarwal et al. 2024)."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from kdcourse.data import IGNORE_TOKEN, Batch
from kdcourse.distillation.methods.base import Method, Outputs
from kdcourse.distillation.sampling import continued
from kdcourse.distillation.softening import check_temperature
from kdcourse.distillation.tokens import check_beta, token_divergence
from kdcourse.errors import ArgumentError


class OnPolicy(Method):
    """Learn on texts that the student itself continues, as it will have to when it is used.

    A step takes the batch as it is or, with probability ``share``, the beginning of each row, which the student
    continues by sampling. Both are compared with the teacher by `token_divergence`; the positions of the beginning
    don't count. No gradient flows through the sampling. It needs ``alpha=1``: the student's samples have no labels.

    Args:
        share: of steps on the student's own samples, 0 to 1 (lambda in the paper).
        prompt: tokens of each row that are given.
        beta: of the divergence, 0 (the forward KL) to 1 (the reverse KL).
        temperature: T > 0, of the divergence.
        sampling_temperature: of the student's sampling; the paper's is 1.

    Raises:
        ArgumentError: a setting out of range; in training, rows that aren't longer than ``prompt``.

    Source: Agarwal, Vieillard, Zhou, Stanczyk, Ramos, Geist, Bachem 2024, On-Policy Distillation of Language Models
    (https://arxiv.org/abs/2306.13649), section 3, algorithm 1 and equation 2 (GKD).
    """

    title = "On-policy distillation (GKD)"
    paper = "Agarwal et al. 2024, https://arxiv.org/abs/2306.13649"
    tasks = ("tokens",)
    per_label = True
    rewrites = True

    def __init__(
        self,
        *,
        share: float = 0.5,
        prompt: int = 16,
        beta: float = 0.5,
        temperature: float = 1.0,
        sampling_temperature: float = 1.0,
    ) -> None:
        super().__init__()
        if not 0 <= share <= 1:
            raise ArgumentError(f"share is a probability from 0 to 1; found {share}.")
        if not isinstance(prompt, int) or prompt < 1:
            raise ArgumentError(f"prompt is a number of tokens, 1 or more; found {prompt!r}.")
        check_beta(beta)
        check_temperature(temperature)
        check_temperature(sampling_temperature)
        self.share, self.prompt, self.beta = share, prompt, beta
        self.temperature, self.sampling_temperature = temperature, sampling_temperature

    def rewrite(self, student: nn.Module, batch: Batch) -> Batch:
        """Return the batch, or with probability ``share`` the student's continuations of its rows."""
        if float(torch.rand(())) >= self.share:
            return batch
        length = batch.images.shape[1]
        if length <= self.prompt:
            raise ArgumentError(
                f"Rows of {length} tokens leave nothing to write after a prompt of {self.prompt}. Take a smaller "
                "prompt, or a longer context."
            )
        written = continued(
            student,
            batch.images[:, : self.prompt],
            length + 1 - self.prompt,
            temperature=self.sampling_temperature,
        )
        labels = written[:, 1:].clone()
        labels[:, : self.prompt - 1] = IGNORE_TOKEN
        # Rows that end before the prompt does are no beginning of anything.
        labels[batch.labels[:, self.prompt - 1] == IGNORE_TOKEN] = IGNORE_TOKEN
        return replace(batch, images=written[:, :-1], labels=labels)

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> dict[str, Tensor]:
        loss = token_divergence(
            student.logits, teacher.logits, batch.labels, beta=self.beta, temperature=self.temperature
        )
        return {"on_policy": loss}
