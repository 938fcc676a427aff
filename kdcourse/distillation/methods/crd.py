"""Contrastive distillation: tell which image a teacher's vector belongs to (Tian et al. 2020)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdcourse.data import Batch
from kdcourse.distillation.arguments import check_sides, check_weight
from kdcourse.distillation.methods.base import Method, Outputs
from kdcourse.distillation.softening import at_least_float32, check_temperature
from kdcourse.errors import ArgumentError


def contrast(
    anchors: Tensor,
    positives: Tensor,
    negatives: Tensor,
    *,
    temperature: float,
    scale: float | Tensor,
    counted: Tensor | None = None,
) -> Tensor:
    """Compute how badly vectors of one network are told to belong to the same images as those of the other.

    With s the product of two vectors of length 1, m the number of an anchor's negatives and c the scale::

        h(s) = exp(s / temperature) / (exp(s / temperature) + m * c)
        loss = -mean over anchors of (log h(s of its positive) + sum over negatives of log(1 - h(s of the negative)))

    Args:
        anchors: floating point [B, D], rows of length 1; gradients flow here.
        positives: [B, D], the other network's vectors of the same images; detached.
        negatives: [K, D], the other network's vectors of other images; detached.
        temperature: above 0; 0.07 in the paper.
        scale: c, above 0: what exp(s / temperature) is on average of vectors that don't belong together.
        counted: bool [B, K], which negatives count for which anchor; all, by default.

    Returns:
        Scalar in nats, in the type of the anchors.

    Source: Tian, Krishnan, Isola 2020 (https://arxiv.org/abs/1910.10699), section 3.1. Their critic h has N / M
    in place of m * c, with N negatives of M images; their program normalises exp(s / temperature) by an estimate of
    M * c from the first batch, and then M cancels.
    """
    positive = (anchors * positives.detach()).sum(1) / temperature
    negative = anchors @ negatives.detach().T / temperature
    counted = torch.ones_like(negative, dtype=torch.bool) if counted is None else counted
    noise = (counted.sum(1).clamp(min=1).to(anchors.dtype) * scale).log()
    # h is the sigmoid of s / temperature - log(m * c); in logarithms nothing overflows or rounds to log 0.
    others = F.logsigmoid(noise[:, None] - negative).masked_fill(~counted, 0).sum(1)
    return -(F.logsigmoid(positive - noise) + others).mean()


class CRD(Method):
    """Tell which of many images a vector of the other network belongs to: `contrast`, in both directions.

    Both networks' vectors, the inputs of their last linear layers, are mapped by linear layers trained along to
    ``dimensions`` numbers of length 1. Negatives are images of other classes: the vectors of the last ``bank`` images,
    which are buffers of the method, and stored in checkpoints. Departures: Tian et al. keep a vector of every training
    image, averaged over epochs, and draw 16,384 of them; the queue of recent ones (He et al. 2020,
    https://arxiv.org/abs/1911.05722) is as large whatever the number of images, and never older than ``bank`` images.
    Positives are therefore today's.

    Args:
        weight: of the term, above 0; 0.8 in the paper, section 4, beside labels of weight 1.
        temperature: above 0; 0.07 in the paper.
        dimensions: of the vectors; 128 in the paper.
        bank: number of vectors kept of either network.

    Raises:
        ArgumentError: a setting out of range.
    """

    title = "Contrastive: whose vector is it?"
    paper = "Tian, Krishnan, Isola 2020, https://arxiv.org/abs/1910.10699"
    layers = "vector"
    of_student: nn.Linear
    of_teacher: nn.Linear
    bank_student: Tensor
    bank_teacher: Tensor
    bank_labels: Tensor
    place: Tensor
    scales: Tensor

    def __init__(
        self, *, weight: float = 0.8, temperature: float = 0.07, dimensions: int = 128, bank: int = 4096
    ) -> None:
        super().__init__()
        check_weight(weight, "0.8")
        check_temperature(temperature)
        if min(dimensions, bank) < 1:
            raise ArgumentError(f"dimensions and bank must be at least 1; found {dimensions} and {bank}.")
        self.weight, self.temperature, self.dimensions, self.bank = weight, temperature, dimensions, bank

    def prepare(self, student: Outputs, teacher: Outputs) -> None:
        for side, outputs in (("student", student), ("teacher", teacher)):
            vectors = outputs.feature.flatten(1)
            setattr(self, f"of_{side}", nn.Linear(vectors.shape[1], self.dimensions).to(vectors.device))
            # Of random directions, as in their program, until there are vectors.
            drawn = F.normalize(torch.randn(self.bank, self.dimensions), dim=1)
            self.register_buffer(f"bank_{side}", drawn.to(vectors.device))
        self.register_buffer("bank_labels", torch.full((self.bank,), -1, device=vectors.device))
        self.register_buffer("place", torch.zeros((), dtype=torch.int64, device=vectors.device))
        self.register_buffer("scales", torch.full((2,), math.nan, device=vectors.device))

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> dict[str, Tensor]:
        check_sides(student.feature, teacher.feature, "vectors")
        z = F.normalize(self.of_student(_vectors(student.feature)), dim=1)
        v = F.normalize(self.of_teacher(_vectors(teacher.feature.detach())), dim=1)
        counted = batch.labels[:, None] != self.bank_labels
        sides = (
            (z, v, self.bank_teacher.to(z.dtype, copy=True)),
            (v, z, self.bank_student.to(v.dtype, copy=True)),
        )
        terms = []
        for side, (anchors, positives, negatives) in enumerate(sides):
            products = (anchors.detach() @ negatives.T / self.temperature).exp()
            first = torch.isnan(self.scales[side])
            self.scales[side] = torch.where(first, products.mean(), self.scales[side])
            terms.append(
                contrast(
                    anchors, positives, negatives, temperature=self.temperature,
                    scale=self.scales[side], counted=counted,
                )
            )  # fmt: skip
        self._keep(z, v, batch.labels)
        return {"student": self.weight * terms[0], "teacher": self.weight * terms[1]}

    @torch.no_grad()
    def _keep(self, z: Tensor, v: Tensor, labels: Tensor) -> None:
        count = min(len(z), self.bank)
        places = (self.place + torch.arange(count, device=z.device)) % self.bank
        for kept, new in ((self.bank_student, z), (self.bank_teacher, v), (self.bank_labels, labels)):
            kept[places] = new[-count:].to(kept.dtype)
        self.place.copy_((self.place + count) % self.bank)


def _vectors(values: Tensor) -> Tensor:
    return values.to(at_least_float32(values)).flatten(1)
