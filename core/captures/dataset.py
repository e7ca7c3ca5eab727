"""Data sets: folders of split folders of capture files.

::

    NAME/
        train_01_attack_free/      any folder train_* is for training,
        train_02_with_attacks/
        test_01_.../               any folder test_* only for testing
        SIMULATED.json             only where no vehicle was involved
        left_out/                  captures that were set aside, by split

Other files and folders, and names that begin with a dot, are left alone.
"""

import functools
import hashlib
import json
import os
import shutil
import tempfile
import threading
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from core.captures import demo
from core.captures.label_files import LabelFiles
from core.captures.readers import READERS, detect, read_head
from core.errors import CaptureError, DatasetError, StorageError
from core.files import atomic_path, content_hash, write_json
from core.progress import Reporter, SilentReporter
from core.workspace import Workspace, typed_name, valid_name

TRAIN, TEST = "train_", "test_"
LEFT_OUT = "left_out"
"""Folder of a data set with captures that were set aside, by split."""
EXPECTED = "split folders train_* (train_01_attack_free) and test_* with capture files"
_demo_lock = threading.Lock()


@dataclass(frozen=True)
class Capture:
    """One capture file of a data set."""

    path: Path
    split: str
    """Name of its split folder."""
    name: str
    """File name with its ending."""
    sha256: str
    """Of the content, as hexadecimal digits."""
    labels_sha256: str = ""
    """Of the files beside it that its labels are taken from; empty where there are none."""

    @property
    def key(self) -> str:
        """What names it inside its data set."""
        return f"{self.split}/{self.name}"

    @property
    def content(self) -> str:
        """What its frames and their labels come from; changes when either does."""
        return "+".join(filter(None, (self.sha256, self.labels_sha256)))


@dataclass(frozen=True)
class Dataset:
    """A data set's captures, by split and name."""

    name: str
    root: Path
    captures: tuple[Capture, ...]
    simulated: bool
    warnings: tuple[str, ...] = ()

    @property
    def train(self) -> tuple[Capture, ...]:
        """Captures of all ``train_*`` folders."""
        return tuple(c for c in self.captures if c.split.startswith(TRAIN))

    @property
    def tests(self) -> dict[str, tuple[Capture, ...]]:
        """Captures of each ``test_*`` folder that has some."""
        splits = dict.fromkeys(c.split for c in self.captures if c.split.startswith(TEST))
        return {s: tuple(c for c in self.captures if c.split == s) for s in splits}


def open_dataset(
    name_or_path: str, workspace: Workspace, reporter: Reporter | None = None
) -> Dataset:
    """Find a data set by its name in the workspace, else as a path to its folder.

    The data set ``demo`` is made on first use. A folder elsewhere is known by its own name, with
    some digits where another data set has that name: what is made from them is kept by name.

    Raises:
        DatasetError: if there is none, or it has no training captures.
        StorageError: if the demo, or which folder has which name, cannot be written.
        JobStopped: if the reporter says so.
    """
    if name_or_path == demo.NAME:
        return read_folder(_demo(workspace, reporter or SilentReporter()), demo.NAME, reporter)
    for read in (valid_name, typed_name):
        try:
            name = read(name_or_path)
        except DatasetError:
            continue  # It may still be a path.
        if is_folder(workspace.datasets / name):
            return read_folder(workspace.datasets / name, name, reporter)
    if name_or_path.strip() and is_folder(Path(name_or_path)):
        # An absolute path has a name even for "."; links are not followed, their names are chosen.
        root = Path(os.path.abspath(name_or_path))  # noqa: PTH100
        dataset = read_folder(root, valid_name(root.name), reporter)
        name = _name_of(root, workspace, reporter or SilentReporter())
        return replace(dataset, name=name)
    raise DatasetError(
        f"no data set {name_or_path!r}: there is no such folder; "
        f"{workspace.datasets} has {', '.join(list_datasets(workspace))}"
    )


def list_datasets(workspace: Workspace) -> list[str]:
    """Names of the data sets in the workspace, and the demo even before it is made."""
    names = {demo.NAME}
    if workspace.datasets.is_dir():
        names |= {
            entry.name
            for entry in workspace.datasets.iterdir()
            if entry.is_dir() and _is_name(entry.name)
        }
    return sorted(names)


def remove_dataset(name: str, workspace: Workspace) -> None:
    """Remove a data set of the workspace, whole; the demo is made anew when it is next needed.

    Raises:
        DatasetError: if there is none of that name on disk.
        StorageError: if the operating system refuses.
    """
    root = workspace.datasets / valid_name(name)
    if not is_folder(root):
        raise DatasetError(f"there is no data set {name!r} in {workspace.datasets}")
    try:
        # It leaves in one step, so that nobody sees half of it.
        gone = Path(tempfile.mkdtemp(dir=workspace.datasets, prefix=".removed-"))
        root.replace(gone / root.name)
        shutil.rmtree(gone)
    except OSError as error:
        raise StorageError(f"cannot remove {root}: {error.strerror or error}") from error


def leave_out(name: str, keys: Iterable[str], workspace: Workspace) -> None:
    """Set captures aside: they stay in the data set's folder ``left_out`` and count no more.

    Args:
        keys: ``split/file`` of captures of this data set; others are ignored.

    Raises:
        DatasetError: if there is no such data set, or it is only a link to a folder elsewhere.
        StorageError: if the operating system refuses.
    """
    root, wanted = _own_folder(name, workspace), set(keys)
    for split, file in capture_files(root):
        if f"{split}/{file.name}" in wanted:
            _move(file, root / LEFT_OUT / split / file.name)


def left_out(name: str, workspace: Workspace) -> list[str]:
    """Captures that were set aside, as ``split/file``."""
    folder = workspace.datasets / valid_name(name) / LEFT_OUT
    files = sorted(folder.glob(f"{TRAIN}*/*")) + sorted(folder.glob(f"{TEST}*/*"))
    return [file.relative_to(folder).as_posix() for file in files]


def take_back(name: str, workspace: Workspace) -> None:
    """Put the captures that were set aside where they were; one whose place is taken stays.

    Raises:
        DatasetError: if there is no such data set, or it is only a link to a folder elsewhere.
        StorageError: if the operating system refuses.
    """
    root = _own_folder(name, workspace)
    for key in left_out(name, workspace):
        if not os.path.lexists(root / key):
            _move(root / LEFT_OUT / key, root / key)


def capture_files(root: Path) -> list[tuple[str, Path]]:
    """Each capture file of a data set with the name of its split folder, training first.

    Raises:
        DatasetError: if the folder cannot be read, or a name in it cannot be written down.
    """
    try:
        return [(s.name, file) for s in split_folders(root) for file in _captures_in(s)]
    except OSError as error:
        raise DatasetError(f"{root}: cannot be read: {error.strerror or error}") from error


def _own_folder(name: str, workspace: Workspace) -> Path:
    root = workspace.datasets / valid_name(name)
    if not is_folder(root) or root.is_symlink():
        raise DatasetError(
            f"{root}: expected a folder of the workspace; what is linked from elsewhere is not "
            "changed"
        )
    return root


def _move(file: Path, target: Path) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        file.rename(target)
    except OSError as error:
        raise StorageError(f"cannot move {file}: {error.strerror or error}") from error


def is_folder(path: Path) -> bool:
    """Whether it is a folder; unlike ``Path.is_dir``, false for paths that cannot even be asked."""
    return os.path.isdir(path)  # noqa: PTH112


def _name_of(root: Path, workspace: Workspace, reporter: Reporter) -> str:
    """The name of a folder that may lie outside the workspace."""
    name = valid_name(root.name)
    known = _known_outside(workspace)
    own = workspace.datasets / name
    holder = own if is_folder(own) else Path(known.get(name, root))
    if is_folder(holder) and not holder.samefile(root):
        name = f"{name}-{hashlib.sha256(os.fsencode(root)).hexdigest()[:8]}"
        reporter.log(f"{holder} has the name of {root}, which is kept as {name}")
    elif holder != own:
        place = str(root).encode("utf-8", "replace").decode()  # Not every path is text.
        if known.get(name) != place:
            write_json(workspace.outside, known | {name: place})
    return name


def _known_outside(workspace: Workspace) -> dict[str, str]:
    try:
        known = json.loads(workspace.outside.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {str(k): str(v) for k, v in known.items()} if isinstance(known, dict) else {}


def _demo(workspace: Workspace, reporter: Reporter) -> Path:
    """The demo's folder, made where it is missing or of another version."""
    root = workspace.datasets / demo.NAME
    with _demo_lock:
        if marker_of(root).get("version") != demo.VERSION:
            with atomic_path(root) as temporary:
                demo.write_demo(temporary, reporter=reporter)
    return root


def marker_of(root: Path) -> dict[str, object]:
    """What a data set says about having been simulated; empty if it has not."""
    path = root / demo.MARKER
    if not path.is_file():
        return {}
    try:
        marker = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        marker = None
    # A damaged marker still marks.
    return marker if isinstance(marker, dict) else {"simulated": True}


def read_folder(root: Path, name: str, reporter: Reporter | None = None) -> Dataset:
    """The data set in a folder, every capture hashed.

    Raises:
        DatasetError: if it is none, or cannot be read.
        JobStopped: if the reporter says so.
    """
    reporter = reporter or SilentReporter()
    try:
        splits = split_folders(root)
        if not splits:
            raise DatasetError(f"{root}: no split folders in it; expected {EXPECTED}")
        captures = tuple(
            _capture(file, split.name, beside, reporter)
            for split in splits
            for beside in [LabelFiles(split)]
            for file in _captures_in(split)
        )
    except OSError as error:
        raise DatasetError(f"{root}: cannot be read: {error.strerror or error}") from error
    if not any(c.split.startswith(TRAIN) for c in captures):
        raise DatasetError(
            f"{root}: no capture to train on; expected {EXPECTED}, "
            f"got {', '.join(f'{s.name} ({_count(captures, s.name)})' for s in splits)}"
        )
    empty = [s.name for s in splits if not _count(captures, s.name)]
    warnings = [f"no captures in {split}" for split in empty] + _duplicates(captures)
    return Dataset(name, root, captures, bool(marker_of(root)), tuple(warnings))


def split_folders(root: Path) -> list[Path]:
    folders = [entry for entry in visible(root) if entry.is_dir()]
    return [f for kind in (TRAIN, TEST) for f in folders if f.name.startswith(kind)]


def visible(folder: Path) -> list[Path]:
    """What lies in a folder, by name, without hidden entries.

    Raises:
        DatasetError: if a name cannot be written down (no valid UTF-8, or control characters).
    """
    entries = sorted(e for e in folder.iterdir() if not e.name.startswith("."))
    for entry in entries:
        if not _is_printable(entry.name):
            raise DatasetError(
                f"{ascii(str(folder))[1:-1]}: file name {entry.name!a} cannot be used; "
                "expected readable UTF-8: rename it"
            )
    return entries


def _is_name(name: str) -> bool:
    try:
        valid_name(name)
    except DatasetError:
        return False
    return True


def _is_printable(name: str) -> bool:
    return not any(ord(c) < 32 or 0xD800 <= ord(c) <= 0xDFFF for c in name)


def _captures_in(split: Path) -> list[Path]:
    """Files that are captures by their ending or their content."""
    suffixes = {suffix for reader in READERS.values() for suffix in reader.suffixes}
    return [
        path
        for path in visible(split)
        # A link to nothing counts, so that it is complained about.
        if (path.is_file() or path.is_symlink())
        and (path.suffix.lower() in suffixes or _looks_like_capture(path))
    ]


def _looks_like_capture(path: Path) -> bool:
    try:
        stat = path.stat()
        return _is_detected(path, stat.st_size, stat.st_mtime_ns)
    except (OSError, CaptureError):
        return False


@functools.lru_cache(maxsize=4096)
def _is_detected(path: Path, size: int, changed: int) -> bool:
    """Asked once per content: pages list data sets all the time."""
    return detect(path, read_head(path)) is not None


def _capture(path: Path, split: str, beside: LabelFiles, reporter: Reporter) -> Capture:
    reporter.check()
    try:
        labels = "".join(f"{file.name}\0{content_hash(file)}\0" for file in beside.of(path))
        digest = hashlib.sha256(labels.encode()).hexdigest() if labels else ""
        return Capture(path, split, path.name, content_hash(path), digest)
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read: {error.strerror or error}") from error


def _count(captures: tuple[Capture, ...], split: str) -> int:
    return sum(c.split == split for c in captures)


def _duplicates(captures: tuple[Capture, ...]) -> list[str]:
    """Warnings about byte-equal captures; between train and test they make results worthless."""
    first: dict[str, Capture] = {}
    warnings = []
    for capture in captures:
        other = first.setdefault(capture.sha256, capture)
        if other is capture:
            continue
        crossing = capture.split.startswith(TRAIN) != other.split.startswith(TRAIN)
        warnings.append(
            f"{capture.key} has the same content as {other.key}"
            + (": a test capture is also trained on" if crossing else "")
        )
    return warnings
