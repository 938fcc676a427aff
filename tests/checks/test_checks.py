"""What a check does with answers that raise, hang, disturb or return nonsense, and with none at all."""

from __future__ import annotations

import contextlib
import io
import os
import pickle
import random
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from kdcourse.checks import Exercise, Probe, Verdict, judge, observe, varied
from kdcourse.checks.observe import has_blank
from kdcourse.course import check, exercise, exercises
from kdcourse.errors import ArgumentError
from tests.course.learners import verdict

SOFT = "softened_probabilities"


def softmax(z: Tensor, t: float) -> Tensor:
    return (z / t).softmax(1)


# -- not attempted ------------------------------------------------------------------------------


def blank_return(z: Tensor, t: float) -> Tensor:
    return ...  # your turn


def blank_body(z: Tensor, t: float) -> Tensor:
    """What to do."""
    ...  # your turn


def blank_assignment(z: Tensor, t: float) -> Tensor:
    scaled = ...  # your turn
    return scaled.softmax(1)


def blank_unused(z: Tensor, t: float) -> Tensor:
    scaled = z
    ...
    return scaled.softmax(1)


def not_implemented(z: Tensor, t: float) -> Tensor:
    raise NotImplementedError


def blank_and_other_arguments(z: Tensor) -> Tensor:
    return ...


@pytest.mark.parametrize(
    "answer",
    [
        blank_return,
        blank_body,
        blank_assignment,
        blank_unused,
        not_implemented,
        blank_and_other_arguments,
        ...,
    ],
)
def test_a_blank_is_not_attempted(answer: Any) -> None:
    found = verdict(SOFT, answer)
    assert (found.right, found.attempted, found.mistake) == (False, False, None)
    assert found.message == (
        f"Not attempted yet ○ {SOFT}: write your code where the three dots (...) stand, then run both cells."
    )


def test_blanks_of_a_pair_and_of_code_without_a_source() -> None:
    assert not verdict("momentum_step", lambda w, g, v, lr, m: (..., ...)).attempted
    scope: dict[str, Any] = {}
    exec("def answer(z, t):\n    q = ...\n    return q + z", scope)
    assert has_blank(scope["answer"]) and not verdict(SOFT, scope["answer"]).attempted


def test_what_torch_has_not_implemented_is_an_error_of_the_attempt() -> None:
    def mean_of_trues(z: Tensor, y: Tensor) -> float:
        return (z.argmax(1) == y).mean().item()

    found = verdict("fraction_correct", mean_of_trues)
    assert found.attempted and "stopped with an error" in found.message and ".mean()" in found.message


def test_dots_in_an_index_are_no_blank_and_a_right_answer_may_keep_one() -> None:
    def indexed(z: Tensor, t: float) -> Tensor:
        e = torch.exp((z - z.amax(1, keepdim=True)) / t)
        return e / e.sum(dim=1)[..., None]

    def kept(z: Tensor, t: float) -> Tensor:
        ...  # your turn
        return softmax(z, t)

    assert not has_blank(indexed) and has_blank(kept)
    assert verdict(SOFT, indexed).right and verdict(SOFT, kept).right


@pytest.mark.parametrize("name", exercises())
def test_every_exercise_knows_a_blank_an_error_none_nan_and_nonsense(name: str) -> None:
    def blank(*given: Any) -> Any:
        return ...

    def broken(*given: Any) -> Any:
        return undefined_name  # type: ignore[name-defined]  # noqa: F821

    assert not verdict(name, blank).attempted
    error = verdict(name, broken)
    assert error.attempted and error.mistake is None
    assert "NameError: name 'undefined_name' is not defined" in error.message
    assert "of your code: return undefined_name" in error.message
    garbage = (None, float("nan"), torch.full((2, 2, 2, 7), float("nan")), "nonsense", object(), [], {}, -1e9)
    for thing in garbage:
        found = verdict(name, lambda *given, thing=thing: thing)
        assert found.attempted and not found.right
        assert found.message.startswith("Not yet ✗") and "Traceback" not in found.message
        assert " at 0x" not in found.message and len(found.message.splitlines()) <= 5
    assert verdict(name, lambda *given: None).mistake in (
        "nothing returned",
        "model in train mode",
    ) or name in (
        "validation_accuracy",
        "distil_step",
        "training_step",
    )


