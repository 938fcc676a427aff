"""The command line; ``kdcourse --help`` lists its commands."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from kdcourse.errors import KdcourseError

app = typer.Typer(
    name="kdcourse",
    help="Knowledge distillation, taught and measured on this machine.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
students_app = typer.Typer(
    help="Make the recorded results anew: search settings, then train them over seeds."
)
app.add_typer(students_app, name="students", no_args_is_help=True)


_Precision = Annotated[
    str, typer.Option(help="Precision for every student: 'float32', or 'bfloat16' where it is faster.")
]


@app.callback()
def _main() -> None:
    """Knowledge distillation, taught and measured on this machine."""


_Ray = Annotated[
    str | None,
    typer.Option(
        help="Work on a Ray cluster: HOST:PORT, 'auto' ($RAY_ADDRESS, else this machine's, else a new one), 'local'."
    ),
]
_Task = Annotated[
    str, typer.Option(help="'classification' of garments, or 'segmentation' of scenes of them.")
]


@app.command()
def run(
    task: _Task = "classification",
    labels: Annotated[
        str | None,
        typer.Option(
            help="How many images have labels, beside 27,500 for which students have only the teachers' answers (for "
            "segmentation: how many of 2,000 scenes have masks); or 'all': every training image has its label and the "
            "teachers' answer. By default 550, for segmentation 100, or 'all' where another option needs it (a method, "
            "alpha, teachers or images of your own)."
        ),
    ] = None,
    teachers: Annotated[
        str,
        typer.Option(
            help="'shipped', 'train' (trains all of them, about an hour on two cores), or a folder of them."
        ),
    ] = "shipped",
    student: Annotated[
        str | None,
        typer.Option(help="A built-in student, or torchvision:NAME. 'kdcourse models' lists them."),
    ] = None,
    method: Annotated[
        list[str] | None,
        typer.Option(help="How to learn from the teacher; may be repeated. 'kdcourse methods' lists them."),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="KEY=VALUE, a setting of the method, such as beta=8; may be repeated."),
    ] = None,
    temperature: Annotated[
        float | None, typer.Option(help="Temperature T of the soft targets, above 0; as --set temperature=T.")
    ] = None,
    alpha: Annotated[float | None, typer.Option(help="Weight of the teacher, above 0, at most 1.")] = None,
    weight: Annotated[
        list[str] | None,
        typer.Option(help="METHOD=WEIGHT, where a method's weight isn't alpha; may be repeated."),
    ] = None,
    layer: Annotated[
        list[str] | None,
        typer.Option(
            help="student=NAME or teacher=NAME, for methods that compare layers; found if left out."
        ),
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option(
            help="Passes over the training images (of few labels, as many steps); by default 2, for segmentation 8 (10 "
            "with --labels all)."
        ),
    ] = None,
    seeds: Annotated[int, typer.Option(help="Paired students of each kind; 3 or more for an interval.")] = 3,
    data: Annotated[
        Path | None,
        typer.Option(
            help="Your own images: one folder per class, or train/validation/test folders of those; for "
            "segmentation, a folder with images and masks."
        ),
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(help="Your images are resized to this many pixels square; by default 28, or 64."),
    ] = None,
    levels: Annotated[
        tuple[float, float] | None,
        typer.Option(
            help="Stored values of your images that become black and white, where files hold more than 8 bits per "
            "value; by default found, and needed for floating-point values."
        ),
    ] = None,
    cache: Annotated[
        bool,
        typer.Option(
            "--cache",
            help="Keep your decoded images on disk (in $KDCOURSE_CACHE, or the user's cache folder): a folder "
            "larger than memory can be used, and the next run starts at once.",
        ),
    ] = False,
    skip_damaged: Annotated[
        bool,
        typer.Option("--skip-damaged", help="Leave out files of yours that can't be read, with a warning."),
    ] = False,
    augmentation: Annotated[
        str,
        typer.Option(
            help="With --teachers train, how training images are varied: 'flips' (shifted, mirrored, partly erased), "
            "'no-flips' (the same without mirroring, for digits, letters, signs), 'none', or 'auto': your own images "
            "are tried with and without mirroring on the validation split, which trains one more teacher."
        ),
    ] = "auto",
    average: Annotated[
        str, typer.Option(help="What the ensemble averages: 'logits' or 'probabilities'.")
    ] = "logits",
    teacher_epochs: Annotated[
        int | None, typer.Option(help="With --teachers train: epochs of each teacher.")
    ] = None,
    device: Annotated[str, typer.Option(help="'auto', 'cpu', 'cuda' or 'mps'.")] = "auto",
    out: Annotated[Path, typer.Option(help="Folder of the report and of models trained so far.")] = Path(
        "kdcourse-report"
    ),
) -> None:
    """Run the full experiment: teachers, ensemble, soft targets, students, test split, report."""
    from kdcourse.runs import run as runner
    from kdcourse.runs.illustrate import report_figures
    from kdcourse.runs.report import text_table, write_report

    if seeds < 1:
        _fail(f"--seeds must be at least 1; found {seeds}.")

    def work() -> None:
        began = time.perf_counter()
        options = runner.RunOptions(
            task=task, labels=runner.read_labels(labels), out=out, teachers=teachers, student=student,
            method=method or (), alpha=alpha, epochs=epochs,
            method_settings=runner.method_settings(task, method or (), set_ or (), temperature=temperature),
            weights=runner.method_weights(weight or ()), layers=runner.read_pairs("--layer", layer or ()),
            seeds=tuple(range(seeds)), folder=data, size=size, levels=levels, cache=cache, skip_damaged=skip_damaged,
            augmentation=augmentation, device=device, average=average, teacher_epochs=teacher_epochs,
        )  # fmt: skip
        outcome = runner.run(options, typer.echo)
        typer.echo("\nReport: drawing the figures.")
        page = write_report(outcome.results, report_figures(outcome), out)
        typer.echo("\n" + text_table(outcome.results))
        typer.echo(f"\nReport: {page.resolve()}  ({time.perf_counter() - began:.0f} s in all)")

    guarded(work, "The same command resumes where this one stopped.")


@app.command()
def doctor(
    fix: Annotated[
        bool,
        typer.Option("--fix", help="Fix what can be fixed; without it, the report says what this would do."),
    ] = False,
    notebooks: Annotated[
        Path | None, typer.Option(help="Your folder of lessons, if you named one to `kdcourse lab`.")
    ] = None,
) -> None:
    """Check that this machine is ready; the exit code says whether all is well."""
    from kdcourse import doctor as checkup

    raise typer.Exit(checkup.visit(notebooks, fix=fix, say=typer.echo))


@app.command()
def models() -> None:
    """List the models by name, with their parameters."""
    from kdcourse import models as all_models

    for name, parameters in all_models.names().items():
        typer.echo(f"{name:<30}{parameters:>12,}")
    typer.echo("torchvision:NAME, for any torchvision classifier, such as torchvision:resnet18")


@app.command(name="methods")
def methods_() -> None:
    """List the distillation methods, with their settings and papers."""
    from kdcourse.distillation import methods as registry

    for name in registry.names():
        found = registry.describe(name)
        settings = ", ".join(f"{key}={value}" for key, value in found.settings.items()) or "no settings"
        typer.echo(
            f"{name:<18}{found.title} ({' and '.join(found.tasks)}; {settings})\n{'':<18}{found.paper}"
        )


_DataFolder = Annotated[
    Path | None, typer.Argument(help="Where to keep them; by default the course's own folder in data.")
]


@app.command()
def teachers(
    folder: _DataFolder = None,
    task: Annotated[
        str, typer.Option(help="'classification' of garments, 'segmentation' of scenes, or 'language'.")
    ] = "classification",
    device: Annotated[str, typer.Option(help="'auto', 'cpu', 'cuda' or 'mps'.")] = "auto",
) -> None:
    """Train the course's teachers of a task, resuming where an earlier call stopped."""
    from kdcourse.data import austen
    from kdcourse.runs import language
    from kdcourse.runs.tasks import task_named
    from kdcourse.runs.teachers import train_teacher

    def work() -> None:
        if task == "language":
            language.train_teachers(
                austen(), folder or Path("data") / language.FOLDER, say=typer.echo, device=device
            )
            return
        chosen = task_named(task)
        data, where = chosen.teacher_data(), folder or Path("data") / chosen.teachers_folder
        for recipe in chosen.teacher_recipes:
            last = train_teacher(recipe, data, where, device=device)["history"]["epochs"][-1]
            typer.echo(f"{recipe.name}: validation {chosen.metric} {last[f'validation_{chosen.metric}']:.2%}")

    guarded(work, "The same command goes on where this one stopped.")


