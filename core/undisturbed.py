"""Lightning as a library call: quiet, on one torch thread, and leaving everything as it was."""

import logging
import signal
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch

EXPECTED_WARNINGS = (
    ".*exists and is not empty",
    "The dirpath has changed",
    "Be aware that when using `ckpt_path`, callbacks",
    "GPU available but not used",
    # Our batches are made on the device: loader workers would only slow them down.
    ".*does not have many workers",
    # Lightning 2.6 on torch 2.13.
    r"`isinstance\(treespec, LeafSpec\)` is deprecated",
)


@contextmanager
def undisturbed() -> Iterator[None]:
    """One thread for torch (faster on small tensors), and no chatter; both restored after."""
    threads = torch.get_num_threads()
    # Lightning ignores Ctrl-C for good once it has seen one; handlers belong to the main thread.
    is_main = threading.current_thread() is threading.main_thread()
    on_interrupt = signal.getsignal(signal.SIGINT)
    names = ("lightning.pytorch", "lightning.fabric")
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    try:
        torch.set_num_threads(1)
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            for message in EXPECTED_WARNINGS:
                warnings.filterwarnings("ignore", message=message)
            yield
    finally:
        torch.set_num_threads(threads)
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        if is_main:
            signal.signal(signal.SIGINT, on_interrupt)
