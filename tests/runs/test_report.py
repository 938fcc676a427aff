"""The report says what the results bear, shows all of them and asks nothing of a network."""

from __future__ import annotations

import copy
import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import torch
from matplotlib.figure import Figure

from kdcourse.errors import ArgumentError
from kdcourse.figures import set_alt_text
from kdcourse.runs.report import LARGEST_SVG, text_table, write_report


def scores(accuracy: float, agreement: float | None = None) -> dict[str, Any]:
    return {
        "accuracy": accuracy,
        "nll": 1.17 * (1 - accuracy) + 0.0571,
        "ece": 0.19 * (1 - accuracy) + 0.0013,
        "agreement": agreement,
        "kl_to_teacher": None if agreement is None else 0.31 * (1 - agreement),
    }


def cost(parameters: int, latency: float | None, throughput: float | None) -> dict[str, Any]:
    return {
        "parameters": parameters,
        "bytes": 4 * parameters + 260,
        "macs": 71 * parameters,
        "latency_ms": latency,
        "latency_iqr_ms": None if latency is None else latency / 17,
        "throughput": throughput,
    }


def example() -> dict[str, Any]:
    """Results as a run writes them: five teachers, three seeds, a recorded schedule; distillation helps."""
    models: dict[str, Any] = {}
    for number, (accuracy, size) in enumerate(
        [(0.9432, 605_000), (0.9441, 890_000), (0.9425, 605_000), (0.9450, 890_000), (0.9428, 605_000)], 1
    ):
        models[f"teacher_{number}"] = {
            "label": f"teacher {number}",
            "role": "teacher",
            "model": "teacher",
            "runs": [{"seed": number, "test": scores(accuracy, 0.97), "history": None}],
            "mean": scores(accuracy, 0.97),
            "interval": {"accuracy": [accuracy - 0.0047, accuracy + 0.0044]},
            "cost": cost(size, 2.1 + size / 1e7, 1500.4),
        }
    models["ensemble"] = {
        "label": "ensemble of five",
        "role": "ensemble",
        "model": "ensemble",
        "runs": [{"seed": 0, "test": scores(0.9512, 1.0), "history": None}],
        "mean": scores(0.9512, 1.0),
        "interval": {"accuracy": [0.9468, 0.9553]},
        "cost": cost(3_595_000, 11.23, 301.5),
    }
    for role, accuracy, bounds, agreement in (
        ("plain", 0.8906, [0.8871, 0.8941], 0.9022),
        ("distilled", 0.9037, [0.9015, 0.9059], 0.9254),
    ):
        models[role] = {
            "label": f"{role} student",
            "role": role,
            "model": "pocket_16k",
            "runs": [
                {"seed": seed, "test": scores(accuracy + 0.001 * (seed - 1), agreement), "history": None}
                for seed in range(3)
            ],
            "mean": scores(accuracy, agreement),
            "interval": {"accuracy": bounds},
            "cost": cost(16_154, 0.3134, 48_213.7),
        }
    recorded_models = {
        role: {key: copy.deepcopy(value) for key, value in models[role].items() if key != "cost"}
        for role in ("plain", "distilled")
    }
    for role, accuracy in (("plain", 0.9123), ("distilled", 0.9301)):
        recorded_models[role] |= {
            "mean": scores(accuracy, 0.94),
            "interval": {"accuracy": [accuracy - 0.0012, accuracy + 0.0012]},
        }
    return {
        "format": 1,
        "kdcourse": "0.1.0",
        "made": {
            "date": "2026-11-22T15:00:00+00:00",
            "seconds": 151.2,
            "machine": {
                "processor": "Some Processor 9000",
                "threads": 2,
                "device": "cpu",
                "precision": "bfloat16",
                "python": "3.11.9",
                "torch": "2.15.0",
                "torchvision": "0.29.2",
                "system": "Linux 6.1",
            },
        },
        "command": "kdcourse run --student pocket_16k --temperature 2 --alpha 0.9 --epochs 6 --seeds 3 --out report",
        "settings": {
            "student": "pocket_16k",
            "temperature": 2.0,
            "alpha": 0.9,
            "epochs": 6,
            "seeds": [0, 1, 2],
            "batch_size": 256,
            "learning_rate": 0.05,
            "views": 4,
            "optimizer": "muon",
            "average": "logits",
        },
        "data": {
            "name": "Fashion-MNIST",
            "classes": ["T-shirt/top", "Trouser", "Pullover"],
            "train": 55000,
            "validation": 5000,
            "test": 10000,
        },
        "models": models,
        "comparison": {
            "difference": {"mean": 0.0131, "low": 0.0102, "high": 0.0160, "n": 3},
            "gap_recovered": {
                "value": 0.2162,
                "low": 0.1641,
                "high": 0.2683,
                "gap": 0.0606,
                "reported": True,
                "reason": "",
            },
            "times_smaller": {"parameters": 222.55, "bytes": 221.68, "macs": 222.55},
            "times_faster": {"latency": 35.83, "throughput": 159.9},
        },
        "recorded": {
            "settings": {"student": "pocket_16k", "temperature": 2.0, "epochs": 60, "seeds": [0, 1, 2, 3, 4]},
            "command": "kdcourse record --student pocket_16k",
            "models": recorded_models,
            "comparison": {
                "difference": {"mean": 0.0178, "low": 0.0161, "high": 0.0195, "n": 5},
                "gap_recovered": {
                    "value": 0.4576,
                    "low": 0.4103,
                    "high": 0.5049,
                    "gap": 0.0389,
                    "reported": True,
                    "reason": "",
                },
            },
        },
    }


