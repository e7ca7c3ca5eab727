"""``python -m core train-fusion --scores FILE``: fuse any two detectors' scores."""

import argparse
from pathlib import Path
from typing import Any

from core.config import DEVICES, FusionConfig, override
from core.errors import StorageError
from core.files import write_json
from core.progress import Reporter, StreamReporter

HELP = "train a fusion agent on a table of two detectors' scores"
OUTPUTS = (
    *("summary.json", "fusion_agent.pth", "fusion_policy.npy", "policy_map.arrow"),
    *("policy_epochs.arrow", "checkpoints", "logs"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument(
        "--scores",
        type=Path,
        required=True,
        metavar="FILE",
        help="table (.csv, .parquet, .arrow) with columns anomaly_score, gat_prob, label and, "
        "optionally, capture, attack, timestamp",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="OUT", help="output folder")
    parser.add_argument("--preset", metavar="NAME", help="settings to start from")
    parser.add_argument("--device", choices=DEVICES, default="auto", help="where to compute")
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of the split, the weights and the sampling"
    )
    parser.add_argument(
        "overrides",
        nargs="*",
        metavar="SETTING=VALUE",
        help="any setting in Hydra's notation, such as agent.miss_cost=5",
    )


def run(args: argparse.Namespace) -> None:
    """Run the command.

    Raises:
        ScoresError: if the table cannot be fused.
        ConfigError: if a setting or the preset is unknown or out of range.
        StorageError: if an output cannot be written.
    """
    config = FusionConfig()
    if args.preset:
        # Loads hydra-zen, which nothing else here needs.
        from core.presets import preset

        config = preset(args.preset)
    config = override(
        config,
        {
            "data.dataset": args.scores.stem,
            "training.device": args.device,
            "training.seed": args.seed,
        },
    )
    if args.overrides:
        from core.presets import apply_overrides

        config = apply_overrides(config, args.overrides)
    fuse_scores(args.scores, args.out, config, StreamReporter())


def fuse_scores(
    scores: Path, out: Path, config: FusionConfig, reporter: Reporter
) -> dict[str, Any]:
    """Train on a table of scores and write all outputs into ``out``.

    Written: ``fusion_agent.pth``, ``fusion_policy.npy``, ``policy_map.arrow``,
    ``policy_epochs.arrow``, ``checkpoints/``, ``logs/fusion_<table>/version_N/`` and
    ``summary.json``. In the summary, ``transitions`` counts
    the transitions learnt from (updates times batch size), rewards are means per held-out window,
    the best fixed alpha is the one that is best in training, and ``gap_closed`` is null where the
    better single detector is as good as any alpha could be.

    Returns:
        The summary.

    Raises:
        StorageError: if ``out`` holds such outputs already, or cannot be written.
    """
    if taken := [name for name in OUTPUTS if (out / name).exists()]:
        raise StorageError(
            f"{out} holds {taken[0]} of an earlier run; expected a new or empty folder for --out"
        )
    # Torch and Lightning take seconds to load, which --help need not wait for.
    from core.cache.predictions import FusionPredictionCache
    from core.evaluation.summary import training_summary
    from core.fusion.policy import policy_map, save_policy
    from core.fusion.training import train_agent

    everything = FusionPredictionCache.from_scores(scores)
    cache = everything.training()
    if len(cache) < len(everything):
        reporter.log(f"left out {len(everything) - len(cache)} windows of test_ splits")
    train, validation = cache.train_validation_split(config.data.val_fraction, config.training.seed)
    for side, part in (("training", train), ("held-out", validation)):
        if len({*part.label.tolist()}) == 1:
            kind = "attacked" if part.label[0] else "clean"
            reporter.log(f"all {len(part)} {side} windows are {kind}")
    trained = train_agent(
        train,
        validation,
        config,
        checkpoints=out / "checkpoints",
        log_root=out / "logs",
        log_name=f"fusion_{scores.stem}",
        policy_epochs=out / "policy_epochs.arrow",
        reporter=reporter,
    )
    summary = training_summary(trained, train, validation, config)
    trained.agent.save(out / "fusion_agent.pth", {"scores": scores.name, "summary": summary})
    policy = policy_map(trained.agent, config.evaluation.policy_grid, cache)
    save_policy(policy, npy=out / "fusion_policy.npy", arrow=out / "policy_map.arrow")
    write_json(out / "summary.json", summary)
    reporter.log(f"wrote {out}")
    return summary