# -- wrong in form ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "mistake", "says"),
    [
        (lambda z, t: softmax(z, t).flatten(), "wrong shape", "a tensor of shape [12] where [4, 3] is asked for"),
        (lambda z, t: softmax(z, t).numpy(), "wrong type", "a NumPy array where a torch tensor is asked for"),
        (lambda z, t: softmax(z, t).long(), "wrong dtype", "gives int64 where floating-point numbers"),
        (lambda z, t: softmax(z, t).half(), "wrong dtype", "gives float16, which rounds too much"),
        (lambda z, t: softmax(z, t) * float("nan"), "not a number", "gives NaN"),
        (lambda z, t: softmax(z, t) * float("inf"), "infinite", "gives infinity"),
        (lambda z, t: softmax(z, t) + 1, None, "at T = 4, it gives rows that don't sum to 1"),
        (lambda z, t: softmax(z, t) - 1, None, "at T = 4, it gives numbers below 0"),
        (lambda z, t: softmax(z, t).flip(1), None, "gives other numbers (the form is right: [4, 3])"),
        (lambda z, t: object(), "wrong type", "an object of type object"),
        (lambda z: z, None, "called as softened_probabilities(logits, temperature), but yours takes (z)"),
        (torch.tensor([0.5]), None, "the function itself, but got a tensor: pass softened_probabilities"),
        (None, None, "the function itself, but got None"),
        (lambda z, t: torch.rand_like(z), "random from call to call", "the same inputs"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(answer: Any, mistake: str | None, says: str) -> None:
    found = verdict(SOFT, answer)
    assert (found.right, found.attempted, found.mistake) == (False, True, mistake)
    assert says.lower() in found.message.lower()


def test_numbers_of_other_types() -> None:
    assert verdict("conv_macs", lambda i, o, k, h, w: float(i * o * k * k * h * w)).mistake == "wrong type"
    assert verdict("points_gained", lambda a, b: True).mistake == "wrong type"
    assert "too large" in verdict("points_gained", lambda a, b: 100 * (b - a) + 7).message
    assert "too small" in verdict("points_gained", lambda a, b: 100 * (b - a) - 7).message
    assert "no share" in verdict("fraction_correct", lambda z, y: 7.5).message
    assert "'flat', which is none of" in verdict("diagnose", lambda t, v: "flat").message
    assert verdict("recovered", lambda p, d, t: np.float32((d - p) / (t - p))).right


def test_an_unnamed_refusal_shows_input_result_and_expected_result() -> None:
    found = verdict("recovered", lambda p, d, t: (d - p) / (1 - p))
    assert found.mistake is None
    assert found.message.splitlines()[2:] == [
        "  Input: plain = 0.8, distilled = 0.83, teacher = 0.9",
        "  Your result: 0.15",
        "  Expected: 0.3",
    ]
    far = verdict("calibration_error", lambda c, y, bins=10: 0.5).message
    assert "confidence = " in far and "... [40]" in far
    close = verdict("recovered", lambda p, d, t: (d - p) / (t - p) * 1.0001).message
    assert "Your result: 0.30003" in close and "Expected: 0.3" in close
    large = verdict("mean_of_logits", lambda z: z.mean(0) + (z.mean(0) == z.mean(0).max())).message
    assert "Your result at [" in large


def test_hidden_probes_show_no_numbers() -> None:
    hidden = varied(exercise("recovered"), 5)
    found = judge(hidden, observe(hidden, lambda p, d, t: (d - p) / (1 - p)))
    assert not found.right and "Input" not in found.message and "Expected" not in found.message


@pytest.mark.parametrize("places", [0, 2, 4])
def test_rounding_is_named(places: int) -> None:
    solution = exercise("recovered").solution
    found = verdict("recovered", lambda *given: round(solution(*given), places))
    assert found.mistake == "rounded"
    assert (f"{places} decimal places" if places else "whole numbers") in found.message
    assert verdict("recovered", lambda *given: int(100 * solution(*given)) / 100).mistake == "rounded"
    assert verdict("recovered", lambda *given: 0.25).mistake is None


def test_gradients_that_stay_switched_off_are_named_and_reach_no_later_probe() -> None:
    def switches_off(z: Tensor, y: Tensor) -> Tensor:
        loss = exercise("cross_entropy_by_hand").solution(z, y)
        torch.set_grad_enabled(False)
        return loss

    found = verdict("cross_entropy_by_hand", switches_off)
    assert found.mistake == "gradients switched off" and "torch.no_grad()" in found.message
    assert torch.is_grad_enabled()


def test_what_a_fixture_builds_is_the_same_in_every_round() -> None:
    """A wrong answer that depends on a model's weights isn't a random one."""

    def sums_weights(model: torch.nn.Module, images: Tensor, labels: Tensor) -> float:
        return float(sum(p.sum() for p in model.parameters()))

    assert verdict("validation_accuracy", sums_weights).mistake != "random from call to call"

    def built(answer: Any, number: int) -> dict[str, Any]:
        return {"answer": answer(torch.nn.Linear(3, 2))}

    asked = Exercise("count", "t", lambda model: 8, (Probe((1,), "once"),), (), fixture=built)
    found = judge(asked, observe(asked, lambda model: int(1e6 * sum(p.sum() for p in model.parameters()))))
    assert found.mistake is None and "number" in found.message


def test_advice_leads_to_no_further_error() -> None:
    loss = exercise("cross_entropy_by_hand").solution
    found = verdict("cross_entropy_by_hand", lambda z, y: loss(z, y).item())
    assert found.mistake == "wrong type" and "Leave out .item()" in found.message
    found = verdict("discordant_pairs", lambda a, b: ((a & ~b).float().sum(), (b & ~a).float().sum()))
    assert "int(...) takes it out" in found.message
    found = verdict("momentum_step", lambda w, g, v, lr, m: (w - lr * (m * v + g), m * v))
    assert "a wrong second value; the rest is right" in found.message


def test_right_on_some_tries_says_on_how_many() -> None:
    found = verdict(SOFT, lambda z, t: softmax(z, t) if t >= 1 else softmax(z, 3.21 * t))
    assert found.mistake is None
    assert "Right on 5 of 6 test cases; at T = 0.5, it gives other numbers" in found.message


def test_a_mistake_is_known_even_when_the_nasty_case_goes_wrong_in_another_way() -> None:
    def naive_without_temperature(z: Tensor, t: float) -> Tensor:
        return z.exp() / z.exp().sum(1, keepdim=True)

    assert verdict(SOFT, naive_without_temperature).mistake == "temperature ignored"


# -- raising, hanging, printing -----------------------------------------------------------------


def test_an_error_is_shown_as_the_learners_own() -> None:
    def inner(z: Tensor) -> Tensor:
        return z @ z

    def answer(z: Tensor, t: float) -> Tensor:
        print("first\nscaling", t)
        return inner(z)

    found = verdict(SOFT, answer)
    assert found.mistake is None and found.attempted
    first, second = found.message.splitlines()
    assert first.startswith(f"Not yet ✗ {SOFT} stopped with an error, at T = 4: RuntimeError: ")
    assert "mat1 and mat2 shapes cannot be multiplied (4x3 and 4x3)" in first
    line = inner.__code__.co_firstlineno + 1
    assert second == f"  In line {line} of your code: return z @ z (It printed last: first / scaling 4.0)"


@pytest.mark.parametrize(
    ("slip", "hint"),
    [
        (lambda z, y: sum(row.sum for row in z), "not called"),
        (lambda z, y: 0.5 ^ 2, "** raises"),
        (lambda z, y: len([3, 1].sort()), "such as sort"),  # type: ignore[func-returns-value,arg-type]
        (lambda z, y: (z.max(dim=1) == y).double(), "single True or False"),
        (lambda z, y: z / z.sum(dim=1), "keepdim=True keeps that axis"),
        (lambda z, y: z.argmax(1).eq(y).item(), "is a mean or sum missing"),
        (lambda z, y: z.argmax(2), "counted from 0"),
    ],
)
def test_common_slips_get_a_hint_beside_the_error(slip: Callable[..., Any], hint: str) -> None:
    found = verdict("fraction_correct", slip)
    assert found.attempted and not found.right and len(found.message.splitlines()) == 2
    assert " Hint: " in found.message and hint in found.message.split(" Hint: ")[1]


@pytest.mark.parametrize(
    "error", [SystemExit(3), KeyboardInterrupt(), RecursionError("deep"), GeneratorExit()]
)
def test_nothing_that_is_raised_gets_out(error: BaseException) -> None:
    def answer(z: Tensor, t: float) -> Tensor:
        raise error

    assert type(error).__name__ in verdict(SOFT, answer).message


def test_memory_addresses_stay_out_of_messages() -> None:
    def answer(z: Tensor, t: float) -> Tensor:
        print(object())
        raise ValueError(f"{object()} isn't it")

    assert "<object object> isn't it" in verdict(SOFT, answer).message
    assert "0x" not in verdict(SOFT, answer).message


def endless(z: Tensor, t: float) -> Tensor:
    print("again")
    while True:
        z = z + 1


def endless_and_swallowing(z: Tensor, t: float) -> Tensor:
    while True:
        try:
            while True:
                z = z + 1
        except Exception:
            pass


@pytest.mark.parametrize("answer", [endless, endless_and_swallowing])
def test_an_endless_loop_ends(answer: Callable[..., Any]) -> None:
    found = verdict(SOFT, answer, limit=0.2)
    assert (found.right, found.attempted, found.mistake) == (False, True, None)
    assert found.message.startswith(
        f"Not yet ✗ {SOFT} took too long, at T = 4, and was stopped.\n  Look at its loops"
    )
    assert not any(thread.name == "kdcourse-check" for thread in threading.enumerate())
    assert ("(It printed last: again)" in found.message) == (answer is endless)


def test_an_endless_loop_in_a_later_round_or_with_a_blank_left() -> None:
    calls = []

    def later(z: Tensor, t: float) -> Tensor:
        calls.append(t)
        return endless(z, t) if len(calls) == 9 else softmax(z, t)

    assert "took too long, at T = 0.5" in verdict(SOFT, later, limit=1.0).message

    def blank(z: Tensor, t: float) -> Tensor:
        while t > 0:
            ...
        return z

    assert not verdict(SOFT, blank, limit=0.2).attempted


def _trace(*_: Any) -> None:
    """What a debugger or coverage sets: is told of every call."""


@pytest.mark.timeout(90)  # takes about two seconds
@pytest.mark.parametrize("traced", [False, True])
def test_what_cannot_be_stopped_is_left_behind_with_a_word(traced: bool) -> None:
    stop = threading.Event()

    def stubborn(z: Tensor, t: float) -> Tensor:
        while not stop.is_set():
            with contextlib.suppress(BaseException):
                stop.wait(30)  # waits outside Python: no exception reaches it
        return z

    before = sys.gettrace()
    sys.settrace(_trace if traced else None)
    try:
        found = verdict(SOFT, stubborn, limit=0.2)
    finally:
        sys.settrace(before)
    (left,) = [thread for thread in threading.enumerate() if thread.name == "kdcourse-check"]
    assert left.daemon
    stop.set()
    left.join(5)
    assert not left.is_alive()
    assert (
        "took too long, at T = 4, and can't be stopped" in found.message
        and "restart the kernel" in found.message
    )


def test_it_works_from_another_thread_and_under_no_grad() -> None:
    found: list[Verdict] = []
    thread = threading.Thread(target=lambda: found.append(verdict(SOFT, endless, limit=0.2)))
    thread.start()
    thread.join()
    assert "took too long" in found[0].message
    term = exercise("distillation_term").solution
    with torch.no_grad():
        assert verdict("distillation_term", term).right
        assert not torch.is_grad_enabled()


# -- leaving everything as it was ---------------------------------------------------------------


def test_an_answer_disturbs_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    def vandal(z: Tensor, t: float) -> Tensor:
        torch.manual_seed(99)
        np.random.seed(99)
        random.seed(99)
        torch.set_default_dtype(torch.float64)
        torch.set_grad_enabled(False)
        torch.set_num_threads(torch.get_num_threads() + 1)
        warnings.warn("mind the gap", stacklevel=1)
        print("loud", "x" * 10_000, file=sys.stderr)
        print("louder")
        z.zero_()
        return softmax(z, t)

    def state() -> tuple[Any, ...]:
        return (
            torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), random.getstate(),
            torch.get_default_dtype(), torch.is_grad_enabled(), torch.get_num_threads(),
            sys.stdout, sys.stderr, list(warnings.filters),
        )  # fmt: skip

    probes = [probe.inputs[0].clone() for probe in exercise(SOFT).probes]
    before = state()
    with warnings.catch_warnings(record=True) as raised:
        assert verdict(SOFT, vandal).mistake == "inputs changed"
        assert not raised
    assert state() == before
    assert all(
        torch.equal(probe.inputs[0], kept) for probe, kept in zip(exercise(SOFT).probes, probes, strict=True)
    )
    assert capfd.readouterr() == ("", "")


def test_the_callers_default_dtype_changes_no_verdict() -> None:
    torch.set_default_dtype(torch.float64)
    try:
        assert all(verdict(name, one.solution).right for name, one in exercises().items())
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)


