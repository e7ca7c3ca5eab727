"""The compact log of can-utils' ``candump -l``, also with per-frame attack flags behind it.

::

    (1436509053.850870) vcan0 0C9#8021C0071B101000      standard id: 3 digits
    (1436509053.851270) vcan0 18FEF100#FF               extended id: 8 digits
    (1436509053.851670) vcan0 0C9#R8                    remote frame that asks for 8 bytes
    (1436509053.852070) vcan0 0C9##1112233              CAN FD: a digit of flags, then the bytes
    (1436509053.852470) vcan0 20000004#0004000000000000 error frame: id bit 0x20000000
    (12.091016) can0 410#a02c1800 1<TAB>False           flags: is_malicious, is_shifted
"""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from core.captures.formats.intervals import JsonLabels
from core.captures.frame_table import ERROR, EXTENDED, FD, REMOTE, FrameTable
from core.captures.rows import (
    CHUNK_FRAMES,
    EXTENDED_MAX,
    STANDARD_MAX,
    BadLine,
    Buses,
    Columns,
    Quarantine,
    Row,
    TableBuilder,
    exact_payload,
    exact_timestamp,
)
from core.captures.text import (
    Lines,
    decimal_characters,
    equals,
    hex_characters,
    read_decimal,
    read_hex_bytes,
    read_hex_number,
    read_lines,
    see_buses,
    time_characters,
    written,
)
from core.files import atomic_path

NAME = "candump"
ERROR_BIT = 0x2000_0000

# (1436509053.850870) vcan0 0C9#8021C0071B101000 False<TAB>False
_LINE = re.compile(
    r"\s*\((?P<time>[^()]*)\)\s+(?P<interface>\S+)\s+(?P<id>[^#\s]*)#(?P<data>\S*)(?P<rest>.*)",
    re.DOTALL,
)
_FLAG = {"False": 0, "0": 0, "True": 1, "1": 1}


def sniff(head: bytes) -> float:
    """Share of the first lines that look like this format."""
    lines = [line for line in head.decode("utf-8", "replace").splitlines()[:50] if line.strip()]
    return sum(bool(_LINE.fullmatch(line)) for line in lines) / max(len(lines), 1)


def read_chunks(path: Path, frames: int = CHUNK_FRAMES) -> Iterator[FrameTable]:
    """Read a candump log, ``frames`` frames or somewhat more at a time.

    Labelled if its lines carry flags (the first one says attacked), or else if a JSON file beside
    it names the attacks (see :mod:`core.captures.formats.intervals`).

    Raises:
        CaptureError: if the file cannot be read or holds no frame.
    """
    buses, labels = Buses(), JsonLabels(path)
    quarantine, table = Quarantine(), TableBuilder(path, NAME)

    def fast(lines: Lines) -> tuple[Columns, npt.NDArray[np.bool_]]:
        return _fast(lines, buses)

    def slow(line: str) -> Row:
        row = exact(line)
        buses.see(line.split(")", 1)[1].split(maxsplit=1)[0])
        return row

    for columns in read_lines(path, " \t.#", fast, slow, quarantine, frames=frames):
        labels.put(columns)
        yield table.add(columns, quarantine, labels.names, buses.warnings() + labels.warnings())


def exact(line: str) -> Row:
    """One line, read the slow way.

    Raises:
        BadLine: if it is no frame.
    """
    match = _LINE.fullmatch(line.removeprefix("\ufeff"))
    if not match:
        raise BadLine("not a candump line")
    timestamp = exact_timestamp(match["time"])
    arbitration_id, flags = _exact_id(match["id"])
    label = _exact_label(match["rest"].split())
    data = match["data"]
    if data[:1] in ("R", "r"):
        if data[1:] and not re.fullmatch("[0-8]", data[1:]):
            raise BadLine("remote length is not 0 to 8")
        return Row(timestamp, arbitration_id, flags | REMOTE, int(data[1:] or 0), b"", label)
    if data[:1] == "#":
        if not re.fullmatch("[0-9A-Fa-f]", data[1:2]):
            raise BadLine("FD flags are not hexadecimal")
        payload, flags = exact_payload(data[2:].replace(".", ""), 64), flags | FD
    else:
        # Behind an underscore stands a raw DLC above 8: it does not change the eight bytes.
        payload = exact_payload(re.sub("_[9A-Fa-f]$", "", data).replace(".", ""))
    return Row(timestamp, arbitration_id, flags, len(payload), payload, label)


def _exact_id(digits: str) -> tuple[int, int]:
    if not re.fullmatch("[0-9A-Fa-f]{3}|[0-9A-Fa-f]{8}", digits):
        raise BadLine("id is not 3 or 8 hexadecimal digits")
    value = int(digits, 16)
    if len(digits) == 3:
        if value > STANDARD_MAX:
            raise BadLine("standard id is beyond 11 bits")
        return value, 0
    if value & ERROR_BIT and value & ~ERROR_BIT <= EXTENDED_MAX:
        return value & ~ERROR_BIT, ERROR
    if value > EXTENDED_MAX:
        raise BadLine("id is beyond 29 bits")
    return value, EXTENDED


