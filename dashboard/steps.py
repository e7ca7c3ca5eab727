"""The five steps from captures to a comparison, and which of them are done for a data set."""

from typing import NamedTuple

from core.jobs.registry import JobRegistry
from core.jobs.run import Run
from dashboard.context import COMPARISON, DATASETS, TRAINING
from dashboard.datasets import caches, captures, detectors_trained
from dashboard.formatting import ago
from dashboard.results import has_results


class Step(NamedTuple):
    """One step: whether it is done, what there is, and the page where it is done."""

    title: str
    done: bool
    text: str
    page: str


def steps(jobs: JobRegistry, dataset: str) -> list[Step]:
    """The state of every step for a data set, read from what lies in the workspace."""
    workspace = jobs.workspace
    files = sum(map(len, captures(workspace, dataset).values()))
    trained = detectors_trained(workspace, dataset)
    built = [cache for cache in caches(workspace, dataset) if cache.exists]
    agent = workspace.agent(dataset)
    finished = last_finished(jobs, dataset)
    return [
        Step(
            "Data",
            files > 0,
            f"{files} captures" if files else "made on first use",
            DATASETS,
        ),
        Step(
            "Detectors",
            trained is not None,
            f"trained {ago(trained)}" if trained else "not trained yet",
            TRAINING,
        ),
        Step(
            "Cache",
            bool(built),
            ", ".join(f"{c.protocol}, {ago(c.changed)}" for c in built) or "not built yet",
            DATASETS,
        ),
        Step(
            "Fusion",
            agent.is_file(),
            f"trained {ago(agent.stat().st_mtime)}" if agent.is_file() else "not trained yet",
            TRAINING,
        ),
        Step(
            "Compare",
            finished is not None,
            f"run of {ago(finished.created)}" if finished else "no results yet",
            COMPARISON,
        ),
    ]


def last_finished(jobs: JobRegistry, dataset: str = "") -> Run | None:
    """The newest run with results, of one data set if given."""
    for run in jobs.runs():
        if (not dataset or run.dataset == dataset) and has_results(jobs.workspace.runs / run.id):
            return run
    return None
