"""What people write about a run: tags and a note, in ``notes.json`` in its folder."""

import json
from dataclasses import dataclass
from pathlib import Path

from core.errors import InputError, StorageError
from core.files import write_json

FILE = "notes.json"
LONGEST_NOTE, LONGEST_TAG, MOST_TAGS = 2000, 40, 20


@dataclass(frozen=True)
class Notes:
    """Tags in the order given, and a note."""

    tags: tuple[str, ...] = ()
    note: str = ""


def parse_tags(text: str) -> tuple[str, ...]:
    """``baseline, zero-shot`` as tags, each once.

    Raises:
        InputError: if there are too many or one is too long.
    """
    tags = tuple(dict.fromkeys(tag for part in text.split(",") if (tag := " ".join(part.split()))))
    if len(tags) > MOST_TAGS or any(len(tag) > LONGEST_TAG for tag in tags):
        raise InputError(
            f"expected at most {MOST_TAGS} tags of {LONGEST_TAG} characters, separated by commas, "
            f"got {len(tags)}, the longest of {max(map(len, tags))}"
        )
    return tags


def read_notes(folder: Path) -> Notes:
    """Tags and note of a run; none where there is no file, or a damaged one."""
    try:
        found = json.loads((folder / FILE).read_text(encoding="utf-8"))
        return Notes(tuple(str(tag) for tag in found["tags"]), str(found["note"]))
    except (OSError, ValueError, KeyError, TypeError):
        return Notes()


def write_notes(folder: Path, notes: Notes) -> None:
    """Keep tags and note of a run; the last one to write wins.

    Raises:
        InputError: if the note is too long.
        StorageError: if it cannot be written, or the run is gone.
    """
    if len(notes.note) > LONGEST_NOTE:
        raise InputError(
            f"expected a note of at most {LONGEST_NOTE} characters, got {len(notes.note)}"
        )
    if not folder.is_dir():
        raise StorageError(f"cannot write the note: {folder.name} is gone")
    write_json(folder / FILE, {"tags": list(notes.tags), "note": notes.note})
