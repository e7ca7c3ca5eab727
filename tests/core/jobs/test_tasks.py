import sys
import types

import pytest

from core.captures.catalogue import read_catalogue
from core.config import create_fusion_config
from core.errors import ConfigError
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
    monkeypatch.setattr(
        "core.captures.catalogue.build_catalogue",
        lambda name, *_: calls.append(("catalogue", name)),
    )
    return calls


@pytest.mark.parametrize("kind", ["detectors", "cache"])
def test_kinds_call_their_step_of_the_pipeline(jobs, pipeline, kind):
    run = jobs.wait(tasks.start(jobs, kind, create_fusion_config()), 60)
    assert (run.kind, run.state) == (kind, "done")
    assert pipeline == [(kind,)]


@pytest.mark.parametrize("kind", ["demo", "fusion"])
def test_fusion_runs_the_whole_way_into_the_run_folder(jobs, pipeline, kind):
    run = jobs.wait(tasks.start(jobs, kind, create_fusion_config("demo")), 60)
    looked_at = [("catalogue", "demo")] if kind == "demo" else []
    assert pipeline == [*looked_at, ("fusion", "demo", run.id)]
    assert run.params["config"]["agent"]["hidden_dims"] == [64, 64]


def test_an_unknown_kind_names_the_known_ones(jobs):
    with pytest.raises(ConfigError, match="detectors"):
        tasks.start(jobs, "dance", create_fusion_config())


def test_a_bad_import_fails_with_a_message(jobs, monkeypatch, tmp_path):
    run = jobs.wait(tasks.start_import(jobs, tmp_path / "x", "mine"), 60)
    assert run.state == "failed"
    assert "there is no such folder" in run.error


def test_an_import_is_catalogued(jobs, tmp_path):
    for number, split in enumerate(("train_01", "test_01", "test_02")):
        (tmp_path / "source" / split).mkdir(parents=True)
        frame = f"(1.0) can0 123#{number // 2:02}\n"
        (tmp_path / "source" / split / "a.log").write_text(frame)
    source = tmp_path / "source"
    run = jobs.wait(tasks.start_import(jobs, source, "mine", drop_duplicates=True), 60)
    assert (run.state, set(run.seconds)) == ("done", {"import", "catalogue"})
    listed = read_catalogue("mine", jobs.workspace)
    assert [(c.key, c.facts.frames) for c in listed] == [
        ("train_01/a.log", 1),
        ("test_02/a.log", 1),
    ]


def test_a_catalogue_run_says_what_cannot_be_used(jobs, tmp_path):
    folder = jobs.workspace.datasets / "mine" / "train_01"
    folder.mkdir(parents=True)
    (folder / "a.csv").write_bytes(b"\0\1\2" * 99)
    run = jobs.wait(tasks.start_catalogue(jobs, "mine"), 60)
    assert run.state == "done"
    said = [event["message"] for event in jobs.events(run.id) if event["type"] == "log"]
    assert "train_01/a.csv cannot be used" in said[0]
    gone = jobs.wait(tasks.start_catalogue(jobs, "gone"), 60)
    assert (gone.state, "no data set 'gone'" in gone.error) == ("failed", True)


def test_auto_uses_the_queue_of_a_device_that_is_there():
    assert tasks.queue_of("auto") in ("cpu", "cuda")
    assert tasks.queue_of("cuda") == "cuda"
