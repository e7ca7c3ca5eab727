"""Runs of the command line: in the foreground, but listed in the dashboard like any other run."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from core.jobs.registry import JobFunction, registry
from core.jobs.tasks import PLANS
from core.progress import Reporter, StreamReporter
from core.workspace import Workspace


class LabelledReporter(StreamReporter):
    """A stream reporter whose lines say which of several runs they come from."""

    def __init__(self, label: str = "", min_interval_s: float = 0.5) -> None:
        super().__init__(min_interval_s=min_interval_s)
        self.label = label

    def log(self, message: str) -> None:
        super().log(f"{self.label}{message}")


class Both:
    """Passes everything on to two listeners."""

    def __init__(self, first: Reporter, second: Reporter) -> None:
        self.listeners = (first, second)

    def progress(self, step: str, fraction: float, message: str = "") -> None:
        for listener in self.listeners:
            listener.progress(step, fraction, message)

    def metrics(self, step: str, values: Mapping[str, float]) -> None:
        for listener in self.listeners:
            listener.metrics(step, values)

    def log(self, message: str) -> None:
        for listener in self.listeners:
            listener.log(message)

    def check(self) -> None:
        for listener in self.listeners:
            listener.check()


def run_in_foreground(
    workspace: Workspace,
    kind: str,
    title: str,
    params: Mapping[str, Any],
    function: JobFunction,
    reporter: Reporter | None = None,
) -> Path:
    """Run ``function`` as a recorded run, wait for its end and return its folder.

    Whatever the function raises is recorded, and raised here. An interrupt stops the run at its
    next check before it is raised here; a second one does not wait for that.

    Args:
        reporter: also listens to the run; lines on standard error by default.
    """
    echo = reporter or LabelledReporter()
    failures: list[BaseException] = []

    def job(recorder: Reporter, run_dir: Path) -> None:
        try:
            function(Both(recorder, echo), run_dir)
        except BaseException as error:
            failures.append(error)
            raise

    jobs = registry(workspace)
    run_id = jobs.submit(kind, title, params, job, plan=PLANS.get(kind))
    try:
        jobs.wait(run_id)
    except KeyboardInterrupt:
        jobs.stop(run_id)
        jobs.wait(run_id)
        raise
    if failures:
        raise failures[0]
    folder = jobs.folder(run_id)
    if folder is None:
        raise RuntimeError(f"the folder of run {run_id} is gone")
    return folder
