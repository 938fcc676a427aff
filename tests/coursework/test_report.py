from __future__ import annotations

from dataclasses import replace

from kdcourse.coursework.records import Graded, Mark
from kdcourse.coursework.report import alike, commonest, hardest, report, spread
from tests.coursework import tiny
from tests.coursework.reading import Page, check_sound


def with_prints(student: str, **prints: str) -> Graded:
    marks = [
        replace(tiny.right(task.id, task.points), fingerprint=prints.get(task.id.replace("-", "_"), ""))
        for task in tiny.ASSIGNMENT.tasks
    ]
    return tiny.graded(student, student.title(), *marks)


def test_a_report_is_sound_and_says_what_there_is() -> None:
    class_ = tiny.class_of_three()
    page = Page(report(class_, tiny.ASSIGNMENT, {"wu": "feedback/wu.html"}))
    check_sound(page)
    assert "3 submissions, out of 9 points. Mean 2.33, median 2, from 0 to 5." in page.text
    assert "2 written answers are not marked yet" in page.text
    assert "Hardest exercise: Soften the logits, 33 % of its points." in page.text
    assert "'lesson (1).ipynb' ends in the middle." in page.text
    assert [link["href"] for link in page.all("a")] == ["feedback/wu.html"]


def test_the_figure_says_in_words_what_it_shows() -> None:
    source = report(tiny.class_of_three(), tiny.ASSIGNMENT)
    (figure,) = Page(source).all("svg")
    assert figure["role"] == "img" and figure["aria-labelledby"] == "spread-title spread-desc"
    assert "0 to 10 %: 1; 10 to 20 %: 0; 20 to 30 %: 1;" in source and "50 to 60 %: 1;" in source


def test_points_fall_into_tenths() -> None:
    shares = [0.0, 0.09, 0.1, 0.3, 0.7, 0.99, 1.0, 1.2]
    class_ = [
        tiny.graded(
            f"s{n}", "S", Mark("softened", share * tiny.ASSIGNMENT.points, 3.0, False, True, None, "")
        )
        for n, share in enumerate(shares)
    ]
    assert spread(class_, tiny.ASSIGNMENT) == [2, 1, 0, 1, 0, 0, 0, 1, 0, 3]


def test_hardest_task_and_commonest_mistake_are_found() -> None:
    class_ = tiny.class_of_three()
    assert [(task.id, round(share, 2)) for task, share in hardest(class_, tiny.ASSIGNMENT)] == [
        ("softened", 0.33),
        ("cache_key", 0.67),
    ]
    assert commonest(class_) == [("softened", "T forgotten", 2)]


def test_who_could_not_be_graded_counts_in_no_figure_and_stands_first() -> None:
    class_ = tiny.class_of_three()
    lost = tiny.graded(
        "lost",
        "Lost",
        *(Mark(t.id, None, t.points, False, True, None, "") for t in tiny.ASSIGNMENT.tasks),
        problems=("This submission could not be graded: ZeroDivisionError.",),
    )
    page = Page(report([*class_, lost], tiny.ASSIGNMENT))
    check_sound(page)
    assert "Mean 2.33, median 2" in page.text and "2 written answers are not marked yet" in page.text
    assert page.text.index("reasons other than the student's work") < page.text.index(
        "Tasks, the hardest first"
    )


def test_copies_stand_out_and_common_right_answers_do_not() -> None:
    # Forty wrote the usual short answers; five copied three unusual ones among them.
    usual = [with_prints(f"u{n:02}", softened="a", cache_key="b", why_soft=f"essay {n}") for n in range(40)]
    copied = [with_prints(f"c{n}", softened="odd", cache_key="odder") for n in range(4)]
    (group,) = alike([*usual, *copied], tiny.ASSIGNMENT)
    assert group.students == ("c0", "c1", "c2", "c3") and group.shared == 2
    assert group.tasks == ("softened", "cache_key")


def test_one_copied_essay_is_enough_one_unusual_line_of_code_is_not() -> None:
    usual = [with_prints(f"u{n:02}", softened="a", cache_key="b") for n in range(20)]
    essay = [with_prints(f"e{n}", softened="a", why_soft="the very same") for n in range(2)]
    line = [with_prints(f"l{n}", softened="odd", cache_key="b") for n in range(2)]
    (group,) = alike([*usual, *essay, *line], tiny.ASSIGNMENT)
    assert group.students == ("e0", "e1")


