"""Pages that are made from what the repository holds already."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

from kdcourse.distillation import methods
from kdcourse.errors import DataError
from tests.website.tiny import notebook
from tools.lessons.links import home
from tools.website import pages
from tools.website.formulas import FORMULAS
from tools.website.lessons import page

ROOT = Path(__file__).parents[2]


# -- cards -------------------------------------------------------------------------------------------


def test_a_card_leads_to_its_lesson_and_says_how_long_it_takes() -> None:
    html = pages.lesson_cards([page(notebook(), "42_small")])
    assert '<a href="notebooks/42_small.html">Small</a>' in html
    assert "What it is <em>about</em>, with a link, in two lines." in html
    assert "3 min to read, 5 min of exercises" in html
    assert home().colab("42_small") in html


# -- glossary ----------------------------------------------------------------------------------------


def test_terms_get_targets_and_headings_stay() -> None:
    made = pages.glossary("# Glossary\n\n## One\n\n- **soft** (s): Not\n  hard.\n- **batch, step**: Two.\n")
    assert (
        made == "# Glossary\n\n## One\n\n```{glossary}\nsoft (s)\n  Not hard.\n\nbatch, step\n  Two.\n```\n"
    )


def test_every_term_of_the_course_is_kept() -> None:
    text = (ROOT / "kdcourse" / "course" / "glossary.md").read_text(encoding="utf-8")
    made = pages.glossary(text)
    terms = re.findall(r"^- \*\*(.+?)\*\*", text, flags=re.MULTILINE)
    assert len(terms) > 40
    assert [term for term in terms if not re.search(rf"^{re.escape(term)}", made, flags=re.MULTILINE)] == []


def test_a_term_without_meaning_is_refused() -> None:
    with pytest.raises(DataError, match="soft"):
        pages.glossary("- **soft** means not hard\n")


# -- sources -----------------------------------------------------------------------------------------

_LESSON = "# L\n\n## References\n\n- Ann Author (2015). A title. Sections\n  2 and 3. https://arxiv.org/abs/1503.02531\n"
_OTHER = (
    "# M\n\n## References\n\n- Ann Author (2015). A title. https://arxiv.org/abs/1503.02531.\n\nAll terms.\n"
)


def test_a_source_of_two_lessons_and_the_package_is_listed_once(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "views.py").write_text('"""See (https://arxiv.org/abs/1503.02531), section 2."""')
    further = "- Early Bird (1945). First. https://doi.org/10.1016/0041-5553(64)90137-5\n"
    made = pages.bibliography({"04_a": _LESSON, "05_b": _OTHER}, tmp_path, further).splitlines()
    assert len(made) == 2
    assert made[0].startswith(
        "- Early Bird (1945). First. [doi.org/10.1016/0041-5553(64)90137-5](<https://doi"
    )
    assert made[1].startswith("- Ann Author (2015). A title. [arxiv.org/abs/1503.02531]")
    for place in ("[lesson 04](notebooks/04_a.ipynb)", "notebooks/05_b.ipynb", "api/data.md"):
        assert place in made[1]


def test_a_paper_that_nobody_lists_is_missed(tmp_path: Path) -> None:
    (tmp_path / "data.py").write_text("# https://arxiv.org/abs/9999.00001, section 3")
    with pytest.raises(DataError, match=r"kdcourse\.data cites https://arxiv\.org/abs/9999\.00001,"):
        pages.bibliography({"04_a": _LESSON}, tmp_path, "")


def test_a_lesson_without_references_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="04_a: found 0 sections"):
        pages.bibliography({"04_a": "# L\n"}, tmp_path, "")


# -- package and command line ------------------------------------------------------------------------


def test_every_public_name_of_a_room_is_on_its_page() -> None:
    for room in ("distillation", "evaluation", "errors"):
        made = pages.subpackage_page(room)
        for name in pages.public(room):
            assert f"\n## {name}\n" in made
    assert ".. autofunction:: kdcourse.distillation.hinton_loss" in pages.subpackage_page("distillation")
    assert ".. autoexception:: kdcourse.errors.DataError" in pages.subpackage_page("errors")
    assert {"data", "models", "training", "distillation", "evaluation", "figures"} <= set(pages.subpackages())


