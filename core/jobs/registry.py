"""All runs of a workspace: started in background threads, found again after a restart.

One registry per process and workspace (:func:`registry`). It knows nothing of the dashboard: a page
keeps a run's id and asks; a refreshed page or a second tab asks again and sees the same run.
"""

import functools
import logging
import os
import queue
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from core.errors import InputError, JobStopped, StorageError
from core.jobs.estimate import Estimate
from core.jobs.events import Event, EventLog, finite, read_events
from core.jobs.run import (
    DONE,
    FAILED,
    INTERRUPTED,
    PAUSED,
    QUEUED,
    RUNNING,
    STOPPED,
    STOPPING,
    Run,
    load_manifest,
    lock,
    new_folder,
    save_manifest,
)
from core.progress import Reporter
from core.workspace import Workspace

logger = logging.getLogger(__name__)

JobFunction = Callable[[Reporter, Path], None]
"""``function(reporter, run_dir)``; returns when done, raises when not."""

SWITCH_INTERVAL_S = 0.0005
"""How long a job's thread may hold the interpreter while a page waits for it (Python's default of
5 ms makes pages several times slower)."""
KEPT_JOBS = 50
"""Ended runs whose events stay in memory."""
PROGRESS_EVERY_S, MANIFEST_EVERY_S = 0.2, 2.0
"""Least time between two progress events, and between two manifests, of a run."""


@functools.cache
def _registry(root: Path) -> "JobRegistry":
    return JobRegistry(Workspace(root))


_one_at_a_time = threading.Lock()


def registry(workspace: Workspace) -> "JobRegistry":
    """The registry of a workspace in this process; made on first use."""
    with _one_at_a_time:
        return _registry(workspace.root.resolve())


