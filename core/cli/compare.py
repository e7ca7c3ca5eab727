"""``python -m core compare``: every method beside every other, on one data set or scores file."""

import argparse
from pathlib import Path
from typing import Any

from core.config import DEVICES, PROTOCOLS, FusionConfig, override
from core.errors import ConfigError, StorageError
from core.files import atomic_path, make_folder, write_json
from core.progress import Reporter, StreamReporter
from core.workspace import Workspace

HELP = "all methods side by side: JSON, CSV and a picture"
OUTPUTS = ("comparison.json", "comparison.csv", "comparison.svg")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument(
        "dataset", nargs="?", metavar="DATASET", help="in the workspace, a folder, or demo"
    )
    parser.add_argument("--scores", type=Path, metavar="FILE", help="scores of any two detectors")
    parser.add_argument("--out", type=Path, required=True, metavar="OUT", help="output folder")
    parser.add_argument("--preset", metavar="NAME", help="settings to start from")
    parser.add_argument("--protocol", choices=PROTOCOLS, help="what is known of a test vehicle")
    parser.add_argument("--device", choices=DEVICES, default="auto", help="where to compute")
    parser.add_argument("--seed", type=int, default=0, help="seed of everything random")
    parser.add_argument(
        "--set",
        dest="overrides",
        action="append",
        default=[],
        metavar="SETTING=VALUE",
        help="any setting in Hydra's notation, such as agent.miss_cost=5; may be repeated",
    )


def run(args: argparse.Namespace) -> None:
    """Run the command.

    Raises:
        InputError: on whatever the user can mend.
    """
    if (args.dataset is None) == (args.scores is None):
        raise ConfigError("expected either DATASET or --scores FILE")
    config = FusionConfig()
    if args.preset or args.overrides:
        # Loads hydra-zen, which nothing else here needs.
        from core.presets import apply_overrides, preset

        config = apply_overrides(preset(args.preset) if args.preset else config, args.overrides)
    changes: dict[str, Any] = {
        "training.device": args.device,
        "training.seed": args.seed,
        "data.detector.device": args.device,
        "data.detector.seed": args.seed,
        "data.dataset": args.dataset or args.scores.stem,
    }
    if args.protocol:
        changes["data.detector.protocol"] = args.protocol
    found = compare_all(args.out, override(config, changes), args.scores, StreamReporter())
    for name, about in found["scenarios"].items():
        print(f"{name}: {about['windows']} windows, {about['attack_windows']} attacked")
        for method, measured in about["methods"].items():
            f1 = measured["f1"]
            shown = "-" if f1 is None else f"{f1:.4f}"
            print(f"  {method:<11} f1 {shown:>6}  reward {measured['reward']:+.4f}")


def compare_all(
    out: Path, config: FusionConfig, scores: Path | None, reporter: Reporter
) -> dict[str, Any]:
    """Train all that learn, judge by every method, write :data:`OUTPUTS` into ``out``.

    Args:
        scores: table of two detectors' scores; None: those of the configured data set.

    Returns:
        What ``comparison.json`` holds (:func:`core.evaluation.contest.contest`).

    Raises:
        StorageError: if ``out`` holds such outputs already, or cannot be written.
        InputError: on whatever else the user can mend.
    """
    if taken := [name for name in OUTPUTS if (out / name).exists()]:
        raise StorageError(
            f"{out} holds {taken[0]} of an earlier run; expected a new or empty folder for --out"
        )
    # Torch and Lightning take seconds to load, which --help need not wait for.
    from core import pipeline
    from core.cache.predictions import FusionPredictionCache
    from core.evaluation.contest import AGENT, all_scores, contest, contest_table
    from core.evaluation.contest_plot import contest_svg
    from core.evaluation.scores import AlphaPolicy
    from core.fusion.bandit import train_bandit
    from core.fusion.ensemble import train_ensemble
    from core.fusion.multi_head import train_multi_head
    from core.fusion.training import train_agent

    cache = (
        FusionPredictionCache.from_scores(scores)
        if scores is not None
        else pipeline.build_cache(config.data, Workspace.default(), reporter)
    )
    train, validation = cache.training().train_validation_split(
        config.data.val_fraction, config.training.seed
    )
    tests = {n: part for n, part in cache.by_split().items() if n.startswith("test_")}
    make_folder(out)
    trained = train_agent(train, validation, config, reporter=reporter)
    reporter.progress("others", 0.0, "a bandit")
    bandit = train_bandit(train, config)
    threshold, seed = config.evaluation.threshold, config.training.seed
    reporter.progress("others", 0.3, "a head per kind of attack")
    heads = train_multi_head(train, config.agent, threshold=threshold, seed=seed)
    ensemble = None
    if train.extra_scores:
        reporter.progress("others", 0.6, f"{2 + len(train.extra_scores)} detectors")
        ensemble = train_ensemble(
            list(all_scores(train).T), train.label, config.agent, threshold=threshold, seed=seed
        )
    reporter.progress("compare", 0.0)
    fitted: dict[str, AlphaPolicy] = {"bandit": bandit, "multi_head": heads, AGENT: trained.agent}
    found = contest(train, {"validation": validation, **tests}, fitted, config, ensemble)
    found |= {
        "dataset": config.data.dataset,
        "seed": config.training.seed,
        "config": config.to_dict(),
    }
    with atomic_path(out / "comparison.csv") as temporary:
        contest_table(found).to_csv(temporary, index=False)
    with atomic_path(out / "comparison.svg") as temporary:
        temporary.write_text(contest_svg(found), encoding="utf-8")
    write_json(out / "comparison.json", found)
    reporter.progress("compare", 1.0, "done")
    return found
