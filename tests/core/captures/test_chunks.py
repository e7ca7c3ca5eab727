"""Captures read in chunks of any size hold what they hold when they are read at once."""

import json
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.captures import arrow_io, readers, rows, text
from core.captures.frame_table import FrameTable
from core.captures.readers import READERS, read_capture, read_chunks
from core.errors import CaptureError
from tests.core.captures.capture_strategies import damaged, table_of, write_text
from tests.core.captures.format_samples import SAMPLES
from tests.core.captures.test_arrow_io import assert_equal
from tests.core.captures.test_text_formats import HEADERS, USUAL

ALPHABET = "0123456789ABCDEFabxXRTdr .,:;#$\t()[]-+"


def joined(chunks: list[FrameTable]) -> FrameTable:
    """The columns of all chunks, and what the last one says."""
    width = max(chunk.payload.shape[1] for chunk in chunks)
    columns = {
        name: np.concatenate([getattr(chunk, name) for chunk in chunks])
        for name in ("timestamp", "arbitration_id", "flags", "length", "label", "attack")
    }
    payload = [np.pad(c.payload, ((0, 0), (0, width - c.payload.shape[1]))) for c in chunks]
    return replace(chunks[-1], payload=np.concatenate(payload), **columns)


@contextmanager
def reading(block_bytes: int, look_frames: int) -> Iterator[None]:
    """Read so many bytes at a time, and tell from so many frames what the times are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text.read_text, "__defaults__", (block_bytes,))
        for module in (rows, *vars(readers).values()):
            if hasattr(module, "LOOK_FRAMES"):
                patch.setattr(module, "LOOK_FRAMES", look_frames)
        yield


def chunks_of(path: Path, format: str, frames: int) -> Iterator[FrameTable]:
    """A text capture in chunks of this size."""
    read: Any = READERS[format].read_chunks
    yield from read(path, frames)


def check(path: Path, format: str, block_bytes: int, frames: int) -> list[FrameTable]:
    """Compare chunks with the whole, and return them."""
    reader = READERS[format]
    with reading(text.BLOCK_BYTES, frames):
        try:
            whole = reader.read(path)
        except CaptureError as refused:
            reason = str(refused)
            with reading(block_bytes, frames), pytest.raises(CaptureError) as error:
                list(chunks_of(path, format, frames))
            assert str(error.value) == reason
            return []
    with reading(block_bytes, frames):
        chunks = list(chunks_of(path, format, frames))
    assert all(len(chunk) >= frames for chunk in chunks[:-1])
    assert all(len(chunk) for chunk in chunks)
    assert_equal(joined(chunks), whole)
    return chunks


@pytest.mark.parametrize("name", list(SAMPLES))
@given(data=st.data())
def test_chunks_of_any_size_are_the_whole(scratch: Path, name: str, data: st.DataObject) -> None:
    sample = SAMPLES[name]
    body = [*USUAL[name], *sample.lines[len(HEADERS[name]) :], *(bad for bad, _ in sample.skipped)]
    line = st.one_of(st.sampled_from(body), damaged(st.sampled_from(body), ALPHABET))
    lines = data.draw(st.lists(line, min_size=1, max_size=25))
    path = write_text(scratch / f"chunks-{name}", [*HEADERS[name], *lines])
    check(path, name, data.draw(st.integers(97, 400)), data.draw(st.integers(1, 8)))


@pytest.mark.parametrize("name", list(SAMPLES))
def test_a_capture_comes_in_chunks_of_bounded_size(tmp_path: Path, name: str) -> None:
    lines = [*HEADERS[name], *(USUAL[name] * 300)]
    path = write_text(tmp_path / "capture.txt", lines)
    chunks = check(path, name, 1000, 50)
    assert len(chunks) >= 300 * len(USUAL[name]) // 150
    assert max(map(len, chunks)) < 150


def test_memory_is_that_of_a_chunk(tmp_path: Path) -> None:
    line = "(1436509053.850870) vcan0 0C9#8021C0071B101000\n"
    sizes = (200_000, 1_000_000)
    peaks = []
    for frames in sizes:
        path = tmp_path / f"{frames}.log"
        path.write_text(line * frames)
        tracemalloc.start()
        assert sum(map(len, chunks_of(path, "candump", 100_000))) == frames
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0] < 30e6  # All frames take 26 MB, several times.


def test_nothing_usable_in_a_chunk_is_no_error(tmp_path: Path) -> None:
    noise = ["noise"] * 500
    lines = [*noise, "(1.5) can0 123#11", *noise, "(2.5) can0 123#11", *noise]
    chunks = check(write_text(tmp_path / "x.log", lines), "candump", 100, 1)
    assert [len(chunk) for chunk in chunks] == [1, 1]
    assert chunks[-1].skipped.counts == {"not a candump line": 1500}
    check(write_text(tmp_path / "x.log", noise), "candump", 100, 1)


def test_attacks_keep_their_numbers_and_times_their_unit(tmp_path: Path) -> None:
    head = "Timestamp,Arbitration_ID,DLC,Data,Class,SubClass"
    kinds = ["Normal,", "Attack,B", "Attack,A", "Attack,B", "Normal,", "Attack,C", "Attack,A"]
    lines = [f"{k}.5,100,1,01,{kind}" for k, kind in enumerate(kinds)]
    path = write_text(tmp_path / "x.csv", [head, *lines])
    chunks = check(path, "hcrl-challenge", 97, 2)
    assert len(chunks) >= 3
    assert chunks[-1].attack_names == ("B", "A", "C")
    assert joined(chunks).attack.tolist() == [-1, 0, 1, 0, -1, 2, 1]
    # In all of it frames are some hundred microseconds apart, at its end milliseconds.
    times = [*range(0, 2000, 200), *range(3000, 30000, 3000)]
    lines = ["Time Stamp,ID,Extended,Bus,LEN,D1", *(f"{t},100,false,0,1,01" for t in times)]
    chunks = check(write_text(tmp_path / "x.csv", lines), "gvret-csv", 97, 4)
    assert len(chunks) > 2
    assert joined(chunks).timestamp.tolist() == [t / 1e6 for t in times]


def test_clocks_go_on_from_chunk_to_chunk(tmp_path: Path) -> None:
    lines = [f"{(k * 7.5) % 60:06.3f} 070 1 01" for k in range(40)]
    path = write_text(tmp_path / "x.trc", ["Time   ID     DLC Data", *lines])
    times = joined(check(path, "canhacker-trc", 97, 2)).timestamp
    assert times.tolist() == [k * 7.5 for k in range(40)]
    lines = [f" 0.{k % 10} 1 {'Statistic: D' if k % 7 == 3 else '16 Rx d 1 7'}" for k in range(40)]
    path = write_text(tmp_path / "x.asc", ["base hex timestamps relative", *lines])
    chunks = check(path, "vector-asc", 97, 2)
    assert len(chunks) > 3
    total = np.cumsum([(k % 10) / 10 for k in range(40)])[[k for k in range(40) if k % 7 != 3]]
    np.testing.assert_allclose(joined(chunks).timestamp, total, rtol=1e-12)


def test_labels_beside_a_capture_are_those_of_all_of_it(tmp_path: Path) -> None:
    lines = [f"(100{k}.0) can0 {'0D0' if k % 2 else '123'}#FFFF" for k in range(10)]
    path = write_text(tmp_path / "fuzzing_1.log", lines)
    entry = {"injection_id": "0xd0", "injection_interval": [2, 7]}
    (tmp_path / "capture_metadata.json").write_text(json.dumps({"fuzzing_1": entry}))
    chunks = check(path, "candump", 97, 2)
    assert len(chunks) > 2
    assert joined(chunks).label.tolist() == [0, 0, 0, 1, 0, 1, 0, 1, 0, 0]
    assert chunks[-1].attack_names == ("fuzzing",)
    # Flags in some of the lines win, there; the attacks that they tell have another name.
    lines[4:6] = [f"{lines[4]} 1\t1", f"{lines[5]} 0\t0"]
    chunks = check(write_text(path, lines), "candump", 97, 2)
    assert joined(chunks).label.tolist() == [0, 0, 0, 1, 1, 0, 0, 1, 0, 0]
    assert chunks[-1].attack_names == ("fuzzing", "malicious")
    console = [f" ({k}.0)  can0  0CF00C03   [1]  18" for k in range(30)]
    path = write_text(tmp_path / "drive.log", console)
    rows_of_twin = [
        f"{k}.0,{0x0CF00C03},1,18,{'torque' if k > 20 else 'normal'}" for k in range(30)
    ]
    twin = ["timestamp,can_id,dlc,data,label", *rows_of_twin]
    write_text(tmp_path / "labeled_drive.csv", twin)
    chunks = check(path, "candump-console", 97, 2)
    assert joined(chunks).label.sum() == 9
    write_text(tmp_path / "labeled_drive.csv", twin[:-1])
    assert not check(path, "candump-console", 97, 2)[-1].labelled


def test_times_that_come_late_do_not_count(tmp_path: Path) -> None:
    lines = ["  can0  123   [1]  11"] * 5 + [" (5.0)  can0  123   [1]  11"] * 3
    chunks = check(write_text(tmp_path / "x.log", lines), "candump-console", 97, 2)
    assert chunks[-1].time == "missing"
    assert not joined(chunks).timestamp.any()
    assert any("3 frames have a time" in warning for warning in chunks[-1].warnings)


def test_every_format_can_be_read_in_chunks(tmp_path: Path) -> None:
    table = table_of([(float(k), k, 0, 1, b"1", 0) for k in range(9)])
    arrow_io.save(table, tmp_path / "x.arrow")
    assert_equal(joined(list(read_chunks(tmp_path / "x.arrow"))), table)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arrow_io, "CHUNK_FRAMES", 4)
        arrow_io.save(table, tmp_path / "x.arrow")
    assert [len(chunk) for chunk in read_chunks(tmp_path / "x.arrow")] == [4, 4, 1]
    assert_equal(read_capture(tmp_path / "x.arrow"), table)
    for name, sample in SAMPLES.items():
        path = write_text(tmp_path / f"{name}.txt", list(sample.lines))
        assert_equal(joined(list(read_chunks(path))), read_capture(path))
        assert_equal(joined(list(read_chunks(path, name))), read_capture(path))
    with pytest.raises(CaptureError, match="no capture format"):
        list(read_chunks(path, "dbc"))
