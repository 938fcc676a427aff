from __future__ import annotations

import re
from pathlib import Path

import pytest
from PIL import Image

from kdcourse.runs import recorded
from kdcourse.runs.readme import BEGIN, END, with_results

README = Path(__file__).parents[1] / "README.md"


def test_the_readmes_numbers_are_the_recorded_ones() -> None:
    text = README.read_text()
    assert text.count(BEGIN) == text.count(END) == 1
    again = with_results(text, recorded.shipped_folder())
    assert text == again, "write it anew: python -m kdcourse.runs.readme README.md"


def test_a_changed_number_would_be_noticed() -> None:
    text = README.read_text()
    digit = text.index("%", text.index(BEGIN)) - 1
    changed = text[:digit] + str((int(text[digit - 1]) + 1) % 10) + text[digit + 1 :]
    assert with_results(changed, recorded.shipped_folder()) == with_results(text, recorded.shipped_folder())
    assert changed != with_results(changed, recorded.shipped_folder())


def test_the_ten_lines_for_a_model_of_ones_own_are_ten_and_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    section = README.read_text(encoding="utf-8").split("## As a library")[1]
    found = re.search(r"```python\n(.*?)```", section, flags=re.DOTALL)
    assert found is not None
    code = found[1]
    assert len([line for line in code.splitlines() if line.strip()]) <= 10
    for tone, name in ((40, "dark"), (200, "light")):
        (folder := tmp_path / "my_pictures" / name).mkdir(parents=True)
        for number in range(20):
            Image.new("RGB", (32, 32), (tone, number, number)).save(folder / f"{number}.png")
    monkeypatch.chdir(tmp_path)
    # A smaller teacher and less of everything, but enough for it to tell dark from light: an untrained one is refused.
    smaller = {
        "torchvision:resnet18": "pocket_17k",
        "epochs=10": "epochs=3",
        "batch_size=128": "batch_size=8",
        "epochs=20": "epochs=1",
    }
    for old, new in smaller.items():
        assert code.count(old) == 1, old
        code = code.replace(old, new)
    exec(compile(code, "README.md", "exec"), {})
    accuracy, _, cost = capsys.readouterr().out.strip().splitlines()[-1].partition(" ")
    assert 0 <= float(accuracy) <= 1 and "parameters" in cost