@app.command(name="soft-targets")
def soft_targets(
    folder: Annotated[Path, typer.Argument(help="Where to keep them.")] = Path("data/soft-targets"),
) -> None:
    """Compute and store the ensemble's logits for every training image."""
    from kdcourse.data import fashion_mnist
    from kdcourse.runs.recorded import store_soft_targets

    def work() -> None:
        for file in store_soft_targets(fashion_mnist(), folder):
            typer.echo(f"{file} ({file.stat().st_size / 1e6:.1f} MB)")

    guarded(work, "Nothing was written.")


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def lab(
    context: typer.Context,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Print the address only.")] = False,
    hub: Annotated[
        bool, typer.Option("--hub", help="Become the server of a JupyterHub's user; only a hub starts this.")
    ] = False,
    notebooks: Annotated[
        Path | None,
        typer.Option(
            help="Your folder of lessons; by default $KDCOURSE_LESSONS, or kdcourse-lessons in your home folder."
        ),
    ] = None,
) -> None:
    """Open lesson 00 in JupyterLab; further options, such as --port=8890, are passed on to it.

    Lessons that your folder lacks are copied to it. What you have changed there is never overwritten.
    """
    from kdcourse import lab as jupyterlab

    folder = None if notebooks is None else notebooks.resolve()
    start = partial(
        jupyterlab.run, context.args, browser=not no_browser, hub=hub, folder=folder, say=typer.echo
    )
    raise typer.Exit(guarded(start, "JupyterLab has ended."))