def few_example() -> dict[str, Any]:
    """Results with few labels: the teachers' accuracies alone are known, and a study is stored."""
    results = example()
    models = results["models"]
    for name, model in models.items():
        for each in [model, *model["runs"]]:
            scores_of = each["mean"] if "mean" in each else each["test"]
            scores_of |= {"agreement": None, "kl_to_teacher": None}
            if name.startswith(("teacher", "ensemble")):
                scores_of |= {"nll": None, "ece": None}
    models["labelled"] = copy.deepcopy(models["plain"])
    for role, label, accuracy in (
        ("plain", "551 labels", 0.8251),
        ("labelled", "27,400 labels", 0.9012),
        ("distilled", "27,400 images, no label", 0.9137),
    ):
        models[role] |= {"label": label, "role": role}
        models[role]["mean"]["accuracy"] = accuracy
        models[role]["interval"] = {"accuracy": [accuracy - 0.003, accuracy + 0.003]}
    results["comparison"] |= {
        "difference": {"mean": 0.0886, "low": 0.0812, "high": 0.0961, "n": 3},
        "against_labels": {"mean": 0.0125, "low": 0.0063, "high": 0.0187, "n": 3},
    }
    results["labels"], results["recorded"] = {"few": 551, "images": 27_400}, None
    results["studies"] = {
        "labels": {
            "title": "pocket_16k on unseen images",
            "score": "accuracy",
            "x": "images",
            "lines": {
                "true labels": [
                    {"x": 551, "accuracy": 0.8213, "low": 0.8184, "high": 0.8242, "seeds": 4},
                    {"x": 5_002, "accuracy": 0.8871, "low": 0.8853, "high": 0.8889, "seeds": 4},
                ],
                "teachers' answers": [
                    {"x": 5_002, "accuracy": 0.9122, "low": 0.9111, "high": 0.9133, "seeds": 4}
                ],
            },
            "teacher": 0.9512,
            "finding": "At 5,002 images, an answer is worth 3.7 labels.",
            "command": "kdcourse study labels",
        }
    }
    return results


def no_benefit(low: float = -0.0041, high: float = 0.0067) -> dict[str, Any]:
    results = example()
    mean = (low + high) / 2
    results["comparison"]["difference"] = {"mean": mean, "low": low, "high": high, "n": 3}
    gap = 0.0606
    results["comparison"]["gap_recovered"] |= {"value": mean / gap, "low": low / gap, "high": high / gap}
    return results


def unreportable() -> dict[str, Any]:
    results = no_benefit()
    results["comparison"]["gap_recovered"] = {
        "value": None,
        "low": None,
        "high": None,
        "gap": 0.0002,
        "reported": False,
        "reason": "the gap between teacher and plain student is within seed noise; run more seeds",
    }
    return results


def one_seed() -> dict[str, Any]:
    results = example()
    for role in ("plain", "distilled"):
        results["models"][role]["runs"] = results["models"][role]["runs"][:1]
        results["models"][role]["interval"] = {"accuracy": None}
    results["settings"]["seeds"] = [0]
    results["recorded"] = None
    results["comparison"]["difference"] = None
    results["comparison"]["gap_recovered"] = {
        "value": None,
        "low": None,
        "high": None,
        "gap": 0.0606,
        "reported": False,
        "reason": "one seed says nothing about seed noise; run two or more",
    }
    return results


