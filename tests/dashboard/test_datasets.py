import pytest

from core.errors import DatasetError, InputError
from core.jobs.registry import JobRegistry
from dashboard.datasets import (
    caches,
    captures,
    delete_cache,
    is_simulated,
    names_of_datasets,
    overview,
    source_folder,
)


@pytest.fixture
def mine(workspace):
    for split in ("train_01_attack_free", "test_01_x", "notes"):
        folder = workspace.datasets / "mine" / split
        folder.mkdir(parents=True)
        (folder / "a.csv").write_text("x" * 1500)
        (folder / ".hidden.csv").write_text("x")
    return workspace


def test_the_demo_is_always_offered_and_comes_first(workspace, mine):
    assert names_of_datasets(workspace) == ["demo", "mine"]
    assert is_simulated(workspace, "demo")
    assert not is_simulated(workspace, "mine")


def test_only_captures_in_split_folders_are_listed(workspace, mine):
    assert list(captures(workspace, "mine")) == ["train_01_attack_free", "test_01_x"]
    row = overview(workspace).set_index("Data set").loc["mine"]
    assert (row["Origin"], row["Training captures"]) == ("recorded", "1 in 1 split")


def test_a_cache_can_be_deleted_unless_a_run_uses_it(workspace, mine):
    cache = caches(workspace, "mine")[0]
    cache.path.parent.mkdir(parents=True)
    cache.path.write_bytes(b"x")
    (cache, _) = caches(workspace, "mine")
    assert cache.exists
    jobs = JobRegistry(workspace)

    def work(reporter, run_dir):
        while True:
            reporter.check()

    run_id = jobs.submit("cache", "Cache", {"dataset": "mine"}, work)
    with pytest.raises(InputError, match="stop it first"):
        delete_cache(cache, "mine", jobs)
    jobs.stop(run_id)
    jobs.wait(run_id, 5)
    delete_cache(cache, "mine", jobs)
    assert not cache.path.exists()


@pytest.mark.parametrize("text", ["", "relative/path", "/no/such/folder", "a\0b"])
def test_folders_that_cannot_be_imported_are_refused(text):
    with pytest.raises(DatasetError):
        source_folder(text)


def test_a_folder_without_training_splits_says_what_was_expected(workspace, mine):
    with pytest.raises(DatasetError, match="train_01_attack_free"):
        source_folder(str(workspace.datasets))
    assert source_folder(str(workspace.datasets / "mine")) == workspace.datasets / "mine"


def test_only_folders_below_allowed_roots_are_imported(workspace, mine, tmp_path, monkeypatch):
    folder = workspace.datasets / "mine"
    allowed = tmp_path / "allowed"
    allowed.mkdir()
    monkeypatch.setenv("CANFUSION_IMPORT_ROOTS", f"{allowed}:/no/such/root")
    with pytest.raises(DatasetError, match="may not be imported"):
        source_folder(str(folder))
    # A link below the root that leads out of it is followed before it is judged.
    (allowed / "link").symlink_to(folder)
    with pytest.raises(DatasetError, match="may not be imported"):
        source_folder(str(allowed / "link"))
    monkeypatch.setenv("CANFUSION_IMPORT_ROOTS", str(workspace.root))
    assert source_folder(str(folder)) == folder
