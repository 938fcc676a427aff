"""Background work under stress: nothing overlaps, nothing is lost, nothing stays behind."""

from __future__ import annotations

import itertools
import random
import subprocess
import sys
import threading
import time

import pytest

from kdcourse.widgets.jobs import Job, Stopped, Worker

LONG = 300.0  # seconds that no test comes near, however busy the machine


def names() -> list[str]:
    return [thread.name for thread in threading.enumerate()]


def until_stopped(started: threading.Event) -> object:
    def work(job: Job) -> None:
        started.set()
        while True:
            job.check()
            time.sleep(0.001)

    return work


def test_work_is_done_and_the_thread_is_gone() -> None:
    worker, done = Worker("once"), []
    job = worker.submit(lambda job: done.append(threading.current_thread().name))
    assert job.wait(LONG) and job.outcome == "done" and job.error is None
    assert worker.join(LONG) and not worker.busy
    assert done == ["once"] and "once" not in names()


def test_of_many_requests_the_last_is_served_and_few_in_between() -> None:
    worker, first, served = Worker("drag"), threading.Event(), []

    def work(number: int, job: Job) -> None:
        served.append(number)
        if number == 0:
            assert first.wait(LONG)

    jobs = [worker.submit(lambda job: work(0, job))]
    while not served:
        time.sleep(0.001)
    jobs += [worker.submit(lambda job, n=n: work(n, job)) for n in range(1, 101)]  # type: ignore[misc]
    first.set()
    assert worker.join(LONG)
    assert served == [0, 100]
    assert [job.outcome for job in jobs] == ["done", *["stopped"] * 99, "done"]


def test_every_job_ends_exactly_once_and_none_overlap_under_stress() -> None:
    worker, lock = Worker("stress"), threading.Lock()
    running, overlaps, ends, served = [0], [0], [], []

    def work(number: tuple[int, int], job: Job) -> None:
        with lock:
            running[0] += 1
            overlaps[0] += running[0] > 1
        time.sleep(random.random() / 2000)
        with lock:
            running[0] -= 1
            served.append(number)
        job.check()

    def ask(who: int, jobs: list[Job]) -> None:
        for turn in range(150):
            number = (who, turn)
            jobs.append(
                worker.submit(
                    Job(
                        lambda job, number=number: work(number, job),  # type: ignore[misc]
                        lambda job, number=number: ends.append(number),  # type: ignore[misc]
                    ),
                    interrupt=turn % 3 == 0,
                )
            )
            if turn % 7 == 0:
                time.sleep(random.random() / 1000)

    before = threading.active_count()
    lists: list[list[Job]] = [[] for _ in range(6)]
    askers = [threading.Thread(target=ask, args=pair) for pair in enumerate(lists)]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join(LONG)
    last = worker.submit(Job(lambda job: work((-1, 0), job), lambda job: ends.append((-1, 0))))
    assert worker.join(LONG)
    assert overlaps[0] == 0
    assert sorted(ends) == sorted([(who, turn) for who in range(6) for turn in range(150)] + [(-1, 0)])
    assert last.outcome == "done" and served[-1] == (-1, 0)
    assert all(job.wait(0) for jobs in lists for job in jobs)
    assert threading.active_count() == before


def test_a_later_request_can_interrupt_what_runs() -> None:
    worker, started = Worker("latest"), threading.Event()
    old = worker.submit(until_stopped(started))  # type: ignore[arg-type]
    assert started.wait(LONG)
    new = worker.submit(lambda job: None, interrupt=True)
    assert worker.join(LONG)
    assert (old.outcome, new.outcome) == ("stopped", "done")


def test_stop_reaches_running_and_waiting_work() -> None:
    worker, started, ran = Worker("stop"), threading.Event(), []
    running = worker.submit(until_stopped(started))  # type: ignore[arg-type]
    assert started.wait(LONG)
    waiting = worker.submit(lambda job: ran.append(1))
    waiting.stop()
    running.stop()
    assert worker.join(LONG)
    assert (running.outcome, waiting.outcome, ran) == ("stopped", "stopped", [])


def test_a_failure_is_kept_and_the_next_request_served() -> None:
    worker, seen = Worker("failure"), []

    def fail(job: Job) -> None:
        raise SystemExit("even this")

    job = worker.submit(Job(fail, lambda job: seen.append(str(job.error))))
    assert job.wait(LONG) and job.outcome == "failed" and seen == ["even this"]
    assert worker.submit(lambda job: None).wait(LONG)
    assert worker.join(LONG)


def test_a_failing_end_is_logged_and_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    worker = Worker("end")
    job = worker.submit(Job(lambda job: None, lambda job: 1 / 0))  # type: ignore[arg-type, return-value]
    assert job.wait(LONG) and job.outcome == "done"
    assert worker.join(LONG)
    assert "ZeroDivisionError" in caplog.text


def test_close_stops_drops_and_refuses() -> None:
    worker, started, ended = Worker("close"), threading.Event(), []
    running = worker.submit(until_stopped(started))  # type: ignore[arg-type]
    assert started.wait(LONG)
    waiting = worker.submit(lambda job: ended.append("ran"))
    assert worker.close(LONG)
    late = worker.submit(Job(lambda job: ended.append("ran"), lambda job: ended.append(job.outcome)))
    assert {running.outcome, waiting.outcome, late.outcome} == {"stopped"}
    assert ended == ["stopped"] and "close" not in names()


def test_close_gives_up_after_its_time_on_work_that_never_checks() -> None:
    worker, begun, release = Worker("deaf"), threading.Event(), threading.Event()

    def work(job: Job) -> None:
        begun.set()
        release.wait(LONG)

    job = worker.submit(work)
    assert begun.wait(LONG)
    assert not worker.close(0.05)
    release.set()
    assert job.wait(LONG) and worker.join(LONG)


def test_pause_spaces_the_work_and_serves_the_last_request() -> None:
    worker, times, values = Worker("pause", pause=0.1), [], []
    for number in range(30):
        worker.submit(lambda job, n=number: (times.append(time.monotonic()), values.append(n)))  # type: ignore
        time.sleep(0.01)
    assert worker.join(LONG)
    assert values[-1] == 29
    assert all(later - sooner >= 0.1 for sooner, later in itertools.pairwise(times))


def test_close_does_not_wait_for_a_pause() -> None:
    worker = Worker("long pause", pause=3600)
    assert worker.submit(lambda job: None).wait(LONG)
    second = worker.submit(lambda job: None)
    assert worker.close(LONG) and second.outcome == "stopped"


def test_check_raises_only_when_asked_to_stop() -> None:
    job = Job(lambda job: None, None)
    job.check()
    job.stop()
    with pytest.raises(Stopped):
        job.check()


@pytest.mark.slow
def test_an_interpreter_that_ends_mid_work_ends_cleanly() -> None:
    code = (
        "import threading, time\nfrom kdcourse.widgets.jobs import Job, trainings\nbegun = threading.Event()\n"
        "def work(job):\n    begun.set()\n    while True:\n        job.check(); time.sleep(0.001)\n"
        "trainings.submit(Job(work, lambda job: print(job.outcome))); begun.wait()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "stopped", "")
