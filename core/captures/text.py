"""Text captures, parsed a block of lines at a time in numpy.

Fields are found as positions in the byte buffer and read eight characters at a time: one unaligned
64-bit word per field and line, on which the usual word-parallel tricks work for all lines at once.
"""

import codecs
import gzip
import os
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt

from core.captures.rows import EXTENDED_MAX, BadLine, Buses, Columns, Quarantine, Row, concatenate
from core.errors import CaptureError

Positions = npt.NDArray[np.intp]
Mask = npt.NDArray[np.bool_]

BLOCK_BYTES = 512 << 10
"""Text parsed at a time: small enough that the columns of a block stay in the processor's cache."""
MAX_LINE = 1 << 16
"""Characters of the longest line that may be a frame; what is longer is set aside unread."""
UNPACKED_SHARE = 0.25
"""Of the machine's memory: what a compressed capture may unpack to."""
UNPACKED_RATIO, UNPACKED_LEAST = 100, 64 << 20
"""Times its size, and bytes in any case, that a compressed capture may unpack to; logs of a bus
unpack to five or ten times their size."""
GZIP_MAGIC = b"\x1f\x8b"
PAD = 256
"""Bytes before and after the text, so that a word may be read beyond any field (64 bytes = 192)."""

NEWLINE, CARRIAGE_RETURN = ord("\n"), ord("\r")
_ZEROS = np.uint64(0x3030303030303030)
# _LOW[k] keeps the k lowest bytes of a word: its first k characters.
_LOW = np.array([(1 << 8 * k) - 1 for k in range(9)], np.uint64)
_TEN_INT = 10 ** np.arange(9, dtype=np.int64)
_TEN = 10.0 ** np.arange(9)
_EXACT = 1 << 53
_INVALID = np.uint16(0x8000)


def _hex_pairs() -> npt.NDArray[np.uint16]:
    """Two characters, read as a little-endian number -> their byte, or ``_INVALID``."""
    nibble = np.full(256, 0xFFFF, np.uint16)
    for value, digit in enumerate("0123456789abcdef"):
        nibble[[ord(digit), ord(digit.upper())]] = value
    first, second = nibble[None, :], nibble[:, None]
    pairs = np.where((first > 15) | (second > 15), _INVALID, first << 4 | second)
    return np.ascontiguousarray(pairs.reshape(-1), np.uint16)


_PAIRS = _hex_pairs()


@dataclass(frozen=True)
class Text:
    """Bytes with ``PAD`` bytes around them, and the same memory as overlapping 64-bit words."""

    characters: npt.NDArray[np.uint8]
    words: npt.NDArray[np.uint64]

    @classmethod
    def of(cls, content: bytes | npt.NDArray[np.uint8]) -> "Text":
        """Copy ``content`` between pads; its first byte is then at position ``PAD``."""
        padded = np.full(len(content) + 2 * PAD, NEWLINE, np.uint8)
        padded[PAD:-PAD] = np.frombuffer(content, np.uint8)
        words: npt.NDArray[np.uint64] = np.ndarray((len(padded) - 7,), "<u8", padded.data, 0, (1,))
        return cls(padded, words)


@dataclass(frozen=True)
class Lines:
    """``L`` whole lines, cut into fields at delimiters. Positions index ``text.characters``."""

    text: Text
    start: Positions
    end: Positions
    """Behind the last character that is not part of the line end."""
    first_cut: Positions
    count: Positions
    """Delimiters in the line."""
    cuts: Positions
    _known_cuts: dict[int, Positions] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.start)

    def cut(self, k: int | Positions) -> Positions:
        """Position ``[L]`` of each line's delimiter ``k`` (anything where it has fewer)."""
        if isinstance(k, int) and k in self._known_cuts:
            return self._known_cuts[k]
        cut = self.cuts[np.clip(self.first_cut + k, 0, len(self.cuts) - 1)]
        if isinstance(k, int):
            self._known_cuts[k] = cut
        return cut

    def delimiter(self, k: int, character: str) -> Mask:
        """Whether each line's delimiter ``k`` is there and is ``character``."""
        return (self.count > k) & (self.text.characters[self.cut(k)] == ord(character))

    def count_of(self, characters: str) -> Positions:
        """How many ``[L]`` of each line's delimiters are among ``characters``."""
        found = self.text.characters[self.cuts]
        hit = np.zeros(len(found), bool)
        for character in characters:
            hit |= found == ord(character)
        total = np.concatenate(([0], np.cumsum(hit)))
        return total[self.first_cut + self.count] - total[self.first_cut]

    def field(self, k: int | Positions) -> tuple[Positions, Positions]:
        """Start and end ``[L]`` of field ``k`` (anything, but a field, where the line has fewer).

        ``k`` is a number, or one number from 1 for each line.
        """
        start = self.start if isinstance(k, int) and k == 0 else self.cut(k - 1) + 1
        return start, np.maximum(np.minimum(self.cut(k), self.end), start)

    def take(self, rows: Positions) -> "Lines":
        """Some of the lines, in their order."""
        if len(rows) == len(self):
            return self
        start, end, first_cut = self.start[rows], self.end[rows], self.first_cut[rows]
        return Lines(self.text, start, end, first_cut, self.count[rows], self.cuts)

    def line(self, index: int) -> str:
        """A line's text, without its end."""
        raw = self.text.characters[self.start[index] : self.end[index]].tobytes()
        return raw.decode("utf-8", errors="replace")


