"""CSV formats with a header: where which column lies."""

import csv
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import numpy.typing as npt

from core.captures.rows import EXTENDED_MAX, BadLine, Columns, Quarantine, Row
from core.captures.text import Lines, Positions, Text, distinct, first_line, read_lines
from core.errors import CaptureError


def header_names(line: bytes) -> list[str]:
    """Column names of a header line, in lower case, without quotes and byte order mark."""
    text = line.decode("utf-8-sig", errors="replace").strip()
    return [name.strip(" \"'\t").lower() for name in text.split(",")]


def head_names(head: bytes) -> list[str]:
    """Column names of the first line of a file's start."""
    return header_names(head.split(b"\n", 1)[0])


def stripped(field: str) -> str:
    """A field without the blanks and single quotes around it."""
    return field.strip(" '\t")


def exact_decimal(text: str, most: int, what: str) -> int:
    """A decimal number up to ``most``, as a spreadsheet may have written it (``65.0``).

    Raises:
        BadLine: otherwise.
    """
    digits = text.removesuffix(".0")
    if not 1 <= len(digits) <= 10 or not (digits.isascii() and digits.isdigit()):
        raise BadLine(f"{what} is not a decimal number")
    if int(digits) > most:
        raise BadLine(f"{what} is beyond {'29 bits' if most == EXTENDED_MAX else most}")
    return int(digits)


def put_labels(
    columns: Columns,
    text: Text,
    fields: tuple[Positions, Positions],
    where: npt.NDArray[np.bool_],
    label: Callable[..., int],
) -> npt.NDArray[np.bool_]:
    """Set the labels ``where`` fields tell them, and say where ``[L]`` they do.

    Args:
        fields: start and end ``[L]`` of one field, or of several side by side.
        label: what the fields mean, each an argument, or :class:`BadLine`.
    """
    told = np.zeros(len(where), bool)
    for words, same in distinct(text, *fields, where):
        if '"' in words:
            continue
        with suppress(BadLine):  # exact says why, line by line
            columns.label[same] = label(*map(stripped, words.split(",")))
            told |= same
    return told


class Header:
    """The header of one file, and its lines as fields by name."""

    def __init__(self, path: Path, needed: Sequence[str]) -> None:
        """Read the header.

        Raises:
            CaptureError: if the file cannot be read or lacks a needed column.
        """
        line = first_line(path)
        self.path = path
        self.names, self.skip_bytes = header_names(line), len(line)
        missing = [name for name in needed if name not in self.names]
        if missing:
            raise CaptureError(
                f"{path}: missing columns {', '.join(missing)}; expected "
                f"{','.join(needed)}, got {','.join(self.names)[:200]!r}"
            )

    def index(self, *names: str) -> int | None:
        """Position of the first of these columns that is there."""
        return next((self.names.index(name) for name in names if name in self.names), None)

    def read_lines(
        self,
        delimiters: str,
        fast: Callable[[Lines], tuple[Columns, npt.NDArray[np.bool_]]],
        exact: Callable[[str], Row | None],
        quarantine: Quarantine,
        frames: int,
    ) -> Iterator[Columns]:
        """:func:`core.captures.text.read_lines`, of the lines behind the header."""
        return read_lines(
            self.path,
            delimiters,
            fast,
            exact,
            quarantine,
            frames=frames,
            skip_bytes=self.skip_bytes,
            first_line=2,
        )

    def fields(self, line: str, at_least: int | None = None) -> list[str]:
        """The fields of a line, stripped; quotes may hold commas.

        Raises:
            BadLine: if there are more fields than columns (but for empty ones), or fewer than
                ``at_least`` (all columns unless told).
        """
        if '"' in line:
            try:
                fields = next(csv.reader([line], strict=True), [])
            except csv.Error as error:
                raise BadLine("quotes do not match") from error
        else:
            fields = line.split(",")
        fields = [stripped(field) for field in fields]
        width = len(self.names)
        while len(fields) > width and not fields[-1]:
            fields.pop()
        if len(fields) > width or len(fields) < (width if at_least is None else at_least):
            raise BadLine(f"not {width} columns")
        return fields