def small_figure(text: str = "A line from 1 to 2.") -> Figure:
    figure = Figure(figsize=(2, 1))
    figure.subplots().plot([1, 2])
    set_alt_text(figure, text)
    return figure


class Page(HTMLParser):
    """What the tests ask of the page: words as read, elements, whether tags match."""

    EMPTY = frozenset({"meta", "img", "br", "hr", "link", "input"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"style", "title"} & set(self.open):
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))


def page_of(results: dict[str, Any], folder: Path, **figures: Figure) -> tuple[str, Page]:
    source = write_report(results, figures, folder).read_text()
    return source, Page(source)


# -- the terminal ----------------------------------------------------------------------------


@pytest.mark.parametrize("make", [example, few_example, no_benefit, unreportable, one_seed])
def test_the_terminal_table_is_at_most_100_columns_wide(make: Any) -> None:
    results = make()
    results["models"]["plain"]["label"] = "a plain student with an uncommonly long name " * 3
    results["models"]["ensemble"]["cost"]["parameters"] = 123_456_789_012
    assert max(map(len, text_table(results).splitlines())) <= 100


def test_the_terminal_table_aligns_its_numbers_and_holds_every_model() -> None:
    lines = text_table(example()).splitlines()
    quality, price = lines[: lines.index("")], lines[lines.index("") + 1 :]
    price = price[: price.index("")]
    for block in (quality, price):
        assert [line[:17].strip() for line in block[2:]] == [
            *(f"teacher {n}" for n in range(1, 6)),
            "ensemble of five",
            "plain student",
            "distilled student",
        ]
    assert len({line.rindex("images/s") + 8 for line in price[:1]} | {len(line) for line in price[2:]}) == 1
    assert "90.37 %" in quality[-1] and "90.15 to 90.59" in quality[-1] and "92.54 %" in quality[-1]
    assert (
        "16,154" in price[-1] and "64.9 kB" in price[-1] and "1.15 M" in price[-1] and "48,214" in price[-1]
    )


def test_the_terminal_table_ends_with_what_it_comes_to() -> None:
    text = " ".join(text_table(example()).split())
    assert "1.31 percentage points more (95 % interval 1.02 to 1.60, three paired seeds)" in text
    assert "223 times fewer parameters" in text and "35.8 times less time per image" in text
    assert (
        "Gap recovered: 22 % (95 % interval 16 % to 27 %). Distillation closed that share of the 6.06" in text
    )
    assert "In the recorded long schedule (60 epochs, 5 seeds)" in text and "gap recovered: 46 %" in text


# -- verdicts --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("results", "says", "never"),
    [
        (
            example(),
            ["Distillation helped", "closed that share of the 6.06"],
            ["includes 0", "harm", "No verdict"],
        ),
        (
            no_benefit(),
            ["made no difference that these seeds can show", "may be due to chance", "it isn't shown that"],
            ["Distillation helped", "points more", "Distillation closed", "harm"],
        ),
        (
            no_benefit(-0.02, -0.01),
            [
                "Distillation made the student worse",
                "1.50 percentage points fewer",
                "Below 0: distillation widened",
            ],
            ["Distillation helped", "points more", "Distillation closed", "includes 0"],
        ),
        (
            unreportable(),
            ["Gap recovered: not reported, because the gap between teacher and plain student is within"],
            ["Distillation helped", "Distillation closed", "None", "nan"],
        ),
        (
            one_seed(),
            [
                "One seed: no verdict",
                "One pair of runs can't tell",
                "For one seed,",
                "one seed, no interval",
            ],
            [
                "Distillation helped",
                "paired seeds",
                "Distillation closed",
                "None",
                "harm",
                "A longer schedule",
            ],
        ),
    ],
    ids=["helped", "unclear", "hurt", "unreportable", "one seed"],
)
def test_the_words_follow_the_results(
    results: dict[str, Any], says: list[str], never: list[str], tmp_path: Path
) -> None:
    results["recorded"] = None
    _, page = page_of(results, tmp_path)
    for words in says:
        assert words in page.text.replace("\u00a0", " "), words
    for words in never:
        assert words not in page.text, words


