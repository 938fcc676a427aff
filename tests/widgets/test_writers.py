"""The writers: what models expect next, and how they go on."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from kdcourse.data import ByteVocabulary, TextDataset, text_dataset
from kdcourse.distillation import continued
from kdcourse.errors import ArgumentError
from kdcourse.models import GPT
from kdcourse.widgets import writers
from kdcourse.widgets.writers import Writers
from tests.widgets.tiny import LONG, bundle_of


def text() -> TextDataset:
    documents = [f"no. {number}: the <b>cat</b> sat" for number in range(40)]
    return text_dataset("cats", documents, vocabulary=ByteVocabulary(), context=16)


def model(seed: int) -> GPT:
    torch.manual_seed(seed)
    made = GPT(257, context=16, width=16, depth=1, heads=2)
    with torch.no_grad():
        for weight in made.parameters():
            weight.mul_(10 if weight.ndim == 2 else 1)  # far from uniform
    return made.train()


def two() -> tuple[Writers, dict[str, nn.Module]]:
    models: dict[str, nn.Module] = {"teacher": model(0), "<student>": model(1)}
    return writers(models, text(), beginning="the <cat", length=8), models


def test_the_bars_are_the_models_next_tokens_at_the_temperature() -> None:
    widget, models = two()
    bundle_of(widget)
    begun = torch.tensor([[256, *b"the <cat"]])
    logits = models["teacher"].eval()(begun)[0, -1]
    best = int(logits.argmax())
    share = logits.softmax(0)[best]
    assert f"{share:.3f}" in widget._alt and "'the <cat' at temperature 1" in widget._alt
    widget.temperature.value, widget.beginning.value = 4.0, "a"
    assert widget.settle(LONG)
    logits = models["teacher"](torch.tensor([[256, *b"a"]]))[0, -1]
    assert f"{(logits / 4).softmax(0).amax():.3f}" in widget._alt and "'a' at temperature 4" in widget._alt


def test_all_models_go_on_from_the_same_random_numbers() -> None:
    widget, models = two()
    assert widget.train.description == "Continue" and widget.length.max == 8
    widget.start()
    assert widget.wait(LONG)
    said = widget.written.value
    assert "<b>the &lt;cat</b>" in said and "<b>&lt;student&gt;</b>" in said and "<cat" not in said
    vocabulary, begun = text().vocabulary, torch.tensor([[256, *b"the <cat"]])
    draw = torch.Generator().manual_seed(0)
    first = continued(models["teacher"], begun[:, -10:], 6, generator=draw)[:, -6:]
    second = continued(models["teacher"], torch.cat([begun, first], 1)[:, -14:], 2, generator=draw)[:, -2:]
    expected = vocabulary.decode([*first[0].tolist(), *second[0].tolist()])
    assert expected.replace("&", "&amp;").replace("<", "&lt;").split("\n")[0][:3] in said
    assert all(one.training for one in models.values()), "modes are restored"
    widget.seed.value = 1
    widget.start()
    assert widget.wait(LONG) and widget.written.value != said
    assert widget.stop.disabled and widget.progress.value == 1.0


def test_a_long_beginning_leaves_room() -> None:
    widget, _ = two()
    widget.beginning.value = "x" * 50
    widget.start()
    assert widget.wait(LONG) and not widget.status.value and widget.written.value.count("<p>") == 2


def test_what_goes_wrong_is_told() -> None:
    class Broken(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.calls, self.weight = 0, nn.Parameter(torch.zeros(1))

        def forward(self, tokens: Tensor) -> Tensor:
            self.calls += 1
            if self.calls > 2:
                raise RuntimeError("no more")
            return torch.zeros(*tokens.shape, 257)

    widget = writers({"one": Broken()}, text())
    widget.start()
    assert widget.wait(LONG) and "RuntimeError: no more" in widget.status.value
    with pytest.raises(ArgumentError, match="found none"):
        writers({}, text())
    with pytest.raises(ArgumentError, match=r"must be \[257\], one per token; found \[300\]"):
        writers({"other": GPT(300, context=16, width=16, depth=1, heads=2)}, text())
    with pytest.raises(ArgumentError, match=r"'one' can't read this text: .* must have its 257 tokens"):
        writers({"one": GPT(30, context=16, width=16, depth=1, heads=2)}, text())
