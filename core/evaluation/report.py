"""The runs of a benchmark as rows of figures, and as tables to read."""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any

from core.evaluation.scenario import METHODS, SINGLES

SHOWN = ("vgae", "gat", "fusion")
"""Methods whose intervals and detection are kept in a row."""
NAMES = {
    "vgae": "VGAE",
    "gat": "GAT",
    "fixed_alpha": "fixed alpha",
    "stacking": "stacking",
    "fusion": "fusion",
    "oracle": "oracle",
}
SMALLEST_GAP = 0.001
"""Distance in F1 of the better single model to the oracle below which there is nothing to close."""
GROUP = ("dataset", "arrangement", "protocol")
HEADINGS = {
    "given": "folders as given",
    "leave-one-vehicle-out": "one vehicle left out of training",
    "leave-one-attack-out": "one attack left out of training",
}

Row = dict[str, Any]


def rows(runs: Sequence[Mapping[str, Any]]) -> list[Row]:
    """One row per scenario and per capture and attack in it, over all seeds.

    Returns:
        ``dataset, arrangement, protocol, scenario, part`` (``all``, ``capture`` or ``attack``),
        ``name``, ``windows, attack_windows``, ``methods`` and ``detection`` (means over seeds),
        ``intervals`` (from the lowest lower to the highest upper bound of all seeds), ``f1`` (seed
        -> method -> F1); by mean F1, the ``best_single`` model, fusion's ``gain`` over it and
        ``gap_closed``.
    """
    found = []
    for group, members in _grouped(runs):
        scenarios: dict[str, dict[str, Mapping[str, Any]]] = {}
        for run in members:
            for name, scenario in run["scenarios"].items():
                scenarios.setdefault(name, {})[str(run["seed"])] = scenario
        for name, by_seed in scenarios.items():
            about = {**group, "scenario": name}
            found.append(about | {"part": "all", "name": name} | _row(by_seed))
            for kind in ("attack", "capture"):
                first = next(iter(by_seed.values()))[f"{kind}s"]
                found += [
                    about
                    | {"part": kind, "name": part}
                    | _row({seed: s[f"{kind}s"][part] for seed, s in by_seed.items()})
                    for part in first
                ]
    return found


def in_sample_rows(runs: Sequence[Mapping[str, Any]]) -> list[Row]:
    """F1 of agents trained on honest scores and on those of detectors that knew the windows.

    Returns:
        Rows of ``dataset, protocol, scenario`` (validation first) and the means over seeds
        ``cross_fitted``, ``in_sample`` and ``oracle``; on validation each on its own scores.
    """
    found = []
    for group, members in _grouped(runs):
        pairs = [(run, run["in_sample"]) for run in members if run.get("in_sample")]
        if not pairs:
            continue
        for name in ("validation", *pairs[0][0]["scenarios"]):
            parts = [[_scenario(run, name)["methods"] for run in pair] for pair in pairs]
            found.append(
                {
                    "dataset": group["dataset"],
                    "protocol": group["protocol"],
                    "scenario": name,
                    "cross_fitted": _mean([honest["fusion"]["f1"] for honest, _ in parts]),
                    "in_sample": _mean([knowing["fusion"]["f1"] for _, knowing in parts]),
                    "oracle": _mean([honest["oracle"]["f1"] for honest, _ in parts]),
                }
            )
    return found


def markdown(
    found: Mapping[str, Any], command: str, about: Mapping[str, str], notes: Sequence[str] = ()
) -> str:
    """Tables of everything, with what is needed to read them.

    Args:
        found: what :func:`core.evaluation.benchmark.benchmark` returned.
        command: the line that made it.
        about: what else to say of how it was made (versions, settings).
    """
    runs = found["runs"]
    seeds = sorted({run["seed"] for run in runs})
    lines = [
        "# Results",
        "",
        f"Made by `{command}`; the same figures, and more, are in the JSON file beside this one.",
        "",
        *(f"- {name}: {value}" for name, value in about.items()),
        f"- seeds: {', '.join(map(str, seeds))}",
        "",
        _HOW_TO_READ,
    ]
    if remarks := [*found["notes"], *notes]:
        lines += ["Not run:", "", *(f"- {note}" for note in remarks), ""]
    by_group = {tuple(g.values()): m for g, m in _grouped(runs)}
    for key, members in itertools.groupby(rows(runs), lambda row: tuple(row[n] for n in GROUP)):
        table = list(members)
        dataset, arrangement, protocol = key
        lines += [f"## {dataset}, {protocol}, {HEADINGS[arrangement]}", ""]
        lines += [*_f1_table(table), "", *_operation_table(table), ""]
        lines += [_closing(by_group[key]), ""]
    if learnt := in_sample_rows(runs):
        lines += ["## What in-sample scores would have taught the agent", "", _IN_SAMPLE, ""]
        lines += [*_in_sample_table(learnt), ""]
    return "\n".join(lines)