def _exact_label(rest: list[str]) -> int:
    # A single R or T is the direction that "candump -x" adds.
    if not rest or (len(rest) == 1 and rest[0] in "RT"):
        return -1
    if len(rest) == 2 and all(flag in _FLAG for flag in rest):
        return _FLAG[rest[0]]
    raise BadLine("text behind the frame is not understood")


def _fast(lines: Lines, buses: Buses) -> tuple[Columns, npt.NDArray[np.bool_]]:
    """All lines of a block, and where they are plain data frames in the usual spelling."""
    text = lines.text
    columns = Columns.empty(len(lines))
    good = lines.delimiter(0, ".") & lines.delimiter(1, " ") & lines.delimiter(2, " ")
    good &= lines.delimiter(3, "#")
    start, point = lines.field(0)
    _, close = lines.field(1)
    good &= (text.characters[start] == ord("(")) & (text.characters[close - 1] == ord(")"))
    interface_start, interface_end = lines.field(2)
    good &= interface_end > interface_start
    columns.timestamp, fine = read_decimal(text, start + 1, point, close - 1)
    good &= fine

    id_start, id_end = lines.field(3)
    digits = id_end - id_start
    raw, fine = read_hex_number(text, id_start, id_end)
    error = (digits == 8) & (raw & ERROR_BIT != 0)
    columns.arbitration_id = np.where(error, raw & ~np.uint32(ERROR_BIT), raw)
    limit = np.where(digits == 3, STANDARD_MAX, EXTENDED_MAX)
    good &= fine & ((digits == 3) | (digits == 8)) & (columns.arbitration_id <= limit)
    columns.flags = np.where(digits == 8, np.where(error, ERROR, EXTENDED), 0).astype(np.uint8)

    data_start, data_end = lines.field(4)
    fd = good & lines.delimiter(4, "#") & (data_start == data_end)
    # All other delimiters are blanks; else a point or # would pass for one behind the payload.
    good &= lines.count_of(".#") == 2 + fd
    columns.payload, columns.length, fine = read_hex_bytes(text, data_start, data_end)
    if fd.any():
        _put_fd(lines, columns, np.flatnonzero(fd), fine)
    good &= fine & _put_labels(lines, columns, fd)
    # Other white space than blanks cuts no field here: the name must be one word.
    return columns, see_buses(text, *lines.field(2), good, buses)


def _put_fd(
    lines: Lines, columns: Columns, index: npt.NDArray[np.intp], good: npt.NDArray[np.bool_]
) -> None:
    """CAN FD frames have an empty field 4; field 5 is one digit of flags and up to 64 bytes."""
    start, end = (position[index] for position in lines.field(5))
    _, flags_good = read_hex_number(lines.text, start, np.minimum(start + 1, end))
    payload, length, fine = read_hex_bytes(lines.text, start + 1, np.maximum(start + 1, end), 64)
    columns.payload = np.pad(columns.payload, ((0, 0), (0, 56)))
    columns.payload[index], columns.length[index] = payload, length
    columns.flags[index] |= FD
    good[index] = flags_good & fine


def _put_labels(lines: Lines, columns: Columns, fd: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Set labels from the two flags behind the frame; where ``[L]`` are flags or only blanks."""
    text = lines.text
    _, data_end = lines.field(4 + fd)
    blanks = lines.count - 4 - fd
    plain = lines.end - data_end == blanks
    if plain.all():
        return plain
    malicious = lines.field(lines.count - 1)
    fine = (blanks >= 2) & (malicious[0] - data_end == blanks - 1)
    for flag in (lines.field(lines.count), malicious):
        yes = equals(text, *flag, "1") | equals(text, *flag, "True")
        fine &= yes | equals(text, *flag, "False") | equals(text, *flag, "0")
    columns.label[fine] = yes[fine]
    return plain | fine


def write(table: FrameTable, path: Path, interface: str = "can0") -> None:
    """Write frames as a candump log (with flags if labelled), atomically.

    Times are rounded to microseconds and must not be negative.
    """
    rows = len(table)
    has = {bit: (table.flags & bit != 0)[:, None] for bit in (EXTENDED, REMOTE, ERROR, FD)}
    number = table.arbitration_id | np.where(has[ERROR][:, 0], ERROR_BIT, 0).astype(np.uint32)
    digits = hex_characters(number.astype(">u4")[:, None].view(np.uint8))
    digits[:, :5] *= has[EXTENDED] | has[ERROR]
    remote_length = decimal_characters(table.length.astype(np.int64))
    remote = np.concatenate((np.full((rows, 1), ord("R"), np.uint8), remote_length), axis=1)
    columns: list[npt.NDArray[np.uint8] | bytes] = [
        b"(",
        time_characters(table.timestamp),
        f") {interface} ".encode(),
        digits,
        b"#",
        np.frombuffer(b"#0", np.uint8) * has[FD],
        remote * has[REMOTE],
        hex_characters(table.payload, np.where(has[REMOTE][:, 0], 0, table.length)),
    ]
    if table.labelled:
        attacked = table.label[:, None] != 0
        columns += [
            b" ",
            np.frombuffer(b"1", np.uint8) * attacked,
            np.frombuffer(b"False", np.uint8) * ~attacked,
            b"\tFalse",
        ]
    with atomic_path(path) as temporary:
        temporary.write_bytes(written([*columns, b"\n"], rows))
