from pathlib import Path

import pyarrow as pa
import pytest

import core
from core.cache import fingerprint
from core.cache.fingerprint import CODE, NOT_IN_SCORES, changes, code_version, read_fingerprint
from core.cache.predictions import FusionPredictionCache, write_predictions
from core.errors import CacheError


def test_equal_fingerprints_have_no_changes() -> None:
    found = {"captures": {"a": "1"}, "code": "x"}
    assert changes(found, {"captures": {"a": "1"}, "code": "x"}) == []


def test_changes_are_named_by_hand() -> None:
    old = {"captures": {"a": "1", "b": "2", "c": "3"}, "settings": {"size": 100}, "code": "x"}
    new = {"captures": {"a": "1", "b": "9", "d": "4"}, "settings": {"size": 50}, "code": "y"}
    assert changes(new, old) == [
        "captures: b changed",
        "captures: c removed",
        "captures: d added",
        "code changed",
        "settings: size changed from 100 to 50",
    ]


def test_a_part_that_was_not_kept_before_has_changed() -> None:
    assert changes({"weights": {"a": "1"}}, {}) == ["weights changed"]
    assert changes({}, {"weights": {"a": "1"}}) == ["weights changed"]


def test_every_named_part_of_the_code_exists_and_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = Path(core.__file__).parent
    parts = [root / part for part in CODE]
    assert all(part.is_file() or list(part.glob("*.py")) for part in parts)
    assert {p.name for part in parts for p in part.glob("*.py")} >= set(NOT_IN_SCORES)
    sources = [p for part in parts for p in ([part] if part.is_file() else part.glob("*.py"))]
    for source in sources:
        copy = tmp_path / "core" / source.relative_to(root)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(source.read_bytes())
    (tmp_path / "core" / "__init__.py").touch()
    monkeypatch.setattr(fingerprint.core, "__file__", str(tmp_path / "core" / "__init__.py"))
    version = code_version.__wrapped__
    original = version()
    assert original == code_version()
    for source in sources:
        copy = tmp_path / "core" / source.relative_to(root)
        text = copy.read_bytes()
        copy.write_bytes(text + b"\n# another version\n")
        assert (version() == original) == (source.name in NOT_IN_SCORES), source
        copy.write_bytes(text)
    assert version() == original


def test_fingerprint_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "c.arrow"
    table = FusionPredictionCache.from_arrays([0.5], [0.5], [1]).to_table()
    write_predictions(path, table, {"fingerprint": {"captures": {"a": "1"}}})
    assert read_fingerprint(path) == {"captures": {"a": "1"}}


@pytest.mark.parametrize(
    "metadata", [None, b"", b"{", b"[]", b"{}", b'{"fingerprint": 3}', b"\xff\xfe"]
)
def test_a_cache_without_fingerprint_is_refused(tmp_path: Path, metadata: bytes | None) -> None:
    path = tmp_path / "c.arrow"
    table = FusionPredictionCache.from_arrays([0.5], [0.5], [1]).to_table()
    kept = {} if metadata is None else {b"canfusion": metadata}
    table = table.replace_schema_metadata(kept)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    with pytest.raises(CacheError, match=r"c\.arrow"):
        read_fingerprint(path)


@pytest.mark.parametrize("damage", ["missing", "empty", "junk", "truncated", "folder"])
def test_a_damaged_file_is_refused(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "c.arrow"
    if damage == "empty":
        path.touch()
    elif damage == "junk":
        path.write_bytes(bytes(range(256)) * 8)
    elif damage == "truncated":
        table = FusionPredictionCache.from_arrays([0.5], [0.5], [1]).to_table()
        write_predictions(path, table, {"fingerprint": {}})
        path.write_bytes(path.read_bytes()[:-40])
    elif damage == "folder":
        path.mkdir()
    with pytest.raises(CacheError, match=r"c\.arrow"):
        read_fingerprint(path)
