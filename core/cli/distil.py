"""``python -m core distil``: small detectors that learn from a data set's own."""

import argparse
import sys
from pathlib import Path
from typing import Any

from core.cli.training import changed, common_changes
from core.config import DEVICES, PROTOCOLS, create_fusion_config
from core.errors import ConfigError
from core.progress import StreamReporter
from core.workspace import Workspace

HELP = "teach a small VGAE and GAT what a data set's detectors say; tells what that costs in F1"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument(
        "dataset", metavar="DATASET", help="folder of split folders, or a data set's name"
    )
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="OUT",
        help="folder for vgae.safetensors, gat.safetensors and distillation.json",
    )
    parser.add_argument("--protocol", choices=PROTOCOLS, default="commissioned")
    parser.add_argument("--device", choices=DEVICES, default="auto")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--share",
        type=float,
        default=0.1,
        metavar="X",
        help="of a teacher's parameters that its student may have at most, default %(default)s",
    )
    parser.add_argument(
        "--set",
        dest="overrides",
        action="append",
        default=[],
        metavar="SETTING=VALUE",
        help="any setting of the teachers in Hydra's notation, such as data.detector.folds=3",
    )


def run(args: argparse.Namespace) -> None:
    """Run the command. The teachers are those of the data set in the workspace, trained if need be.

    Raises:
        InputError: on what the user can mend.
    """
    if not 0 < args.share <= 1:
        raise ConfigError(f"--share: expected a share above 0 and up to 1, got {args.share}")
    config = changed(create_fusion_config(args.dataset), common_changes(args))
    if args.overrides:
        # Here and not above: Hydra and torch are loaded, and ``--help`` need not wait for that.
        from core.presets import apply_overrides

        config = apply_overrides(config, args.overrides)
    from core.pipeline import distil

    report = distil(config, Workspace.default(), args.out, args.share, StreamReporter())
    sys.stdout.write(_text(report) + "\n")


def _text(report: dict[str, Any]) -> str:
    lines = []
    for name, size in report["parameters"].items():
        lines.append(
            f"{name:<5} {size['teacher']:>7} parameters, student {size['student']:>6} "
            f"({size['ratio']:.1%})"
        )
    speed = report["windows_per_s"]
    if speed["teacher"]:
        lines.append(f"both  {speed['teacher']:>7.0f} windows/s, students {speed['student']:>6.0f}")
    width = max(map(len, [*report["scenarios"], "scenario"]))
    cells = ("F1", "student", "loss", "AUROC", "student", "loss")
    lines.append(f"{'scenario':<{width}}  {'':5}" + "".join(f"{cell:>9}" for cell in cells))
    for folder, scenario in report["scenarios"].items():
        for name, found in scenario["methods"].items():
            values = [
                value
                for metric in ("f1", "auroc")
                for value in (
                    found["teacher"][metric],
                    found["student"][metric],
                    found[f"{metric}_loss"],
                )
            ]
            shown = "".join(f"{'-' if v is None else format(v, '.4f'):>9}" for v in values)
            lines.append(f"{folder:<{width}}  {name:<5}{shown}")
    return "\n".join(lines)
