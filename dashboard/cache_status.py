"""Whether a prediction cache is fresh, asked in the background: every capture is hashed for it."""

import functools
import threading
from collections.abc import Hashable
from concurrent.futures import Future, ThreadPoolExecutor

from core.cache.status import cache_status
from core.captures.dataset import open_dataset
from core.config import FusionDataConfig
from core.errors import InputError
from core.workspace import Workspace
from dashboard.datasets import CacheFile, captures, detectors_trained

CHECKING = "checking"
MAX_CHECKS = 64

Status = tuple[str, tuple[str, ...]]
"""``fresh``, ``stale``, ``missing``, ``corrupt`` or ``checking``, and the reasons."""

_checks: dict[Hashable, "Future[Status]"] = {}
_lock = threading.Lock()


@functools.cache
def _executor() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix="cache-status")


def status_of(
    data: FusionDataConfig, cache: CacheFile, workspace: Workspace, wait_s: float = 0.0
) -> Status:
    """The state of a cache; ``checking`` until the answer is there, so ask again.

    Asked anew only when the cache, the detectors or a capture file changes.

    Args:
        wait_s: seconds to wait for the answer at most.
    """
    if not cache.exists:
        return "missing", ()
    files = captures(workspace, data.dataset)
    if not files:
        return "stale", ("the captures it was made from are no longer on disk",)
    stamp = tuple(
        (file.name, file.stat().st_mtime_ns) for group in files.values() for file in group
    )
    key = (cache.path, cache.changed, detectors_trained(workspace, data.dataset), stamp)
    with _lock:
        check = _checks.get(key)
        if check is None:
            check = _checks[key] = _executor().submit(_check, data, workspace)
            for old in list(_checks)[:-MAX_CHECKS]:
                del _checks[old]
    try:
        return check.result(wait_s)
    except TimeoutError:
        return CHECKING, ()


def _check(data: FusionDataConfig, workspace: Workspace) -> Status:
    try:
        dataset = open_dataset(data.dataset, workspace)
        status, reasons = cache_status(dataset, data, workspace)
    except InputError as error:
        return "stale", (str(error),)
    return status, tuple(reasons)