@dataclass(frozen=True)
class Words:
    """The words of ``L`` lines: what stands between blanks, tabs and carriage returns."""

    first: Positions
    """Index ``[L]`` of each line's first word among all."""
    count: Positions
    start: Positions
    end: Positions

    def word(self, k: int | Positions) -> tuple[Positions, Positions]:
        """Start and end ``[L]`` of word ``k`` (of any word where the line has fewer)."""
        index = np.minimum(self.first + k, len(self.start) - 1)
        return self.start[index], self.end[index]

    def take(self, rows: Positions) -> "Words":
        """Those of some of the lines."""
        if len(rows) == len(self.first):
            return self
        return Words(self.first[rows], self.count[rows], self.start, self.end)


def split_lines(block: bytes, delimiters: str) -> Lines:
    """Cut a block that ends with a newline into lines and fields."""
    text = Text.of(block)
    content = text.characters[PAD:-PAD]
    is_cut = content == NEWLINE
    for delimiter in delimiters:
        is_cut |= content == ord(delimiter)
    cuts = np.flatnonzero(is_cut) + PAD
    newline = np.flatnonzero(text.characters[cuts] == NEWLINE)
    first_cut = np.concatenate(([0], newline[:-1] + 1))
    end = cuts[newline]
    start = np.concatenate(([PAD], end[:-1] + 1))
    # Before an empty line stands a newline, so that this never goes before a line's start.
    end = end - (text.characters[end - 1] == CARRIAGE_RETURN)
    return Lines(text, start, end, first_cut, newline - first_cut, cuts)


def split_words(lines: Lines) -> Words:
    """The words of lines."""
    characters = lines.text.characters
    blank = characters == ord(" ")
    for other in (ord("\t"), CARRIAGE_RETURN, NEWLINE):
        blank |= characters == other
    # Blank pads lie around the text: a word begins, then ends, then the next begins.
    edge = np.flatnonzero(blank[1:] != blank[:-1]) + 1
    start, end = edge[0::2], edge[1::2]
    first = np.searchsorted(start, lines.start)
    count = np.diff(first, append=len(start))
    return Words(first, count, np.append(start, PAD), np.append(end, PAD))


def printable(lines: Lines) -> Mask:
    """Where ``[L]`` lines are printable ASCII, tabs and carriage returns, and nothing else.

    There the words of :func:`split_words` are those that Python sees; elsewhere may be other white
    space.
    """
    characters = lines.text.characters
    found = np.flatnonzero(characters - np.uint8(ord(" ")) > ord("~") - ord(" "))
    odd = characters[found]
    found = found[(odd != NEWLINE) & (odd != ord("\t")) & (odd != CARRIAGE_RETURN)]
    if not len(found):
        return np.ones(len(lines), bool)
    return np.searchsorted(found, lines.start) == np.searchsorted(found, lines.end)


def unpacked_limit() -> int:
    """Bytes that a compressed capture may unpack to: a share of this machine's memory."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return int(memory * UNPACKED_SHARE)


def is_packed(path: Path) -> bool:
    """Whether a file is gzip-compressed, by its content.

    Raises:
        CaptureError: if the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(2) == GZIP_MAGIC
    except OSError as error:
        raise CaptureError(f"{path}: cannot be read: {error.strerror or error}") from error


