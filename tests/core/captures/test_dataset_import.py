"""Imports: whole or not at all, stopped, gone on with, without what is also trained on."""

import errno
import json
import os
import shutil
from collections import namedtuple
from pathlib import Path

import pytest

from core.captures import dataset_import, demo
from core.captures.dataset import list_datasets, open_dataset
from core.captures.dataset_import import (
    UnfinishedImport,
    discard_import,
    import_dataset,
    unfinished_imports,
)
from core.captures.formats import can_train_and_test_csv
from core.errors import DatasetError, JobStopped, StorageError
from core.progress import SilentReporter
from core.workspace import Workspace
from tests.core.captures.capture_strategies import table_of

FREE, ATTACKED, TEST = "train_01_attack_free", "train_02_with_attacks", "test_01_known"


class Stopper(SilentReporter):
    """Asks to stop at the given check; remembers what it was told."""

    def __init__(self, at: int = 10**9) -> None:
        self.left, self.lines, self.steps = at, list[str](), list[float]()

    def progress(self, step: str, fraction: float, message: str = "") -> None:
        assert 0 <= fraction <= 1
        self.steps.append(fraction)

    def log(self, message: str) -> None:
        self.lines.append(message)

    def check(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise JobStopped("stopped")


def put(root: Path, key: str, start: float) -> Path:
    can_train_and_test_csv.write(table_of([(start + 0.5, 1, 0, 1, b"a", 0)]), root / key)
    return root / key


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A data set of three captures with other things beside them."""
    root = tmp_path / "source"
    put(root, f"{FREE}/a.csv", 1)
    put(root, f"{ATTACKED}/b.csv", 2)
    put(root, f"{TEST}/c.csv", 3)
    (root / "README.md").write_text("hello")
    (root / FREE / "metadata.json").write_text("{}")
    (root / FREE / ".hidden").write_text("")
    (root / FREE / "more").mkdir()
    return root


def in_datasets(workspace: Workspace) -> list[str]:
    return sorted(entry.name for entry in workspace.datasets.iterdir())


def die_while_copying(
    monkeypatch: pytest.MonkeyPatch, source: Path, workspace: Workspace, after: int
) -> None:
    """Import until some files are copied; then the process is gone, as it were."""

    class Died(BaseException):
        pass

    class Dying(Stopper):
        def check(self) -> None:
            copied = [*workspace.datasets.glob(".importing-*/*/[!.]*")]
            if len(copied) >= after:
                raise Died

    with pytest.raises(Died):
        import_dataset(source, "mine", workspace, Dying())


def test_splits_are_copied_with_what_lies_beside_captures(
    source: Path, workspace: Workspace
) -> None:
    dataset = import_dataset(source, "copy", workspace)
    assert [c.key for c in dataset.captures] == [
        f"{FREE}/a.csv",
        f"{ATTACKED}/b.csv",
        f"{TEST}/c.csv",
    ]
    assert sorted(p.name for p in (dataset.root / FREE).iterdir()) == ["a.csv", "metadata.json"]
    assert sorted(p.name for p in dataset.root.iterdir()) == [TEST, FREE, ATTACKED]
    assert in_datasets(workspace) == ["copy"]
    assert open_dataset("copy", workspace) == dataset


def test_the_mark_of_simulation_comes_along(source: Path, workspace: Workspace) -> None:
    (source / demo.MARKER).write_text(json.dumps({"simulated": True, "seed": 3}))
    assert import_dataset(source, "copy", workspace).simulated
    assert open_dataset("copy", workspace).simulated


@pytest.mark.parametrize(
    "name",
    ["demo", "taken", "", " taken ", "a/b", "..", ".hidden", "x\ny", "a\\b", "a\ud800", "a\u202eb"],
)
def test_names_that_are_taken_or_none_are_refused(
    source: Path, workspace: Workspace, name: str
) -> None:
    kept = put(workspace.datasets, f"taken/{FREE}/x.csv", 1)
    with pytest.raises(DatasetError):
        import_dataset(source, name, workspace)
    assert kept.exists()
    assert in_datasets(workspace) == ["taken"]


@pytest.mark.parametrize(
    "name", ["Übung 3", "車両データ", "автомобиль", "می\u200cخودرو", "🚗", "a'b & c (2)", "x" * 200]
)
def test_any_name_that_a_person_types_is_fine(
    source: Path, workspace: Workspace, name: str
) -> None:
    assert import_dataset(source, name, workspace).name == name
    assert name in list_datasets(workspace)


def test_both_ways_to_write_an_umlaut_are_one_name(source: Path, workspace: Workspace) -> None:
    assert import_dataset(source, "U\u0308bung", workspace).name == "\u00dcbung"
    with pytest.raises(DatasetError, match="already"):
        import_dataset(source, "\u00dcbung", workspace)


def test_what_is_no_data_set_leaves_nothing(tmp_path: Path, workspace: Workspace) -> None:
    (tmp_path / "empty").mkdir()
    for source in (tmp_path / "empty", tmp_path / "missing"):
        with pytest.raises(DatasetError, match=source.name):
            import_dataset(source, "x", workspace)
    assert not workspace.datasets.exists()


@pytest.mark.parametrize("at", range(11))
def test_a_stopped_import_leaves_nothing(source: Path, workspace: Workspace, at: int) -> None:
    with pytest.raises(JobStopped):
        import_dataset(source, "mine", workspace, Stopper(at))
    assert in_datasets(workspace) == []
    assert unfinished_imports(workspace) == []


def test_a_full_disk_leaves_nothing(
    source: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, ns: tuple[int, int]) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "utime", full)
    with pytest.raises(StorageError, match="No space left on device"):
        import_dataset(source, "mine", workspace)
    assert in_datasets(workspace) == []


def test_too_little_space_is_told_before_anything_is_copied(
    source: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10, 9, 1))
    monkeypatch.setattr(dataset_import, "_copy_file", lambda *a: pytest.fail("copied"))
    with pytest.raises(StorageError, match="not enough space"):
        import_dataset(source, "mine", workspace)
    assert in_datasets(workspace) == []


def test_an_import_that_died_goes_on_where_it_was(
    source: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    die_while_copying(monkeypatch, source, workspace, after=2)
    assert list_datasets(workspace) == ["demo"]
    assert unfinished_imports(workspace) == [UnfinishedImport("mine", str(source))]
    copied: list[str] = []
    copy_file = dataset_import._copy_file

    def counted(file: Path, *rest: object) -> None:
        copied.append(file.name)
        copy_file(file, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(dataset_import, "_copy_file", counted)
    dataset = import_dataset(source, "mine", workspace)
    assert len(dataset.captures) == 3
    assert copied == ["b.csv", "c.csv"]
    assert in_datasets(workspace) == ["mine"]
    assert list(dataset.root.rglob(".*")) == []


def test_an_import_that_died_is_not_mixed_with_another_source(
    source: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    die_while_copying(monkeypatch, source, workspace, after=2)
    put(tmp_path / "other", f"{FREE}/z.csv", 9)
    dataset = import_dataset(tmp_path / "other", "mine", workspace)
    assert [c.key for c in dataset.captures] == [f"{FREE}/z.csv"]
    assert [p.name for p in dataset.root.rglob("*.*")] == ["z.csv"]


def test_an_import_that_died_can_be_thrown_away(
    source: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    die_while_copying(monkeypatch, source, workspace, after=1)
    discard_import("mine", workspace)
    assert in_datasets(workspace) == []


def test_one_name_is_imported_once_at_a_time(source: Path, workspace: Workspace) -> None:
    seen = []

    class Second(Stopper):
        def check(self) -> None:
            if not seen:
                seen.append(unfinished_imports(workspace))
                with pytest.raises(DatasetError, match="being imported right now"):
                    import_dataset(source, "mine", workspace)

    assert len(import_dataset(source, "mine", workspace, Second()).captures) == 3
    assert seen == [[]]


def test_test_captures_that_are_also_trained_on_are_left_out_when_asked(
    source: Path, workspace: Workspace
) -> None:
    shutil.copy(source / ATTACKED / "b.csv", source / TEST / "leak.csv")
    shutil.copy(source / FREE / "metadata.json", source / TEST / "metadata.json")
    reporter = Stopper()
    dropped = import_dataset(source, "dropped", workspace, reporter, drop_duplicates=True)
    assert [c.name for c in dropped.tests[TEST]] == ["c.csv"]
    assert (dropped.root / TEST / "metadata.json").exists()
    assert dropped.warnings == ()
    assert reporter.lines == [f"{TEST}/leak.csv left out: same content as {ATTACKED}/b.csv"]
    reporter = Stopper()
    kept = import_dataset(source, "kept", workspace, reporter)
    assert [c.name for c in kept.tests[TEST]] == ["c.csv", "leak.csv"]
    assert "a test capture is also trained on" in reporter.lines[0]


def test_a_source_that_goes_away_is_named(
    source: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Remover(Stopper):
        def check(self) -> None:
            (source / TEST / "c.csv").unlink(missing_ok=True)

    with pytest.raises(DatasetError, match=r"c\.csv: cannot be read"):
        import_dataset(source, "mine", workspace, Remover())
    assert list_datasets(workspace) == ["demo"]
    assert [u.name for u in unfinished_imports(workspace)] == ["mine"]
