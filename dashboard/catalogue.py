"""The catalogue of a data set as tables and sentences."""

from collections.abc import Sequence

import pandas as pd

from core.captures.catalogue import BIT_RATE, CaptureFacts, Duplicate, Listed
from core.captures.dataset import TRAIN
from core.jobs.registry import JobRegistry
from core.jobs.run import FAILED, Run
from dashboard.formatting import DASH, code, count, duration, size

LOAD_HELP = (
    f"Estimated at {BIT_RATE // 1000} kbit/s from the lengths of the frames, whatever the bus's "
    "real bit rate was: captures do not tell it."
)
DISK_KINDS = ("import", "catalogue")
"""Kinds of run that bring captures in or look at them."""


def capture_rows(listed: Sequence[Listed]) -> pd.DataFrame:
    """One row per capture, numbers as numbers so that they sort; empty where unknown."""
    return pd.DataFrame([_row(capture) for capture in listed])


def _row(capture: Listed) -> dict[str, object]:
    facts = capture.facts
    known = facts is not None and not facts.error
    shown = facts if facts is not None and known else CaptureFacts()
    skipped = sum(shown.skipped.values())
    return {
        "Capture": capture.path.name,
        "Split": capture.split,
        "Frames": shown.frames if known else None,
        "IDs": shown.ids if known else None,
        "Duration (s)": shown.duration_s,
        "Bus load": shown.bus_load,
        "Attacked": attacked_share(shown) if known else None,
        "Attacks": ", ".join(shown.attacks),
        "Skipped": skipped if known else None,
        "Note": note(capture),
        "Format": shown.format,
        "Times": shown.time if known else "",
        "Size": size(capture.bytes),
        "SHA-256": capture.sha256[:12],
    }


def attacked_share(facts: CaptureFacts) -> float | None:
    """Share of the frames that are attacks; None where the file does not say."""
    return facts.attack_frames / facts.frames if facts.labelled and facts.frames else None


def note(capture: Listed) -> str:
    """What to know about a capture before trusting its numbers, in a few words."""
    facts = capture.facts
    if facts is None:
        return "not looked at yet"
    if facts.error:
        return "cannot be used"
    parts = [] if facts.labelled else ["no labels"]
    if facts.warnings:
        parts.append(f"{len(facts.warnings)} warning{'s' if len(facts.warnings) > 1 else ''}")
    return ", ".join(parts)


def progress_note(listed: Sequence[Listed]) -> str:
    """How much of a data set the catalogue knows; empty when it knows all."""
    unknown = sum(capture.facts is None for capture in listed)
    if not unknown:
        return ""
    if unknown == len(listed):
        return "The catalogue has not looked at these captures yet."
    return f"The catalogue has not looked at {unknown} of {len(listed)} captures yet."


def quarantine_note(listed: Sequence[Listed]) -> str:
    """Captures that cannot be used, or only in part; empty where all can."""
    facts = [(capture.path.name, capture.facts) for capture in listed if capture.facts]
    unusable = [name for name, found in facts if found.error]
    parts = {name: sum(found.skipped.values()) for name, found in facts if found.skipped}
    told = []
    if unusable:
        told.append(f"Cannot be used: {_some(unusable)}.")
    if parts:
        lines = sum(parts.values())
        told.append(f"{count(lines)} line{'s' * (lines > 1)} set aside in {_some(list(parts))}.")
    return " ".join([*told, "Choose a capture below to see why."]) if told else ""


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(map(code, names[:3])) + more


def numbers(facts: CaptureFacts) -> dict[str, str]:
    """The main numbers of a capture, as a person reads them."""
    share = attacked_share(facts)
    return {
        "Frames": count(facts.frames),
        "IDs": count(facts.ids),
        "Duration": duration(facts.duration_s),
        "Bus load": DASH if facts.bus_load is None else f"{facts.bus_load:.0%}".replace("%", " %"),
        "Attacked": DASH if share is None else f"{share:.2%}".replace("%", " %"),
    }


def kinds_of_frames(facts: CaptureFacts) -> str:
    """``can-train-and-test-csv, absolute times, 12 remote frames``."""
    special = {
        "extended": facts.extended_frames,
        "remote": facts.remote_frames,
        "error": facts.error_frames,
        "CAN FD": facts.fd_frames,
    }
    parts = [facts.format, f"{facts.time} times" if facts.time != "missing" else "no times"]
    return ", ".join(
        parts
        + [f"{count(n)} {kind} frame{'s' if n != 1 else ''}" for kind, n in special.items() if n]
    )


def quarantine_rows(facts: CaptureFacts) -> pd.DataFrame:
    """Skipped lines by reason, with the first one of each."""
    first = {reason: (line, text) for line, reason, text in reversed(facts.examples)}
    return pd.DataFrame(
        [
            {
                "Reason": reason,
                "Lines": lines,
                "First at line": first.get(reason, (None, ""))[0],
                "It reads": first.get(reason, (None, ""))[1],
            }
            for reason, lines in sorted(facts.skipped.items(), key=lambda item: -item[1])
        ]
    )


def example_rows(facts: CaptureFacts) -> pd.DataFrame:
    """The first few skipped lines, as they stand in the file."""
    return pd.DataFrame(facts.examples, columns=["Line", "Reason", "It reads"])


def tests(duplicate: Duplicate, dataset: str) -> list[str]:
    """The test captures of a data set that a duplicate consists of."""
    return [
        key for name, key in duplicate.captures if name == dataset and not key.startswith(TRAIN)
    ]


def last_failure(jobs: JobRegistry) -> Run | None:
    """The newest import or catalogue, if it failed."""
    newest = next((run for run in jobs.runs() if run.kind in DISK_KINDS), None)
    return newest if newest is not None and newest.state == FAILED else None


def import_log(jobs: JobRegistry, dataset: str) -> list[str]:
    """What the newest import of a data set said, such as captures that it left out."""
    for run in jobs.runs():
        if run.kind == "import" and run.dataset == dataset and not run.active:
            return [e["message"] for e in jobs.events(run.id) if e["type"] == "log"]
    return []
