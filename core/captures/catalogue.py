"""What is in each capture of the workspace, kept so that no page has to read one.

Two kinds of small JSON files lie in the workspace's ``catalogue`` folder: ``contents/`` holds what
was found in a capture, by its content and the code that read it; ``files/`` says of each capture
file of a data set which content it had when it was last looked at. So a content is read once,
whatever it is called, and a catalogue that was stopped goes on where it was.
"""

import contextlib
import hashlib
import json
import os
from collections import Counter, defaultdict
from collections.abc import Generator, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, wait
from dataclasses import asdict, dataclass, field, fields
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from core.captures.dataset import TRAIN, capture_files, list_datasets, open_dataset
from core.captures.demo import NAME as DEMO
from core.captures.frame_table import ERROR, EXTENDED, FD, REMOTE, FrameTable
from core.captures.label_files import LabelFiles
from core.captures.readers import read_chunks
from core.errors import CacheError, CaptureError, DatasetError
from core.files import content_hash, write_json
from core.progress import Reporter, SilentReporter
from core.workspace import Workspace, valid_name

BIT_RATE = 500_000
"""Bits a second that the bus load is estimated with; captures do not tell it."""
BINS = 200
"""Parts of a capture in its attack timeline, at most."""
LOAD_FROM_S = 0.1
"""Captures shorter than this are too short for a bus load."""
SAME_FROM_FRAMES = 100
"""From this length on, captures with equal frames are the same recording, not chance."""
ASK_EVERY_S = 0.2
"""How often a reporter may stop captures from being read."""
NOT_READING = ("dataset.py", "dataset_import.py", "demo.py", "export.py", "simulator.py")
"""Modules of this folder that do not decide what is read from a capture."""

_Frames = tuple[npt.NDArray[np.float64], npt.NDArray[np.int16]]
"""Time and attack of some frames in a row."""


@dataclass(frozen=True)
class CaptureFacts:
    """What a capture holds. All that is not a number, a text or a list of those stays out."""

    format: str = ""
    frames: int = 0
    ids: int = 0
    """Identifiers, standard and extended ones apart; error frames carry none."""
    extended_frames: int = 0
    remote_frames: int = 0
    error_frames: int = 0
    fd_frames: int = 0
    time: str = "missing"
    """``absolute``, ``relative`` or ``missing``."""
    duration_s: float | None = None
    """From the earliest to the latest frame; None without times."""
    bus_load: float | None = None
    """Estimated share of the time that the bus is taken at ``BIT_RATE``; None without times, or
    where the capture is too short."""
    labelled: bool = False
    attack_frames: int = 0
    attacks: dict[str, int] = field(default_factory=dict)
    """Attack -> its frames."""
    bin_width: float = 0.0
    """Length of a part of the timeline: seconds, or frames without times."""
    bin_frames: list[int] = field(default_factory=list)
    """Frames in each part of the timeline."""
    bin_attacked: dict[str, list[int]] = field(default_factory=dict)
    """Attack -> its frames in each part of the timeline."""
    skipped: dict[str, int] = field(default_factory=dict)
    """Reason -> lines that could not be read for it."""
    examples: list[list[Any]] = field(default_factory=list)
    """[line number, reason, start of the line] of the first few skipped lines."""
    warnings: list[str] = field(default_factory=list)
    recording: str = ""
    """SHA-256 of the frames in order, without times and labels: equal for the same recording in
    another format. Empty for very short captures."""
    error: str = ""
    """Why the capture cannot be used; all else is empty then."""


@dataclass(frozen=True)
class Listed:
    """One capture file of a data set, and what is known of it."""

    split: str
    path: Path
    bytes: int
    sha256: str = ""
    """Of the content; empty until the catalogue has looked at this file as it is now."""
    facts: CaptureFacts | None = None
    """None until the catalogue has looked."""

    @property
    def key(self) -> str:
        """What names it inside its data set."""
        return f"{self.split}/{self.path.name}"


@dataclass(frozen=True)
class Duplicate:
    """Captures that are the same recording."""

    captures: tuple[tuple[str, str], ...]
    """(data set, capture) of each."""
    same_file: bool
    """Byte by byte; else the same frames, in another format or with other times or labels."""

    @property
    def crosses(self) -> bool:
        """Whether it is trained on in one place and tested on in another."""
        return len({key.startswith(TRAIN) for _, key in self.captures}) == 2

    @property
    def datasets(self) -> tuple[str, ...]:
        """The data sets it is in, each once."""
        return tuple(dict.fromkeys(name for name, _ in self.captures))


