"""``python -m core profiles``: vehicles whose profiles are kept, and whose a capture is."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from core.config import WindowConfig
from core.errors import CaptureError, ShortCaptureError
from core.graphs.profiles import KnownVehicle, likeness, saved_vehicles
from core.workspace import Workspace

HELP = "the vehicles whose profiles are kept; with a capture, which of them it is of"
_COLUMNS = "{:<{width}} {:>5} {:>8} {:>8} {:>4}  {:<20}  {}"
_MATCH = "{:<{width}} {:>12} {:>12}  {}"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument(
        "capture", nargs="?", type=Path, metavar="CAPTURE", help="compare its start with each"
    )
    parser.add_argument("--json", action="store_true", help="write JSON")


def run(args: argparse.Namespace) -> None:
    """Run the command.

    Raises:
        CaptureError: if the capture cannot be read, or is shorter than one window.
    """
    vehicles, problems = saved_vehicles(Workspace.default().profiles)
    for problem in problems:
        sys.stderr.write(f"warning: {problem}\n")
    width = max([7, *(len(vehicle.name) for vehicle in vehicles)])
    if args.capture is not None:
        found = compare(args.capture, vehicles)
        if args.json:
            print(json.dumps(found, indent=1, ensure_ascii=False))
            return
        print(_MATCH.format("vehicle", "ids shared", "same timing", "", width=width))
        for row in found["vehicles"]:
            shares = (f"{row['ids']:.0%}", f"{row['timing']:.0%}")
            verdict = "the same vehicle" if row["same_vehicle"] else "another vehicle"
            print(_MATCH.format(row["name"], *shares, verdict, width=width))
        if found["odd_windows"]:
            sys.stderr.write(
                f"warning: {args.capture}: {found['odd_windows']} of the first "
                f"{found['windows']} windows look attacked\n"
            )
        if not any(row["same_vehicle"] for row in found["vehicles"]):
            sys.stderr.write(f"warning: {args.capture}: of none of the {len(vehicles)} vehicles\n")
        return
    if args.json:
        print(json.dumps([about(vehicle) for vehicle in vehicles], indent=1, ensure_ascii=False))
        return
    print(
        _COLUMNS.format(
            "vehicle", "ids", "windows", "captures", "rev", "made (UTC)", "", width=width
        ).rstrip()
    )
    for vehicle in vehicles:
        print(
            _COLUMNS.format(
                vehicle.name,
                len(vehicle.profile.ids),
                vehicle.profile.windows,
                len(vehicle.captures),
                vehicle.revision,
                vehicle.made[:19].replace("T", " "),
                ", ".join(vehicle.captures),
                width=width,
            )
        )


def about(vehicle: KnownVehicle) -> dict[str, Any]:
    """What is known of a vehicle, fit for JSON."""
    return {
        "name": vehicle.name,
        "ids": len(vehicle.profile.ids),
        "windows": vehicle.profile.windows,
        "captures": dict(vehicle.captures),
        "window": vehicle.window,
        "revision": vehicle.revision,
        "made": vehicle.made,
    }


def compare(capture: Path, vehicles: list[KnownVehicle]) -> dict[str, Any]:
    """How much a capture's start looks like each vehicle, the likest first, fit for JSON.

    ``ids``: share of the capture's regular ids that the vehicle has; ``timing``: share of these
    that come about as often; ``odd_windows``: of the first ``windows``, how many look attacked (0
    where they may be chance).

    Raises:
        CaptureError: if the capture cannot be read, or is shorter than one window.
    """
    from core.captures.readers import read_chunks
    from core.graphs.build import build_graphs
    from core.graphs.contamination import is_contaminated, odd_windows
    from core.graphs.profiles import STRETCH_WINDOWS, best_match

    window = WindowConfig()
    try:
        # Ids and intervals hardly depend on the window that a profile was learnt with.
        store = build_graphs(next(iter(read_chunks(capture))), window)
    except ShortCaptureError as error:
        raise CaptureError(f"{capture}: shorter than one window of {window.length}") from error
    start = store.windows(0, min(len(store), STRETCH_WINDOWS))
    match = best_match(vehicles, start)
    odd = odd_windows(start, match.profile if match else None)
    rows: list[dict[str, Any]] = []
    for vehicle in vehicles:
        like = likeness(vehicle.profile, start)
        rows.append(
            {
                "name": vehicle.name,
                "ids": round(like.ids, 4),
                "timing": round(like.rhythm, 4),
                "same_vehicle": like.same_vehicle,
            }
        )
    rows.sort(key=lambda row: -row["ids"] * row["timing"])
    return {
        "capture": str(capture),
        "windows": len(start),
        "odd_windows": int(odd.sum()) if is_contaminated(odd) else 0,
        "vehicles": rows,
    }