def read_bytes(path: Path, size: int = BLOCK_BYTES) -> Iterator[bytes]:
    """A file's bytes, unpacked where it is gzip-compressed, about ``size`` at a time.

    Raises:
        CaptureError: if the file cannot be read, is compressed and damaged, or would unpack to
            more than :func:`unpacked_limit` or ``UNPACKED_RATIO`` times its size.
    """
    try:
        with path.open("rb") as file:
            packed = file.read(2) == GZIP_MAGIC
            file.seek(0)
            source: IO[bytes] | gzip.GzipFile = gzip.GzipFile(fileobj=file) if packed else file
            ratio = max(UNPACKED_LEAST, UNPACKED_RATIO * path.stat().st_size)
            limit, total = min(unpacked_limit(), ratio), 0
            while chunk := source.read(size):
                total += len(chunk)
                if packed and total > limit:
                    why = "a quarter of the memory; unpack it and split it up"
                    if limit == ratio:
                        why = f"{UNPACKED_RATIO} times its size, as no capture does"
                    raise CaptureError(f"{path}: unpacks to more than {limit >> 20} MiB, {why}")
                yield chunk
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise CaptureError(f"{path}: damaged or cut-off gzip data: {error}") from error
    except OSError as error:
        raise CaptureError(f"{path}: cannot be read: {error.strerror or error}") from error


def read_text(path: Path, size: int = BLOCK_BYTES) -> Iterator[bytes]:
    """Like :func:`read_bytes`, as UTF-8 (or near it) with newlines that this module knows.

    A byte order mark goes, UTF-16 with one is converted, and where the first chunk has only
    carriage returns, those become newlines.

    Raises:
        CaptureError: as :func:`read_bytes`.
    """
    chunks = read_bytes(path, size)
    first = next(chunks, b"")
    chunks = chain((first,), chunks)
    if first.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        chunks = _from_utf16(chunks)
        first = next(chunks, b"")
        chunks = chain((first,), chunks)
    only_returns = b"\r" in first and b"\n" not in first
    for index, chunk in enumerate(chunks):
        if index == 0:
            chunk = chunk.removeprefix(codecs.BOM_UTF8)
        yield chunk.replace(b"\r", b"\n") if only_returns else chunk


def _from_utf16(chunks: Iterator[bytes]) -> Iterator[bytes]:
    decoder = codecs.getincrementaldecoder("utf-16")("replace")
    for chunk in chunks:
        if text := decoder.decode(chunk):
            yield text.encode("utf-8", "replace")


def first_line(path: Path) -> bytes:
    """The first line of a text, with its newline, up to ``MAX_LINE``.

    Raises:
        CaptureError: as :func:`read_bytes`.
    """
    line, newline, _ = next(read_text(path), b"").partition(b"\n")
    return (line + newline)[:MAX_LINE]


def read_blocks(path: Path, skip_bytes: int = 0) -> Iterator[bytes]:
    """Blocks of whole lines; the last one gets its newline where the file lacks it.

    A line far longer than ``MAX_LINE`` loses its middle, so that it cannot fill the memory.

    Args:
        skip_bytes: of the text to leave out at its start, at most ``MAX_LINE``.

    Raises:
        CaptureError: as :func:`read_bytes`.
    """
    rest = b""
    for chunk in read_text(path):
        chunk, skip_bytes = chunk[skip_bytes:], 0
        whole, newline, tail = chunk.rpartition(b"\n")
        if newline:
            yield rest + whole + newline
            rest = tail
        elif len(rest) <= MAX_LINE:
            rest += tail
    if rest:
        yield rest + b"\n"