@app.command()
def assign(
    lessons: Annotated[
        list[str] | None,
        typer.Argument(help="Lessons to assign, such as 04; not needed if the variant names them."),
    ] = None,
    variant: Annotated[
        Path | None, typer.Option(help="A TOML file: other exercises, questions, points, seed.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the hidden tests; by default yours.")] = None,
    out: Annotated[Path, typer.Option(help="Parent folder; the assignment gets a folder in it.")] = Path(
        "dist"
    ),
) -> None:
    """Make an assignment of lessons: notebooks for students, solutions, and a course for nbgrader."""
    from kdcourse.coursework import assignment as planning
    from kdcourse.coursework.assign import assign as build

    def work() -> None:
        if variant is None:
            planned = planning.plan(lessons or [], seed=seed)
        else:
            planned = planning.read_variant(variant, lessons or [], seed=seed)
        typer.echo(planning.listing(planned) + "\n")
        folder = build(planned, out)
        typer.echo(f"for students:  {folder / 'release'}")
        typer.echo(f"solutions:     {folder / 'solutions'}")
        typer.echo(f"for nbgrader:  {folder / 'nbgrader'}")
        typer.echo(f"for grading:   {folder / 'assignment.json'} (keep it to yourself: it holds the seed)")

    guarded(work, "The same command builds all of it again.")


