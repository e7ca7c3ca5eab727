"""How a long computation tells what it is doing, whoever listens."""

import sys
import time
from collections.abc import Mapping
from typing import Protocol, TextIO


class Reporter(Protocol):
    """Listens to a running computation. Jobs, command lines and tests each bring their own."""

    def progress(self, step: str, fraction: float, message: str = "") -> None:
        """Say that ``step`` is done to ``fraction`` (0 to 1)."""

    def metrics(self, step: str, values: Mapping[str, float]) -> None:
        """Add one point to the curves of ``step``."""

    def log(self, message: str) -> None:
        """Say something worth keeping in the run's log."""

    def check(self) -> None:
        """Give the listener a chance to stop the computation.

        Raises:
            JobStopped: if a stop was asked for.
        """


class SilentReporter:
    """Listens to nothing."""

    def progress(self, step: str, fraction: float, message: str = "") -> None: ...

    def metrics(self, step: str, values: Mapping[str, float]) -> None: ...

    def log(self, message: str) -> None: ...

    def check(self) -> None: ...


class StreamReporter:
    """Writes progress as lines to a stream (standard error), a few per second at most."""

    def __init__(self, stream: TextIO | None = None, min_interval_s: float = 0.5) -> None:
        self.stream = stream or sys.stderr
        self.min_interval_s = min_interval_s
        self._last = 0.0
        self._step = ""

    def progress(self, step: str, fraction: float, message: str = "") -> None:
        now = time.monotonic()
        if step == self._step and fraction < 1 and now - self._last < self.min_interval_s:
            return
        self._step, self._last = step, now
        self.log(f"{step:<10} {fraction:6.1%} {message}".rstrip())

    def metrics(self, step: str, values: Mapping[str, float]) -> None: ...

    def log(self, message: str) -> None:
        self.stream.write(f"{message}\n")
        self.stream.flush()

    def check(self) -> None: ...


class PartReporter:
    """Shows one of several like parts of a step as its share of the whole step."""

    def __init__(self, reporter: Reporter, part: int, parts: int, name: str) -> None:
        self.reporter, self.part, self.parts, self.name = reporter, part, parts, name

    def progress(self, step: str, fraction: float, message: str = "") -> None:
        text = ", ".join(filter(None, (self.name, message)))
        self.reporter.progress(step, (self.part + fraction) / self.parts, text)

    def metrics(self, step: str, values: Mapping[str, float]) -> None:
        self.reporter.metrics(f"{step} {self.name}".rstrip(), values)

    def log(self, message: str) -> None:
        self.reporter.log(message)

    def check(self) -> None:
        self.reporter.check()
