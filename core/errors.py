"""What can go wrong, as one tree.

Every :class:`InputError` is the user's to mend: the command lines answer it with one line on
standard error and exit code 2, the pages with a message. Anything else is a defect and shows its
traceback.

::

    CanFusionError
    ├── InputError
    │   ├── CaptureError      a capture file that cannot be used
    │   │   └── ShortCaptureError
    │   ├── DatasetError      a folder that is not a data set, or lacks what a step needs
    │   ├── ConfigError       an unknown setting, a wrong type, a value out of range
    │   ├── CheckpointError   not a checkpoint, or one of another shape
    │   ├── CacheError        a prediction cache that is corrupt, truncated or stale
    │   │   └── StaleCacheError
    │   ├── ScoresError       a table of scores that cannot be fused
    │   └── StorageError      a file or folder that cannot be written (no space, no permission)
    └── JobStopped            the user asked a running job to stop
"""

from collections.abc import Sequence


class CanFusionError(Exception):
    """Base of all errors that this project raises on purpose."""


class InputError(CanFusionError):
    """The user can mend this: the message says what, got, expected and where."""


class CaptureError(InputError):
    """A capture file that cannot be used."""


class ShortCaptureError(CaptureError):
    """A capture in which there is not one window."""


class DatasetError(InputError):
    """A folder that is not a data set, or that lacks what a step needs."""


class ConfigError(InputError):
    """An unknown setting, a wrong type or a value out of range."""


class CheckpointError(InputError):
    """A file that is no checkpoint, or a checkpoint of another shape."""


class CacheError(InputError):
    """A prediction cache that cannot be read."""


class StaleCacheError(CacheError):
    """A prediction cache made from something else than what is asked for now."""

    def __init__(self, message: str, reasons: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.reasons = tuple(reasons)


class ScoresError(InputError):
    """A table of scores that cannot be fused."""


class StorageError(InputError):
    """A file or folder that cannot be written."""


class JobStopped(CanFusionError):
    """The user asked the running job to stop; what was saved before stays."""
