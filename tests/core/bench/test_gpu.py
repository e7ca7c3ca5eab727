"""Asking a GPU's driver how busy it is, with a driver made up."""

import threading

import pytest

from core.bench.gpu import utilisation


def test_looks_are_averaged_while_the_work_runs() -> None:
    enough = threading.Event()
    answers = iter([40, 60, 80])

    def ask() -> int:
        try:
            return next(answers)
        except StopIteration:
            enough.set()
            raise RuntimeError("no more") from None

    assert utilisation(lambda: enough.wait(30), ask) == 60


def test_a_driver_that_cannot_be_asked_spoils_no_work() -> None:
    done = []
    asked = threading.Event()

    def ask() -> int:
        asked.set()
        raise ModuleNotFoundError("pynvml")

    assert utilisation(lambda: done.append(asked.wait(30)), ask) is None
    assert done == [True]


def test_looking_ends_with_work_that_fails() -> None:
    def fail() -> None:
        raise ValueError("work")

    before = threading.active_count()
    with pytest.raises(ValueError, match="work"):
        utilisation(fail, lambda: 50)
    assert threading.active_count() == before