class JobRegistry:
    """Starts, stops and lists the runs of one workspace. Safe between threads."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self._jobs: dict[str, _Job] = {}
        self._queues: dict[str, queue.SimpleQueue[_Job]] = {}
        self._seen: dict[str, tuple[int, Run]] = {}
        self._lock = threading.RLock()
        self.runs()

    def submit(
        self,
        kind: str,
        title: str,
        params: Mapping[str, Any],
        function: JobFunction,
        *,
        device: str = "cpu",
        plan: Mapping[str, float] | None = None,
        join: bool = False,
    ) -> str:
        """Queue ``function`` behind the other runs of ``device``; returns the run's id.

        Args:
            kind: what it does, one word; runs of a kind share their experience of durations.
            title: what a person reads.
            params: what it does it with, fit for JSON.
            plan: step -> expected share of the time, until a run of the kind has been measured.
            join: return the id of an unfinished run of the same kind and parameters, if there is
                one, instead of starting it twice.

        Raises:
            StorageError: if the run's folder cannot be written.
        """
        with self._lock:
            if join:
                for run in self.runs():
                    if run.active and run.kind == kind and dict(run.params) == dict(params):
                        return run.id
            folder = new_folder(self.workspace.runs)
            run = Run(folder.name, kind, title, dict(params), device, created=time.time())
            job = _Job(folder, run, function, Estimate(self._plan(kind, params, plan or {})))
            self._jobs[run.id] = job
            ended = [id for id, earlier in self._jobs.items() if earlier.ended.is_set()]
            for id in ended[:-KEPT_JOBS]:
                del self._jobs[id]
            if device not in self._queues:
                self._queues[device] = queue.SimpleQueue()
                threading.Thread(
                    target=_work, args=(self._queues[device],), name=f"jobs-{device}", daemon=True
                ).start()
            self._queues[device].put(job)
        return run.id

    def runs(self) -> list[Run]:
        """All runs, newest first."""
        with self._lock:
            try:
                folders = sorted(
                    (f for f in self.workspace.runs.iterdir() if f.is_dir() and f.name[0] != "."),
                    reverse=True,
                )
            except FileNotFoundError:
                return []
            return [self._look(folder) for folder in folders]

    def get(self, run_id: str) -> Run | None:
        """One run, or None if there is none of that id (or no longer)."""
        folder = self.folder(run_id)
        if folder is None:
            return None
        with self._lock:
            return self._look(folder)

    def folder(self, run_id: str) -> Path | None:
        """The folder of a run, or None if there is none of that id (or no longer)."""
        # The id comes from an address bar: only a plain name of an existing folder is an id.
        if not run_id or run_id[0] == "." or Path(run_id).name != run_id or "\0" in run_id:
            return None
        folder = self.workspace.runs / run_id
        return folder if folder.is_dir() else None

    def events(self, run_id: str, after: int = 0) -> list[Event]:
        """What a run has said since event number ``after``, oldest first."""
        job = self._jobs.get(run_id)
        if job is not None:
            return job.events.after(after)
        folder = self.folder(run_id)
        if folder is None:
            return []
        return [e for e in read_events(folder / "events.jsonl")[0] if e["seq"] > after]

    def stop(self, run_id: str) -> bool:
        """Ask a run to stop at its next check; False if it is not active in this process."""
        job = self._jobs.get(run_id)
        return job is not None and job.ask_to_stop()

    def pause(self, run_id: str) -> bool:
        """Hold a running run at its next check; False if it is not running in this process."""
        job = self._jobs.get(run_id)
        return job is not None and job.pause()

    def resume(self, run_id: str) -> bool:
        """Let a paused run go on; False if it is not paused in this process."""
        job = self._jobs.get(run_id)
        return job is not None and job.resume()

    def wait(self, run_id: str, timeout_s: float | None = None) -> Run | None:
        """Block until a run of this process has ended, or until the time is over."""
        job = self._jobs.get(run_id)
        if job is not None:
            job.ended.wait(timeout_s)
        return self.get(run_id)

    def _plan(
        self, kind: str, params: Mapping[str, Any], plan: Mapping[str, float]
    ) -> Mapping[str, float]:
        """Seconds per step as last measured on the same data set, or ``plan`` until all are."""
        measured: dict[str, float] = {}
        for run in self.runs():
            same = run.kind == kind and run.dataset == str(params.get("dataset", ""))
            if same and run.state == DONE:
                # A run that found its cache fresh measured only the rest.
                measured = dict(run.seconds) | measured
        if not set(plan) <= set(measured):
            return plan
        return {step: measured[step] for step in plan} | measured

    def _look(self, folder: Path) -> Run:
        job = self._jobs.get(folder.name)
        if job is not None:
            return job.snapshot()
        try:
            changed = (folder / "manifest.json").stat().st_mtime_ns
        except OSError:
            changed = -1
        seen = self._seen.get(folder.name)
        run = seen[1] if seen and seen[0] == changed else load_manifest(folder)
        if run.active:
            run = _mark_if_abandoned(folder, run)
        self._seen[folder.name] = (changed, run)
        return run


class _Job:
    """A run of this process: what it is, and the listener that its function talks to."""

    def __init__(self, folder: Path, run: Run, function: JobFunction, estimate: Estimate) -> None:
        self.folder, self.function = folder, function
        self.ended = threading.Event()
        self.events = EventLog(folder / "events.jsonl")
        self._run, self._estimate = run, estimate
        self._changed = threading.Condition()
        self._stop = False
        self._worked_s, self._step_since = 0.0, 0.0
        self._since: float | None = None
        self._last_progress = self._last_manifest = 0.0
        self._claim = lock(folder)
        self._save()
        self.events.append("state", state=run.state)

    def snapshot(self) -> Run:
        with self._changed:
            return replace(self._run, seconds=dict(self._run.seconds))

    # What the registry asks of a job.

    def ask_to_stop(self) -> bool:
        with self._changed:
            if not self._run.active:
                return False
            self._stop = True
            if self._run.state == QUEUED:
                self._end(STOPPED)
            elif self._run.state != STOPPING:
                self._enter(STOPPING)
            self._changed.notify_all()
            return True

    def pause(self) -> bool:
        with self._changed:
            if self._run.state != RUNNING:
                return False
            self._enter(PAUSED)
            return True

    def resume(self) -> bool:
        with self._changed:
            if self._run.state != PAUSED:
                return False
            self._enter(RUNNING)
            self._changed.notify_all()
            return True

    def execute(self) -> None:
        with self._changed:
            if self._run.state != QUEUED:
                return
            self._run = replace(self._run, started=time.time())
            self._enter(RUNNING)
        try:
            self.function(self, self.folder)
        except JobStopped:
            self._finish(STOPPED)
        except InputError as error:
            self._finish(FAILED, " ".join(str(error).split()))
        # The thread's boundary: whatever a job dies of has to reach the user, and the worker has to
        # live on for the next run.
        except Exception as error:  # noqa: BLE001
            self._finish(FAILED, f"{type(error).__name__}: {error}", traceback.format_exc())
        else:
            self._finish(DONE)

    # What the job's function calls: core.progress.Reporter.

    def progress(self, step: str, fraction: float, message: str = "") -> None:
        with self._changed:
            now = time.monotonic()
            new_step = step != self._run.step
            self._count_seconds(now)
            overall = self._estimate.update(step, fraction, self._elapsed(now))
            self._run = replace(
                self._run,
                step=step,
                message=message,
                fraction=overall,
                remaining_s=self._estimate.remaining_s(),
            )
            if not (new_step or fraction >= 1 or now - self._last_progress >= PROGRESS_EVERY_S):
                return
            self._last_progress = now
            if now - self._last_manifest >= MANIFEST_EVERY_S:
                self._save()
        self.events.append(
            "progress",
            step=step,
            fraction=round(min(max(float(fraction), 0.0), 1.0), 4),
            overall=round(overall, 4),
            message=message,
        )

    def metrics(self, step: str, values: Mapping[str, float]) -> None:
        self.events.append("metrics", step=step, values=finite(values))

    def log(self, message: str) -> None:
        self.events.append("log", message=message)

    def check(self) -> None:
        with self._changed:
            while self._run.state == PAUSED and not self._stop:
                self._changed.wait()
            if self._stop:
                raise JobStopped("stopped by the user")

    # Bookkeeping; callers hold the condition.

    def _enter(self, state: str) -> None:
        now = time.monotonic()
        if self._since is not None:
            self._count_seconds(now)
            self._worked_s += now - self._since
        self._since = self._step_since = now
        if state == PAUSED:
            self._since = None
        self._run = replace(self._run, state=state)
        self._save()
        self._note_state()

    def _end(self, state: str, error: str = "") -> None:
        self._count_seconds(time.monotonic())
        self._run = replace(
            self._run,
            state=state,
            error=error,
            finished=time.time(),
            remaining_s=None,
            fraction=1.0 if state == DONE else self._run.fraction,
        )
        self._save()
        self._note_state()
        if self._claim is not None:
            os.close(self._claim)
            self._claim = None
        self.ended.set()

    def _finish(self, state: str, error: str = "", details: str = "") -> None:
        with self._changed:
            if details:
                logger.error("run %s failed\n%s", self._run.id, details)
                self._note("log", message=details)
            self._end(state, error)

    def _note_state(self) -> None:
        error = {"error": self._run.error} if self._run.error else {}
        self._note("state", state=self._run.state, **error)

    def _note(self, type: str, **values: Any) -> None:
        try:
            self.events.append(type, **values)
        except StorageError as error:
            logger.error("%s", error)

    def _save(self) -> None:
        # The state in memory stays true when the disk is full or the folder was deleted.
        self._last_manifest = time.monotonic()
        try:
            save_manifest(self.folder, self._run)
        except StorageError as error:
            logger.error("%s", error)

    def _elapsed(self, now: float) -> float:
        return self._worked_s + (now - self._since if self._since is not None else 0.0)

    def _count_seconds(self, now: float) -> None:
        if self._run.step and self._since is not None:
            seconds = dict(self._run.seconds)
            spent = seconds.get(self._run.step, 0.0) + now - self._step_since
            seconds[self._run.step] = round(spent, 3)
            self._run = replace(self._run, seconds=seconds)
        self._step_since = now


def _work(waiting: "queue.SimpleQueue[_Job]") -> None:
    """Execute one device's jobs, one after the other, for as long as the process lives."""
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    while True:
        waiting.get().execute()


def _mark_if_abandoned(folder: Path, run: Run) -> Run:
    """Turn an active run that no living process owns into an interrupted one."""
    try:
        claim = lock(folder)
    except OSError:
        return run
    if claim is None:
        return run
    try:
        # Read again under the claim: its owner may have finished it a moment ago.
        run = load_manifest(folder)
        if not run.active:
            return run
        run = replace(
            run,
            state=INTERRUPTED,
            error="the server ended before the run did",
            remaining_s=None,
        )
        save_manifest(folder, run)
        EventLog(folder / "events.jsonl").append("state", state=run.state, error=run.error)
    except StorageError as error:
        logger.error("%s", error)
    finally:
        os.close(claim)
    return run
