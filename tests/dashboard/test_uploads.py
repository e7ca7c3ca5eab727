from dataclasses import dataclass

import pytest

from core.errors import CaptureError, DatasetError
from dashboard.uploads import save_upload, save_uploads

CANDUMP = b"".join(b"(%d.%06d) can0 123#0011223344556677\n" % (1, i) for i in range(50))
SPLIT = "train_01_attack_free"


@dataclass
class File:
    name: str
    content: bytes = CANDUMP
    claimed: int | None = None

    @property
    def size(self):
        return len(self.content) if self.claimed is None else self.claimed

    def getbuffer(self):
        return memoryview(self.content)


def files(workspace):
    return sorted(
        p.relative_to(workspace.datasets).as_posix()
        for p in workspace.datasets.rglob("*")
        if p.is_file()
    )


def test_a_capture_is_added_to_its_split(workspace):
    said = save_upload(File("drive.log"), "mine", SPLIT, workspace, 10**6)
    assert said.startswith("drive.log: 50 frames")
    assert files(workspace) == [f"mine/{SPLIT}/drive.log"]


@pytest.mark.parametrize(
    "name", ["../../evil.log", "C:\\fakepath\\evil.log", "/etc/evil.log", "a/b/evil.log"]
)
def test_folders_in_a_file_name_do_not_count(workspace, name):
    save_upload(File(name), "mine", SPLIT, workspace, 10**6)
    assert files(workspace) == [f"mine/{SPLIT}/evil.log"]


@pytest.mark.parametrize("name", ["..", ".hidden.log", "", "a\nb.log", "x" * 300 + ".log"])
def test_names_that_are_none_are_refused(workspace, name):
    with pytest.raises(DatasetError):
        save_upload(File(name), "mine", SPLIT, workspace, 10**6)
    assert files(workspace) == []


@pytest.mark.parametrize("dataset", ["demo", "../x", "", "a/b"])
def test_data_set_names_that_cannot_be_are_refused(workspace, dataset):
    with pytest.raises(DatasetError):
        save_upload(File("a.log"), dataset, SPLIT, workspace, 10**6)
    assert files(workspace) == []


@pytest.mark.parametrize("split", ["", "../train_", "validation", "train_/x"])
def test_splits_that_cannot_be_are_refused(workspace, split):
    with pytest.raises(DatasetError):
        save_upload(File("a.log"), "mine", split, workspace, 10**6)


@pytest.mark.parametrize(
    ("content", "limit"), [(CANDUMP, 100), (b"", 10**6), (b"\x00\xff\x17" * 200, 10**6)]
)
def test_too_large_empty_and_junk_files_leave_nothing_behind(workspace, content, limit):
    with pytest.raises(CaptureError, match=r"drive\.log"):
        save_upload(File("drive.log", content), "mine", SPLIT, workspace, limit)
    assert files(workspace) == []


def test_a_capture_that_is_there_is_kept(workspace):
    save_upload(File("a.log"), "mine", SPLIT, workspace, 10**6)
    with pytest.raises(DatasetError, match="already"):
        save_upload(File("a.log", CANDUMP * 2), "mine", SPLIT, workspace, 10**6)
    assert (workspace.datasets / "mine" / SPLIT / "a.log").read_bytes() == CANDUMP


def test_good_files_are_added_beside_bad_ones(workspace):
    added, refused = save_uploads(
        [File("a.log"), File("b.log", b""), File("c.log")], "mine", SPLIT, workspace, 10**6
    )
    assert len(added) == 2
    assert len(refused) == 1
    assert "b.log" in refused[0]
