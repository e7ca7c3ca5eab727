"""Writing files and folders so that a reader sees the old or the new one, never half of it."""

import errno
import filecmp
import hashlib
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from core.errors import StorageError

TRIES = 100
"""How often a folder is put in its place: others may put theirs there at the same moment."""


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; it takes ``path``'s place when the block succeeds.

    The block may make the temporary path a file or a folder. A folder that holds the same already
    stays: of two processes that write it at once, one is not in the way of what the other reads.

    Raises:
        StorageError: if the operating system refuses (no space, no permission), or ``path`` is
            neither file nor folder (a device, a pipe), which would be replaced by one.
    """
    temporary: Path | None = None
    if "\0" in str(path):
        raise StorageError(f"cannot write {str(path)!r}: a name cannot hold a zero byte")
    try:
        with suppress(FileNotFoundError):
            mode = path.stat().st_mode
            if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                raise StorageError(f"cannot write {path}: it is a device or a pipe, and no file")
        path.parent.mkdir(parents=True, exist_ok=True)
        # The suffix stays last: some writers (numpy) choose a format or add an ending by it.
        name = f".{path.stem[:40]}-{os.getpid()}-{os.urandom(4).hex()}{path.suffix}"
        temporary = path.parent / name
        yield temporary
        _replace(temporary, path)
    except OSError as error:
        # numpy says "100 requested and 20 written" and no more.
        reason = error.strerror or f"{error}; is there space left?"
        raise StorageError(f"cannot write {path}: {reason}") from error
    finally:
        if temporary is not None:
            _remove(temporary)


def make_folder(path: Path) -> None:
    """Make a folder, and those above it, where it is missing.

    Raises:
        StorageError: if the operating system refuses, or a file is in the way.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror or error}") from error


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as JSON, atomically; not-a-number is refused rather than written."""
    text = json.dumps(value, indent=1, allow_nan=False, ensure_ascii=False)
    with atomic_path(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def content_hash(path: Path) -> str:
    """SHA-256 of a file's bytes, as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _replace(temporary: Path, path: Path) -> None:
    left: list[Path] = []
    try:
        for _ in range(TRIES):
            if path.is_dir() and temporary.is_dir():
                if _same(temporary, path):
                    return  # Another process made it meanwhile, and may be reading it.
                # A folder cannot be replaced in one step: the old one leaves first.
                left.append(_moved_away(path))
            if _took_its_place(temporary, path):
                return
        raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY))
    except OSError:
        for old in reversed(left):
            with suppress(OSError):  # The last one that was there comes back.
                (old / path.name).replace(path)
        raise
    finally:
        for old in left:
            shutil.rmtree(old)


def _took_its_place(temporary: Path, path: Path) -> bool:
    """False where another process put a folder of its own there since we looked."""
    try:
        temporary.replace(path)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            return False
        raise
    return True


def _moved_away(path: Path) -> Path:
    """Where a folder is now; another process may have been faster, and then nothing is there."""
    old = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name[:40]}-old-"))
    with suppress(FileNotFoundError):
        path.replace(old / path.name)
    return old


def _same(one: Path, other: Path) -> bool:
    """Whether two folders hold the same files, byte by byte; False where one has just gone."""
    try:
        names = [sorted(p.relative_to(at) for p in at.rglob("*")) for at in (one, other)]
        return names[0] == names[1] and all(
            filecmp.cmp(one / name, other / name, shallow=False)
            for name in names[0]
            if (one / name).is_file()
        )
    except FileNotFoundError:
        return False


def _remove(path: Path) -> None:
    with suppress(OSError):  # Of a name that is too long: there is nothing to remove.
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
