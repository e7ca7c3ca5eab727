import pytest

from core.captures.catalogue import build_catalogue
from core.errors import InputError
from core.jobs.registry import JobRegistry
from dashboard.removal import made_from, remove, runs_with
from tests.dashboard.run_folders import write_run


@pytest.fixture
def mine(workspace):
    """A data set with a cache and detectors."""
    folder = workspace.datasets / "mine" / "train_01"
    folder.mkdir(parents=True)
    (folder / "a.log").write_text("(1.0) can0 123#00\n")
    for path in (
        workspace.prediction_cache("mine", "commissioned"),
        workspace.detectors("mine", "zero-shot") / "final" / "vgae.safetensors",
        workspace.agent("mine"),
        workspace.agent("yours"),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * 1500)
    build_catalogue("mine", workspace)
    return JobRegistry(workspace)


def test_what_was_made_from_a_data_set_is_listed_with_its_size(mine):
    assert [str(made) for made in made_from("mine", mine)] == [
        "prediction cache, commissioned (1.5 kB)",
        "detectors, zero-shot (1.5 kB)",
        "fusion agent and policy (1.5 kB)",
    ]
    assert made_from("other", mine) == []


def test_finished_runs_are_counted(mine):
    write_run(mine.workspace)
    assert (runs_with("demo", mine), runs_with("mine", mine)) == (1, 0)


def test_removing_keeps_what_was_made_unless_asked(mine):
    remove("mine", mine, and_what_was_made=False)
    assert not (mine.workspace.datasets / "mine").exists()
    assert len(made_from("mine", mine)) == 3
    assert list((mine.workspace.catalogue / "files").iterdir()) == []


def test_removing_all_leaves_other_data_sets_alone(mine):
    remove("mine", mine, and_what_was_made=True)
    assert made_from("mine", mine) == []
    assert mine.workspace.agent("yours").exists()


def test_a_data_set_in_use_is_not_removed(mine):
    def work(reporter, run_dir):
        while True:
            reporter.check()

    run_id = mine.submit("cache", "Cache", {"dataset": "mine"}, work)
    with pytest.raises(InputError, match="stop it first"):
        remove("mine", mine, and_what_was_made=True)
    assert (mine.workspace.datasets / "mine").exists()
    mine.stop(run_id)
    mine.wait(run_id, 5)
