"""``python -m core export DATASET --out FOLDER``: all that judges traffic, as one folder."""

import argparse
from pathlib import Path

from core.config import PROTOCOLS
from core.progress import StreamReporter
from core.workspace import Workspace

HELP = "detectors, agent and profiles of a trained data set as one folder"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument("dataset", metavar="DATASET", help="that a fusion agent was trained on")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="a new folder")
    parser.add_argument("--protocol", choices=PROTOCOLS, default="commissioned")
    parser.add_argument(
        "--agent-format",
        choices=("pt2", "onnx"),
        action="append",
        default=[],
        help="also write the agent for torch.export (agent.pt2) or ONNX (agent.onnx)",
    )
    parser.add_argument(
        "--force", action="store_true", help="even if the agent was not made for these detectors"
    )


def run(args: argparse.Namespace) -> None:
    """Run the command.

    Raises:
        DatasetError: if there is no such data set.
        CheckpointError: if something that it needs was never trained.
        StaleCacheError: if the agent was not made for the detectors.
        ConfigError: if packages for ONNX are missing.
        StorageError: if there is something at the folder already, or it cannot be written.
    """
    # Torch takes seconds to load, which --help need not wait for.
    from core.captures.dataset import open_dataset
    from core.export import export_stack

    workspace, reporter = Workspace.default(), StreamReporter()
    name = open_dataset(args.dataset, workspace, reporter).name
    export_stack(
        name,
        workspace,
        args.out,
        protocol=args.protocol,
        agent_formats=args.agent_format,
        force=args.force,
    )
    print(args.out)
