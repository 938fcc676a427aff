"""Define a GPT: a decoder-only transformer that predicts the next token (Radford et al. 2019)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdcourse.errors import ArgumentError

Cache = list[tuple[Tensor, Tensor]]  # keys and values of each block, [B, heads, T so far, C / heads]


class GPT(nn.Module):
    """Predict at each position the token that follows, from the tokens up to there.

    int64 [B, T], T at most ``context`` -> logits [B, T, num_classes].

    As GPT-2 (Radford et al. 2019, "Language Models are Unsupervised Multitask Learners", section 2.3), in the form of
    Karpathy's nanoGPT, without biases: norms before attention and before the MLP, and one matrix for the embedding of
    tokens and the logits (Press and Wolf 2017, https://arxiv.org/abs/1608.05859).

    Args:
        num_classes: tokens of the vocabulary, V.
        context: the longest row of tokens.
        width: C, numbers per token; a multiple of ``heads``.
        depth: blocks.
        heads: of the attention.
        dropout: in training, after the embedding, the attention and the MLP.
        init_std: standard deviation of the first weights, by default 0.02 * sqrt(768 / width): GPT-2's 0.02 at its own
            width, and more for narrow models, which with 0.02 learn nothing but the frequencies of tokens for hundreds
            of steps.
    """

    def __init__(
        self,
        num_classes: int = 512,
        *,
        context: int = 128,
        width: int = 160,
        depth: int = 4,
        heads: int = 5,
        dropout: float = 0.0,
        init_std: float | None = None,
    ) -> None:
        super().__init__()
        if min(num_classes, context, width, depth, heads) < 1 or width % heads or not 0 <= dropout < 1:
            raise ArgumentError(
                "GPT needs a context, width, depth and heads of at least 1, a width that is a multiple of heads, and a "
                f"dropout in [0, 1); found context={context}, width={width}, depth={depth}, heads={heads}, "
                f"dropout={dropout}."
            )
        self.context = context
        self.token = nn.Embedding(num_classes, width)
        self.position = nn.Embedding(context, width)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(Block(width, heads, dropout) for _ in range(depth))
        self.norm = nn.LayerNorm(width, bias=False)
        std = 0.02 * math.sqrt(768 / width) if init_std is None else init_std
        for name, weight in self.named_parameters():
            # What is added to the residual stream starts smaller, since 2 * depth such terms are added up.
            if weight.ndim == 2:
                nn.init.normal_(
                    weight, std=std / math.sqrt(2 * depth) if name.endswith("_out.weight") else std
                )

    def forward(self, tokens: Tensor, cache: Cache | None = None) -> Tensor:
        """Return the logits after each of ``tokens`` [B, T].

        Args:
            tokens: int64 [B, T].
            cache: what earlier calls left, an empty list at first. ``tokens`` then continue those of these calls, and
                what they need of each block is added to it.
        """
        before = cache[0][0].shape[2] if cache else 0
        if before + tokens.shape[1] > self.context:
            raise ArgumentError(
                f"This GPT sees at most {self.context} tokens; found {before + tokens.shape[1]}. Pass the last "
                f"{self.context}, or build it with a larger context."
            )
        place = torch.arange(before, before + tokens.shape[1], device=tokens.device)
        x = self.dropout(self.token(tokens) + self.position(place))  # [B, T, C]
        seen: Cache = []
        for number, block in enumerate(self.blocks):
            x, past = block(x, cache[number] if cache else None)
            seen.append(past)
        if cache is not None:
            cache[:] = seen
        return F.linear(self.norm(x), self.token.weight)  # [B, T, V]

    @torch.no_grad()
    def generate(
        self,
        tokens: Tensor,
        count: int,
        *,
        temperature: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Continue rows of tokens by sampling, one token after the other.

        Args:
            tokens: int64 [B, T], T of at least 1.
            count: tokens to add. Where the context is full, the last half of it is seen.
            temperature: divides the logits; 0 takes the likeliest token.
            generator: of the random numbers, on the device of the tokens.

        Returns:
            int64 [B, T + count].

        Raises:
            ArgumentError: no token to begin with, a count or temperature below 0.
        """
        check_beginning(tokens, count, temperature)
        cache: Cache = []
        seen = tokens[:, -self.context :]
        for _ in range(count):
            if cache and cache[0][0].shape[2] == self.context:
                cache, seen = (
                    [],
                    tokens[:, -max(1, self.context // 2) :],
                )  # positions move, so all is computed anew
            seen = next_tokens(self(seen, cache)[:, -1], temperature, generator)
            tokens = torch.cat([tokens, seen], 1)
        return tokens


def check_beginning(tokens: Tensor, count: int, temperature: float) -> None:
    """Raise `ArgumentError` unless ``tokens`` can be continued by ``count`` more."""
    if tokens.ndim != 2 or not tokens.shape[1] or count < 0 or not 0 <= temperature < math.inf:
        raise ArgumentError(
            "To continue a text there must be tokens [B, T] with T of at least 1, a count and a temperature of at "
            f"least 0; found {list(tokens.shape)}, count={count}, temperature={temperature}."
        )


def next_tokens(logits: Tensor, temperature: float, generator: torch.Generator | None = None) -> Tensor:
    """Sample a token per row, int64 [B, 1], from logits [B, V] divided by ``temperature``; 0 takes the likeliest."""
    if not temperature:
        return logits.argmax(-1, keepdim=True)
    return torch.multinomial((logits.float() / temperature).softmax(-1), 1, generator=generator)


class Block(nn.Module):
    """Add to each position what attention finds at the earlier ones, then what an MLP makes of it."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width, bias=False), nn.LayerNorm(width, bias=False)
        self.attention_in = nn.Linear(width, 3 * width, bias=False)
        self.attention_out = nn.Linear(width, width, bias=False)
        self.mlp_in = nn.Linear(width, 4 * width, bias=False)
        self.mlp_out = nn.Linear(4 * width, width, bias=False)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, x: Tensor, past: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Return the new x [B, T, C], and keys and values of all positions so far, those of ``past`` included."""
        batch, length, width = x.shape
        parts = self.attention_in(self.norm1(x)).view(batch, length, 3, self.heads, width // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4)  # each [B, heads, T, C / heads]
        if past is not None:
            key, value = torch.cat([past[0], key], 2), torch.cat([past[1], value], 2)
        # A position sees itself and those before it.
        mask = None
        if past is not None and length > 1:
            mask = torch.ones(length, key.shape[2], dtype=torch.bool, device=x.device).tril(
                key.shape[2] - length
            )
        found = F.scaled_dot_product_attention(query, key, value, mask, is_causal=past is None)
        found = found.transpose(1, 2).reshape(batch, length, width)  # [B, T, C], the heads side by side
        x = x + self.dropout(self.attention_out(found))
        x = x + self.dropout(self.mlp_out(F.gelu(self.mlp_in(self.norm2(x)))))
        return x, (key, value)