@app.command()
def grade(
    folder: Annotated[
        Path,
        typer.Argument(
            help="What was handed in: a folder for each student, or a learning platform's download."
        ),
    ],
    assignment: Annotated[Path, typer.Option(help="The assignment.json that kdcourse assign made.")],
    out: Annotated[Path, typer.Option(help="Folder of grades, feedback and report.")] = Path("graded"),
    jobs: Annotated[
        int | None, typer.Option(help="Submissions graded in parallel; by default one per core.")
    ] = None,
    ray: _Ray = None,
    marks: Annotated[
        Path | None,
        typer.Option(help="Points for written answers: a CSV with student, task, points, comment."),
    ] = None,
    canvas: Annotated[
        Path | None, typer.Option(help="A gradebook that Canvas exported, to be filled in.")
    ] = None,
    moodle: Annotated[
        Path | None, typer.Option(help="A grading worksheet that Moodle gave out, to be filled in.")
    ] = None,
    gradebook: Annotated[
        Path | None, typer.Option(help="nbgrader's gradebook.db; by default one in the folder of results.")
    ] = None,
    roster: Annotated[
        Path | None,
        typer.Option(help="All students: a CSV with student, name, number, group, handed_in, due."),
    ] = None,
    attempts: Annotated[
        str | None,
        typer.Option(
            help="Which of several notebooks of a lesson counts: fullest, latest or best; by default as assigned."
        ),
    ] = None,
    unsafe: Annotated[
        bool, typer.Option("--unsafe", help="Run students' code without a sandbox. Think twice.")
    ] = False,
) -> None:
    """Grade a class: each student's code in a sandbox, grades for nbgrader, Canvas and Moodle, feedback, a report."""
    from kdcourse.coursework import assignment as planning
    from kdcourse.coursework.batch import grade as grade_class

    def work() -> None:
        began, release = time.perf_counter(), assignment.parent / "release"
        asked = planning.load(assignment)
        if attempts is not None:
            asked = replace(asked, attempts=planning.checked_attempts(attempts))
        batch = grade_class(
            folder, asked, out, jobs=jobs, unsafe=unsafe, marks=marks, canvas=canvas, moodle=moodle,
            gradebook=gradebook, release=release if release.is_dir() else None, private=[assignment.parent],
            roster=roster, ray=ray,
        )  # fmt: skip
        for note in batch.notes:
            typer.echo(f"note: {note}")
        before = len(batch.class_) - batch.graded_now
        typer.echo(
            f"{batch.graded_now} graded{f', {before} as before' if before else ''}, in "
            f"{time.perf_counter() - began:.0f} s. See {batch.out / 'report.html'}, and beside it grades.csv, "
            "canvas.csv, moodle.csv, gradebook.db and the pages in feedback."
        )

    guarded(work, "Nothing that was graded is lost; the same command goes on from here.")


@app.command()
def study(
    name: Annotated[
        str | None,
        typer.Argument(
            help="Which; without a name, all are listed. 'teachers' trains the teachers that studies need."
        ),
    ] = None,
    phase: Annotated[
        str,
        typer.Option(
            help="'search' (on the validation split), 'test' (once that is complete), 'further' (what some studies "
            "add to their best), or 'all'."
        ),
    ] = "all",
    seeds: Annotated[
        int | None, typer.Option(help="Fresh seeds of the test phase; by default all of the study's.")
    ] = None,
    jobs: Annotated[int, typer.Option(help="Trainings side by side, each with its share of the cores.")] = 1,
    ray: _Ray = None,
    precision: Annotated[
        str | None, typer.Option(help="'float32' or 'bfloat16'; by default that of the rows there are.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the rows; by default the course's own, data/study.")
    ] = None,
    table: Annotated[bool, typer.Option("--table", help="Print the results; train nothing.")] = False,
) -> None:
    """Run a study: each training is one row, stored as soon as it is done; then print the results."""
    from kdcourse.data import fashion_mnist
    from kdcourse.files import shipped, write_atomically
    from kdcourse.runs.study import FOLDER, STUDIES, engine, half, study_named
    from kdcourse.runs.study.rows import Rows

    def work() -> None:
        folder = out or (shipped(FOLDER) if table else Path("data") / FOLDER)
        if name is None:
            width = max(map(len, STUDIES))
            for each, kind in STUDIES.items():
                typer.echo(f"{each:<{width}}  {kind.question}")
            return
        if name == "teachers":
            if ray is not None:
                _fail("The teachers are trained on this machine alone; leave --ray out.")
            found = half.make_answers(fashion_mnist(), folder, say=typer.echo)
            typer.echo(f"ensemble: test accuracy {found.accuracy:.2%}; answers in {folder / half.FILE}")
            return
        chosen = study_named(name, folder)
        if not table:
            phases = engine.PHASES if phase == "all" else (phase,)
            engine.run(chosen, engine.Options(phases, seeds, precision, jobs, ray=ray), typer.echo)
        rows = Rows(folder, name).checked()
        typer.echo(chosen.text(rows))
        if not table and (figure := chosen.figure(rows)) is not None:
            from kdcourse.figures import png

            write_atomically(folder / f"{name}.png", png(figure))
            typer.echo(f"drawn in {folder / f'{name}.png'}")

    guarded(work, "Nothing that was trained is lost; the same command goes on from here.")


