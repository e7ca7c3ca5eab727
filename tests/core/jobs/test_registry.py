import json
import subprocess
import sys
import threading
import time

import pytest

from core.errors import DatasetError
from core.jobs.registry import JobRegistry, registry
from core.workspace import Workspace


@pytest.fixture
def workspace(tmp_path):
    return Workspace(tmp_path)


@pytest.fixture
def jobs(workspace):
    return JobRegistry(workspace)


def nothing(reporter, run_dir):
    pass


def until(condition, seconds=5.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.005)


class Counter:
    """A job that counts until it is stopped; its test sees how far it got."""

    def __init__(self):
        self.count, self.started = 0, threading.Event()

    def __call__(self, reporter, run_dir):
        self.started.set()
        while True:
            reporter.check()
            self.count += 1
            time.sleep(0.002)


def test_a_run_is_done_with_progress_metrics_and_log_on_disk(jobs, workspace):
    def work(reporter, run_dir):
        reporter.progress("gat", 0.5, "epoch 1 of 2")
        reporter.metrics("gat", {"epoch": 1, "train_loss": 0.3})
        reporter.log("half way")
        (run_dir / "results.json").write_text("{}")

    run = jobs.wait(jobs.submit("demo", "Demo", {"dataset": "demo"}, work), 5)
    assert (run.state, run.fraction, run.step, run.dataset) == ("done", 1.0, "gat", "demo")
    types = [e["type"] for e in jobs.events(run.id)]
    assert types == ["state", "state", "progress", "metrics", "log", "state"]
    assert jobs.events(run.id, after=3)[0]["values"] == {"epoch": 1, "train_loss": 0.3}
    manifest = json.loads((workspace.runs / run.id / "manifest.json").read_text())
    assert manifest["state"] == "done"
    assert run.started <= run.finished


def test_ids_are_unique_and_sort_by_time(jobs):
    ids = [jobs.submit("demo", "Demo", {}, nothing) for _ in range(20)]
    assert len(set(ids)) == 20
    assert [run.id for run in jobs.runs()] == sorted(ids, reverse=True)


def test_stop_ends_a_running_run_at_its_next_check(jobs):
    counter = Counter()
    run_id = jobs.submit("demo", "Demo", {}, counter)
    counter.started.wait(5)
    assert jobs.stop(run_id)
    assert jobs.wait(run_id, 5).state == "stopped"
    assert not jobs.stop(run_id)


def test_a_queued_run_can_be_stopped_and_never_starts(jobs):
    counter, second = Counter(), Counter()
    first_id = jobs.submit("demo", "Demo", {}, counter)
    second_id = jobs.submit("demo", "Demo", {}, second)
    counter.started.wait(5)
    assert jobs.get(second_id).state == "queued"
    jobs.stop(second_id)
    assert jobs.get(second_id).state == "stopped"
    jobs.stop(first_id)
    jobs.wait(first_id, 5)
    third = jobs.wait(jobs.submit("demo", "Demo", {}, nothing), 5)
    assert third.state == "done"
    assert second.count == 0


def test_devices_have_queues_of_their_own(jobs):
    counter = Counter()
    busy = jobs.submit("demo", "Demo", {}, counter, device="cpu")
    other = jobs.submit("demo", "Demo", {}, nothing, device="cuda")
    assert jobs.wait(other, 5).state == "done"
    jobs.stop(busy)
    jobs.wait(busy, 5)


def test_pause_holds_a_run_and_resume_lets_it_go_on(jobs):
    counter = Counter()
    run_id = jobs.submit("demo", "Demo", {}, counter)
    counter.started.wait(5)
    assert jobs.pause(run_id)
    assert jobs.get(run_id).state == "paused"
    time.sleep(0.02)
    held = counter.count
    time.sleep(0.05)
    assert counter.count == held
    assert jobs.resume(run_id)
    until(lambda: counter.count > held)
    jobs.pause(run_id)
    jobs.stop(run_id)
    assert jobs.wait(run_id, 5).state == "stopped"


def test_bad_input_fails_a_run_with_one_line(jobs):
    def work(reporter, run_dir):
        raise DatasetError("no captures\nin here")

    run = jobs.wait(jobs.submit("demo", "Demo", {}, work), 5)
    assert (run.state, run.error) == ("failed", "no captures in here")
    assert not any("Traceback" in e.get("message", "") for e in jobs.events(run.id))


def test_a_defect_fails_a_run_with_its_traceback_in_the_log(jobs):
    def work(reporter, run_dir):
        raise ZeroDivisionError("oh")

    run = jobs.wait(jobs.submit("demo", "Demo", {}, work), 5)
    assert (run.state, run.error) == ("failed", "ZeroDivisionError: oh")
    assert any("Traceback" in e.get("message", "") for e in jobs.events(run.id))
    assert jobs.wait(jobs.submit("demo", "Demo", {}, nothing), 5).state == "done"


def test_the_same_job_is_joined_rather_than_started_twice(jobs):
    counter = Counter()
    first = jobs.submit("demo", "Demo", {"seed": 0}, counter, join=True)
    assert jobs.submit("demo", "Demo", {"seed": 0}, nothing, join=True) == first
    other = jobs.submit("demo", "Demo", {"seed": 1}, nothing, join=True)
    assert other != first
    jobs.stop(first)
    jobs.wait(other, 5)
    assert jobs.submit("demo", "Demo", {"seed": 0}, nothing, join=True) != first