_HOW_TO_READ = """\
Figures are per window of the test folders, means over the seeds, behind them in brackets the lowest
and the highest seed. Verdicts are at 0.5; nothing is fitted or chosen on what is tested.

- **95 %**: block bootstrap over captures and time (blocks of 50 windows, or shorter ones where
  windows are few); from the lowest lower to the highest upper bound of all seeds. It says how sure
  the figure is on such traffic, not how it would be on another vehicle; a point where fusion is
  never wrong.
- **over single**: F1 of fusion less that of the better single model, VGAE or GAT, and the lowest
  that it was with any one seed (beside the model that was better with that seed); **gap closed**:
  the same as share of that model's distance to the oracle (right wherever either is right), where
  that is at least .001.
- An **attack** is measured on its own windows and the clean ones of the captures that hold it.
- **Episode**: attacked windows of one capture less than 1 s apart. **Delay**: from the start of its
  first attacked window to the end of the first of them that fusion calls an attack (the attack
  begins inside that first window: the true delay is shorter by at most one window). Median over
  detected episodes. **False alarms**: clean windows called attacks, those less than 1 s apart
  counted once, per hour of capture.
"""

_IN_SAMPLE = """\
F1 of fusion where the agent (and nothing else) was trained on the scores that the final detectors
give to the very captures they were trained on, beside the agent trained on cross-fitted scores, as
in all other tables. On validation each agent is measured on scores of its own kind: the in-sample
figure there is what one would have believed. Oracle: of the cross-fitted scores."""


def _f1_table(table: Sequence[Row]) -> Iterator[str]:
    header = [*("F1", "windows", "attacked"), *NAMES.values(), "95 %", "over single", "gap closed"]
    yield from _header(header)
    for row in table:
        spread = [by_method["fusion"] for by_method in row["f1"].values()]
        cells = [_score(row["methods"][name]["f1"]) for name in METHODS]
        cells[METHODS.index("fusion")] = f"**{cells[METHODS.index('fusion')]}**{_range(spread)}"
        yield _line(
            [
                *(_label(row), row["windows"], row["attack_windows"], *cells),
                _interval(row["intervals"]["fusion"]["f1"]),
                _gain(row),
                _percent(row["gap_closed"]),
            ]
        )
    tested = [row for row in table if row["part"] == "all"]
    if len(tested) > 1:
        means = [_score(_mean([r["methods"][m]["f1"] for r in tested], skip=True)) for m in METHODS]
        yield _line(["**mean of scenarios**", "", "", *means, "", "", ""])


def _operation_table(table: Sequence[Row]) -> Iterator[str]:
    yield from _header(
        [
            *("fusion", "MCC", "AUROC", "95 %", "AUPRC", "false-positive rate", "95 %"),
            *("episodes missed", "delay, ms", "delay, frames", "false alarms/h"),
        ]
    )
    for row in table:
        measured, found = row["methods"]["fusion"], row["detection"]["fusion"]
        intervals = row["intervals"]["fusion"]
        yield _line(
            [
                *(_label(row), _score(measured["mcc"]), _score(measured["auroc"])),
                *(_interval(intervals["auroc"]), _score(measured["auprc"])),
                *(_score(measured["fpr"]), _interval(intervals["fpr"])),
                f"{_number(found['missed'])} of {_number(found['episodes'])}",
                *(_number((found[d] or {}).get("median")) for d in ("delay_ms", "delay_frames")),
                _number(found["false_alarms_per_hour"]),
            ]
        )


def _in_sample_table(learnt: Sequence[Row]) -> Iterator[str]:
    yield from _header(["data set", "protocol", "", "cross-fitted", "in-sample", "oracle"])
    for row in learnt:
        scores = (_score(row[name]) for name in ("cross_fitted", "in_sample", "oracle"))
        yield _line([row["dataset"], row["protocol"], row["scenario"], *scores])


def _closing(members: Sequence[Mapping[str, Any]]) -> str:
    """What else is known of a group of runs, in one sentence or two."""
    closed = [run["summary"]["gap_closed"] for run in members]
    alpha = _mean([run["summary"]["alpha_mean"] for run in members])
    seconds = fmean(sum(run["seconds"].values()) for run in members)
    device = ", ".join(sorted({run["device"] for run in members}))
    return (
        f"On held-out training windows the agent closes {_percent(_mean(closed, skip=True))} of "
        f"the gap between the better single model and the oracle (by reward); mean alpha "
        f"{_number(alpha, 2)}. One run took {_number(seconds)} s on {device}, without graphs that "
        "were there already."
    )


