"""CSV formats with a header: where which column lies."""

import csv
from collections.abc import Sequence
from pathlib import Path

from core.captures.rows import BadLine
from core.captures.text import first_line
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


class Header:
    """The header of one file, and its lines as fields by name."""

    def __init__(self, path: Path, needed: Sequence[str]) -> None:
        """Read the header.

        Raises:
            CaptureError: if the file cannot be read or lacks a needed column.
        """
        line = first_line(path)
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
