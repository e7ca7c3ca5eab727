"""Copying a data set into the workspace: it appears whole or not at all.

The copy grows in a hidden folder beside the data sets. Stopped, or without space left, it is
removed; when the process ends, or the source goes away, it stays, and the next import of the same
source under the same name goes on from there.
"""

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from core.captures import demo
from core.captures.dataset import (
    EXPECTED,
    TRAIN,
    Dataset,
    capture_files,
    is_folder,
    marker_of,
    read_folder,
    split_folders,
    visible,
)
from core.errors import DatasetError, JobStopped, StorageError
from core.files import content_hash, make_folder, write_json
from core.progress import Reporter, SilentReporter
from core.workspace import Workspace, typed_name, valid_name

PREFIX = ".importing-"
SOURCE = ".source.json"
"""In an unfinished copy: where it comes from."""
CHUNK_BYTES = 4 << 20
SPARE_BYTES = 64 << 20
"""Space that an import leaves free."""


@dataclass(frozen=True)
class UnfinishedImport:
    """A copy whose process ended before it did."""

    name: str
    source: str
    drop_duplicates: bool = False


def import_dataset(
    source: Path,
    name: str,
    workspace: Workspace,
    reporter: Reporter | None = None,
    *,
    drop_duplicates: bool = False,
) -> Dataset:
    """Copy the split folders in ``source`` into the workspace, whole or not at all.

    Args:
        drop_duplicates: leave out test captures with the same content as a training capture.

    Raises:
        DatasetError: if ``source`` is no data set or cannot be read, or the name is taken, cannot
            be one, or is being imported right now.
        StorageError: if there is not enough space, or it cannot be written.
        JobStopped: if the reporter says so; nothing stays.
    """
    reporter = reporter or SilentReporter()
    name = typed_name(name)
    target = workspace.datasets / name
    if name == demo.NAME or os.path.lexists(target):
        raise DatasetError(f"there is a data set {name!r} already; choose another name")
    if not is_folder(source):
        raise DatasetError(f"{source}: there is no such folder; expected {EXPECTED}")
    captures = {file for _, file in capture_files(source)}
    if not any(file.parent.name.startswith(TRAIN) for file in captures):
        read_folder(source, name)  # Says what is missing.
    files = _files(source, captures)
    with _claimed(workspace.datasets / f"{PREFIX}{name}") as copy:
        try:
            _begin(copy, source, drop_duplicates, files)
            left_out = _copy(source, files, copy, captures if drop_duplicates else set(), reporter)
            # Refused here, a folder without training captures never becomes a data set.
            found = read_folder(copy, name, reporter)
            (copy / SOURCE).unlink()
            copy.rename(target)
        except (JobStopped, StorageError):
            shutil.rmtree(copy, ignore_errors=True)
            raise
        except OSError as error:
            shutil.rmtree(copy, ignore_errors=True)
            raise StorageError(f"cannot write {target}: {error.strerror or error}") from error
    for line in (*left_out, *(f"warning: {warning}" for warning in found.warnings)):
        reporter.log(line)
    dropped = f", {len(left_out)} left out" if left_out else ""
    reporter.progress("import", 1.0, f"{len(found.captures)} captures{dropped}")
    copied = tuple(
        replace(capture, path=target / capture.split / capture.name) for capture in found.captures
    )
    return replace(found, root=target, captures=copied)


def unfinished_imports(workspace: Workspace) -> list[UnfinishedImport]:
    """Copies that nobody works on any more: each can be gone on with, or thrown away."""
    found = []
    for folder in sorted(workspace.datasets.glob(f"{PREFIX}*")):
        origin = _origin(folder)
        claim = _claim(folder)
        if claim is not None:
            os.close(claim)
            name, source = folder.name.removeprefix(PREFIX), str(origin.get("source", ""))
            found.append(UnfinishedImport(name, source, bool(origin.get("drop_duplicates"))))
    return found


def discard_import(name: str, workspace: Workspace) -> None:
    """Throw an unfinished copy away.

    Raises:
        DatasetError: if it is being worked on.
    """
    with _claimed(workspace.datasets / f"{PREFIX}{valid_name(name)}") as copy:
        shutil.rmtree(copy, ignore_errors=True)


def _files(source: Path, captures: set[Path]) -> list[tuple[Path, os.stat_result]]:
    """What an import copies, in order: what lies beside a capture may describe it, so all files.

    Raises:
        DatasetError: if one cannot be read.
    """
    try:
        folders = split_folders(source)
        files = [file for folder in folders for file in visible(folder) if file.is_file()]
        if marker_of(source):
            files.append(source / demo.MARKER)
        # A link to nothing among the captures is complained about.
        files += sorted(file for file in captures if not file.exists())
        return [(file, file.stat()) for file in files]
    except OSError as error:
        raise _unreadable(Path(error.filename or source), error) from error