def test_a_student_beyond_its_teacher_and_one_that_costs_more() -> None:
    results = example()
    results["comparison"]["gap_recovered"] |= {"value": 1.1, "low": 1.02, "high": 1.18}
    results["comparison"]["times_smaller"]["parameters"] = 0.5
    text = " ".join(text_table(results).split())
    assert "as good as its ensemble or better" in text
    assert "2.00 times more parameters" in text


def test_an_ensemble_no_better_than_its_best_member(tmp_path: Path) -> None:
    results = example()
    assert "more than any of them alone" in page_of(results, tmp_path)[1].text
    results["models"]["ensemble"]["mean"]["accuracy"] = 0.9449
    assert "no more than the best of them" in page_of(results, tmp_path)[1].text


# -- the numbers -----------------------------------------------------------------------------


@pytest.mark.parametrize("make", [example, few_example])
def test_every_number_on_the_page_comes_from_the_results(make: Any, tmp_path: Path) -> None:
    """No number stays on the page when all the results' numbers change: none was typed into it."""

    def changed(value: Any, by: int, key: str = "") -> Any:
        if isinstance(value, dict):
            return {name: changed(part, by, name) for name, part in value.items()}
        if isinstance(value, list):
            more = list(range(17, 17 + by)) if key == "seeds" else []
            more += value[:1] * by if key == "runs" and len(value) > 1 else []
            return [changed(part, by, key) for part in value] + more
        if isinstance(value, str):
            return (
                re.sub(r"\d", str(by), value)
                if key != "date"
                else f"20{17 * by}-0{by}-1{by}T1{by}:2{by}:00+00:00"
            )
        if isinstance(value, bool) or value is None:
            return value
        return value * by + 13_331 * by if isinstance(value, int) else value * (1 - 0.0837 * by)

    def numbers(results: dict[str, Any], folder: Path) -> set[str]:
        _, page = page_of(results, folder)
        return set(re.findall(r"\d[\d.,]*\d|\d", page.text))

    pages = [numbers(make(), tmp_path / "0")]
    for by in (2, 4, 5):
        results = changed(make(), by)
        results["data"]["classes"] += ["another"] * by
        pages.append(numbers(results, tmp_path / str(by)))
    # The confidence of every interval, the ends of scales in the glossary, and the 1 of a ratio.
    assert set.intersection(*pages) == {"95", "0", "1", "100"}


def test_few_labels_are_told_with_what_they_are_compared_with(tmp_path: Path) -> None:
    results = few_example()
    source, page = page_of(
        results, tmp_path, accuracy_against_cost=small_figure(), labels_curve=small_figure()
    )
    text = page.text.replace("\u00a0", " ")
    for words in (
        "from the ensemble's answers to 27,400 images, without one label, reaches an accuracy of 91.37 %, the same "
        "student trained on 551 labels 82.51 %: 8.86 percentage points more",
        "On the true labels of the same 27,400 images, the student reaches 90.12 %: an answer teaches more than a "
        "label (+1.25 points, 95 % interval 0.63 to 1.87).",
        "Labels saved over 27,400 27,400 true labels reach 90.12 %",
        "Size 1/223 of the ensemble's parameters: 16,154",
        "Speed 36 times faster than the ensemble, one image at a time",
        "Accuracy 91.37 % 551 labels 82.51 %, ensemble 95.12 %",
        "Gap recovered 22 % 95 % interval 16 % to 27 %",
        "trained on the labels of the other half of the images, reach",
        "trained three times, with the same number of steps: on 551 labels",
        "At 5,002 images, an answer is worth 3.7 labels.",
        "5,002 88.71 (88.53 to 88.89) 91.22 (91.11 to 91.33)",
        "551 82.13 (81.84 to 82.42) –",
        "mean of 4 seeds",
    ):
        assert words in text, words
    assert "Agreement" not in text  # no column and no explanation of what nobody knows
    assert (
        text.index("Size 1/223")
        < text.index("Stored studies")
        < text.index("What happened")
        < text.index("Glossary")
    )
    assert text.rindex("Settings") > text.index("Glossary")
    assert (
        source.index("figure-accuracy_against_cost")
        < source.index("figure-labels_curve")
        < source.index("<ol>")
    )
    terminal = " ".join(text_table(results).split())
    assert "agreement" not in terminal and "an answer teaches more than a label" in terminal


