"""Text captures, parsed a block of lines at a time in numpy.

Fields are found as positions in the byte buffer and read eight characters at a time: one unaligned
64-bit word per field and line, on which the usual word-parallel tricks work for all lines at once.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from core.captures.rows import BadLine, Columns, Quarantine, Row, concatenate
from core.errors import CaptureError

Positions = npt.NDArray[np.intp]
Mask = npt.NDArray[np.bool_]

BLOCK_BYTES = 512 << 10
"""Text parsed at a time: small enough that the columns of a block stay in the processor's cache."""
PAD = 192
"""Bytes before and after the text, so that a word may be read beyond any field (64 bytes = 128)."""

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
        cut = self.cuts[np.minimum(self.first_cut + k, len(self.cuts) - 1)]
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

    def line(self, index: int) -> str:
        """A line's text, without its end."""
        raw = self.text.characters[self.start[index] : self.end[index]].tobytes()
        return raw.decode("utf-8", errors="replace")


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


def read_blocks(path: Path, skip_bytes: int = 0) -> Iterator[bytes]:
    """Blocks of whole lines; the last one gets its newline where the file lacks it.

    Raises:
        CaptureError: if the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            file.seek(skip_bytes)
            rest = b""
            while chunk := file.read(BLOCK_BYTES):
                whole, newline, tail = chunk.rpartition(b"\n")
                if newline:
                    yield rest + whole + newline
                    rest = tail
                else:
                    rest += tail
            if rest:
                yield rest + b"\n"
    except OSError as error:
        raise CaptureError(f"{path}: cannot be read: {error.strerror or error}") from error


def read_lines(
    path: Path,
    delimiters: str,
    fast: Callable[[Lines], tuple[Columns, Mask]],
    exact: Callable[[str], Row],
    *,
    skip_bytes: int = 0,
    first_line: int = 1,
) -> tuple[Columns, Quarantine]:
    """Read every line of a text capture.

    Args:
        delimiters: characters at which ``fast`` wants lines cut.
        fast: columns ``[L]`` of a block, and where ``[L]`` they can be relied on.
        exact: reads one of the other lines, or raises :class:`BadLine`.
        skip_bytes: header, not to be read as frames.
        first_line: number of the first line read.

    Returns:
        The frames, and the lines that are none. Blank lines are neither.

    Raises:
        CaptureError: if the file cannot be read.
    """
    parts, quarantine = [], Quarantine()
    for block in read_blocks(path, skip_bytes):
        lines = split_lines(block, delimiters)
        columns, good = fast(lines)
        for index in np.flatnonzero(~good).tolist():
            text = lines.line(index)
            if not text.strip():
                continue
            try:
                columns.put(index, exact(text))
                good[index] = True
            except BadLine as bad:
                quarantine.add(first_line + index, str(bad), text)
        parts.append(columns.select(good))
        first_line += len(lines)
    return concatenate(parts), quarantine


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
    """Where ``[L]`` a field is exactly ``literal`` (at most 8 characters)."""
    expected = np.uint64(int.from_bytes(literal.encode("ascii"), "little"))
    same = (text.words[start] & _LOW[len(literal)]) == expected
    return same & (end - start == len(literal))


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
