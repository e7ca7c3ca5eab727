"""Reading a capture, whatever its format: the content decides, then the file's ending."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from core.captures import arrow_io
from core.captures.formats import (
    asc,
    battery_emulator,
    blf,
    can_train_and_test_csv,
    can_train_and_test_parquet,
    candump,
    candump_console,
    canhacker,
    ciciov2024,
    crtd,
    daga,
    gvret,
    hcrl_challenge,
    hcrl_csv,
    j1939_csv,
    mf4,
    otids,
    trc,
)
from core.captures.frame_table import FrameTable
from core.captures.rows import ALL_FRAMES
from core.captures.text import is_packed, read_text
from core.errors import CaptureError

HEAD_BYTES = 1 << 16
LIKELY = 0.5
"""From this score on, content decides; below it, the ending may."""


@dataclass(frozen=True)
class Reader:
    """One capture format."""

    name: str
    suffixes: tuple[str, ...]
    sniff: Callable[[bytes], float]
    """How much (0 to 1) the start of a file looks like this format."""
    read: Callable[[Path], FrameTable]
    read_chunks: Callable[[Path], Iterator[FrameTable]]
    """Reads a capture that may be larger than memory, for :func:`read_chunks`."""
    binary: bool = False


def _at_once(
    read_chunks: Callable[[Path, int], Iterator[FrameTable]],
) -> Callable[[Path], FrameTable]:
    """The reader of whole captures that is one of chunks whose first chunk is all."""
    return lambda path: next(read_chunks(path, ALL_FRAMES))


READERS: dict[str, Reader] = {
    reader.name: reader
    for reader in (
        *(
            Reader(
                module.NAME,
                suffixes,
                module.sniff,
                _at_once(module.read_chunks),
                module.read_chunks,
            )
            for module, suffixes in (
                (can_train_and_test_csv, (".csv",)),
                (candump, (".log",)),
                # Before the console's form, which its lines have too.
                (battery_emulator, ()),
                (candump_console, ()),
                (hcrl_csv, ()),
                (hcrl_challenge, ()),
                (otids, ()),
                (gvret, ()),
                (ciciov2024, ()),
                (j1939_csv, ()),
                (daga, ()),
                (asc, (".asc",)),
                (trc, (".trc",)),
                (canhacker, ()),
                (crtd, (".crtd",)),
            )
        ),
        Reader(
            can_train_and_test_parquet.NAME,
            (".parquet", ".pq"),
            can_train_and_test_parquet.sniff,
            can_train_and_test_parquet.read,
            can_train_and_test_parquet.read_chunks,
            binary=True,
        ),
        Reader(blf.NAME, (".blf",), blf.sniff, blf.read, blf.read_chunks, binary=True),
        Reader(mf4.NAME, (".mf4", ".mdf"), mf4.sniff, mf4.read, mf4.read_chunks, binary=True),
        Reader(
            arrow_io.NAME,
            (".arrow",),
            arrow_io.sniff,
            arrow_io.load,
            arrow_io.load_chunks,
            binary=True,
        ),
    )
}
"""Name -> reader. A new format is one module and one entry here."""


def read_chunks(path: Path, format: str | None = None) -> Iterator[FrameTable]:
    """Read a capture that may be larger than memory: about a million frames at a time.

    The columns of a table are those of its chunk, and attacks keep their numbers. All else counts
    from the capture's start: the last table has the names, times, warnings and skipped lines that
    :func:`read_capture` would tell of. Only the width of payloads is each chunk's own.

    Raises:
        CaptureError: as :func:`read_capture`, while chunks are read.
    """
    path = Path(path)
    yield from _reader(path, format).read_chunks(path)


def read_capture(path: Path, format: str | None = None) -> FrameTable:
    """Read a capture file.

    Args:
        format: name of a reader, where the content shall not decide.

    Raises:
        CaptureError: if the file is missing, empty, of no known format, lacks what the format
            needs, or holds nothing usable; or if there is no such format.
    """
    path = Path(path)
    return _reader(path, format).read(path)


def _reader(path: Path, format: str | None) -> Reader:
    """The reader that is named, or else found."""
    if format is not None and format not in READERS:
        raise CaptureError(f"no capture format {format!r}; there are {', '.join(READERS)}")
    head = read_head(path)
    reader = READERS[format] if format else detect(path, head)
    if reader is None:
        raise CaptureError(
            f"{path}: {_look(head)} that is no known capture format; expected one of "
            f"{', '.join(READERS)}"
        )
    if reader.binary and is_packed(path):
        raise CaptureError(f"{path}: is gzip-compressed; {reader.name} must be unpacked first")
    return reader


def detect(path: Path, head: bytes) -> Reader | None:
    """The reader for a file that starts with ``head``, or None.

    Where no format is likely by content, the ending may name one, unless that would read binary
    junk as text or text as a binary format.
    """
    scored = [(reader.sniff(head), reader) for reader in READERS.values()]
    score, best = max(scored, key=lambda item: item[0])
    if score >= LIKELY:
        return best
    suffix = Path(path.name.lower().removesuffix(".gz")).suffix
    for reader in READERS.values():
        if suffix in reader.suffixes and (reader.binary or not is_binary(head)):
            return reader
    return best if score > 0 else None


def read_head(path: Path) -> bytes:
    """The start of a file's content: unpacked where it is gzip-compressed, as UTF-8 if it is text.

    Raises:
        CaptureError: if it is missing, empty, no file, damaged gzip data, or cannot be read.
    """
    try:
        if path.is_dir():
            raise CaptureError(f"{path}: is a folder; expected a capture file")
        if path.exists() and not path.is_file():
            # A pipe may never end, nor ever begin, and can be read only once.
            raise CaptureError(f"{path}: is a device or a pipe; expected a capture file")
        path.open("rb").close()
        head = next(read_text(path, HEAD_BYTES), b"")
    except FileNotFoundError as error:
        raise CaptureError(f"{path}: there is no such file") from error
    except (OSError, ValueError) as error:
        # ValueError: a name that no file can have (an embedded zero).
        raise CaptureError(f"{path}: cannot be read: {error}") from error
    if not head.strip():
        raise CaptureError(f"{path}: the file is empty; expected a capture")
    return head


def is_binary(head: bytes) -> bool:
    """Whether bytes are no text: a zero, or more than a tenth of odd characters."""
    text = head.decode("utf-8", errors="replace")
    odd = sum(c == "\ufffd" or (c < " " and c not in "\t\r\n") for c in text[:4096])
    return b"\0" in head or odd * 10 > len(text[:4096])


def _look(head: bytes) -> str:
    return "binary data" if is_binary(head) else "text"
