"""Texts made to take for ever, or all memory: bounded in both, and told what is wrong."""

import gzip
import os
import re
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.captures import text
from core.captures.readers import READERS, read_capture
from core.errors import CaptureError
from tests.core.captures.capture_strategies import frames_of, write_text
from tests.core.captures.format_samples import SAMPLES
from tests.core.captures.test_text_formats import HEADERS, USUAL

LONG = 200 << 20
FILLERS = (" ", "0", "a", "1.", ",", "-", " 0", " a", "\t", '"')


@pytest.fixture(scope="module")
def long_line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A file of 200 MB without a line end; its start is to be overwritten."""
    path = tmp_path_factory.mktemp("long") / "x.txt"
    with path.open("wb") as file:
        for _ in range(LONG >> 20):
            file.write(b"0 " * (1 << 19))
    yield path
    path.unlink()


def memory_of(work: str, path: Path) -> tuple[float, str]:
    """Seconds of CPU time of a statement in a new process, and what it printed.

    Its memory is limited to 300 MB beyond what the imports take.
    """
    code = (
        "import resource, sys, time\n"
        "from pathlib import Path\n"
        "from core.captures.readers import READERS, read_capture\n"
        "from core.errors import CaptureError\n"
        "used = int(Path('/proc/self/statm').read_text().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (used + (300 << 20),) * 2)\n"
        "path, start = Path(sys.argv[1]), time.process_time()\n"
        f"{work}\n"
        "print(time.process_time() - start)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr[-2000:]
    said, _, seconds = done.stdout.rstrip().rpartition("\n")
    return float(seconds), said


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="measures memory as on Linux")
def test_a_line_of_200_mb_costs_neither_time_nor_memory(long_line: Path) -> None:
    work = """
for name, reader in READERS.items():
    if not reader.binary:
        try:
            reader.read(path)
        except CaptureError as refused:
            print(name, str(refused)[:300])
try:
    read_capture(path)
except CaptureError as refused:
    print("any", str(refused)[:300])
"""
    seconds, said = memory_of(work, long_line)
    assert seconds < 10
    lines = dict(line.split(" ", 1) for line in said.splitlines())
    assert set(lines) == {*SAMPLES, "any"}
    assert "no known capture format" in lines.pop("any")
    for name, reason in lines.items():
        with_header = "," in SAMPLES[name].lines[0] and name != "hcrl-csv"
        expected = "missing columns" if with_header else "line is longer than 65536"
        assert expected in reason, name


@pytest.mark.slow
def test_a_line_of_200_mb_among_others_is_set_aside(long_line: Path) -> None:
    before, behind = b"(1.5) can0 123#11\n" * 40_000, b"\n(2.5) can0 123#22\n"
    with long_line.open("r+b") as file:
        file.write(before)
        file.seek(0, os.SEEK_END)
        file.write(behind)
    seconds, said = memory_of(
        "table = read_capture(path)\n"
        "print(len(table), table.skipped.counts, len(table.skipped.examples[0][2]))",
        long_line,
    )
    assert seconds < 10
    assert said == "40001 {'line is longer than 65536 characters': 1} 120"


@pytest.mark.parametrize("name", list(SAMPLES))
def test_no_line_takes_long(tmp_path: Path, name: str) -> None:
    sample = SAMPLES[name]
    lines = []
    for line in [*USUAL[name], *sample.lines[-2:]]:
        for cut in {match.end() for match in re.finditer(r"[\s,]+|\b", line)}:
            lines += [line[:cut] + filler * (20_000 // len(filler)) + "!" for filler in FILLERS]
    path = write_text(tmp_path / "x", [*HEADERS[name], *lines[::3]])
    start = time.process_time()
    for format in (name, None):
        try:
            read_capture(path, format)
        except CaptureError:
            continue
    # Some MB. What took the square of a line's length would take hours.
    assert time.process_time() - start < 10


def test_a_packed_file_that_unpacks_to_far_more_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    budget = 8 << 20
    monkeypatch.setattr(text, "UNPACKED_LEAST", budget)
    path = tmp_path / "x.log.gz"
    packed = gzip.compress(b"(1.5) can0 123#11\n" * 60_000)
    path.write_bytes(packed * 12)  # Of members, as gzip allows; each unpacks to 300 times its size.
    assert path.stat().st_size < 50_000
    tracemalloc.start()
    with pytest.raises(CaptureError, match="unpacks to more than 8 MiB, 100 times its size"):
        read_capture(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 3 * budget  # Of text; the frames in it take as much as their text.


def test_a_packed_capture_unpacks_to_what_captures_unpack_to(tmp_path: Path) -> None:
    lines = [f"({k / 1000:.6f}) can0 {k % 99:03X}#{k % 9999:016X}" for k in range(3000)]
    path = write_text(tmp_path / "x.log", lines)
    (tmp_path / "x.log.gz").write_bytes(gzip.compress(path.read_bytes()))
    assert frames_of(read_capture(tmp_path / "x.log.gz")) == frames_of(read_capture(path))


@pytest.mark.parametrize("name", list(SAMPLES))
def test_blank_lines_cost_little(tmp_path: Path, name: str) -> None:
    path = write_text(tmp_path / "x", [*SAMPLES[name].lines, "\n" * 1_000_000])
    start = time.process_time()
    assert len(READERS[name].read(path)) == len(SAMPLES[name].frames)
    assert time.process_time() - start < 2


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-be"])
@pytest.mark.parametrize("name", list(SAMPLES))
def test_encodings_with_a_byte_order_mark_read_the_same_in_any_chunks(
    tmp_path: Path, name: str, encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sample = SAMPLES[name]
    lines = [*HEADERS[name], *USUAL[name] * 40, "noise \u00e9\U0001f697"]
    plain = READERS[name].read(write_text(tmp_path / "capture.txt", lines))
    mark = "\ufeff" if encoding == "utf-16-be" else ""
    path = tmp_path / "capture.bin"
    path.write_bytes((mark + "\r".join(lines)).encode(encoding))
    assert frames_of(read_capture(path)) == frames_of(plain)
    monkeypatch.setattr(text.read_text, "__defaults__", (301,))
    table = READERS[name].read(path)
    assert frames_of(table) == frames_of(plain)
    assert table.skipped == plain.skipped
    assert sample.format == table.format