def test_changing_an_input_is_a_mistake_of_its_own_even_where_the_result_is_right() -> None:
    def in_place(z: Tensor, t: float) -> Tensor:
        z /= t
        return z.softmax(1)

    found = verdict(SOFT, in_place)
    assert found.mistake == "inputs changed" and "it changes logits" in found.message

    def in_place_with_gradient(z: Tensor, v: Tensor, t: float) -> Tensor:
        v.div_(t)
        return exercise("distillation_term").solution(z / t, v, 1.0) * t**2

    found = verdict("distillation_term", in_place_with_gradient)
    assert found.mistake == "inputs changed" and "it changes teacher_logits" in found.message


def test_a_gradient_that_is_wrong_where_the_value_is_right() -> None:
    def half_cut(z: Tensor, y: Tensor) -> Tensor:
        return z.logsumexp(1).mean() - z.detach()[torch.arange(len(y)), y].mean()

    found = verdict("cross_entropy_by_hand", half_cut)
    assert found.mistake is None and "but for 5 images of 3 classes, its gradient is not" in found.message


# -- printing and grading -----------------------------------------------------------------------


def test_check_prints_the_verdict_and_returns_it(capsys: pytest.CaptureFixture[str]) -> None:
    for answer in (softmax, blank_return, endless):
        found = check(SOFT, answer, limit=0.2 if answer is endless else 10.0)
        assert capsys.readouterr().out == f"{found.message}\n" == f"{found}\n"
        assert found._ipython_display_() is None
    assert check(SOFT, softmax) == check(SOFT, softmax)


