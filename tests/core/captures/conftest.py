"""Where the tests of the captures find real recordings and write small files."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real captures, which are not part of the project."""
    folder = Path(os.environ.get("CANFUSION_DATA") or ROOT.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"no real captures at {folder}; CANFUSION_DATA may name the folder")
    return folder


@pytest.fixture(scope="session")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that lives as long as the session, for tests that hypothesis repeats."""
    return tmp_path_factory.mktemp("captures")
