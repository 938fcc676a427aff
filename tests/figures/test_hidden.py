"""Figures of hidden layers."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from kdcourse.errors import ArgumentError
from kdcourse.figures import alt_text, attention_maps, distance_tables

IMAGES = torch.randint(256, (3, 1, 8, 8), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
TABLE = torch.tensor([[0, 1.0, 2.0], [1.0, 0, 0.5], [2.0, 0.5, 0]])


def test_every_network_has_a_row_of_maps_under_the_images() -> None:
    maps = {"teacher": torch.rand(3, 4, 4), "student": torch.rand(3, 2, 3)}
    figure = attention_maps(IMAGES, maps)
    assert len(figure.axes) == 9
    shown = torch.from_numpy(np.array(figure.axes[4].images[0].get_array()))
    torch.testing.assert_close(shown, maps["teacher"][1])
    assert alt_text(figure).startswith("three images") and "teacher 4x4 and student 2x3" in alt_text(figure)


def test_a_table_shows_every_distance_and_names_the_nearest() -> None:
    figure = distance_tables(IMAGES, {"teacher": TABLE, "student": TABLE / 2})
    texts = [text.get_text() for part in figure.subfigs for axes in part.axes for text in axes.texts]
    assert texts[:9] == ["0.0", "1.0", "2.0", "1.0", "0.0", "0.5", "2.0", "0.5", "0.0"]
    assert "teacher: nearest are images 2 and 3 (0.5), farthest 1 and 3 (2.0)." in alt_text(figure)


def test_what_cannot_be_drawn_is_refused() -> None:
    for maps, found in (({}, "no map"), ({"a": torch.rand(2, 4, 4)}, r"\[3, height, width\]")):
        with pytest.raises(ArgumentError, match=found):
            attention_maps(IMAGES, maps)
    for tables, found in (({}, "no distance"), ({"a": TABLE[:2]}, r"\[3, 3\]")):
        with pytest.raises(ArgumentError, match=found):
            distance_tables(IMAGES, tables)
    with pytest.raises(ArgumentError, match="one to 10"):
        attention_maps(IMAGES.float(), {"a": torch.rand(3, 4, 4)})
