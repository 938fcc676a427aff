"""Ensembles of any members, and mistakes by model and pair, against counting by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from kdcourse.distillation import Ensemble
from kdcourse.errors import ArgumentError
from kdcourse.evaluation import (
    accuracy,
    average_members,
    confused_pairs,
    expected_calibration_error,
    find_mistakes,
    member_scores,
)

LABELS = torch.tensor([0, 1, 2, 0, 1, 2])
# What three models name, image by image.
SAID = {"a": [0, 1, 2, 1, 1, 2], "b": [0, 2, 2, 1, 1, 0], "c": [0, 2, 1, 0, 1, 0]}


def logits(said: list[int]) -> torch.Tensor:
    return 3.0 * torch.eye(3)[said]


NAMED = {name: logits(said) for name, said in SAID.items()}
MEMBERS = torch.stack(list(NAMED.values()))


@pytest.mark.parametrize("average", ["logits", "probabilities"])
def test_the_average_is_that_of_the_ensemble(average: Any) -> None:
    generator = torch.Generator().manual_seed(0)
    member_logits = 40 * torch.randn(3, 7, 5, generator=generator)
    ensemble = Ensemble([nn.Linear(1, 1) for _ in range(3)], average=average)
    ours = average_members(member_logits, average).softmax(-1)
    torch.testing.assert_close(ours.float(), ensemble.combine(member_logits).softmax(-1))


def test_scores_of_chosen_members_and_of_each_alone() -> None:
    scores = member_scores(MEMBERS, LABELS, [0, 2])
    mean = MEMBERS[[0, 2]].mean(0)
    assert scores.accuracy == accuracy(mean, LABELS)
    assert scores.calibration_error == expected_calibration_error(mean, LABELS)
    assert scores.member_accuracy == (5 / 6, 3 / 6, 3 / 6)
    assert scores.member_calibration_error[1] == expected_calibration_error(NAMED["b"], LABELS)
    a_b, a_c, b_c = 2 / 6, 4 / 6, 2 / 6
    expected = torch.tensor([[0, a_b, a_c], [a_b, 0, b_c], [a_c, b_c, 0]], dtype=torch.float64)
    assert torch.equal(scores.disagreement, expected)
    assert scores.mean_disagreement == a_c
    assert member_scores(MEMBERS, LABELS).mean_disagreement == pytest.approx((a_b + a_c + b_c) / 3)
    assert member_scores(MEMBERS, LABELS, [1]).mean_disagreement is None


def test_members_refuse_what_does_not_fit() -> None:
    for change, message in (
        ({"chosen": []}, "at least one"),
        ({"chosen": [0, 0]}, "each once"),
        ({"chosen": [3]}, r"members 0\.\.2"),
        ({"average": "votes"}, "average must be"),
        ({"member_logits": MEMBERS[0]}, r"must be \[members"),
        ({"member_logits": MEMBERS[:0]}, "none of them 0"),
        ({"member_logits": MEMBERS.long()}, "floating"),
        ({"member_logits": MEMBERS / 0}, "finite"),
        ({"labels": LABELS[:2]}, "labels must have shape"),
    ):
        arguments: dict[str, Any] = {"member_logits": MEMBERS, "labels": LABELS, **change}
        with pytest.raises(ArgumentError, match=message):
            member_scores(**arguments)


def test_mistakes_by_who_errs() -> None:
    # a errs at 3; b at 1, 3, 5; c at 1, 2, 5.
    assert find_mistakes(LABELS, NAMED).tolist() == [1, 2, 3, 5]
    assert find_mistakes(LABELS, NAMED, wrong=["b"]).tolist() == [1, 3, 5]
    assert find_mistakes(LABELS, NAMED, wrong=["b", "c"]).tolist() == [1, 5]
    assert find_mistakes(LABELS, NAMED, wrong=["b"], right=["a"]).tolist() == [1, 5]
    assert find_mistakes(LABELS, NAMED, right=["a", "b", "c"]).tolist() == []


def test_mistakes_by_pair_of_classes() -> None:
    assert find_mistakes(LABELS, NAMED, pair=(1, 2)).tolist() == [1]
    assert find_mistakes(LABELS, NAMED, pair=(0, 1)).tolist() == [3]
    assert find_mistakes(LABELS, NAMED, wrong=["c"], pair=(0, 1)).tolist() == []
    assert find_mistakes(LABELS, NAMED, wrong=["c"], pair=(2, 0)).tolist() == [5]


def test_pairs_are_counted_once_a_picture_and_the_commonest_come_first() -> None:
    assert confused_pairs(LABELS, NAMED) == [(0, 1, 1), (1, 2, 1), (2, 0, 1), (2, 1, 1)]
    doubled = {name: logits([*said, *said[-1:]]) for name, said in SAID.items()}
    assert confused_pairs(torch.cat([LABELS, LABELS[-1:]]), doubled)[0] == (2, 0, 2)
    assert confused_pairs(LABELS, NAMED, wrong=["a"]) == [(0, 1, 1)]


def test_every_pair_finds_as_many_pictures_as_it_promises() -> None:
    generator = torch.Generator().manual_seed(3)
    labels = torch.randint(5, (300,), generator=generator)
    named = {name: torch.randn(300, 5, generator=generator) for name in "xyz"}
    for wrong, right in (((), ()), (("x",), ()), (("x", "y"), ("z",)), ((), ("y",))):
        pairs = confused_pairs(labels, named, wrong=wrong, right=right)
        assert pairs and [count for _, _, count in pairs] == sorted((c for _, _, c in pairs), reverse=True)
        for label, said, count in pairs:
            found = find_mistakes(labels, named, wrong=wrong, right=right, pair=(label, said))
            assert len(found) == count


def test_mistakes_refuse_what_does_not_fit() -> None:
    for arguments, message in (
        ({"logits_by_name": {}}, "at least one model"),
        ({"wrong": ["d"]}, "name models of a, b, c"),
        ({"wrong": ["a"], "right": ["a"]}, "twice"),
        ({"labels": LABELS.float()}, "whole numbers"),
        ({"labels": LABELS[:2]}, "a row a label"),
    ):
        every: dict[str, Any] = {"labels": LABELS, "logits_by_name": NAMED, **arguments}
        with pytest.raises(ArgumentError, match=message):
            find_mistakes(**every)