def test_a_console_without_signs_gets_the_words(monkeypatch: pytest.MonkeyPatch) -> None:
    console = io.TextIOWrapper(io.BytesIO(), encoding="cp1252")
    monkeypatch.setattr(sys, "stdout", console)
    assert check(SOFT, softmax).right
    console.flush()
    assert console.buffer.getvalue().decode().startswith(f"Right  {SOFT}: what was asked for")


def test_under_nbgrader_a_wrong_answer_costs_its_points(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NBGRADER_EXECUTION", "autograde")
    assert check(SOFT, softmax).right
    assert capsys.readouterr().out.startswith("Right")
    for answer in (lambda z, t: z.softmax(1), blank_return):
        with pytest.raises(AssertionError) as raised:
            check(SOFT, answer)
        assert str(raised.value) == verdict(SOFT, answer).message


def test_an_unknown_exercise_names_those_that_look_alike() -> None:
    with pytest.raises(
        ArgumentError, match=r"no exercise 'softend_probs'\. Did you mean softened_probabilities"
    ):
        check("softend_probs", softmax)
    with pytest.raises(ArgumentError, match="There are count_parameters, fraction_correct"):
        check("xyzzy", softmax)


def test_a_cell_that_ends_in_a_check_shows_it_once() -> None:
    pytest.importorskip("IPython")
    from IPython.core.interactiveshell import InteractiveShell

    shell = InteractiveShell.instance()
    formatted, metadata = shell.display_formatter.format(Verdict(True, True, None, "Right"))
    assert (formatted, metadata) == ({}, {})


# -- exercises as data --------------------------------------------------------------------------


def test_what_was_seen_can_be_judged_in_another_process() -> None:
    for answer in (softmax, lambda z, t: z.softmax(1), lambda z, t: 1 / 0, lambda z, t: object()):
        seen = observe(exercise(SOFT), answer)
        assert judge(exercise(SOFT), pickle.loads(pickle.dumps(seen))) == verdict(SOFT, answer)


def test_probes_are_plain() -> None:
    for one in exercises().values():
        for probe in one.probes:
            flat = [
                item for value in probe.inputs for item in (value if isinstance(value, list) else [value])
            ]
            assert all(type(item) in (Tensor, int, float, str) for item in flat), one.id


def test_solutions_agree_with_the_package() -> None:
    from kdcourse import distillation, evaluation

    generator = torch.Generator().manual_seed(0)
    z, v = (torch.randn(6, 4, generator=generator) for _ in range(2))
    y = torch.arange(6) % 4
    ours = {name: one.solution for name, one in exercises().items()}
    near = pytest.approx
    assert ours["distillation_term"](z, v, 3.0).item() == near(
        distillation.kd_divergence(z, v, temperature=3.0).item()
    )
    loss = distillation.hinton_loss(z, v, y, temperature=3.0, alpha=0.4)
    assert ours["objective"](z, v, y, 3.0, 0.4).item() == near(loss.item())
    assert torch.allclose(ours["softened_probabilities"](z, 3.0), distillation.softened(z, 3.0))
    assert torch.allclose(ours["entropy_nats"](z.softmax(1)), distillation.entropy(z), atol=1e-6)
    assert ours["fraction_correct"](z, y) == near(evaluation.accuracy(z, y))
    assert ours["agreement_with_teacher"](z, v) == evaluation.agreement(z, v)
    top, guess = z.double().softmax(1).max(1)
    assert ours["calibration_error"](top, guess == y) == near(evaluation.expected_calibration_error(z, y, 10))
    plain, distilled = [0.8, 0.81, 0.79, 0.82], [0.83, 0.82, 0.82, 0.83]
    interval = evaluation.paired_difference(distilled, plain)
    assert ours["paired_interval"](plain, distilled) == near((interval.mean, interval.low, interval.high))
    assert ours["cross_entropy_by_hand"](z, y).item() == near(
        evaluation.negative_log_likelihood(z, y), rel=1e-5
    )
    student = z.clone().requires_grad_()
    distillation.kd_divergence(student, v, temperature=3.0).backward()
    assert torch.allclose(9 * ours["soft_gradient"](z, v, 3.0), student.grad, atol=1e-6)


def test_solutions_of_lesson_07_agree_with_the_package() -> None:
    from kdcourse import distillation, evaluation

    classes, generator = 5, torch.Generator().manual_seed(0)
    z, v = (3 * torch.randn(4, classes, 6, 7, generator=generator) for _ in range(2))
    masks = v.argmax(1).masked_fill(torch.rand(4, 6, 7, generator=generator) < 0.2, 255)
    masks[masks == 3] = 1  # a class that is predicted and isn't there
    ours = {name: one.solution for name, one in exercises("segmentation").items()}
    near = pytest.approx
    each = evaluation.iou_per_class(z.argmax(1), masks, classes)
    assert [ours["class_iou"](z.argmax(1), masks, k) for k in range(classes)] == near(each.tolist())
    score = evaluation.SegmentationTally(classes)
    score.update(z, masks)
    assert ours["iou_over_classes"](score.scores().confusion) == near(score.scores().mean_iou)
    loss = distillation.pixelwise_loss(z, v, masks, temperature=3.0, alpha=1.0)
    assert ours["pixel_term"](z, v, masks, 3.0).item() == near(loss.item(), rel=1e-5)
    scored = masks != 255
    curve = evaluation.precision_recall(z, masks).per_class[1]
    point = ours["precision_recall_at"](z.softmax(1)[:, 1][scored], masks[scored] == 1, 0.4)
    assert point == near(curve.at(0.4))


def test_the_teacher_is_told_apart_from_the_student_whatever_else_is_wrong() -> None:
    def half_cut(z: Tensor, v: Tensor, m: Tensor, t: float) -> Tensor:
        term = exercise("pixel_term").solution(z, v, m, t)
        return term.detach() + 0.5 * (term - term.detach())

    def off_and_undetached(z: Tensor, v: Tensor, m: Tensor, t: float) -> Tensor:
        return exercise("pixel_term").solution(z, v, m, t) + v.mean()

    found = verdict("pixel_term", half_cut)
    assert found.mistake is None and "its gradient is not" in found.message
    found = verdict("pixel_term", off_and_undetached)
    assert found.mistake is None and "teacher" not in found.message and "a number" in found.message


@pytest.mark.slow
def test_the_first_check_brings_no_compiler_of_torch() -> None:
    """Importing it takes seconds, which would count as the answer's own."""
    code = (
        "import sys; from kdcourse.checks import observe; from kdcourse.course import exercises\n"
        "for one in exercises().values(): observe(one, one.solution)\n"
        "print([name for name in ('torch._dynamo', 'torch._inductor', 'scipy', 'matplotlib') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=os.environ, timeout=240
    )
    assert done.stdout.strip() == "[]", done.stderr