def build_catalogue(
    name: str, workspace: Workspace, reporter: Reporter | None = None, jobs: int | None = None
) -> None:
    """Look at every capture of a data set in the workspace that is new or has changed.

    Captures that cannot be read are kept with the reason. What was looked at before a stop stays.

    Args:
        jobs: processes that read captures at the same time, and are stopped in the middle of one;
            None: this process reads them one after another.

    Raises:
        DatasetError: if there is no such data set, or it cannot be read.
        StorageError: if the catalogue cannot be written.
        JobStopped: if the reporter says so.
    """
    reporter = reporter or SilentReporter()
    if name == DEMO:
        open_dataset(name, workspace, reporter)  # Made where it is missing.
    if not _root(name, workspace).is_dir():
        raise DatasetError(
            f"no data set {name!r} in the workspace; there are "
            f"{', '.join(list_datasets(workspace))}"
        )
    captures = read_catalogue(name, workspace)
    todo = [capture for capture in captures if capture.facts is None]
    whole = max(sum(capture.bytes for capture in todo), 1)
    done = unusable = 0
    reporter.progress("catalogue", 0.0, f"{len(todo)} of {len(captures)} captures to look at")
    with contextlib.closing(_look_at(name, todo, workspace, reporter, jobs)) as looked:
        for capture, facts in looked:
            done += capture.bytes
            reporter.progress("catalogue", min(done / whole, 1.0), capture.key)
            if facts.error:
                unusable += 1
                reporter.log(f"{capture.key} cannot be used: {facts.error}")
            for text in (*facts.warnings, *_set_aside(facts)):
                reporter.log(f"{capture.key}: {text}")
    for duplicate in find_duplicates(name, workspace):
        reporter.log(f"warning: {describe(duplicate, name)}")
    note = f", {unusable} cannot be used" if unusable else ""
    reporter.progress("catalogue", 1.0, f"{len(captures)} captures{note}")


def read_catalogue(name: str, workspace: Workspace) -> list[Listed]:
    """All captures of a data set with what is known of them; no capture is read or hashed.

    Raises:
        DatasetError: if the folder cannot be read; a data set that is not there is just empty.
    """
    root = _root(name, workspace)
    if not root.is_dir():
        return []
    folders: dict[Path, LabelFiles] = {}
    listed = []
    for split, path in capture_files(root):
        if path.parent not in folders:
            folders[path.parent] = LabelFiles(path.parent)
        try:
            stamp = _stamp(path, folders[path.parent].of(path))
        except OSError:
            stamp = []
        if not stamp or not os.access(path, os.R_OK):
            nothing = CaptureFacts(error="the file cannot be opened")
            listed.append(Listed(split, path, 0, "", nothing))
            continue
        record = _load(_record_path(name, split, path, workspace))
        sha256, facts = "", None
        if record.get("stamp") == stamp:
            sha256 = str(record.get("sha256", ""))
            if record.get("code") == reading_code():
                facts = _load_facts(str(record.get("content", "")), workspace)
        listed.append(Listed(split, path, stamp[0][1], sha256, facts))
    return listed


def forget(name: str, workspace: Workspace) -> None:
    """Forget which file of a data set has which content; what the contents hold stays known."""
    for capture in read_catalogue(name, workspace):
        record = _record_path(name, capture.split, capture.path, workspace)
        with contextlib.suppress(OSError):
            record.unlink(missing_ok=True)


def find_duplicates(name: str, workspace: Workspace) -> list[Duplicate]:
    """Recordings of a data set that are in it, or in all data sets together, more than once.

    Those that are trained on here and tested on there come first. Only captures that the catalogue
    has looked at can be compared.
    """
    known: list[tuple[str, Listed]] = []
    for other in list_datasets(workspace):
        with contextlib.suppress(DatasetError):  # Its own page says so.
            known += [(other, c) for c in read_catalogue(other, workspace) if c.sha256]
    # One capture of a content may have been read already, and another not.
    recordings = {c.sha256: c.facts.recording for _, c in known if c.facts and c.facts.recording}
    groups: dict[str, list[tuple[str, Listed]]] = defaultdict(list)
    for other, capture in known:
        groups[recordings.get(capture.sha256, capture.sha256)].append((other, capture))
    found = [
        Duplicate(
            # This data set's captures first, training before tests as they were listed.
            tuple(sorted(((n, c.key) for n, c in group), key=lambda item: item[0] != name)),
            len({c.sha256 for _, c in group}) == 1,
        )
        for group in groups.values()
        if len(group) > 1 and any(n == name for n, _ in group)
    ]
    return sorted(found, key=lambda d: (not leaks(d, name), not d.crosses))


def leaks(duplicate: Duplicate, name: str) -> bool:
    """Whether a recording is trained on and tested on within the data set ``name``."""
    here = {key.startswith(TRAIN) for dataset, key in duplicate.captures if dataset == name}
    return len(here) == 2


