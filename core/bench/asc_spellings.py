"""ASC files as other tools than python-can write them: decimal, relative, remote, error, FD."""

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import cycle
from pathlib import Path

from core.bench.libraries import Library, read_with_python_can
from core.captures.frame_table import EXTENDED, FrameTable
from core.captures.rows import FD_LENGTHS

STATISTICS_EVERY = 1000
"""Frames between two lines of bus statistics, which loggers write once a second."""


def write_asc(
    table: FrameTable,
    path: Path,
    *,
    base: int = 16,
    relative: bool = False,
    kinds: Sequence[str] = ("data",),
) -> None:
    """Write frames as ASC, from time 0 on, with a line of bus statistics now and then.

    Args:
        base: of all numbers, 16 or 10.
        relative: whether times count from the line before.
        kinds: what the frames become, in turn: ``data``, ``remote`` (what asks for them), ``error``
            or ``fd`` (CAN FD frames of all lengths, every other one with a name).
    """
    clock = "relative" if relative else "absolute"
    with path.open("w", encoding="ascii") as file:
        file.write(f"base {'hex' if base == 16 else 'dec'}  timestamps {clock}\n")
        file.write("internal events logged\n")
        file.writelines(f"{line}\n" for line in _lines(table, base, relative, kinds))


def _lines(table: FrameTable, base: int, relative: bool, kinds: Sequence[str]) -> Iterator[str]:
    before, start = 0, float(table.timestamp[0])
    for row, kind in zip(range(len(table)), cycle(kinds), strict=False):
        now = round((float(table.timestamp[row]) - start) * 1e6)
        time = f"{(now - before if relative else now) / 1e6:>11.6f}"
        if row % STATISTICS_EVERY == 0:
            yield f"{time} 1  Statistic: D 0 R 0 XD 0 XR 0 E 0 O 0 B 0.00%"
            time = f"{0.0:>11.6f}" if relative else time
        before = now
        payload = table.payload[row, : table.length[row]].tobytes()
        number = int(table.arbitration_id[row])
        identifier = f"{number:X}" if base == 16 else f"{number}"
        identifier += "x" if table.flags[row] & EXTENDED else ""
        if kind == "fd":
            yield f"{time} {_fd_frame(row, identifier, payload, base)}"
        elif kind == "error":
            yield f"{time} 1  ErrorFrame"
        elif kind == "remote":
            yield f"{time} 1  {identifier:<15} Rx   r {len(payload)}  Length = 100000"
        else:
            yield f"{time} 1  {identifier:<15} Rx   d {len(payload)} {_bytes(payload, base)}"


def _fd_frame(row: int, identifier: str, payload: bytes, base: int) -> str:
    code = row % len(FD_LENGTHS)
    payload = (payload + bytes(8))[:8] * 8
    name, dlc = "Some_Name" if row % 2 else "", f"{code:x}" if base == 16 else f"{code}"
    data = _bytes(payload[: FD_LENGTHS[code]], base)
    return (
        f"CANFD   1 Rx   {identifier:>8}  {name:>32} 1 0 {dlc} {FD_LENGTHS[code]:>2} {data} "
        "  130000  130   303000 e0006659 46500250 4b140250 20011736 2001040d"
    )


def _bytes(payload: bytes, base: int) -> str:
    return payload.hex(" ").upper() if base == 16 else " ".join(map(str, payload))


MIXED = ("data", "data", "remote", "fd", "data", "error", "fd", "data")

ASC_SPELLINGS = {
    f"vector-asc {name}": Library(".asc", write, read_with_python_can)
    for name, write in {
        "decimal": partial(write_asc, base=10),
        "relative": partial(write_asc, relative=True),
        "CAN FD": partial(write_asc, kinds=("fd",)),
        "remote": partial(write_asc, kinds=("data", "remote")),
        "mixed": partial(write_asc, kinds=MIXED),
        "decimal, relative, mixed": partial(write_asc, base=10, relative=True, kinds=MIXED),
    }.items()
}
"""Name -> an ASC file of that spelling, and how python-can reads it."""
