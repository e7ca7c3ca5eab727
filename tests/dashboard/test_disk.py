import pytest

from core.errors import InputError
from core.jobs.registry import JobRegistry
from core.jobs.run import RUNNING
from dashboard.disk import free_room, rooms, used
from tests.dashboard.run_folders import write_run


def test_files_are_counted_and_links_are_not_followed(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "x").write_bytes(b"12345")
    (tmp_path / "a" / "y").write_bytes(b"1")
    (tmp_path / "a" / "link").symlink_to(tmp_path / "a" / "y")
    assert used(tmp_path / "a") == (2, 6)
    assert used(tmp_path / "gone") == (0, 0)


def test_only_what_is_made_anew_can_be_removed(workspace):
    jobs = JobRegistry(workspace)
    (workspace.graphs / "x").mkdir(parents=True)
    workspace.datasets.mkdir()
    free_room("Graphs", jobs)
    assert not workspace.graphs.exists()
    free_room("Graphs", jobs)
    for name in ("Data sets", "Runs", "Models", "../.."):
        with pytest.raises(InputError, match="nothing that can be removed"):
            free_room(name, jobs)
    assert workspace.datasets.is_dir()


def test_nothing_is_removed_while_a_run_is_at_work(workspace, monkeypatch):
    jobs = JobRegistry(workspace)
    write_run(workspace)
    (workspace.graphs / "x").mkdir(parents=True)
    (run,) = jobs.runs()
    busy = [type(run)(run.id, run.kind, run.title, state=RUNNING)]
    monkeypatch.setattr(jobs, "runs", lambda: busy)
    with pytest.raises(InputError, match="stop it first"):
        free_room("Graphs", jobs)
    assert workspace.graphs.is_dir()


def test_every_part_lies_in_the_workspace(workspace):
    assert all(room.path.is_relative_to(workspace.root) for room in rooms(workspace))