@app.command()
def ship(
    student: Annotated[
        Path,
        typer.Argument(
            help="A trained network: a .safetensors file in the folder 'students' or 'teachers' of a report, or of "
            "the course's own data."
        ),
    ],
    to: Annotated[
        str,
        typer.Option(
            help="'onnx' (float), 'onnx-int8' (weights and activations of one byte, calibrated on training images), "
            "'executorch' (float, a .pte file for PyTorch's runtime on phones and boards), or 'c' (one header for a "
            "microcontroller, without dependencies or heap)."
        ),
    ] = "onnx",
    out: Annotated[
        Path | None, typer.Option(help="The file; by default the student's name with another ending, here.")
    ] = None,
    weights: Annotated[str | None, typer.Option(help="With --to c: 'int8' (the default) or 'float'.")] = None,
    data: Annotated[
        Path | None, typer.Option(help="Folder of your own images, if the student was trained on those.")
    ] = None,
    size: Annotated[
        int | None, typer.Option(help="With --data: pixels that they were resized to; by default 28.")
    ] = None,
    licence: Annotated[
        str | None, typer.Option(help="Licence of the weights, stored in the file; such as 'MIT, Jane Doe'.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a file that is there.")] = False,
) -> None:
    """Write a student as one file for another machine, after comparing the file's answers with PyTorch's.

    The file holds classes, normalisation, licence and how it was made. ONNX needs the extra 'deploy', and
    'executorch' the package of that name; for 'c', a C compiler tries the header, if there is one.
    """
    from kdcourse.runs.ship import ShipOptions
    from kdcourse.runs.ship import ship as write

    options = ShipOptions(student, to, out, weights, data, size, licence, overwrite)
    guarded(lambda: write(options, typer.echo), "Nothing was written.")


