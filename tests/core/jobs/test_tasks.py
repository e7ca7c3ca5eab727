import sys
import types

import pytest

from core.config import create_fusion_config
from core.errors import ConfigError, DatasetError
from core.jobs import tasks
from core.jobs.registry import JobRegistry
from core.workspace import Workspace


@pytest.fixture
def jobs(tmp_path):
    return JobRegistry(Workspace(tmp_path))


@pytest.fixture
def pipeline(monkeypatch):
    """A pipeline that notes what it was asked to do."""
    calls = []

    def train_fusion(config, workspace, run_dir, reporter):
        calls.append(("fusion", config.data.dataset, run_dir.name))
        reporter.progress("fusion", 1.0)

    fake = types.ModuleType("core.pipeline")
    fake.train_fusion = train_fusion
    fake.train_detectors = lambda config, workspace, reporter: calls.append(("detectors",))
    fake.build_cache = lambda config, workspace, reporter: calls.append(("cache",))
    monkeypatch.setitem(sys.modules, "core.pipeline", fake)
    monkeypatch.setattr(tasks, "_cap_threads", lambda: None)
    return calls


@pytest.mark.parametrize("kind", ["detectors", "cache"])
def test_kinds_call_their_step_of_the_pipeline(jobs, pipeline, kind):
    run = jobs.wait(tasks.start(jobs, kind, create_fusion_config()), 10)
    assert (run.kind, run.state) == (kind, "done")
    assert pipeline == [(kind,)]


@pytest.mark.parametrize("kind", ["demo", "fusion"])
def test_fusion_runs_the_whole_way_into_the_run_folder(jobs, pipeline, kind):
    run = jobs.wait(tasks.start(jobs, kind, create_fusion_config("demo")), 10)
    assert pipeline == [("fusion", "demo", run.id)]
    assert run.params["config"]["agent"]["hidden_dims"] == [64, 64]


def test_an_unknown_kind_names_the_known_ones(jobs):
    with pytest.raises(ConfigError, match="detectors"):
        tasks.start(jobs, "dance", create_fusion_config())


def test_a_bad_import_fails_with_a_message(jobs, monkeypatch, tmp_path):
    def import_dataset(source, name, workspace, reporter):
        raise DatasetError(f"{source} holds no captures")

    fake = types.ModuleType("core.captures.dataset")
    fake.import_dataset = import_dataset
    monkeypatch.setitem(sys.modules, "core.captures.dataset", fake)
    run = jobs.wait(tasks.start_import(jobs, tmp_path / "x", "mine"), 10)
    assert run.state == "failed"
    assert "holds no captures" in run.error


def test_auto_uses_the_queue_of_a_device_that_is_there():
    assert tasks.queue_of("auto") in ("cpu", "cuda")
    assert tasks.queue_of("cuda") == "cuda"