@pytest.mark.parametrize(
    ("accuracy", "difference", "tile", "words"),
    [
        (
            0.86,
            (-0.05, -0.03),
            "Labels saved about 3,300",
            "a label teaches more than an answer (-4.00 points",
        ),
        (0.86, (-0.05, 0.01), "Labels saved about 3,300", "These seeds show no difference (-2.00 points"),
        (0.81, (-0.1, -0.08), "Labels saved none", "a label teaches more"),
    ],
)
def test_labels_that_answers_do_not_save(
    accuracy: float, difference: tuple[float, float], tile: str, words: str, tmp_path: Path
) -> None:
    results = few_example()
    results["models"]["distilled"]["mean"]["accuracy"] = accuracy
    low, high = difference
    results["comparison"]["against_labels"] |= {"mean": (low + high) / 2, "low": low, "high": high}
    text = page_of(results, tmp_path)[1].text
    assert tile in text and words.replace("-", "−") in text and "teaches more than a label" not in text


def test_the_page_shows_what_was_measured(tmp_path: Path) -> None:
    _, page = page_of(example(), tmp_path)
    text = page.text.replace("\u00a0", " ")
    for number in (
        "94.32 %",
        "93.85 to 94.76",
        "95.12 %",
        "0.1236",
        "605,000",
        "3,595,000",
        "64.9 kB",
        "48,214",
    ):
        assert number in text, number
    for words in (
        "kdcourse run --student pocket_16k --temperature 2 --alpha 0.9 --epochs 6 --seeds 3 --out report",
        "Some Processor 9000",
        "2 min 31 s",
        "22 November 2026 at 15:00 UTC",
        "with weight 0.9 on the soft targets and 0.1 on the labels",
        "55,000 training images, in 4 views each",
        "93.01 % (92.89 to 93.13)",
    ):
        assert words in text, words


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (
            {"alpha": 0.0, "channelwise": 3.0},
            (
                "Teacher predictions.",
                "on the ensemble's outputs, with weight 3 on the channelwise term and 1 on the labels",
            ),
        ),
        (
            {"alpha": 0.5, "channelwise": 3.0},
            (
                "Soft targets.",
                "weight 0.5 on the soft targets, 3 on the channelwise term and 0.5 on the labels",
            ),
        ),
        (
            {"alpha": 0.9, "method": ["dkd"]},
            ("Teacher predictions.", "with weight 0.9 on the dkd term and 0.1 on the labels"),
        ),
        (
            {"alpha": 0.2, "method": ["fitnet"], "layers": {"a": "b"}},
            ("Features.", "feature maps for the 55,000 training images", "weight 0.2 on the fitnet term"),
        ),
    ],
)
def test_the_steps_name_the_methods(settings: dict[str, Any], words: tuple[str, ...], tmp_path: Path) -> None:
    results = example()
    results["settings"] |= settings
    text = " ".join(page_of(results, tmp_path)[1].text.split())
    for part in words:
        assert part in text, part


def test_the_results_come_back_as_they_were(tmp_path: Path) -> None:
    results = example()
    write_report(results, {}, tmp_path)
    text = (tmp_path / "results.json").read_text()
    assert json.loads(text) == results
    assert list(json.loads(text)) == list(results)


def test_nan_becomes_null_in_the_file_and_a_dash_on_the_page(tmp_path: Path) -> None:
    results = example()
    results["models"]["plain"]["mean"]["nll"] = math.nan
    results["models"]["teacher_1"]["cost"] |= {"latency_ms": math.inf, "throughput": None}
    source, page = page_of(results, tmp_path)
    text = (tmp_path / "results.json").read_text()
    assert "NaN" not in text and "Infinity" not in text
    assert json.loads(text)["models"]["plain"]["mean"]["nll"] is None
    assert ">–<" in source and "nan" not in page.text
    assert math.isnan(results["models"]["plain"]["mean"]["nll"])  # the caller's own stay as they were


@pytest.mark.parametrize(
    ("break_it", "says"),
    [
        (lambda r: r.pop("models"), "results['models']"),
        (lambda r: r["models"].pop("plain"), "no model of role 'plain'"),
        (lambda r: r["data"].update(test=torch.tensor(3)), "Tensor at results['data']['test']"),
    ],
)
def test_results_that_will_not_do(break_it: Any, says: str, tmp_path: Path) -> None:
    results = example()
    break_it(results)
    with pytest.raises(ArgumentError, match=re.escape(says)):
        write_report(results, {}, tmp_path)
    assert list(tmp_path.iterdir()) == []


