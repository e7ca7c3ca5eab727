import dataclasses
import json
import os

import pytest

from core.config import create_fusion_config, override
from core.errors import InputError
from core.jobs.registry import JobRegistry
from core.jobs.run import INTERRUPTED, load_manifest, save_manifest
from dashboard import again
from dashboard.again import can_go_on, differences, go_on, last_checkpoint, settings_of_run
from dashboard.run_actions import delete_run
from tests.dashboard.run_folders import RUN_ID, write_run


@pytest.fixture
def started(monkeypatch):
    """What would have been started."""
    found = []
    monkeypatch.setattr(again, "start", lambda jobs, kind, config: found.append((kind, config)))
    return found


def interrupted(workspace, run_id=RUN_ID, **changes):
    folder = write_run(workspace, run_id, state=INTERRUPTED, results=False)
    config = create_fusion_config(training={"max_epochs": 7}).to_dict()
    run = load_manifest(folder)
    params = {**run.params, "config": json.loads(json.dumps(config))}
    run = dataclasses.replace(run, params=params, step="fusion", **changes)
    save_manifest(folder, run)
    return run


def test_only_changed_settings_are_told_with_both_values():
    base = create_fusion_config()
    changed = override(base, {"training.max_epochs": 3, "agent.hidden_dims": (8,)})
    assert differences(base, base) == []
    assert differences(changed, base) == [
        ("agent.hidden_dims", base.agent.hidden_dims, (8,)),
        ("training.max_epochs", base.training.max_epochs, 3),
    ]


def test_an_interrupted_run_goes_on_with_its_settings(workspace, started):
    run = interrupted(workspace)
    assert can_go_on(run)
    go_on(run, JobRegistry(workspace))
    ((kind, config),) = started
    assert (kind, config.training.max_epochs, config.training.resume_from) == ("fusion", 7, "")


def test_fusion_goes_on_from_its_own_last_checkpoint_only(workspace, started):
    run = interrupted(workspace)
    jobs = JobRegistry(workspace)
    checkpoint = workspace.checkpoints("demo") / "last.ckpt"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.write_bytes(b"x")
    go_on(run, jobs)
    assert started[0][1].training.resume_from == str(checkpoint)
    # Older than the run: left by another one.
    os.utime(checkpoint, (run.started - 10, run.started - 10))
    assert last_checkpoint(run, jobs) is None
    # A later run on the data set may have written it.
    os.utime(checkpoint)
    interrupted(workspace, "20260303-120000-cafe", started=run.started + 5)
    assert last_checkpoint(run, jobs) is None


def test_settings_of_another_version_are_refused_in_words(workspace):
    run = interrupted(workspace)
    params = {**run.params, "config": {"agent": {"no_such": 1}}}
    run = dataclasses.replace(run, params=params)
    with pytest.raises(InputError, match="of another version"):
        settings_of_run(run, workspace.runs / run.id)


def test_without_settings_nothing_is_started(workspace, started):
    run = dataclasses.replace(interrupted(workspace), params={"dataset": "demo"})
    assert settings_of_run(run, workspace.runs / run.id) is None
    with pytest.raises(InputError, match="were not kept"):
        go_on(run, JobRegistry(workspace))
    assert started == []


def test_a_run_that_is_done_has_nothing_to_go_on_with(workspace):
    folder = write_run(workspace)
    assert not can_go_on(load_manifest(folder))


def test_a_run_is_deleted_once_and_twice(workspace):
    folder = write_run(workspace)
    delete_run(RUN_ID)
    assert not folder.exists()
    delete_run(RUN_ID)
    delete_run("../..")
    assert workspace.runs.is_dir()