@app.command()
def distil(
    teacher: Annotated[
        str,
        typer.Option(
            help="A causal language model of Hugging Face: a folder that save_pretrained wrote, or a name on the hub."
        ),
    ],
    student: Annotated[
        str, typer.Option(help="A smaller one with the same tokens; with --random a config.json is enough.")
    ],
    text: Annotated[Path, typer.Option(help="A folder of texts (.txt, .md, .txt.xz), or one file.")],
    out: Annotated[Path, typer.Option(help="The new folder of the distilled student.")],
    random: Annotated[
        bool, typer.Option("--random", help="Begin with random weights instead of the student's.")
    ] = False,
    config: Annotated[
        list[str] | None,
        typer.Option(
            help="KEY=VALUE, with --random: another entry of the student's configuration, such as num_hidden_layers=4; "
            "may be repeated."
        ),
    ] = None,
    method: Annotated[
        list[str] | None,
        typer.Option(help="How to learn from the teacher, by default token_kl; may be repeated."),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="KEY=VALUE, a setting of the method, such as beta=0.1; may be repeated."),
    ] = None,
    alpha: Annotated[float, typer.Option(help="Weight of the teacher, above 0, at most 1.")] = 0.9,
    context: Annotated[int, typer.Option(help="Tokens of a row of text.")] = 256,
    epochs: Annotated[int, typer.Option(help="Passes over the training text.")] = 1,
    batch_size: Annotated[int, typer.Option(help="Rows per step.")] = 8,
    learning_rate: Annotated[
        float, typer.Option(help="Its peak; for random weights about ten times as much.")
    ] = 5e-5,
    seed: Annotated[int, typer.Option(help="Of the order of the rows, and of random weights.")] = 0,
    precision: Annotated[str, typer.Option(help="'float32', 'bfloat16' or 'auto'.")] = "auto",
    device: Annotated[str, typer.Option(help="'cpu', 'cuda', 'mps' or 'auto'.")] = "auto",
    baseline: Annotated[
        bool,
        typer.Option("--baseline", help="Train a twin on the text alone, too, to see what the teacher adds."),
    ] = False,
) -> None:
    """Distil a causal language model of Hugging Face into a smaller one, on your own text.

    Test documents that no training saw tell what it is worth, in bits per byte. 'accelerate launch -m kdcourse.cli
    distil ...' trains in several processes.
    """
    from kdcourse.runs.own_text import TextOptions, distil_text
    from kdcourse.runs.run import method_settings, read_pairs
    from kdcourse.training import Settings

    def work() -> None:
        names = tuple(method or ("token_kl",))
        training = Settings(
            epochs=epochs, batch_size=batch_size, learning_rate=learning_rate, seed=seed, optimizer="adamw",
            weight_decay=0.01, warm_up=0.1, precision=precision, device=device,
        )  # fmt: skip
        options = TextOptions(
            teacher=teacher, student=student, text=text, out=out, random=random,
            config={key: as_value(value) for key, value in read_pairs("--config", config or ()).items()},
            methods=names, method_settings=method_settings("", names, set_ or ()), alpha=alpha, context=context,
            baseline=baseline, training=training,
        )  # fmt: skip
        distil_text(options, typer.echo)

    guarded(work, "Nothing that was trained is lost; the same command goes on from here.")


def as_value(text: str) -> int | float | bool | str | None:
    """Return the number, truth value or None that a text stands for, else the text itself."""
    for kind in (int, float):
        with suppress(ValueError):
            return kind(text)
    return {"true": True, "false": False, "none": None}.get(text.lower(), text)


@students_app.command()
def search(
    folder: _DataFolder = None, task: _Task = "classification", precision: _Precision = "float32"
) -> None:
    """Try every setting of the search on the validation split."""
    from kdcourse.runs import recorded
    from kdcourse.runs.tasks import task_named

    def work() -> None:
        chosen = task_named(task)
        where = folder or Path("data") / chosen.students_folder
        recorded.search(chosen.student_data(), where, precision=precision, say=typer.echo)

    guarded(work, "The same command goes on from here.")


@students_app.command()
def record(
    folder: _DataFolder = None, task: _Task = "classification", precision: _Precision = "float32"
) -> None:
    """Train the chosen settings over five seeds, plain and distilled, and evaluate them on the test set once."""
    from kdcourse.runs import recorded
    from kdcourse.runs.tasks import task_named

    def work() -> None:
        chosen = task_named(task)
        where = folder or Path("data") / chosen.students_folder
        recorded.record(chosen.student_data(), where, precision=precision, say=typer.echo)

    guarded(work, "The same command goes on from here.")


def guarded(work: Callable[[], Any], after_interrupt: str) -> Any:
    """Return what ``work`` returns.

    A `KdcourseError` is printed in one line on stderr, with exit code 2; Ctrl-C prints ``after_interrupt``, with
    exit code 130.
    """
    try:
        return work()
    except KdcourseError as error:
        _fail(str(error))
    except KeyboardInterrupt:
        typer.echo(f"\nStopped. {after_interrupt}", err=True)
        raise typer.Exit(130) from None


def _fail(message: str) -> None:
    typer.echo(f"error: {message}", err=True)
    raise typer.Exit(2)


if __name__ == "__main__":
    sys.exit(app())
