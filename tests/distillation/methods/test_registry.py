"""A file is a method: the registry, what it says, and its errors."""

from __future__ import annotations

import inspect
import sys
from pathlib import Path

import pytest
from torch import Tensor, nn

from kdcourse.distillation import Method, Outputs, distil, methods
from kdcourse.errors import ArgumentError
from tests.distillation.tiny import dataset, quarter_reader

FOLDER = Path(methods.__file__).parent


def test_every_file_is_a_method() -> None:
    files = {file.stem for file in FOLDER.glob("*.py")} - {"__init__", "base"}
    assert set(methods.names()) == files >= {"kd", "dkd", "fitnet", "pixelwise", "pairwise", "channelwise"}
    assert {
        name for task in ("labels", "masks", "multilabel", "tokens") for name in methods.names(task)
    } == files
    assert "kd" not in methods.names("masks") and "fitnet" in methods.names("masks")


@pytest.mark.parametrize("name", methods.names())
def test_each_says_what_it_is(name: str) -> None:
    told = methods.describe(name)
    assert told.name == name and told.title and "https://" in told.paper and told.summary.endswith(".")
    assert set(told.tasks) <= {"labels", "masks", "multilabel", "tokens"} and told.layers in (
        None,
        "map",
        "vector",
        "stages",
    )
    assert inspect.Parameter.empty not in told.settings.values()  # each has a default
    (method,) = methods.build(name)
    assert {key: getattr(method, key) for key in told.settings} == methods.settings_of(name)
    assert repr(method).startswith(f"{name}(") and isinstance(method, nn.Module)


def test_a_setting_that_training_would_take_is_refused() -> None:
    class Mine(Method):
        title, paper = "Mine", "https://example.org"

        def __init__(self, *, alpha: float = 0.3) -> None:
            super().__init__()
            self.alpha = alpha

    with pytest.raises(ArgumentError, match="mine has a setting 'alpha', and so does training itself"):
        distil(quarter_reader(), quarter_reader(), dataset(), method=Mine(), alpha=0.5, epochs=1, seed=0)


def test_a_new_file_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "match.py").write_text(
        "from torch import Tensor\n"
        "from kdcourse.data import Batch\n"
        "from kdcourse.distillation.methods.base import Method, Outputs\n\n"
        "class Match(Method):\n"
        '    """Match logits."""\n\n'
        '    title, paper = "Match", "https://example.org"\n\n'
        "    def __init__(self, *, power: float = 2.0) -> None:\n"
        "        super().__init__()\n"
        "        self.power = power\n\n"
        "    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> dict[str, Tensor]:\n"
        '        return {"match": (student.logits - teacher.logits).abs().pow(self.power).mean()}\n'
    )
    monkeypatch.setattr(methods, "__path__", [*methods.__path__, str(tmp_path)])
    methods._classes.cache_clear()
    try:
        assert "match" in methods.names() and methods.settings_of("match") == {"power": 2.0}
        assert repr(methods.build("match", power=3.0)[0]) == "match(power=3)"
    finally:
        methods._classes.cache_clear()
        sys.modules.pop("kdcourse.distillation.methods.match")


def test_wrong_names_and_settings_are_answered_with_the_right_ones() -> None:
    for name in (
        lambda: methods.build("dkkd"),
        lambda: methods.settings_of("dkkd"),
        lambda: methods.describe("dkkd"),
    ):
        with pytest.raises(
            ArgumentError,
            match="no method 'dkkd'; choose one of attention, borders, channelwise, crd, cross_image",
        ):
            name()
    with pytest.raises(
        ArgumentError, match="no setting 'betta' of dkd; its settings are beta, target_weight, temp"
    ):
        methods.build("dkd", betta=1)
    with pytest.raises(ArgumentError, match="no setting 'beta' of fitnet; its settings are none"):
        methods.build("fitnet", beta=1)
    for wrong in ([], ["kd", "kd"]):
        with pytest.raises(ArgumentError, match="one method or more, each once"):
            methods.build(wrong)
    with pytest.raises(ArgumentError, match="found int"):
        methods.build([3])  # type: ignore[list-item]


def test_settings_go_to_each_method_that_has_them() -> None:
    one, other = methods.build(["pixelwise", "channelwise"], temperature=3.0)
    assert (one.temperature, other.temperature) == (3.0, 3.0)
    pair, channel = methods.build(["pairwise", "channelwise"], patch=2)
    assert (pair.patch, channel.temperature) == (2, 4.0)


def test_a_method_from_elsewhere_is_named_after_its_class() -> None:
    class Mine(Method):
        def forward(self, student: Outputs, teacher: Outputs, batch: object) -> dict[str, Tensor]:
            return {"mine": student.logits.mean()}

    assert methods.build(Mine())[0].name == "mine"
    with pytest.raises(NotImplementedError):
        Method()(Outputs(None), Outputs(None), None)  # type: ignore[arg-type]
