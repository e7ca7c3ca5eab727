"""``python -m core settings``: every setting with its default and range, as Markdown tables."""

import argparse
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from core.config import FusionConfig, Settings
from core.errors import ConfigError
from core.files import atomic_path

HELP = "every setting, its default and what it may be"
BEGIN, END = "<!-- settings: begin -->", "<!-- settings: end -->"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument(
        "--update",
        type=Path,
        metavar="FILE",
        help=f"write the tables into this file, between {BEGIN} and {END}",
    )


def run(args: argparse.Namespace) -> None:
    """Run the command.

    Raises:
        ConfigError: if the file to update cannot be read, or has no place for the tables.
        StorageError: if it cannot be written.
    """
    if args.update is None:
        print(reference())
        return
    try:
        text = args.update.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot read {args.update}: {error.strerror or error}") from error
    new = updated(text, str(args.update))
    with atomic_path(args.update) as temporary:
        temporary.write_text(new, encoding="utf-8")


def updated(text: str, where: str = "the text") -> str:
    """``text`` with the tables between the two marks.

    Raises:
        ConfigError: if it has not both marks.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ConfigError(f"{where}: expected {BEGIN} and, after it, {END}")
    return f"{before}{BEGIN}\n\n{reference()}\n\n{END}{after}"


def reference() -> str:
    """One table per section, in the order of the configuration classes."""
    lines: list[str] = []
    for name, section in _sections(FusionConfig()):
        about = (type(section).__doc__ or "").strip().splitlines()[0]
        lines += [f"**`{name}`** {about}", ""]
        lines += ["| setting | default | may be | meaning |", "| --- | --- | --- | --- |"]
        for field in dataclasses.fields(section):  # type: ignore[arg-type]
            value = getattr(section, field.name)
            if not isinstance(value, Settings):
                cells = (f"`{name}.{field.name}`", _shown(value), _range(value, field.metadata))
                lines.append(f"| {' | '.join(cells)} | {field.metadata['help']} |")
        lines.append("")
    return "\n".join(lines).rstrip()


def _sections(config: Settings, prefix: str = "") -> Iterator[tuple[str, Settings]]:
    for field in dataclasses.fields(config):  # type: ignore[arg-type]
        value = getattr(config, field.name)
        if isinstance(value, Settings):
            yield prefix + field.name, value
            yield from _sections(value, f"{prefix}{field.name}.")


def _shown(value: Any) -> str:
    """As it is written on the command line."""
    if isinstance(value, tuple):
        return f"`[{','.join(map(str, value))}]`"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value}`" if value != "" else "empty"


def _range(value: Any, about: Any) -> str:
    if about["choices"]:
        return ", ".join(f"`{choice}`" for choice in about["choices"])
    if isinstance(value, bool):
        return "`true`, `false`"
    kind = value[0] if isinstance(value, tuple) else value
    many = "one or more " if isinstance(value, tuple) else ""
    if isinstance(kind, str):
        return f"{many}{'names' if many else 'text'}"
    number = "whole numbers" if many else "whole number" if isinstance(kind, int) else "number"
    low, high = (int(x) if isinstance(kind, int) else x for x in (about["low"], about["high"]))
    return f"{many}{number}, {low} to {high}"