def describe(duplicate: Duplicate, name: str) -> str:
    """One sentence about a duplicate, from the point of view of the data set ``name``."""
    places = [key if n == name else f"{n}: {key}" for n, key in duplicate.captures]
    what = "the same content" if duplicate.same_file else "the same frames in different files"
    text = f"{', '.join(places[:-1])} and {places[-1]} have {what}"
    if leaks(duplicate, name):
        return f"{text}: a test capture is also trained on, results on it are worthless"
    if duplicate.crosses:
        return f"{text}: trained on in one data set, tested on in another"
    return text


def facts_of(chunks: Iterable[FrameTable]) -> CaptureFacts:
    """What a capture holds that comes in chunks, as :func:`~core.captures.readers.read_chunks` cuts
    it. Of every frame, only time and attack are kept until the end.
    """
    counts: Counter[int] = Counter()
    attack_frames = bits = 0
    ids: set[int] = set()
    frames: list[_Frames] = []
    digests = [hashlib.sha256() for _ in range(3)]
    for table in chunks:
        error = table.flags & ERROR != 0
        extended = (table.flags & EXTENDED).astype(np.uint64) << np.uint64(32)
        ids.update(np.unique((table.arbitration_id | extended)[~error]).tolist())
        for kind in (EXTENDED, REMOTE, ERROR, FD):
            counts[kind] += int(np.count_nonzero(table.flags & kind))
        attack_frames += int(np.count_nonzero(table.label))
        bits += int(frame_bits(table).sum())
        frames.append((table.timestamp, table.attack))
        filled = np.arange(table.payload.shape[1]) < table.length[:, None]
        columns = table.arbitration_id, table.length, table.payload[filled]
        for digest, column in zip(digests, columns, strict=True):
            digest.update(np.ascontiguousarray(column).data)
    total = sum(len(time) for time, _ in frames)
    # What counts from the capture's start is known with the last chunk.
    first = min((float(time.min()) for time, _ in frames if len(time)), default=0.0)
    last = max((float(time.max()) for time, _ in frames if len(time)), default=0.0)
    duration = last - first if total and table.time != "missing" else None
    width, bins = _bins(frames, total, first, duration, len(table.attack_names))
    attacked = {
        str(name): row for name, row in zip(table.attack_names, bins[:-1], strict=True) if row.any()
    }
    return CaptureFacts(
        format=table.format,
        frames=total,
        ids=len(ids),
        extended_frames=counts[EXTENDED],
        remote_frames=counts[REMOTE],
        error_frames=counts[ERROR],
        fd_frames=counts[FD],
        time=table.time,
        duration_s=duration,
        bus_load=(
            bits / BIT_RATE / duration if duration is not None and duration >= LOAD_FROM_S else None
        ),
        labelled=table.labelled,
        attack_frames=attack_frames,
        attacks={name: int(row.sum()) for name, row in attacked.items()},
        bin_width=width,
        bin_frames=bins.sum(axis=0).tolist(),
        bin_attacked={name: row.tolist() for name, row in attacked.items()},
        skipped={str(reason): int(n) for reason, n in table.skipped.counts.items()},
        examples=[[int(n), str(reason), str(text)] for n, reason, text in table.skipped.examples],
        warnings=[str(warning) for warning in table.warnings],
        recording=(
            hashlib.sha256(b"".join(d.digest() for d in digests)).hexdigest()
            if total >= SAME_FROM_FRAMES
            else ""
        ),
    )


def frame_bits(table: FrameTable) -> npt.NDArray[np.int64]:
    """Bits ``[F]`` that each frame takes on the bus, with the pause behind it; an estimate.

    47 bits and the payload (67 with an extended identifier) and a tenth of the stuffable part as
    stuff bits; CAN FD 15 bits more, counted at the same bit rate; an error frame 20. Frame layout:
    ISO 11898-1.
    """
    extended = (table.flags & EXTENDED != 0).astype(np.int64)
    carries = table.flags & REMOTE == 0
    payload = 8 * table.length.astype(np.int64) * carries
    stuffable = 34 + 20 * extended + payload
    bits = 13 + stuffable + stuffable // 10 + 15 * (table.flags & FD != 0)
    return np.where(table.flags & ERROR != 0, 20, bits)


