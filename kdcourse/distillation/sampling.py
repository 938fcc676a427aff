"""Let a language model write: continuations of rows of tokens, and a teacher's texts to learn from."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from kdcourse.data import IGNORE_TOKEN, TextDataset, TokenSplit
from kdcourse.errors import ArgumentError
from kdcourse.models import GPT
from kdcourse.models.causal import CausalModel
from kdcourse.models.gpt import check_beginning, next_tokens
from kdcourse.models.inputs import placement
from kdcourse.models.layout import unwrapped
from kdcourse.models.mode import evaluating


@torch.no_grad()
def continued(
    model: nn.Module,
    tokens: Tensor,
    count: int,
    *,
    temperature: float = 1.0,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Continue rows of tokens by sampling from a model in eval mode; its mode is restored.

    Args:
        model: int64 [B, T] -> logits [B, T, V]. A `GPT` and a `CausalModel` keep what they computed of earlier tokens;
            any other network is asked anew for each token. But for a GPT, they must take rows of ``T + count - 1``.
        tokens: int64 [B, T], T of at least 1.
        count: tokens to add.
        temperature: divides the logits; 0 takes the likeliest token.
        generator: of the random numbers, on the tokens' device; PyTorch's own by default.

    Returns:
        int64 [B, T + count]; without gradient.

    Raises:
        ArgumentError: no token to begin with, a count or temperature below 0.
    """
    with evaluating(model):
        writer = unwrapped(model)
        if isinstance(writer, GPT | CausalModel):
            return writer.generate(tokens, count, temperature=temperature, generator=generator)
        check_beginning(tokens, count, temperature)
        for _ in range(count):
            chosen = next_tokens(model(tokens)[:, -1], temperature, generator)
            tokens = torch.cat([tokens, chosen], 1)
        return tokens


def teacher_text(
    teacher: nn.Module,
    data: TextDataset,
    *,
    prompt: int = 16,
    temperature: float = 1.0,
    seed: int = 0,
    batch_size: int = 64,
) -> TextDataset:
    """Return the data with the teacher's continuations in place of the training text: a transfer set.

    Each training row keeps its first ``prompt`` tokens, which aren't to be predicted, and the teacher writes the rest.
    A student that is trained on it by `kdcourse.training.fit` learns from the teacher's texts alone, whatever the
    teacher's vocabulary and however little it tells of its probabilities. Validation and test stay as they are.

    Args:
        teacher: int64 [B, T] -> logits [B, T, V].
        data: whose training rows are begun.
        prompt: tokens that are given, fewer than a row has. Rows with fewer tokens are left out.
        temperature: of the sampling; 0 takes the likeliest token.
        seed: of the sampling.
        batch_size: rows at a time.

    Raises:
        ArgumentError: a prompt that leaves nothing to write, or that no row fills.

    Source: Kim and Rush 2016 (https://arxiv.org/abs/1606.07947), section 3.2, sequence-level knowledge distillation.
    They take the likeliest text that beam search finds; here it is sampled, which for a text that is to be continued
    freely avoids repetitions.
    """
    train = data.train
    if not 1 <= prompt < data.context:
        raise ArgumentError(
            f"prompt must be 1 to {data.context - 1} tokens, fewer than the {data.context} of a row; found {prompt}."
        )
    begun = train.labels[:, prompt - 1] != IGNORE_TOKEN
    if not bool(begun.any()):
        raise ArgumentError(f"No row of {data.name!r} has {prompt} tokens. Take a smaller prompt.")
    device = placement(teacher)[0]
    generator = torch.Generator(device).manual_seed(seed)
    written = torch.cat([
        continued(
            teacher, rows.to(device), data.context + 1 - prompt, temperature=temperature, generator=generator
        ).cpu()
        for rows in train.tokens[begun, :prompt].split(batch_size)
    ])  # fmt: skip
    labels = written[:, 1:].clone()
    labels[:, : prompt - 1] = IGNORE_TOKEN
    nothing = torch.zeros_like(train.sizes)  # it's no longer the documents' text
    written_split = TokenSplit(written[:, :-1].contiguous(), labels, train.document[begun], nothing)
    return replace(data, name=f"{data.name}, written by a teacher", train=written_split)