def _grouped(
    runs: Sequence[Mapping[str, Any]],
) -> Iterator[tuple[dict[str, str], list[Mapping[str, Any]]]]:
    """Runs that differ in their seed and in what is left out only; in order of appearance."""
    keys = dict.fromkeys(tuple(run[name] for name in GROUP) for run in runs)
    for key in keys:
        members = [run for run in runs if tuple(run[name] for name in GROUP) == key]
        yield dict(zip(GROUP, key, strict=True)), members


def _row(by_seed: Mapping[str, Mapping[str, Any]]) -> Row:
    measured = list(by_seed.values())
    methods = _mean([part["methods"] for part in measured])
    best = max(SINGLES, key=lambda name: methods[name]["f1"] or 0.0)
    single, fusion, oracle = (methods[name]["f1"] for name in (best, "fusion", "oracle"))
    gap = None if single is None else oracle - single
    return {
        "windows": measured[0]["windows"],
        "attack_windows": measured[0]["attack_windows"],
        "methods": methods,
        "intervals": {
            name: {
                metric: _hull([part["intervals"][name][metric] for part in measured])
                for metric in measured[0]["intervals"][name]
            }
            for name in SHOWN
        },
        "detection": {
            name: _mean([part["detection"][name] for part in measured]) for name in SHOWN
        },
        "f1": {
            seed: {name: part["methods"][name]["f1"] for name in METHODS}
            for seed, part in by_seed.items()
        },
        "best_single": None if single is None else best,
        "gain": None if single is None else fusion - single,
        "gap_closed": (fusion - single) / gap if gap and gap >= SMALLEST_GAP else None,
    }


def _mean(values: Sequence[Any], skip: bool = False) -> Any:
    """Mean of numbers; None where one is missing (or, with ``skip``, all are).

    Of mappings, the mean of each entry, over those that are there.
    """
    known = [value for value in values if value is not None]
    if not known:
        return None
    if isinstance(known[0], Mapping):
        return {name: _mean([value[name] for value in known], skip) for name in known[0]}
    return fmean(known) if skip or len(known) == len(values) else None


def _hull(intervals: Sequence[Sequence[float] | None]) -> list[float] | None:
    known = [interval for interval in intervals if interval is not None]
    if len(known) < len(intervals):
        return None
    return [min(low for low, _ in known), max(high for _, high in known)]


def _scenario(run: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    return run["validation"] if name == "validation" else run["scenarios"][name]


def _label(row: Row) -> str:
    name = row["name"].replace("|", "\\|")
    return f"**{name}**" if row["part"] == "all" else f"{row['part']} {name}"


def _header(cells: Sequence[str]) -> Iterator[str]:
    yield _line(cells)
    yield _line(["---", *["--:"] * (len(cells) - 1)])


def _line(cells: Sequence[Any]) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def _score(value: float | None) -> str:
    """Four digits, without the zero before the point; cut, not rounded, before it would read 1."""
    if value is None:
        return "-"
    if 0.99995 <= value < 1 - 1e-9:  # Closer than that is a sum that was rounded.
        value = math.floor(value * 10_000) / 10_000
    return f"{value:.4f}".replace("0.", ".", 1) if abs(value) < 1 else f"{value:.4f}"


def _gain(row: Row) -> str:
    if row["gain"] is None:
        return "-"
    name = NAMES[row["best_single"]]
    if len(row["f1"]) == 1:
        return f"{_signed(row['gain'])} ({name})"
    lowest = min(f1["fusion"] - max(f1[single] for single in SINGLES) for f1 in row["f1"].values())
    return f"{_signed(row['gain'])} ({name}), lowest {_signed(lowest)}"


def _signed(value: float) -> str:
    return f"{'+' if value >= 0 else '−'}{_score(abs(value))}"


def _range(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    return f" ({_score(min(known))}–{_score(max(known))})" if len(known) > 1 else ""


def _interval(interval: Sequence[float] | None) -> str:
    return "-" if interval is None else "–".join(map(_score, interval))


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.0%}"


def _number(value: float | None, digits: int = 0) -> str:
    if value is None:
        return "-"
    return (
        f"{value:.{digits}f}" if digits or value == round(value) or value >= 10 else f"{value:.1f}"
    )
