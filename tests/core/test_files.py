import errno
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from core.errors import StorageError
from core.files import atomic_path, content_hash, write_json


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_a_file_takes_its_place_when_the_block_succeeds(tmp_path):
    target = tmp_path / "new" / "a.txt"
    with atomic_path(target) as temporary:
        assert temporary.parent == target.parent
        assert temporary.suffix == ".txt"
        temporary.write_text("whole")
        assert not target.exists()
    assert target.read_text() == "whole"
    assert names(target.parent) == ["a.txt"]


def test_a_failed_block_leaves_the_old_file_and_nothing_else(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(ZeroDivisionError), atomic_path(target) as temporary:
        temporary.write_text("half")
        raise ZeroDivisionError
    assert target.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_a_folder_replaces_a_folder_whole(tmp_path):
    target = tmp_path / "data"
    target.mkdir()
    (target / "old.txt").touch()
    with atomic_path(target) as temporary:
        temporary.mkdir()
        (temporary / "new.txt").touch()
    assert names(target) == ["new.txt"]
    assert names(tmp_path) == ["data"]


def test_a_folder_that_holds_the_same_stays_for_those_who_read_it(tmp_path):
    folder = tmp_path / "store"

    def write(content):
        with atomic_path(folder) as temporary:
            (temporary / "deep").mkdir(parents=True)
            (temporary / "deep" / "a.npy").write_bytes(content)
        return folder.stat().st_ino

    first = write(b"1")
    assert write(b"1") == first
    assert write(b"2") != first
    assert (folder / "deep" / "a.npy").read_bytes() == b"2"
    (folder / "b.npy").touch()
    write(b"2")
    assert not (folder / "b.npy").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


@pytest.mark.parametrize("content", [b"1", b"2"], ids=["the same", "another"])
def test_a_folder_that_appears_at_the_last_moment_is_not_in_the_way(tmp_path, monkeypatch, content):
    folder = tmp_path / "store"
    replace, late = Path.replace, []

    def after_another(source, target):
        if target == folder and not late:
            late.append(folder.mkdir())
            (folder / "a.npy").write_bytes(b"1")
        return replace(source, target)

    monkeypatch.setattr(Path, "replace", after_another)
    with atomic_path(folder) as temporary:
        temporary.mkdir()
        (temporary / "a.npy").write_bytes(content)
    assert late
    assert (folder / "a.npy").read_bytes() == content
    assert names(tmp_path) == ["store"]


def test_a_folder_that_cannot_take_its_place_leaves_the_old_one_there(tmp_path, monkeypatch):
    folder = tmp_path / "store"
    folder.mkdir()
    (folder / "old.npy").touch()
    replace = Path.replace

    def refused(source, target):
        if target == folder and (source / "new.npy").exists():
            raise PermissionError(errno.EACCES, "Permission denied")
        return replace(source, target)

    monkeypatch.setattr(Path, "replace", refused)
    with pytest.raises(StorageError, match="Permission denied"), atomic_path(folder) as temporary:
        temporary.mkdir()
        (temporary / "new.npy").touch()
    assert names(folder) == ["old.npy"]
    assert names(tmp_path) == ["store"]


def test_writers_of_one_folder_side_by_side_leave_a_whole_one(tmp_path):
    folder = tmp_path / "store"

    def write(number):
        with atomic_path(folder) as temporary:
            temporary.mkdir()
            for name in "abc":
                (temporary / name).write_text(str(number % 3))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(200)))
    assert len({(folder / name).read_text() for name in "abc"}) == 1
    assert names(tmp_path) == ["store"]


def test_a_failed_block_leaves_the_old_folder(tmp_path):
    target = tmp_path / "data"
    target.mkdir()
    (target / "old.txt").touch()
    with pytest.raises(ZeroDivisionError), atomic_path(target) as temporary:
        temporary.mkdir()
        (temporary / "new.txt").touch()
        raise ZeroDivisionError
    assert names(target) == ["old.txt"]
    assert names(tmp_path) == ["data"]


def test_writers_that_choose_their_format_by_the_ending_work(tmp_path):
    with atomic_path(tmp_path / "policy.npy") as temporary:
        np.save(temporary, np.eye(2))
    assert np.array_equal(np.load(tmp_path / "policy.npy"), np.eye(2))


def test_a_full_disk_is_said_and_keeps_the_old_file(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("old")
    refused = pytest.raises(StorageError, match=r"cannot write .*a\.txt: No space left")
    with refused, atomic_path(target) as temporary:
        temporary.write_text("half")
        raise OSError(28, os.strerror(28))
    assert target.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_a_file_where_a_folder_should_be_is_said(tmp_path):
    (tmp_path / "blocked").touch()
    with pytest.raises(StorageError, match="cannot write"):
        write_json(tmp_path / "blocked" / "a.json", {})


def test_what_is_neither_file_nor_folder_is_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/dev/null")
    for name in ("pipe", "link"):
        with pytest.raises(StorageError, match="device or a pipe"):
            write_json(tmp_path / name, {})
    assert names(tmp_path) == ["link", "pipe"]
    assert (tmp_path / "link").is_char_device()


@pytest.mark.parametrize("name", ["x" * 300, "a\0b", "\udcff" * 300])
def test_a_name_that_no_file_can_have_is_said(tmp_path, name):
    with pytest.raises(StorageError, match="cannot write"):
        write_json(tmp_path / name, {})
    assert names(tmp_path) == []


@pytest.mark.parametrize("name", ["x" * 250 + ".json", "\u00fc" * 120 + ".json", "\udcff.json"])
def test_any_name_that_a_file_can_have_will_do(tmp_path, name):
    write_json(tmp_path / name, {})
    assert names(tmp_path) == [name]


def test_json_refuses_not_a_number_and_keeps_the_old_file(tmp_path):
    write_json(tmp_path / "a.json", {"f1": None, "name": "über"})
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", {"f1": float("nan")})
    assert json.loads((tmp_path / "a.json").read_text("utf-8")) == {"f1": None, "name": "über"}


def test_content_hash_is_sha256(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert content_hash(tmp_path / "a") == (
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )
