"""Whether fusion helped, in plain words."""

from typing import Any, NamedTuple

from dashboard.formatting import count, percent
from dashboard.palette import METHODS

EQUAL = 0.001
"""Mean F1 scores closer than this are called equal."""


class Headline(NamedTuple):
    """A verdict (``helps``, ``equal``, ``hurts`` or ``unknown``) and the sentences that say it."""

    verdict: str
    text: str


def headline(results: dict[str, Any]) -> Headline:
    """Compare fusion's mean F1 over the test scenarios with the better single model's."""
    measured, mean = _measured(results), mean_f1(results)
    if not measured:
        return Headline(
            "unknown",
            "No test scenario has attacked windows, so nothing can be said about detection: "
            "only the false alarm rate is meaningful here.",
        )
    best = max(("vgae", "gat"), key=mean.__getitem__)
    gain = mean["fusion"] - mean[best]
    wins = sum(
        (_f1(m, "fusion") or 0) >= max(_f1(m, n) or 0 for n in ("vgae", "gat")) for m in measured
    )
    compared = (
        f"mean F1 {mean['fusion']:.3f} against {mean[best]:.3f} for {METHODS[best].label}, "
        f"the better single model; at least as good as both models in {wins} of "
        f"{len(measured)} test scenarios."
    )
    if gain > EQUAL:
        return Headline("helps", f"**Fusion helps:** {compared}{_beside_simpler(mean)}")
    if gain < -EQUAL:
        return Headline(
            "hurts", f"**Fusion does not help here:** {compared} Use {METHODS[best].label}."
        )
    return Headline("equal", f"**Fusion makes no difference here:** {compared}")


def mean_f1(results: dict[str, Any]) -> dict[str, float]:
    """Method -> mean F1 over the test scenarios where it is defined; empty where it nowhere is."""
    measured = _measured(results)
    return {
        name: sum(_f1(m, name) or 0.0 for m in measured) / len(measured)
        for name in METHODS
        if measured and name in measured[0]
    }


def _measured(results: dict[str, Any]) -> list[dict[str, Any]]:
    tests = [s["methods"] for s in results["scenarios"].values() if s.get("attack_windows")]
    return [
        methods
        for methods in tests
        if all(_f1(methods, name) is not None for name in ("vgae", "gat", "fusion"))
    ]


def gain_here(numbers: dict[str, Any]) -> str:
    """What fusion adds in one scenario, and how sure that is; empty where it is not known."""
    gain = numbers.get("fusion_gain") or {}
    if gain.get("f1") is None or gain.get("best_single") not in METHODS:
        return ""
    single = METHODS[gain["best_single"]].label
    told = f"Fusion's F1 is {abs(gain['f1']):.3f} {'above' if gain['f1'] >= 0 else 'below'} "
    told += f"that of {single}, the better single model here"
    limits = gain.get("f1_interval")
    if not limits:
        return f"{told}."
    low, high = limits
    clear = "it helps" if low > 0 else "it does not help" if high < 0 else "no clear difference"
    return f"{told} (95 %: {low:+.3f} to {high:+.3f}): **{clear}**."


def gap_closed(results: dict[str, Any]) -> str:
    """The share of the way from the better single model to the oracle, as a sentence."""
    tests = [s["methods"] for s in results["scenarios"].values()]
    correct = {
        name: sum(m[name]["tp"] + m[name]["tn"] for m in tests if name in m)
        for name in ("vgae", "gat", "fusion", "oracle")
    }
    single = max(correct["vgae"], correct["gat"])
    gap = correct["oracle"] - single
    windows = sum(s["windows"] for s in results["scenarios"].values())
    wrong = (
        f"Of {count(windows)} test windows, "
        f"fusion gets {count(windows - correct['fusion'])} wrong, "
        f"the better single model {count(windows - single)}, "
        f"the oracle {count(windows - correct['oracle'])}"
    )
    if gap <= 0:
        return f"{wrong}: there was no gap to close."
    share = (correct["fusion"] - single) / gap
    return f"{wrong}: {percent(share)} of the gap closed." if share >= 0 else f"{wrong}."


def _beside_simpler(mean: dict[str, float]) -> str:
    simpler = [n for n in ("fixed_alpha", "stacking") if n in mean]
    if not simpler:
        return ""
    best = max(simpler, key=mean.__getitem__)
    if mean[best] >= mean["fusion"] - EQUAL:
        return (
            f" A simpler rule does as well, though: {METHODS[best].label} reaches {mean[best]:.3f}."
        )
    return f" {METHODS[best].label}, the best simple rule, reaches {mean[best]:.3f}."


def _f1(methods: dict[str, Any], name: str) -> float | None:
    value: float | None = methods.get(name, {}).get("f1")
    return value