def test_every_formula_belongs_to_something_on_a_page() -> None:
    for name in FORMULAS:
        module, _, word = name.rpartition(".")
        room = module.removeprefix("kdcourse.")
        assert room in pages.subpackages()
        assert word in pages.public(room)
        assert callable(getattr(importlib.import_module(module), word))


def test_every_command_is_described_with_its_options() -> None:
    made = pages.command_line()
    for command in ("kdcourse run", "kdcourse doctor"):
        assert f"## {command}\n" in made
    assert re.search(r"\| `--temperature` \| Temperature T of the soft targets", made)
    assert "such as `--port=8890`," in made and "With `--teachers` train" in made
    assert "| `LESSONS` |" in made


def test_every_method_has_a_section_with_its_settings_and_its_paper() -> None:
    made = pages.distillation_methods()
    for name in methods.names():
        assert f"## `{name}`: " in made and f'method="{name}"' in made and f"--method {name}" in made
    assert '`distil(student, teacher, data, method="kd", temperature=4.0)`' in made
    assert "`kdcourse run --method kd --set temperature=4.0`" in made
    assert (
        "Hinton, Vinyals, Dean 2015, [arxiv.org/abs/1503.02531](<https://arxiv.org/abs/1503.02531>)" in made
    )


def test_subpackages_come_in_the_order_in_which_data_flow() -> None:
    told = pages.subpackages()
    assert [name for name in told if name in ("evaluation", "data", "deploy", "coursework")] == [
        "data", "evaluation", "deploy", "coursework",
    ]  # fmt: skip
    assert told[-1] == "errors"


# -- what it comes to --------------------------------------------------------------------------------


def test_results_are_those_of_the_study() -> None:
    gap = {"value": 0.764, "low": 0.71, "high": 0.82, "reported": True}
    best = {
        "about": {"labels": 550, "images": 27_500},
        "plain": {"accuracy": 0.8311},
        "accuracy": 0.9163,
        "difference": {"mean": 0.0844, "low": 0.0707, "high": 0.0981, "n": 7},
        "gap_recovered": gap,
    }
    summary = {
        "student": {"parameters": 61_000},
        "teachers": {"accuracy": 0.944, "parameters": 4_453_000},
        "few": [best],
    }
    made = pages.results(summary)
    for name, value, note in (
        ("Size", "1/73", "61,000 parameters; its teachers together have 4,453,000"),
        ("Accuracy", "91.6 %", "teachers together 94.4 %; the same student on the labels alone 83.1 %"),
        ("Labels", "550", "and 27,500 images without a label"),
        ("Gap recovered", "76 %", "of the gap to the teachers; 95 % interval 71 % to 82 %"),
    ):
        assert f"<dt>{name}</dt><dd><strong>{value}</strong> {note}</dd>" in made
    assert "8.4 percentage points (7.1 to 9.8, 95 % interval over 7 paired seeds)" in made
    gap["reported"] = False
    assert "Gap" not in pages.results(summary)


# -- texts of the repository -------------------------------------------------------------------------


def test_links_of_a_text_lead_to_the_site_or_to_the_repository(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "data").mkdir()
    (tmp_path / "README.md").touch()
    text = tmp_path / "docs" / "guide.md"
    text.write_text(
        "[a](../README.md#there) [b](guide.md) [c](../data) [d](https://x.org) [e](#here) [f](gone.md) `x[0](y)`\n"
        "```python\nlist[int](guide.md)\n```\n"
    )
    made = pages.repository_text(text, {"docs/guide.md": "guide.md"}, tmp_path)
    assert f"[a]({pages.in_repository('README.md')}#there) [b](guide.md)" in made
    assert f"[c]({home().repository}/tree/main/data) [d](https://x.org) [e](#here) [f](gone.md)" in made
    assert "`x[0](y)`" in made and "list[int](guide.md)" in made


def test_no_page_names_the_repository_by_hand() -> None:
    written = [
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "tools" / "website").rglob("*")
        if path.suffix in (".py", ".md", ".toml", ".js", ".css", ".html")
        and home().repository in path.read_text(encoding="utf-8")
    ]
    assert written == []
