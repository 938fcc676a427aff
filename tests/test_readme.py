from __future__ import annotations

from pathlib import Path

from kdcourse.experiments import recorded
from kdcourse.experiments.readme import BEGIN, END, with_results

README = Path(__file__).parents[1] / "README.md"


def test_the_readmes_numbers_are_the_recorded_ones() -> None:
    text = README.read_text()
    assert text.count(BEGIN) == text.count(END) == 1
    again = with_results(text, recorded.shipped_folder())
    assert text == again, "write it anew: python -m kdcourse.experiments.readme README.md"


def test_a_changed_number_would_be_noticed() -> None:
    text = README.read_text()
    digit = text.index("%", text.index(BEGIN)) - 1
    changed = text[:digit] + str((int(text[digit - 1]) + 1) % 10) + text[digit + 1 :]
    assert with_results(changed, recorded.shipped_folder()) == with_results(text, recorded.shipped_folder())
    assert changed != with_results(changed, recorded.shipped_folder())