def test_two_tabs_share_one_registry(workspace):
    assert registry(workspace) is registry(Workspace(workspace.root / "x" / ".."))


def test_eta_shrinks_and_progress_never_falls(jobs, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("core.jobs.registry.time.monotonic", lambda: now[0])
    seen = []

    def work(reporter, run_dir):
        for i in range(1, 11):
            now[0] += 10.0
            reporter.progress("gat", i / 10)
            seen.append((jobs.get(run_dir.name).fraction, jobs.get(run_dir.name).remaining_s))

    jobs.wait(jobs.submit("demo", "Demo", {}, work, plan={"gat": 1}), 5)
    assert [f for f, _ in seen] == sorted(f for f, _ in seen)
    assert [r for _, r in seen] == pytest.approx([90, 80, 70, 60, 50, 40, 30, 20, 10, 0])


def test_the_next_run_plans_with_the_durations_of_the_last(jobs, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("core.jobs.registry.time.monotonic", lambda: now[0])

    def work(reporter, run_dir):
        reporter.progress("graphs", 0.0)
        now[0] += 10.0
        reporter.progress("gat", 0.0)
        now[0] += 90.0
        reporter.progress("gat", 1.0)

    def half(reporter, run_dir):
        reporter.progress("graphs", 1.0)
        halfway.append(jobs.get(run_dir.name).fraction)

    halfway = []
    run = jobs.wait(jobs.submit("demo", "Demo", {"dataset": "d"}, work), 5)
    assert run.seconds == {"graphs": 10.0, "gat": 90.0}
    jobs.wait(jobs.submit("demo", "Demo", {"dataset": "d"}, half), 5)
    assert halfway == pytest.approx([0.1])


CRASHING = """
import os, sys
from pathlib import Path
from core.jobs.registry import JobRegistry
from core.workspace import Workspace

def work(reporter, run_dir):
    reporter.progress("gat", 0.4)
    os._exit(1)

jobs = JobRegistry(Workspace(Path(sys.argv[1])))
jobs.wait(jobs.submit("demo", "Demo", {"dataset": "demo"}, work))
"""


def test_a_run_whose_process_died_is_found_interrupted(workspace):
    assert subprocess.run([sys.executable, "-c", CRASHING, workspace.root]).returncode == 1
    (run,) = JobRegistry(workspace).runs()
    assert run.state == "interrupted"
    assert "server ended" in run.error
    jobs = JobRegistry(workspace)
    assert jobs.get(run.id) == run
    assert jobs.events(run.id)[-1]["state"] == "interrupted"
    assert any(e["type"] == "progress" for e in jobs.events(run.id))
    assert not jobs.stop(run.id)


def test_a_run_of_a_living_process_is_left_alone(jobs, workspace):
    counter = Counter()
    run_id = jobs.submit("demo", "Demo", {}, counter)
    counter.started.wait(5)
    other = JobRegistry(workspace)
    assert other.get(run_id).state == "running"
    assert not other.stop(run_id)
    jobs.stop(run_id)
    jobs.wait(run_id, 5)
    assert other.get(run_id).state == "stopped"


def test_a_corrupt_manifest_is_shown_as_such(workspace):
    for name, text in {"20260101-000000-aaaa": "{", "20260101-000000-bbbb": "[]"}.items():
        (workspace.runs / name).mkdir(parents=True)
        (workspace.runs / name / "manifest.json").write_text(text)
    runs = JobRegistry(workspace).runs()
    assert [r.state for r in runs] == ["failed", "failed"]
    assert "manifest.json" in runs[0].error


@pytest.mark.parametrize("run_id", ["", "..", ".", "../runs", "a/b", "missing", "a\0b", ".hidden"])
def test_ids_from_an_address_bar_never_leave_the_runs_folder(jobs, workspace, run_id):
    workspace.runs.mkdir()
    (workspace.runs / ".hidden").mkdir()
    assert jobs.folder(run_id) is None
    assert jobs.get(run_id) is None
    assert jobs.events(run_id) == []


def test_a_run_deleted_while_it_works_does_not_come_back(jobs, workspace):
    counter = Counter()
    run_id = jobs.submit("demo", "Demo", {}, counter)
    counter.started.wait(5)
    folder = workspace.runs / run_id
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()
    assert jobs.get(run_id) is None
    jobs.stop(run_id)
    jobs._jobs[run_id].ended.wait(5)
    assert not folder.exists()


def test_no_runs_in_an_empty_workspace_and_nothing_is_created(jobs, workspace):
    assert jobs.runs() == []
    assert list(workspace.root.iterdir()) == []


def test_a_run_that_skipped_steps_does_not_spoil_the_plan(jobs, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("core.jobs.registry.time.monotonic", lambda: now[0])

    def work(*steps):
        def run(reporter, run_dir):
            for step, seconds in steps:
                reporter.progress(step, 0.0)
                now[0] += seconds
                reporter.progress(step, 1.0)
                seen.append(jobs.get(run_dir.name).fraction)

        seen = []
        params = {"dataset": "d"}
        jobs.wait(jobs.submit("demo", "Demo", params, run, plan={"gat": 1, "fusion": 1}), 5)
        return seen

    assert work(("gat", 90.0), ("fusion", 10.0)) == pytest.approx([0.5, 1.0])
    assert work(("fusion", 10.0)) == pytest.approx([1.0])
    assert work(("gat", 90.0), ("fusion", 10.0)) == pytest.approx([0.9, 1.0])