def read_lines(
    path: Path,
    delimiters: str,
    fast: Callable[[Lines], tuple[Columns, Mask]],
    exact: Callable[[str], Row | None],
    quarantine: Quarantine,
    *,
    frames: int,
    skip_bytes: int = 0,
    first_line: int = 1,
    reach: Callable[[int], None] | None = None,
) -> Iterator[Columns]:
    """Read every line of a text capture, ``frames`` or somewhat more at a time.

    Args:
        delimiters: characters at which ``fast`` wants lines cut.
        fast: columns ``[L]`` of a block, and where ``[L]`` they can be relied on.
        exact: reads one of the other lines, or raises :class:`BadLine`; None for a line that
            rightly is no frame (a comment, a heading).
        quarantine: takes the lines that are no frames. Blank lines are no lines.
        skip_bytes: header, not to be read as frames.
        first_line: number of the first line read.
        reach: told which of the block's lines ``exact`` reads next, where that depends on the lines
            before it, which ``fast`` has read.

    Yields:
        At least once; no frames only where there are none at all. What is read behind the last
        frame is read before the last time.

    Raises:
        CaptureError: if the file cannot be read.
    """
    parts: list[Columns] = []
    waiting = 0
    for block in read_blocks(path, skip_bytes):
        all_lines = split_lines(block, delimiters)
        filled = np.flatnonzero(all_lines.end > all_lines.start)
        lines = all_lines.take(filled)
        columns, good = fast(lines)
        too_long = lines.end - lines.start > MAX_LINE
        good &= ~too_long
        for index in np.flatnonzero(~good).tolist():
            text = lines.line(index)
            if not text.strip():
                continue
            try:
                if too_long[index]:
                    raise BadLine(f"line is longer than {MAX_LINE} characters")
                if reach:
                    reach(index)
                row = exact(text)
            except BadLine as bad:
                quarantine.add(first_line + int(filled[index]), str(bad), text)
                continue
            if row is not None:
                columns.put(index, row)
                good[index] = True
        first_line += len(all_lines)
        if not good.any():
            continue
        if waiting >= frames:
            yield concatenate(parts)
            parts, waiting = [], 0
        parts.append(columns.select(good).narrowed())
        waiting += int(np.count_nonzero(good))
    yield concatenate(parts)


def share_of_lines(head: bytes, pattern: re.Pattern[str]) -> float:
    """Share of the first lines of a file, blank ones aside, that a pattern matches whole."""
    lines = [line for line in head.decode("utf-8", "replace").splitlines()[:50] if line.strip()]
    return sum(bool(pattern.fullmatch(line)) for line in lines) / max(len(lines), 1)


def nothing_fast(lines: Lines) -> tuple[Columns, Mask]:
    """For :func:`read_lines`: no line is read in columns, each goes to ``exact``."""
    return Columns.empty(len(lines)), np.zeros(len(lines), bool)


def settings_first(
    lines: Lines, is_setting: Mask, is_frame: Mask, take: Callable[[str], None]
) -> bool:
    """Let the header lines at a block's start be known before the frames behind them are read.

    Args:
        is_setting: where ``[L]`` lines may say how the following ones are to be read.
        is_frame: where they may be frames.
        take: takes in a setting; a second time, when its line is read, must do no harm.

    Returns:
        Whether all settings are there; otherwise the lines are to be read one by one.
    """
    settings = np.flatnonzero(is_setting & (lines.end - lines.start <= MAX_LINE))
    if not len(settings):
        return True
    if is_frame[: settings[-1]].any():
        return False
    for index in settings.tolist():
        take(lines.line(index))
    return True


def read_words(
    lines: Lines,
    words: Words,
    *,
    time: tuple[Positions, Positions],
    number: tuple[Positions, Positions],
    length: tuple[Positions, Positions] | Positions,
    data: int | Positions,
    points: str = ".",
) -> tuple[Columns, Mask]:
    """Data frames of lines whose fields are words, and where ``[L]`` they hold. No flags are set.

    Args:
        time: where the time stands.
        number: where the identifier stands, in hexadecimal.
        length: where the DLC stands, one digit up to 8; or the DLCs.
        data: the first of the words that are payload bytes, of two digits and one blank apart.
        points: characters that may stand for the decimal point.
    """
    if isinstance(length, tuple):
        length = read_digit(lines.text, *length)
    columns, good = read_frame_words(lines.text, words, number=number, length=length, data=data)
    columns.timestamp, fine = read_time(lines.text, *time, points)
    return columns, good & fine


