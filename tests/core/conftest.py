"""One tiny trained pipeline, shared by all tests that only look at it."""

from pathlib import Path

import pytest

from tests.core.small_dataset import Recorder, SmallRun, small_config, write_dataset


@pytest.fixture(scope="session")
def small_dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a small data set; not to be changed."""
    return write_dataset(tmp_path_factory.mktemp("datasets") / "small")


@pytest.fixture(scope="session")
def shared_run(small_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> SmallRun:
    """The small data set, trained and compared once; not to be changed."""
    from core.pipeline import train_fusion
    from core.workspace import Workspace

    root = tmp_path_factory.mktemp("shared")
    workspace, config, recorder = (
        Workspace(root / "workspace"),
        small_config(small_dataset),
        Recorder(),
    )
    results = train_fusion(config, workspace, root / "run", recorder)
    return SmallRun(small_dataset, workspace, root / "run", config, results, recorder)


@pytest.fixture
def small_run(shared_run: SmallRun, tmp_path: Path) -> SmallRun:
    """A copy of the shared run that may be changed."""
    return shared_run.copy(tmp_path / "copy")