@cache
def reading_code() -> str:
    """SHA-256 over the source of all that decides what is read from a capture."""
    folder = Path(__file__).parent
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        if path.name not in NOT_READING:
            digest.update(path.relative_to(folder).as_posix().encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


def _look_at(
    name: str,
    captures: Sequence[Listed],
    workspace: Workspace,
    reporter: Reporter,
    jobs: int | None,
) -> Generator[tuple[Listed, CaptureFacts]]:
    """What is in each capture, as soon as it is known."""
    folders = {path: LabelFiles(path) for path in {c.path.parent for c in captures}}
    beside = [folders[capture.path.parent].of(capture.path) for capture in captures]
    if jobs is None or not captures:
        for capture, files in zip(captures, beside, strict=True):
            reporter.check()
            yield capture, _look(name, capture, files, workspace)
        return
    # Here, for pages need it not, and load faster without.
    from joblib.externals.loky import ProcessPoolExecutor

    # The pages and training come first.
    pool = ProcessPoolExecutor(min(jobs, len(captures)), initializer=os.nice, initargs=(10,))
    try:
        at_work = {
            pool.submit(_look, name, capture, files, workspace): capture
            for capture, files in zip(captures, beside, strict=True)
        }
        while at_work:
            reporter.check()
            for future in wait(at_work, ASK_EVERY_S, FIRST_COMPLETED).done:
                yield at_work.pop(future), future.result()
    finally:
        pool.shutdown(kill_workers=True)


def _look(name: str, capture: Listed, beside: Sequence[Path], workspace: Workspace) -> CaptureFacts:
    """Read one capture, unless its content is known; remember both."""
    path = capture.path
    try:
        stamp = _stamp(path, beside)
        sha256 = capture.sha256 or content_hash(path)
        # The name may name the attack, and what lies beside may label it.
        labels = [(other.name, content_hash(other)) for other in beside]
    except OSError as error:
        return CaptureFacts(error=f"cannot be read: {error.strerror or error}")
    parts = json.dumps([sha256, path.name, labels, reading_code()])
    content = hashlib.sha256(parts.encode()).hexdigest()[:32]
    facts = _load_facts(content, workspace)
    if facts is None:
        try:
            facts = facts_of(read_chunks(path))
        except CaptureError as error:
            facts = CaptureFacts(error=str(error).removeprefix(f"{path}: "))
        write_json(_content_path(content, workspace), asdict(facts))
    record = {"stamp": stamp, "sha256": sha256, "code": reading_code(), "content": content}
    write_json(_record_path(name, capture.split, path, workspace), record)
    return facts


def _set_aside(facts: CaptureFacts) -> list[str]:
    """The first line that was set aside for each reason, in words."""
    first = {reason: (line, text) for line, reason, text in reversed(facts.examples)}
    return [f"{reason}, first in line {line}: {text!r}" for reason, (line, text) in first.items()]


def _bins(
    frames: Sequence[_Frames], total: int, first: float, duration: float | None, attacks: int
) -> tuple[float, npt.NDArray[np.int64]]:
    """Width of the timeline's parts (seconds, or frames without times), and ``[attacks + 1, B]``
    frames of each attack in each part; the last row counts those that are no attack.
    """
    parts = max(min(BINS, total), 1)
    width = (duration or max(total, 1)) / parts
    bins, done = np.zeros((attacks + 1, parts), np.int64), 0
    for timestamp, attack in frames:
        passed = timestamp - first if duration else np.arange(done, done + len(attack))
        place = np.minimum((passed / width).astype(np.int64), parts - 1)
        done += len(attack)
        row = np.where(attack < 0, attacks, attack)
        bins += np.bincount(row * parts + place, minlength=bins.size).reshape(bins.shape)
    return width, bins


def _stamp(path: Path, beside: Sequence[Path]) -> list[list[Any]]:
    """Name, size and time of change of a capture and of the files that may describe it."""
    return [[p.name, (stat := p.stat()).st_size, stat.st_mtime_ns] for p in (path, *beside)]


def _root(name: str, workspace: Workspace) -> Path:
    return workspace.datasets / valid_name(name)


def _record_path(name: str, split: str, path: Path, workspace: Workspace) -> Path:
    digest = hashlib.sha256(f"{name}/{split}/{path.name}".encode()).hexdigest()[:32]
    return workspace.catalogue / "files" / f"{digest}.json"


def _content_path(content: str, workspace: Workspace) -> Path:
    return workspace.catalogue / "contents" / f"{content}.json"


def _load(path: Path) -> Mapping[str, Any]:
    """A JSON object; empty where there is none, or a damaged one: it is then made anew."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def _load_facts(content: str, workspace: Workspace) -> CaptureFacts | None:
    path = _content_path(content, workspace)
    try:
        return _facts_in(path, path.stat().st_mtime_ns)
    except (OSError, CacheError):
        return None


@lru_cache(maxsize=8192)
def _facts_in(path: Path, changed: int) -> CaptureFacts:
    value = _load(path)
    if {f.name for f in fields(CaptureFacts)} != value.keys():
        raise CacheError(f"{path}: damaged")  # An exception is not kept in the cache.
    return CaptureFacts(**value)
