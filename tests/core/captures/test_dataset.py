"""Data sets: folders found, refused, imported; what is wrong is said by name."""

import json
import os
import re
import shutil
from pathlib import Path

import pytest

from core.captures import demo
from core.captures.dataset import (
    leave_out,
    left_out,
    list_datasets,
    open_dataset,
    remove_dataset,
    take_back,
)
from core.captures.dataset_import import import_dataset
from core.captures.formats import can_train_and_test_csv
from core.errors import DatasetError
from core.files import content_hash
from core.workspace import Workspace
from tests.core.captures.capture_strategies import table_of
from tests.core.small_dataset import Recorder

FREE, ATTACKED, TEST = "train_01_attack_free", "train_02_with_attacks", "test_01_known"


def put(root: Path, key: str, start: float = 0.0) -> Path:
    """A tiny capture; another ``start`` gives another content."""
    path = root / key
    can_train_and_test_csv.write(table_of([(start + 0.5, 1, 0, 1, b"a", 0)]), path)
    return path


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """An empty workspace."""
    return Workspace(tmp_path / "workspace")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data set of three captures with other things beside them."""
    root = tmp_path / "mine"
    put(root, f"{FREE}/attack-free-a.csv", 1)
    put(root, f"{ATTACKED}/DoS-a.csv", 2)
    put(root, f"{TEST}/DoS-b.csv", 3)
    (root / "README.md").write_text("hello")
    (root / ".git").mkdir()
    (root / "notes").mkdir()
    put(root, "notes/unused.csv")
    (root / FREE / "README.txt").write_text("hello")
    (root / FREE / "metadata.json").write_text("{}")
    (root / FREE / ".DoS.csv.swp").write_text("")
    (root / FREE / "more").mkdir()
    put(root, f"{FREE}/more/unused.csv")
    return root


def test_captures_are_found_by_split_and_name(folder: Path, workspace: Workspace) -> None:
    dataset = open_dataset(str(folder), workspace)
    assert dataset.name == "mine"
    assert not dataset.simulated
    assert [c.key for c in dataset.captures] == [
        f"{FREE}/attack-free-a.csv",
        f"{ATTACKED}/DoS-a.csv",
        f"{TEST}/DoS-b.csv",
    ]
    assert [c.name for c in dataset.train] == ["attack-free-a.csv", "DoS-a.csv"]
    assert {split: [c.name for c in cs] for split, cs in dataset.tests.items()} == {
        TEST: ["DoS-b.csv"]
    }
    assert all(c.sha256 == content_hash(c.path) for c in dataset.captures)
    assert dataset.warnings == ()


def test_a_capture_without_ending_is_found_by_its_content(
    folder: Path, workspace: Workspace
) -> None:
    put(folder, f"{TEST}/recording", 4)
    assert [c.name for c in open_dataset(str(folder), workspace).tests[TEST]] == [
        "DoS-b.csv",
        "recording",
    ]


def test_paths_may_be_relative_or_links(
    folder: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    assert open_dataset(".", workspace).name == "mine"
    link = folder.parent / "linked"
    link.symlink_to(folder)
    (folder / TEST / "again.csv").symlink_to(put(folder.parent, "elsewhere.csv", 9))
    dataset = open_dataset(str(link), workspace)
    assert dataset.name == "linked"
    assert [c.name for c in dataset.tests[TEST]] == ["DoS-b.csv", "again.csv"]


def test_folders_of_one_name_are_told_apart(
    folder: Path, tmp_path: Path, workspace: Workspace
) -> None:
    second = tmp_path / "elsewhere" / folder.name
    shutil.copytree(folder, second)
    assert open_dataset(str(folder), workspace).name == folder.name
    recorder = Recorder()
    other = open_dataset(str(second), workspace, recorder)
    assert re.fullmatch(rf"{folder.name}-[0-9a-f]{{8}}", other.name)
    assert other.name in recorder.messages[0]
    assert open_dataset(str(second), workspace).name == other.name
    assert open_dataset(str(folder), workspace).name == folder.name
    # Moved, it takes its name along; a data set of the workspace goes before both.
    folder.rename(tmp_path / "gone")
    assert open_dataset(str(second), workspace).name == folder.name
    shutil.copytree(second, workspace.datasets / folder.name)
    assert open_dataset(folder.name, workspace).name == folder.name
    assert open_dataset(str(workspace.datasets / folder.name), workspace).name == folder.name
    assert open_dataset(str(second), workspace).name == other.name


@pytest.mark.parametrize("junk", ["", "[]", '{"a": 1}', "\0"])
def test_a_damaged_list_of_folders_is_made_anew(
    folder: Path, workspace: Workspace, junk: str
) -> None:
    workspace.root.mkdir(parents=True)
    workspace.outside.write_text(junk)
    assert open_dataset(str(folder), workspace).name == folder.name
    assert folder.name in workspace.outside.read_text()


def test_both_ways_to_write_an_umlaut_find_a_data_set(folder: Path, workspace: Workspace) -> None:
    composed, apart = "M\u00fcnchen", "Mu\u0308nchen"
    shutil.copytree(folder, workspace.datasets / composed)
    assert open_dataset(apart, workspace).name == composed
    shutil.copytree(folder, workspace.datasets / apart)  # As another program may have named it.
    assert open_dataset(apart, workspace).name == apart


def test_a_name_means_the_workspace_first(folder: Path, workspace: Workspace) -> None:
    imported = import_dataset(folder, "mine", workspace)
    put(folder, f"{TEST}/later.csv", 4)
    assert open_dataset("mine", workspace) == imported
    assert imported.root == workspace.datasets / "mine"


def test_a_damaged_data_set_in_the_workspace_says_what_it_lacks(workspace: Workspace) -> None:
    (workspace.datasets / "half" / TEST).mkdir(parents=True)
    with pytest.raises(DatasetError, match="no capture to train on"):
        open_dataset("half", workspace)


def test_an_unknown_name_lists_what_there_is(folder: Path, workspace: Workspace) -> None:
    import_dataset(folder, "mine", workspace)
    with pytest.raises(DatasetError, match=r"no data set 'yours'.* has demo, mine"):
        open_dataset("yours", workspace)
    assert list_datasets(workspace) == ["demo", "mine"]


def test_the_demo_is_listed_before_it_is_made(workspace: Workspace) -> None:
    assert list_datasets(workspace) == ["demo"]
    assert not workspace.root.exists()


@pytest.mark.parametrize("name", ["", " ", "a\0b", "/nowhere/at/all", "../up", "x" * 300, "\ud800"])
def test_what_is_neither_name_nor_path_is_refused(name: str, workspace: Workspace) -> None:
    with pytest.raises(DatasetError):
        open_dataset(name, workspace)


def test_a_folder_without_splits_is_refused(tmp_path: Path, workspace: Workspace) -> None:
    put(tmp_path, "flat/x.csv")
    with pytest.raises(DatasetError, match=r"flat: no split folders in it; expected .*train_01"):
        open_dataset(str(tmp_path / "flat"), workspace)


def test_a_file_is_no_data_set(folder: Path, workspace: Workspace) -> None:
    with pytest.raises(DatasetError, match="there is no such folder"):
        open_dataset(str(folder / "README.md"), workspace)


def test_nothing_to_train_on_is_refused(tmp_path: Path, workspace: Workspace) -> None:
    put(tmp_path, f"d/{TEST}/x.csv")
    (tmp_path / "d" / FREE).mkdir()
    with pytest.raises(DatasetError, match=rf"no capture to train on.* got {FREE} \(0\), {TEST}"):
        open_dataset(str(tmp_path / "d"), workspace)


def test_empty_splits_are_told(folder: Path, workspace: Workspace) -> None:
    (folder / "test_09_empty").mkdir()
    dataset = open_dataset(str(folder), workspace)
    assert dataset.warnings == ("no captures in test_09_empty",)
    assert list(dataset.tests) == [TEST]


def test_equal_captures_are_told_and_louder_across_train_and_test(
    folder: Path, workspace: Workspace
) -> None:
    put(folder, f"{ATTACKED}/copy.csv", 1)
    put(folder, f"{TEST}/leak.csv", 2)
    assert open_dataset(str(folder), workspace).warnings == (
        f"{ATTACKED}/copy.csv has the same content as {FREE}/attack-free-a.csv",
        f"{TEST}/leak.csv has the same content as {ATTACKED}/DoS-a.csv: "
        "a test capture is also trained on",
    )


@pytest.mark.parametrize("name", ["DoS-b.json", "capture_metadata.json", "Labeled_DoS-b.csv"])
def test_labels_beside_a_capture_count_as_part_of_it(
    folder: Path, workspace: Workspace, name: str
) -> None:
    (bare,) = open_dataset(str(folder), workspace).tests[TEST]
    assert bare.labels_sha256 == ""
    (folder / TEST / "other.json").write_text("{}")
    seen = {bare}
    for text in ("{}", "[]"):
        (folder / TEST / name).write_text(text)
        found = open_dataset(str(folder), workspace).tests[TEST]
        seen.add(next(c for c in found if c.name == "DoS-b.csv"))
    assert len(seen) == 3
    assert {c.sha256 for c in seen} == {bare.sha256}


def test_a_dangling_link_is_named(folder: Path, workspace: Workspace) -> None:
    (folder / TEST / "gone.csv").symlink_to(folder / "nothing.csv")
    with pytest.raises(DatasetError, match=r"gone\.csv: cannot be read"):
        open_dataset(str(folder), workspace)


@pytest.mark.parametrize("name", [b"bad\xff.csv", b"new\nline.csv"])
def test_unreadable_file_names_are_refused_readably(
    folder: Path, workspace: Workspace, name: bytes
) -> None:
    bad = os.path.join(os.fsencode(folder / TEST), name)  # noqa: PTH118
    with open(bad, "wb"):  # noqa: PTH123
        pass
    with pytest.raises(DatasetError, match="rename it") as error:
        open_dataset(str(folder), workspace)
    assert str(error.value).isprintable()


def test_a_damaged_mark_still_marks(folder: Path, workspace: Workspace) -> None:
    (folder / demo.MARKER).write_text("{")
    assert open_dataset(str(folder), workspace).simulated


def test_a_removed_data_set_is_gone_whole(folder: Path, workspace: Workspace) -> None:
    import_dataset(folder, "mine", workspace)
    remove_dataset("mine", workspace)
    assert list(workspace.datasets.iterdir()) == []
    assert (folder / FREE / "attack-free-a.csv").exists()


@pytest.mark.parametrize("name", ["gone", "..", "", "a/../mine", "."])
def test_what_is_no_data_set_cannot_be_removed(
    folder: Path, workspace: Workspace, name: str
) -> None:
    kept = import_dataset(folder, "mine", workspace)
    with pytest.raises(DatasetError):
        remove_dataset(name, workspace)
    assert open_dataset("mine", workspace) == kept


def test_captures_can_be_left_out_and_taken_back(folder: Path, workspace: Workspace) -> None:
    before = import_dataset(folder, "mine", workspace)
    leave_out("mine", [f"{TEST}/DoS-b.csv", "../../x", f"{TEST}/none.csv"], workspace)
    assert left_out("mine", workspace) == [f"{TEST}/DoS-b.csv"]
    after = open_dataset("mine", workspace)
    assert after.tests == {}
    assert after.train == before.train
    take_back("mine", workspace)
    assert left_out("mine", workspace) == []
    assert open_dataset("mine", workspace) == before


def test_nothing_is_moved_in_a_folder_that_is_only_linked(
    folder: Path, workspace: Workspace
) -> None:
    workspace.datasets.mkdir(parents=True)
    (workspace.datasets / "linked").symlink_to(folder)
    with pytest.raises(DatasetError, match="linked from elsewhere"):
        leave_out("linked", [f"{TEST}/DoS-b.csv"], workspace)
    assert (folder / TEST / "DoS-b.csv").exists()


def test_a_linked_data_set_is_removed_and_its_captures_are_not(
    folder: Path, workspace: Workspace
) -> None:
    workspace.datasets.mkdir(parents=True)
    (workspace.datasets / "linked").symlink_to(folder)
    remove_dataset("linked", workspace)
    assert list_datasets(workspace) == ["demo"]
    assert (folder / FREE / "attack-free-a.csv").exists()


def test_a_demo_of_another_version_is_made_anew(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Path] = []

    def write(root: Path, seed: int = 0, reporter: object = None) -> None:
        made.append(root)
        put(root, f"{FREE}/x.csv")
        (root / demo.MARKER).write_text(json.dumps({"version": demo.VERSION}))

    monkeypatch.setattr(demo, "write_demo", write)
    for _ in range(2):
        assert open_dataset("demo", workspace).simulated
    assert len(made) == 1
    monkeypatch.setattr(demo, "VERSION", demo.VERSION + 1)
    open_dataset("demo", workspace)
    assert len(made) == 2


@pytest.mark.real_data
def test_real_data_set_is_opened(real_data: Path, workspace: Workspace) -> None:
    dataset = open_dataset(str(real_data / "hcrl_sa"), workspace)
    assert dataset.name == "hcrl_sa"
    assert not dataset.simulated
    assert {c.split for c in dataset.train} == {FREE, ATTACKED}
