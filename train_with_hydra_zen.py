"""Train from a preset or from options, once or as a sweep.

``python train_with_hydra_zen.py --preset fusion_demo agent.gamma=0,0.5 --multirun``
"""

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from core.cli.main import Parser, guarded
from core.cli.training import (
    add_common_arguments,
    changed,
    common_changes,
    sweep_and_tell,
    train_and_tell,
)
from core.config import FusionConfig
from core.errors import ConfigError


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code: 0 on success, 2 on bad input, 130 when interrupted."""
    parser = Parser(description="Train from a preset or from options, once or as a sweep.")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--preset", metavar="NAME", help="fusion training with a named configuration")
    what.add_argument("--list-presets", action="store_true", help="print the presets' names")
    what.add_argument("--training", choices=("fusion", "detectors"), help="what to train")
    parser.add_argument(
        "--dataset", metavar="NAME", help="in the workspace, a folder, or demo; for --training"
    )
    parser.add_argument("--epochs", type=int, metavar="N")
    parser.add_argument("--batch_size", type=int, metavar="N")
    parser.add_argument("--learning_rate", type=float, metavar="X")
    parser.add_argument(
        "--multirun", action="store_true", help="train every combination (agent.gamma=0,0.5)"
    )
    parser.add_argument("--jobs", type=int, metavar="N", help="parallel jobs of a --multirun")
    parser.add_argument(
        "--launcher",
        default="joblib",
        choices=("joblib", "slurm", "submitit-local", "ray"),
        help="where the jobs of a --multirun run; its options are hydra.launcher.NAME=VALUE",
    )
    add_common_arguments(parser)
    parsed = parser.parse_intermixed_args(arguments)
    return guarded(lambda: run(parsed))


def run(parsed: argparse.Namespace) -> None:
    """Do what the command line asks.

    Raises:
        InputError: on whatever the user can mend.
    """
    from core.presets import apply_overrides, list_presets, preset

    if parsed.list_presets:
        sys.stdout.write("\n".join(list_presets()) + "\n")
        return
    if parsed.training and not parsed.dataset:
        raise ConfigError("expected --dataset NAME with --training")
    base = preset(parsed.preset) if parsed.preset else FusionConfig()
    config = changed(
        base,
        {
            "data.dataset": parsed.dataset,
            **training_changes(parsed, parsed.training or "fusion"),
            **common_changes(parsed),
        },
    )
    if not parsed.multirun:
        train_and_tell(apply_overrides(config, parsed.overrides), parsed.training or "fusion")
    elif parsed.training == "detectors":
        raise ConfigError("--multirun sweeps over fusion training only, got --training detectors")
    else:
        sweep_and_tell(config, parsed.overrides, parsed.jobs, parsed.launcher)


def training_changes(parsed: argparse.Namespace, training: str) -> dict[str, Any]:
    """The settings that ``--epochs``, ``--batch_size`` and ``--learning_rate`` mean."""
    if training == "fusion":
        return {
            "training.max_epochs": parsed.epochs,
            "agent.batch_size": parsed.batch_size,
            "agent.fusion_lr": parsed.learning_rate,
        }
    return {
        "data.detector.vgae.epochs": parsed.epochs,
        "data.detector.gat.epochs": parsed.epochs,
        "data.detector.batch_size": parsed.batch_size,
        "data.detector.vgae.lr": parsed.learning_rate,
        "data.detector.gat.lr": parsed.learning_rate,
    }


if __name__ == "__main__":
    sys.exit(main())
