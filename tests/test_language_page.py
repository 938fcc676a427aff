"""The page on language models is run as it stands, on a tiny folder."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tools.readme.pages import ROOT

PAGE = ROOT / "docs/language.md"
SMALLER = {
    "vocabulary=512": "vocabulary=270, context=32",
    'models.build("gpt", data=text)': 'models.build("gpt_50k", data=text)',
    "epochs=4, batch_size=32": "epochs=1, batch_size=8",
    "epochs=8": "epochs=2",
}


@pytest.mark.slow
def test_the_page_runs_in_order_as_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_texts").mkdir()
    for number in range(42):
        (tmp_path / "my_texts" / f"{number}.txt").write_text(f"The cat no. {number} sat on the mat.\n")
    code = "\n".join(re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.M | re.S))
    for usual, less in SMALLER.items():
        assert usual in code
        code = code.replace(usual, less)
    exec(compile(code, PAGE.name, "exec"), {})
    said = capsys.readouterr().out
    assert re.search(
        r"^\d+ rows of 32 tokens\nteacher: \d\.\d+ bits per byte \(.*agreement 100\.0%", said, re.M
    )
    assert "\ndistilled: " in said and "\non its texts: " in said and "SampleScores(likelihood=-" in said


def test_the_page_is_found_from_the_readme_and_in_the_websites_navigation() -> None:
    assert "(docs/language.md)" in (ROOT / "README.md").read_text(encoding="utf-8")
    assert "\nlanguage\n" in (ROOT / "tools/website/pages/index.md").read_text(encoding="utf-8")
