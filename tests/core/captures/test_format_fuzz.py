"""Damaged files of every format: a frame table or a CaptureError, nothing else."""

import struct
from pathlib import Path

import can
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.captures import arrow_io
from core.captures.formats import can_train_and_test_parquet
from core.captures.frame_table import FrameTable
from core.captures.readers import READERS, read_capture
from core.errors import CaptureError
from tests.core.captures.capture_strategies import Frame, table_of
from tests.core.captures.format_samples import SAMPLES
from tests.core.captures.test_chunks import check as check_chunks
from tests.core.captures.test_library_formats import write
from tests.core.captures.test_text_formats import assert_same, read_slowly

FRAMES: list[Frame] = [
    (1.6e9, 0x123, 0, 2, b"\x01\x02", 0),
    (1.6e9 + 0.5, 0x18FEF100, 1, 8, bytes(range(8)), 0),
    (1.6e9 + 1.0, 0x125, 8, 12, bytes(range(12)), 0),
]


class Originals(dict[str, bytes]):
    """A file of each format, which hypothesis shall not print."""

    def __repr__(self) -> str:
        return "originals"


@pytest.fixture(scope="session")
def originals(scratch: Path) -> Originals:
    """A small whole file of each format."""
    files = Originals()
    files |= {
        name: (
            "\n".join([*s.lines, *(line for line, _ in s.skipped), *s.lines[-1:]]) + "\n"
        ).encode()
        for name, s in SAMPLES.items()
    }
    table = table_of([f for f in FRAMES if f[3] <= 8])
    can_train_and_test_parquet.write(table, scratch / "o.parquet")
    arrow_io.save(table, scratch / "o.arrow")
    write(scratch / "o.blf", can.BLFWriter, FRAMES)
    write(scratch / "o.mf4", can.MF4Writer, FRAMES)
    for name, file in (
        ("can-train-and-test-parquet", "o.parquet"),
        ("arrow", "o.arrow"),
        ("vector-blf", "o.blf"),
        ("mf4", "o.mf4"),
    ):
        files[name] = (scratch / file).read_bytes()
    return files


@st.composite
def damages(draw: st.DrawFn) -> list[tuple[str, int, int]]:
    """What to do to a file: (kind, place, value), places from 0 to a million."""
    kinds = st.sampled_from(["flip", "cut", "drop", "repeat", "swap lines", "insert"])
    place = st.integers(0, 1_000_000)
    return draw(st.lists(st.tuples(kinds, place, place), min_size=1, max_size=6))


def damage(content: bytes, todo: list[tuple[str, int, int]]) -> bytes:
    """A file's bytes after the damages."""
    data = bytearray(content)
    for kind, place, value in todo:
        at = place * len(data) // 1_000_001
        if kind == "flip" and data:
            data[at] ^= 1 + value % 255
        elif kind == "cut" and value % 4 == 0:
            del data[at:]
        elif kind == "drop":
            del data[at : at + 1 + value % 20]
        elif kind == "repeat":
            data[at:at] = data[at : at + value % 200]
        elif kind == "insert":
            data[at:at] = struct.pack("<I", value * 4294)
        elif kind == "swap lines":
            lines = bytes(data).split(b"\n")
            i, j = place % len(lines), value % len(lines)
            lines[i], lines[j] = lines[j], lines[i]
            data = bytearray(b"\n".join(lines))
    return bytes(data)


def check(table: FrameTable) -> None:
    """Whether a frame table keeps its own rules."""
    assert len(table) > 0
    assert np.isfinite(table.timestamp).all()
    assert (table.arbitration_id <= 0x1FFF_FFFF).all()
    assert (table.length <= 64).all()
    assert table.payload.shape == (len(table), table.payload.shape[1])
    behind = np.arange(table.payload.shape[1]) >= table.length[:, None]
    assert not table.payload[behind].any()
    assert set(table.attack.tolist()) <= {*range(-1, len(table.attack_names))}
    assert ((table.attack >= 0) == (table.label == 1)).all()


@pytest.mark.parametrize("name", list(READERS))
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(todo=damages())
def test_a_damaged_file_gives_frames_or_a_reason(
    scratch: Path,
    originals: Originals,
    capfd: pytest.CaptureFixture[str],
    name: str,
    todo: list[tuple[str, int, int]],
) -> None:
    path = scratch / f"damaged-{name}"
    path.write_bytes(damage(originals[name], todo))
    for format in (name, None):
        try:
            table = read_capture(path, format)
        except CaptureError as refused:
            reason = str(refused)
        else:
            check(table)
            continue
        assert str(path) in reason
        assert "\n" not in reason
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", sorted(SAMPLES))
@settings(max_examples=25)
@given(content=st.binary(max_size=300))
def test_any_bytes_give_frames_or_a_reason(scratch: Path, name: str, content: bytes) -> None:
    path = scratch / f"noise-{name}"
    path.write_bytes(content)
    try:
        read_capture(path, name)
    except CaptureError as refused:
        reason = str(refused)
    else:
        return
    assert str(path) in reason


@pytest.mark.real_data
@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_real_captures_give_frames_or_a_reason(
    real_data: Path, scratch: Path, data: st.DataObject
) -> None:
    files = [
        path
        for path in sorted(real_data.rglob("*"))
        if path.suffix in (".log", ".csv", ".asc", ".trc", ".txt")
    ]
    file = data.draw(st.sampled_from(files).map(lambda path: path.relative_to(real_data)))
    with (real_data / file).open("rb") as source:
        source.seek(data.draw(st.sampled_from([0, 0, 0, 1234])))
        content = source.read(30_000)
    encoding = data.draw(st.sampled_from([*["latin-1"] * 5, "utf-8-sig", "utf-16", "utf-16-le"]))
    content = damage(content.decode("latin-1").encode(encoding), data.draw(damages()))
    end = data.draw(st.sampled_from([b"\n", b"\n", b"\r\n", b"\r"]))
    path = scratch / "damaged-real"
    path.write_bytes(content.replace(b"\n", end) if encoding == "latin-1" else content)
    try:
        table = read_capture(path)
    except CaptureError as refused:
        reason = str(refused)
    else:
        check(table)
        assert_same(table, read_slowly(path))
        if end != b"\r":  # Whether lines end so, the first bytes read tell.
            check_chunks(path, table.format, 5000, 100)
        return
    assert str(path) in reason
    assert "\n" not in reason