def read_frame_words(
    text: Text,
    words: Words,
    *,
    number: tuple[Positions, Positions],
    length: Positions,
    data: int | Positions,
    base: int = 16,
    most: int = 8,
) -> tuple[Columns, Mask]:
    """Identifiers and payloads of words, and where ``[L]`` they hold. No time and no flags are set.

    Args:
        number: where the identifier stands.
        length: payload bytes of each line, up to ``most``; others do not hold.
        data: the first of the words that are payload bytes; hexadecimal ones have two digits and
            are one blank apart.
        base: of identifiers and payload bytes.
        most: 8, or 64 for CAN FD: the width of the payloads.
    """
    columns = Columns.empty(len(words.first), most)
    columns.arbitration_id, good = read_number(text, *number, base)
    good &= (length >= 0) & (length <= most) & (words.count >= data + length)
    length = np.where(good, length, 0)
    if base == 10:
        columns.payload, fine = _read_decimal_bytes(text, words, data, length, most)
    else:
        start, end = words.word(data)[0], words.word(data + length - 1)[1]
        good &= (length == 0) | (end - start == 3 * length - 1)
        columns.payload, fine = read_spaced_bytes(text, start, length, " ", most)
    columns.length = length.astype(np.uint8)
    return columns, good & fine


def read_digit(text: Text, start: Positions, end: Positions) -> Positions:
    """The decimal digit that is each field ``[L]``; not 0 to 9 where the field is none."""
    digit = text.characters[start].astype(np.intp) - ord("0")
    return np.where(end - start == 1, digit, -1)


def read_number(
    text: Text, start: Positions, end: Positions, base: int
) -> tuple[npt.NDArray[np.uint32], Mask]:
    """An identifier of up to 29 bits, in up to 8 hexadecimal or 12 decimal digits, and where it
    holds ``[L]``."""
    if base == 16:
        number, good = read_hex_number(text, start, end)
        return number, good & (number <= EXTENDED_MAX)
    decimal, good = read_integer(text, start, end)
    return decimal.astype(np.uint32), good & (end - start <= 12) & (decimal <= EXTENDED_MAX)


def read_spaced_bytes(
    text: Text, start: Positions, length: Positions, separator: str, width: int = 8
) -> tuple[npt.NDArray[np.uint8], Mask]:
    """``length`` (0 to ``width``) bytes of two hexadecimal digits, one separator between them.

    Returns:
        Payload ``[L, width]`` padded with zeros, and where it holds.
    """
    good = (length >= 0) & (length <= width)
    length = np.where(good, length, 0)
    there = np.arange(width) < length[:, None]
    words = text.words[start[:, None] + 3 * np.arange(width)]
    pairs = np.where(there, _PAIRS[(words & np.uint64(0xFFFF)).astype(np.intp)], 0)
    between = ((words >> np.uint64(16)) & np.uint64(0xFF)) == ord(separator)
    good &= ~(pairs & _INVALID).any(axis=1)
    good &= (between | (np.arange(1, width + 1) >= length[:, None])).all(axis=1)
    return pairs.astype(np.uint8), good


def _read_decimal_bytes(
    text: Text, words: Words, data: int | Positions, length: Positions, width: int
) -> tuple[npt.NDArray[np.uint8], Mask]:
    """``length`` (0 to ``width``) bytes ``[L, width]``, each a word of up to three digits."""
    there = np.arange(width) < length[:, None]
    index = (words.first + data)[:, None] + np.arange(width)
    index = np.where(there, index, len(words.start) - 1)
    start, end = words.start[index], words.end[index]
    digits = np.where(there, end - start, 1)
    good = digits <= 3
    value, fine = _eight_digits(text.words[end - 8], np.where(good, digits, 0))
    good = (good & fine & (value <= 255)) | ~there
    return np.where(there, value, 0).astype(np.uint8), np.all(good, axis=1)


def read_integer(
    text: Text, start: Positions, end: Positions
) -> tuple[npt.NDArray[np.int64], Mask]:
    """Number of 1 to 15 decimal digits in each field, and where it holds ``[L]``."""
    digits = end - start
    good = (digits >= 1) & (digits <= 15)
    digits = np.where(good, digits, 0)
    low, low_good = _eight_digits(text.words[end - 8], np.minimum(digits, 8))
    high, high_good = _eight_digits(text.words[end - 16], np.maximum(digits - 8, 0))
    return high * 100_000_000 + low, good & low_good & high_good


def distinct(
    text: Text, start: Positions, end: Positions, where: Mask, most: int = 32
) -> Iterator[tuple[str, Mask]]:
    """Each text that a field has ``where`` told, and the lines ``[L]`` that have it.

    Stops after ``most`` texts: the lines of the others are in no mask.
    """
    left = where.copy()
    for _ in range(most):
        if not left.any():
            return
        index = int(left.argmax())
        literal = text.characters[start[index] : end[index]].tobytes()[:PAD]
        same = left & _equals(text, start, end, literal)
        # A field longer than PAD is never the same as its cut-off text.
        left &= ~same
        left[index] = False
        yield literal.decode("utf-8", "replace"), same