# -- the page --------------------------------------------------------------------------------


def test_what_comes_from_data_is_escaped(tmp_path: Path) -> None:
    results = example()
    bad = """<script>alert("1")</script> & 'x' <img src=http://example.org/a.png>"""
    results["data"]["name"] = results["data"]["classes"][0] = results["settings"]["student"] = bad
    results["models"]["plain"]["label"] = results["models"]["distilled"]["label"] = bad
    results["command"] = f"kdcourse run --data {bad}"
    results["made"]["machine"]["processor"] = results["made"]["date"] = bad
    results["settings"][bad] = [bad]
    results["comparison"]["gap_recovered"] |= {"reported": False, "reason": bad}
    source, page = page_of(results, tmp_path, a=small_figure(bad))
    tags = [tag for tag, _ in page.tags]
    assert "script" not in tags and tags.count("img") == 1
    assert "<script" not in source
    assert dict(page.tags)["img"]["alt"] == " ".join(bad.split())
    assert bad in "".join(page.words)


def test_the_page_asks_nothing_of_a_network(tmp_path: Path) -> None:
    source, page = page_of(example(), tmp_path, training_curves=small_figure())
    for tag, attributes in page.tags:
        assert tag not in {"script", "link", "iframe", "object", "embed", "base"}
        for name in ("src", "href", "srcset", "action", "data", "poster", "background"):
            assert (attributes.get(name) or "data:image/").startswith("data:image/"), (tag, name)
    without_pictures = re.sub(r'src="data:[^"]*"', "", source)
    assert "http" not in without_pictures.replace("http-equiv", "")
    assert "url(" not in source and "@import" not in source
    policy = next(a["content"] for t, a in page.tags if t == "meta" and a.get("http-equiv"))
    assert policy is not None and policy.startswith("default-src 'none'")


@pytest.mark.slow
def test_figures_stand_on_the_page_and_beside_it(tmp_path: Path) -> None:
    heavy = small_figure("Noise of strokes.")
    axes = heavy.axes[0]
    for x in range(4000):
        axes.plot([x / 7, 1 - x / 3], [x / 11, x], linewidth=0.1)
    _, page = page_of(example(), tmp_path, training_curves=small_figure(), heavy=heavy)
    pictures = [attributes for tag, attributes in page.tags if tag == "img"]
    assert [picture["alt"] for picture in pictures] == ["A line from 1 to 2.", "Noise of strokes."]
    assert str(pictures[0]["src"]).startswith("data:image/svg+xml;base64,")
    assert (tmp_path / "figures" / "heavy.svg").stat().st_size > LARGEST_SVG
    assert str(pictures[1]["src"]).startswith("data:image/png;base64,")
    assert sorted(path.name for path in (tmp_path / "figures").iterdir()) == [
        "heavy.png",
        "heavy.svg",
        "training_curves.png",
        "training_curves.svg",
    ]
    assert "only validation losses can be compared" in page.text


def test_figures_that_will_not_do_leave_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="alt text"):
        write_report(example(), {"bare": Figure()}, tmp_path)
    with pytest.raises(ArgumentError, match="letters, digits"):
        write_report(example(), {"../out": small_figure()}, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_page_can_be_read_by_everybody(tmp_path: Path) -> None:
    _, page = page_of(example(), tmp_path, training_curves=small_figure())
    tags = [tag for tag, _ in page.tags]
    assert dict(page.tags)["html"] == {"lang": "en-GB"}
    assert tags.count("h1") == 1 and tags.count("main") == 1 and "title" in tags
    assert (
        tags.count("caption") == tags.count("table") and tags.count("figcaption") == tags.count("figure") == 1
    )
    for tag, attributes in page.tags:
        if tag == "th":
            assert attributes.get("scope") in {"row", "col"}
        if attributes.get("class") in {"scroll", "scroll image"}:
            assert (
                attributes["tabindex"] == "0" and attributes["aria-label"] and attributes["role"] == "region"
            )
    identifiers = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(identifiers) == len(set(identifiers))
    for tag, attributes in page.tags:
        if tag == "section":
            assert attributes["aria-labelledby"] in identifiers
