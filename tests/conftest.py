"""Fixtures and settings for all tests."""

import os
import sys
from pathlib import Path

import hypothesis
import pytest

from core.workspace import Workspace

ROOT = Path(__file__).parents[1]

# Small tensors are no faster with more threads, and the tests themselves run side by side. Set
# before anything loads torch, numpy or OpenMP, here and in the processes that tests start.
for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, "1")

hypothesis.settings.register_profile("default", deadline=None, max_examples=50)
hypothesis.settings.register_profile("ci", deadline=None, max_examples=100, derandomize=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "default")


@pytest.fixture(autouse=True)
def _one_torch_thread() -> None:
    """Keep torch at one thread without loading it for tests that do not need it."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.get_num_threads() != 1:
        torch.set_num_threads(1)


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """An empty workspace, which is also the default one, here and in processes started here."""
    root = tmp_path / "workspace"
    monkeypatch.setenv("CANFUSION_WORKSPACE", str(root))
    return Workspace(root)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real captures; skips where there is none."""
    folder = Path(os.environ.get("CANFUSION_DATA") or ROOT.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"no real captures in {folder} (CANFUSION_DATA names another folder)")
    return folder