def see_buses(
    text: Text,
    start: Positions,
    end: Positions,
    where: Mask,
    buses: Buses,
    pattern: str = r"\S+",
) -> Mask:
    """Note the buses named in a field ``where`` told, and say where ``[L]`` they are names.

    Args:
        pattern: what a name looks like; its group, if it has one, is what is noted.
    """
    named = np.zeros(len(where), bool)
    for name, same in distinct(text, start, end, where):
        if match := re.fullmatch(pattern, name):
            buses.see(match[match.re.groups])
            named |= same
    return named


def read_hex_bytes(
    text: Text, start: Positions, end: Positions, width: int = 8
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8], Mask]:
    """Contiguous hexadecimal bytes of each field.

    Returns:
        Payload ``[L, width]`` padded with zeros, number of bytes ``[L]``, and where both hold.
    """
    digits = end - start
    good = (digits <= 2 * width) & (digits % 2 == 0)
    digits = np.where(good, digits, 0)
    offset = np.arange(0, 2 * width, 8)
    kept = _LOW[np.clip(digits[:, None] - offset, 0, 8)]
    words = text.words[start[:, None] + offset]
    words = (words & kept) | (_ZEROS & ~kept)
    pairs = _PAIRS.take(words.view("<u2"))
    invalid = np.bitwise_or.reduce(pairs.view(np.uint64), axis=1) & np.uint64(0x8000800080008000)
    good &= invalid == 0
    return pairs.astype(np.uint8), (digits // 2).astype(np.uint8), good


def read_hex_number(
    text: Text, start: Positions, end: Positions
) -> tuple[npt.NDArray[np.uint32], Mask]:
    """Number of 1 to 8 hexadecimal digits in each field, and where it holds ``[L]``."""
    digits = end - start
    good = (digits >= 1) & (digits <= 8)
    before = _LOW[np.where(good, 8 - digits, 0)]
    words = (text.words[end - 8] & ~before) | (_ZEROS & before)
    pairs = _PAIRS.take(words.view("<u2").reshape(-1, 4))
    good &= (pairs.view(np.uint64)[:, 0] & np.uint64(0x8000800080008000)) == 0
    return pairs.astype(np.uint8).view(">u4")[:, 0].astype(np.uint32), good


def read_decimal(
    text: Text, start: Positions, point: Positions, end: Positions
) -> tuple[npt.NDArray[np.float64], Mask]:
    """Each field's ``[L]`` digits, point and digits as a number, rounded once, and where it holds.

    The digits as a whole number are exact below 2^53 and powers of ten up to 10^22 are exact, so
    that one division rounds once, as reading the text does (Clinger 1990, the fast path).
    """
    before, after = point - start, end - point - 1
    good = (before >= 1) & (before <= 10) & (after >= 1) & (after <= 8)
    before, after = np.where(good, before, 0), np.where(good, after, 0)
    low, low_good = _eight_digits(text.words[point - 8], np.minimum(before, 8))
    high, high_good = _eight_digits(text.words[point - 16], np.maximum(before - 8, 0))
    fraction, fraction_good = _eight_digits(text.words[end - 8], after)
    mantissa = (high * 100_000_000 + low) * _TEN_INT[after] + fraction
    good &= low_good & high_good & fraction_good & (mantissa <= _EXACT)
    return mantissa / _TEN[after], good


def read_time(
    text: Text, start: Positions, end: Positions, points: str = "."
) -> tuple[npt.NDArray[np.float64], Mask]:
    """Each field ``[L]`` as a number: :func:`read_decimal`, or :func:`read_integer` without point.

    Args:
        points: characters that may stand for the decimal point.
    """
    is_point = text.characters == ord(points[0])
    for other in points[1:]:
        is_point |= text.characters == ord(other)
    found = np.append(np.flatnonzero(is_point), len(text.characters))
    point = found[np.searchsorted(found, start)]
    whole = point >= end
    value, good = read_decimal(text, start, np.where(whole, start, point), end)
    if whole.any():
        number, fine = read_integer(text, start, end)
        value, good = np.where(whole, number, value), np.where(whole, fine, good)
    return value, good


def _eight_digits(
    words: npt.NDArray[np.uint64], digits: Positions
) -> tuple[npt.NDArray[np.int64], Mask]:
    """Value of the last ``digits`` (0 to 8) characters of each word, and where they are digits.

    Pairs, then fours, then eights are joined inside the word, for example "12" -> 1 * 10 + 2.
    """
    v = (words ^ _ZEROS) & ~_LOW[8 - digits]
    over_nine = ((v + np.uint64(0x0606060606060606)) | v) & np.uint64(0xF0F0F0F0F0F0F0F0)
    v = (v * np.uint64(2561)) >> np.uint64(8)
    v = ((v & np.uint64(0x00FF00FF00FF00FF)) * np.uint64(6553601)) >> np.uint64(16)
    v = ((v & np.uint64(0x0000FFFF0000FFFF)) * np.uint64(42949672960001)) >> np.uint64(32)
    return v.astype(np.int64), over_nine == 0


def equals(text: Text, start: Positions, end: Positions, literal: str) -> Mask:
    """Where ``[L]`` a field is exactly ``literal`` (at most ``PAD`` ASCII characters)."""
    return _equals(text, start, end, literal.encode("ascii"))


def _equals(text: Text, start: Positions, end: Positions, raw: bytes) -> Mask:
    same = end - start == len(raw)
    for offset in range(0, len(raw), 8):
        part = raw[offset : offset + 8]
        expected = np.uint64(int.from_bytes(part, "little"))
        at = np.where(same, start + offset, 0) if offset else start
        same &= (text.words[at] & _LOW[len(part)]) == expected
    return same


def within(
    text: Text, start: Positions, end: Positions, brackets: str
) -> tuple[tuple[Positions, Positions], Mask]:
    """Start and end ``[L]`` of what stands between a field's brackets, and where it has both."""
    good = end - start >= 2
    good &= text.characters[start] == ord(brackets[0])
    good &= text.characters[end - 1] == ord(brackets[1])
    return (start + good, end - good), good


def written(columns: Sequence[npt.NDArray[np.uint8] | bytes], rows: int) -> bytes:
    """Join columns of characters ``[rows, *]`` (or the same bytes in each row) into text.

    Zero bytes stand for no character.
    """
    parts = [
        np.broadcast_to(np.frombuffer(c, np.uint8), (rows, len(c))) if isinstance(c, bytes) else c
        for c in columns
    ]
    matrix = np.concatenate(parts, axis=1) if rows else np.zeros((0, 0), np.uint8)
    return matrix[matrix != 0].tobytes()


def hex_characters(
    values: npt.NDArray[np.uint8], length: npt.NDArray[np.integer] | None = None
) -> npt.NDArray[np.uint8]:
    """Bytes ``[rows, width]`` as characters ``[rows, 2 * width]``, up to ``length`` bytes."""
    nibbles = np.stack((values >> 4, values & 15), axis=2).reshape(len(values), -1)
    characters = np.frombuffer(b"0123456789ABCDEF", np.uint8)[nibbles]
    if length is not None:
        characters[np.arange(characters.shape[1]) >= 2 * length.astype(int)[:, None]] = 0
    return characters


def decimal_characters(values: npt.NDArray[np.int64], least: int = 1) -> npt.NDArray[np.uint8]:
    """Whole numbers from 0 as characters ``[rows, *]``, padded with zeros to ``least`` digits."""
    width = max(least, len(str(int(values.max(initial=0)))))
    power = 10 ** np.arange(width - 1, -1, -1, dtype=np.int64)
    quotient = values[:, None] // power
    characters = (quotient % 10 + ord("0")).astype(np.uint8)
    characters[(quotient == 0) & (power >= 10**least)] = 0
    return characters


def time_characters(timestamp: npt.NDArray[np.float64]) -> npt.NDArray[np.uint8]:
    """Seconds from 0 as characters ``[rows, *]`` with six decimals."""
    microseconds = np.round(timestamp * 1e6).astype(np.int64)
    whole = decimal_characters(microseconds // 1_000_000)
    fraction = decimal_characters(microseconds % 1_000_000, 6)
    point = np.full((len(timestamp), 1), ord("."), np.uint8)
    return np.concatenate((whole, point, fraction), axis=1)
