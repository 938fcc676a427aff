"""The GPT: it sees only what came before, with and without stored keys, and writes as it predicts."""

from __future__ import annotations

import pytest
import torch

from kdcourse import models
from kdcourse.data import text_dataset
from kdcourse.errors import ArgumentError
from kdcourse.models import GPT
from kdcourse.models.gpt import Block


def _tiny() -> GPT:
    torch.manual_seed(0)
    # Far from uniform predictions.
    return GPT(30, context=12, width=16, depth=2, heads=2, init_std=0.16).eval()


@torch.no_grad()
def test_a_prediction_depends_on_no_later_token() -> None:
    model, tokens = _tiny(), torch.randint(30, (3, 12))
    logits = model(tokens)
    assert logits.shape == (3, 12, 30)
    for place in (0, 5, 10):
        changed = tokens.clone()
        changed[:, place + 1 :] = (changed[:, place + 1 :] + 7) % 30
        assert torch.equal(model(changed)[:, : place + 1], logits[:, : place + 1])
        assert (model(changed)[:, place + 1 :] - logits[:, place + 1 :]).abs().amax() > 0.1


@torch.no_grad()
def test_stored_keys_change_nothing() -> None:
    model, tokens = _tiny(), torch.randint(30, (3, 12))
    cache: list[tuple[torch.Tensor, torch.Tensor]] = []
    parts = torch.cat([model(part, cache) for part in tokens.split([4, 1, 6, 1], 1)], 1)
    torch.testing.assert_close(parts, model(tokens), rtol=0, atol=1e-5)


def test_greedy_text_is_the_likeliest_token_again_and_again() -> None:
    model, tokens = _tiny(), torch.randint(30, (2, 3))
    expected = tokens
    for _ in range(9):
        expected = torch.cat([expected, model(expected)[:, -1:].argmax(-1)], 1)
    assert torch.equal(model.generate(tokens, 9, temperature=0), expected)
    assert model.generate(tokens, 40).shape == (2, 43)  # beyond the context


def test_samples_follow_the_predicted_probabilities() -> None:
    model, tokens = _tiny(), torch.full((20_000, 1), 4)
    p = (model(tokens[:1]).detach()[0, -1] / 2).softmax(-1)
    drawn = model.generate(tokens, 1, temperature=2, generator=torch.Generator().manual_seed(0))[:, 1]
    q = drawn.bincount(minlength=30) / len(drawn)
    assert float(((p - q).abs() / (p * (1 - p) / len(drawn)).sqrt()).max()) < 4


@pytest.mark.parametrize(
    ("width", "init_std", "expected"), [(768, None, 0.02), (48, None, 0.08), (48, 0.02, 0.02)]
)
def test_narrow_models_begin_with_larger_weights(width: int, init_std: float | None, expected: float) -> None:
    block = GPT(60, width=width, depth=2, heads=2, init_std=init_std).blocks[0]
    assert isinstance(block, Block)
    assert float(block.attention_in.weight.detach().std()) == pytest.approx(expected, rel=0.05)
    assert float(block.attention_out.weight.detach().std()) == pytest.approx(
        expected / 2, rel=0.08
    )  # 2 * 2 terms


def test_names_sizes_and_refusals() -> None:
    sizes = models.names("language")
    assert 1e6 < sizes["gpt"] < 3e6 and all(45e3 < n < 300e3 for k, n in sizes.items() if k != "gpt")
    model = models.build("gpt_50k")
    assert isinstance(model, GPT)
    assert (
        model.token.weight.shape[0] == 512 and sum(p.numel() for p in model.parameters()) == sizes["gpt_50k"]
    )
    data = text_dataset("own", ["one", "two", "three"], context=5)
    own = models.build("gpt_50k", data=data)
    assert isinstance(own, GPT)
    assert own(data.train.tokens).shape == (*data.train.tokens.shape, 257)
    with pytest.raises(ArgumentError, match=r"sees at most 5 tokens; found 6"):
        own(torch.zeros(1, 6, dtype=torch.int64))
    with pytest.raises(
        ArgumentError, match=r"'mlp_25k' is for images, and 'own' is of text. Choose one of gpt"
    ):
        models.build("mlp_25k", data=data)
    with pytest.raises(ArgumentError, match="a width that is a multiple of heads"):
        GPT(width=10, heads=3)
    with pytest.raises(ArgumentError, match=r"tokens .B, T. with T of at least 1"):
        own.generate(torch.zeros(1, 0, dtype=torch.int64), 3)
