"""Train the fusion agent on one data set: ``python train_fusion_lightning.py --dataset NAME``."""

import sys
from collections.abc import Sequence

from core.cli.main import Parser, guarded
from core.cli.training import add_common_arguments, changed, common_changes, train_and_tell
from core.config import FusionConfig


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code: 0 on success, 2 on bad input, 130 when interrupted."""
    parser = Parser(description="Train the fusion agent on a data set; what it needs is made.")
    parser.add_argument(
        "--dataset", required=True, metavar="NAME", help="in the workspace, a folder, or demo"
    )
    parser.add_argument("--max-epochs", type=int, metavar="N", help="epochs of fusion training")
    parser.add_argument("--batch-size", type=int, metavar="N", help="transitions per step")
    parser.add_argument("--lr", type=float, metavar="X", help="learning rate of the agent")
    parser.add_argument("--autoencoder", metavar="PATH", help="VGAE to use instead of training one")
    parser.add_argument("--classifier", metavar="PATH", help="GAT to use instead of training one")
    parser.add_argument("--resume-from", metavar="CKPT", help="fusion checkpoint to go on from")
    add_common_arguments(parser)
    parsed = parser.parse_intermixed_args(arguments)
    changes = {
        "data.dataset": parsed.dataset,
        "data.autoencoder": parsed.autoencoder,
        "data.classifier": parsed.classifier,
        "training.max_epochs": parsed.max_epochs,
        "training.resume_from": parsed.resume_from,
        "agent.batch_size": parsed.batch_size,
        "agent.fusion_lr": parsed.lr,
        **common_changes(parsed),
    }

    def command() -> None:
        # Here and not above: ``--help`` need not wait for Hydra.
        from core.presets import apply_overrides

        train_and_tell(apply_overrides(changed(FusionConfig(), changes), parsed.overrides))

    return guarded(command)


if __name__ == "__main__":
    sys.exit(main())
