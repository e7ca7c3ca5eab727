"""Parses the command line, runs one command and turns errors into exit codes."""

import argparse
import importlib
import os
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from core.errors import InputError

COMMANDS = (
    "ingest",
    "datasets",
    "profiles",
    "reproduce",
    "train-fusion",
    "explain",
    "distil",
    "export",
    "compare",
    "benchmark",
    "settings",
    "bench",
)


class Parser(argparse.ArgumentParser):
    """Answers a wrong command line like any other bad input: one line, exit code 2."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {' '.join(message.split())} (see {self.prog} --help)\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        0 on success, 2 with one line on standard error on bad input, 130 when interrupted.
    """
    parser = Parser(prog="python -m core", description="CAN-Graph fusion")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name in COMMANDS:
        module = importlib.import_module(f"core.cli.{name.replace('-', '_')}")
        command = commands.add_parser(name, help=module.HELP, description=module.HELP)
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    parsed = parser.parse_args(arguments)
    return guarded(lambda: parsed.run(parsed))


def guarded(command: Callable[[], None]) -> int:
    """Run ``command`` and answer bad input with one line and exit code 2."""
    try:
        command()
    except InputError as error:
        sys.stderr.write("error: " + " ".join(str(error).split()) + "\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return 130
    except BrokenPipeError:
        # The reader of our output has gone (``| head``): nothing is left to say to it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0