def test_agreeing_on_nearly_all_is_unusual_enough() -> None:
    tasks = tuple(tiny.Task(f"t{n}", "code", tiny.LESSON, f"T {n}", 1.0) for n in range(8))
    asked = replace(tiny.ASSIGNMENT, tasks=tasks)

    def student(name: str, answers: list[str]) -> Graded:
        given = zip(tasks, answers, strict=True)
        return tiny.graded(name, name, *(replace(tiny.right(t.id, 1), fingerprint=a) for t, a in given))

    # Each wrote one of five usual answers to every task; the last changed one of another's.
    class_ = [student(f"s{n:02}", [str((n * (3 * t + 7) + n // 5) % 5) for t in range(8)]) for n in range(30)]
    assert alike(class_, asked) == []
    odd = ["odd", "odder", *("01234"[:5]), "x"]
    class_ += [student("a", odd), student("b", [*odd[:7], "y"])]
    (group,) = alike(class_, asked)
    assert group.students == ("a", "b") and group.tasks == ("t0", "t1")


def test_rings_of_any_size_are_found() -> None:
    usual = [with_prints(f"u{n:02}", softened=str(n % 3), cache_key=str(n % 2)) for n in range(40)]
    ring = [with_prints(f"r{n}", softened="odd", cache_key="odder") for n in range(9)]
    (group,) = alike([*usual, *ring], tiny.ASSIGNMENT)
    assert group.students == tuple(f"r{n}" for n in range(9)) and group.tasks == ("cache_key", "softened")
    assert (
        alike(usual, tiny.ASSIGNMENT) == []
    )  # six or seven have the same two short answers, and so have others


def test_rings_that_agree_in_some_tasks_are_found() -> None:
    tasks = tuple(tiny.Task(f"t{n}", "code", tiny.LESSON, f"T {n}", 1.0) for n in range(4))
    asked = replace(tiny.ASSIGNMENT, tasks=tasks)

    def student(name: str, answers: str) -> Graded:
        given = zip(tasks, answers, strict=True)
        return tiny.graded(name, name, *(replace(tiny.right(t.id, 1), fingerprint=a) for t, a in given))

    usual = [student(f"u{n:02}", f"{n % 3}{n // 3 % 3}{n % 4}{n // 2 % 5}") for n in range(40)]
    assert alike(usual, asked) == []
    ring = [student(f"r{n}", f"x{n}y{n % 5}") for n in range(7)]
    (group,) = alike([*usual, *ring], asked)
    assert group.students == tuple(f"r{n}" for n in range(7)) and group.tasks == ("t0", "t2")


def test_where_one_exercise_is_asked_long_answers_are_compared_alone() -> None:
    one = replace(tiny.ASSIGNMENT, tasks=tiny.ASSIGNMENT.tasks[:1])
    lines = "".join(f"    row_{n} = scores[{n}] / temperature - shift\n" for n in range(5))

    def student(name: str, fingerprint: str, text: str) -> Graded:
        mark = replace(tiny.right("softened", 3), fingerprint=fingerprint, text=text)
        return tiny.graded(name, name, mark)

    def class_of(copied: str) -> list[Graded]:
        usual = [student(f"u{n:02}", str(n % 2), "def softened(x):\n    return x\n") for n in range(40)]
        odd = [student(f"o{n}", f"odd {n}", f"def softened(x):\n{lines}    return {n}\n") for n in range(5)]
        return [*usual, *odd, *(student(f"r{n}", "same", copied) for n in range(6))]

    (group,) = alike(class_of(f"def softened(x):\n{lines}    return row_1\n"), one)
    assert group.students == tuple(f"r{n}" for n in range(6)) and group.tasks == ("softened",)
    short = f'def softened(x):\n    """{lines}"""\n    return x + 1  # {"long " * 40}\n'
    assert alike(class_of(short), one) == []  # short answers are often alike
    pair = class_of(f"def softened(x):\n{lines}    return row_1\n")[:-4]
    assert [group.students for group in alike(pair, one)] == [("r0", "r1")]


def test_one_essay_of_many_is_found() -> None:
    essays = [with_prints(f"e{n:02}", softened=str(n % 2), why_soft="the very same") for n in range(30)]
    usual = [with_prints(f"u{n:02}", softened=str(n % 2), why_soft=f"essay {n}") for n in range(30)]
    (group,) = alike([*essays, *usual], tiny.ASSIGNMENT)
    assert len(group.students) == 30 and group.tasks == ("why-soft",) and group.shared == 1


def test_blanks_are_not_alike() -> None:
    assert alike([with_prints("a"), with_prints("b")], tiny.ASSIGNMENT) == []


def test_flags_are_listed_for_the_instructor() -> None:
    flagged = replace(
        tiny.wrong("softened", 3, None), flag="The check in the notebook said 'Right ✓'; <b>no</b>"
    )
    page = Page(report([tiny.graded("x", "Ann", flagged)], tiny.ASSIGNMENT))
    check_sound(page)
    assert "Answers to look at" in page.text and "said 'Right ✓'; <b>no</b>" in page.text
    assert "Answers to look at" not in report(tiny.class_of_three(), tiny.ASSIGNMENT)


def test_students_words_do_nothing_on_the_report() -> None:
    evil = "</title><script>alert(1)</script>"
    graded = tiny.graded(
        "x", evil, Mark("softened", 0.0, 3.0, False, True, evil, evil, text=evil), problems=(evil,)
    )
    page = Page(report([graded, tiny.class_of_three()[0]], tiny.ASSIGNMENT, {"x": "feedback/x.html"}))
    check_sound(page)
    assert page.text.count(evil) >= 3
    assert "<script" not in page.source


def test_an_empty_class_and_an_assignment_of_no_points_have_a_report() -> None:
    check_sound(Page(report([], tiny.ASSIGNMENT)))
    nothing = replace(tiny.ASSIGNMENT, tasks=tuple(replace(t, points=0.0) for t in tiny.ASSIGNMENT.tasks))
    check_sound(Page(report(tiny.class_of_three(), nothing)))
