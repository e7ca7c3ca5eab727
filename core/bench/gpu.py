"""How busy a GPU is while something runs on it."""

import statistics
import threading
from collections.abc import Callable

import torch

PAUSE_S = 0.05
"""Between two looks; the driver itself averages over some tenths of a second."""


def utilisation(
    work: Callable[[], object], ask: Callable[[], int] = torch.cuda.utilization
) -> float | None:
    """Percent of the time in which the GPU computed, the mean over looks taken while ``work`` ran.

    None where the driver cannot be asked (``pip install nvidia-ml-py``), or did not answer before
    the work was over.

    Args:
        ask: for the percentage of now.
    """
    looks: list[int] = []
    done = threading.Event()

    def look() -> None:
        while not done.wait(PAUSE_S):
            try:
                looks.append(ask())
            except (ImportError, RuntimeError):
                return

    thread = threading.Thread(target=look)
    thread.start()
    try:
        work()
    finally:
        done.set()
        thread.join()
    return statistics.fmean(looks) if looks else None