def _begin(
    copy: Path, source: Path, drop_duplicates: bool, files: list[tuple[Path, os.stat_result]]
) -> None:
    """Keep of an earlier copy what comes from the same source; make sure of the space.

    Raises:
        StorageError: if there is not enough.
    """
    origin = {"source": str(source.absolute()), "drop_duplicates": drop_duplicates}
    kept = _origin(copy).get("source") == origin["source"]
    wanted = {copy / file.relative_to(source) for file, _ in files if kept}
    for entry in sorted(copy.rglob("*"), reverse=True):
        if not entry.is_dir() and entry not in wanted:
            entry.unlink()
    write_json(copy / SOURCE, origin)
    missing = sum(
        stat.st_size for file, stat in files if not _same(copy / file.relative_to(source), stat)
    )
    free = shutil.disk_usage(copy).free
    if missing + SPARE_BYTES > free:
        raise StorageError(
            f"not enough space for {source}: {missing / 1e6:,.0f} MB to copy, "
            f"{free / 1e6:,.0f} MB free in {copy.parent}"
        )


def _origin(copy: Path) -> dict[str, object]:
    """Where an unfinished copy comes from; empty where that cannot be read."""
    try:
        origin = json.loads((copy / SOURCE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return origin if isinstance(origin, dict) else {}


def _copy(
    source: Path,
    files: list[tuple[Path, os.stat_result]],
    copy: Path,
    checked: set[Path],
    reporter: Reporter,
) -> list[str]:
    """Copy all files but those of ``checked`` that repeat a training capture; returns these."""
    whole = max(sum(stat.st_size for _, stat in files), 1)
    done = 0
    trained: dict[int, list[Path]] = {}
    left_out = []
    for file, stat in files:
        key = file.relative_to(source)
        target = copy / key
        reporter.check()
        reporter.progress("import", done / whole, key.as_posix())
        training = key.parts[0].startswith(TRAIN)
        twin = None
        if file in checked and not training:
            twin = _twin(file, trained.get(stat.st_size, []))
        if twin is not None:
            left_out.append(
                f"{key.as_posix()} left out: same content as {twin.relative_to(copy).as_posix()}"
            )
            target.unlink(missing_ok=True)
        elif not _same(target, stat):
            _copy_file(file, stat, target, done / whole, 1 / whole, reporter)
        if file in checked and training:
            trained.setdefault(stat.st_size, []).append(target)
        done += stat.st_size
    return left_out


def _twin(file: Path, candidates: list[Path]) -> Path | None:
    """The candidate with the same content, if any."""
    if not candidates:
        return None
    wanted = _hash_of(file)
    return next((other for other in candidates if content_hash(other) == wanted), None)


def _hash_of(file: Path) -> str:
    try:
        return content_hash(file)
    except OSError as error:
        raise _unreadable(file, error) from error


def _copy_file(
    file: Path,
    stat: os.stat_result,
    target: Path,
    begin: float,
    per_byte: float,
    reporter: Reporter,
) -> None:
    """Copy one file; with its time of change, which tells a later import that it is whole."""
    target.parent.mkdir(exist_ok=True)
    # Longer names than this could not be written; a digest is short, whatever the name.
    digest = hashlib.sha256(os.fsencode(target.name)).hexdigest()[:16]
    part = target.parent / f".{digest}.part"
    copied = 0
    try:
        reader = file.open("rb")
    except OSError as error:
        raise _unreadable(file, error) from error
    with reader, part.open("wb") as writer:
        while True:
            try:
                chunk = reader.read(CHUNK_BYTES)
            except OSError as error:
                raise _unreadable(file, error) from error
            if not chunk:
                break
            writer.write(chunk)
            copied += len(chunk)
            reporter.check()
            reporter.progress("import", min(begin + copied * per_byte, 1.0), file.name)
    os.utime(part, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    part.replace(target)


def _same(target: Path, stat: os.stat_result) -> bool:
    try:
        there = target.stat()
    except OSError:
        return False
    return (there.st_size, there.st_mtime_ns) == (stat.st_size, stat.st_mtime_ns)


def _unreadable(file: Path, error: OSError) -> DatasetError:
    return DatasetError(f"{file}: cannot be read: {error.strerror or error}")


@contextmanager
def _claimed(folder: Path) -> Iterator[Path]:
    """Make a folder where it is missing, and be the only one to work on it.

    Raises:
        DatasetError: if somebody else works on it.
        StorageError: if it cannot be made.
    """
    make_folder(folder)
    claim = _claim(folder)
    if claim is None:
        name = folder.name.removeprefix(PREFIX)
        raise DatasetError(f"data set {name!r} is being imported right now; wait or stop that")
    try:
        yield folder
    finally:
        os.close(claim)


def _claim(folder: Path) -> int | None:
    """A descriptor that nobody else can have, given up when the process ends; None if taken."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor
