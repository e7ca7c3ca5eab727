"""Results as tables: one row per method, numbers as read or a dash."""

from typing import Any

import pandas as pd

from dashboard.formatting import DASH, count, number, scenario
from dashboard.palette import METHODS

RATES = {
    "f1": "F1",
    "mcc": "MCC",
    "auroc": "AUROC",
    "auprc": "AUPRC",
    "fpr": "False alarm rate",
    "accuracy": "Accuracy",
}
COUNTS = {"tp": "TP", "fp": "FP", "tn": "TN", "fn": "FN"}

UNDEFINED = (
    f"A dash ({DASH}) means undefined: without an attacked window there is no F1, recall or AUROC; "
    "without a clean one no false alarm rate."
)


def scenarios(results: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Scenario name -> its numbers: validation first, then the test folders."""
    validation = results.get("validation")
    first = {"validation": validation} if isinstance(validation, dict) else {}
    return first | results["scenarios"]


def metric(numbers: dict[str, Any], method: str, name: str) -> float | None:
    """One metric of one method; None where it is undefined."""
    if name == "f1" and not numbers.get("attack_windows"):
        # Its formula gives 0 once there is a false alarm, but there was nothing to find.
        return None
    value: float | None = numbers["methods"][method].get(name)
    return value


def method_table(numbers: dict[str, Any]) -> pd.DataFrame:
    """All metrics of one scenario or capture, one row per method."""
    rows = [
        {"Method": METHODS[name].label}
        | {label: _with_interval(numbers, name, key) for key, label in RATES.items()}
        | {label: _whole(metric(numbers, name, key)) for key, label in COUNTS.items()}
        for name in METHODS
        if name in numbers["methods"]
    ]
    return pd.DataFrame(rows)


def f1_table(results: dict[str, Any]) -> pd.DataFrame:
    """F1 of every method, one row per scenario."""
    return pd.DataFrame(
        [
            {"Scenario": scenario(name)}
            | {
                METHODS[m].label: number(metric(numbers, m, "f1"))
                for m in METHODS
                if m in numbers["methods"]
            }
            for name, numbers in scenarios(results).items()
        ]
    )


def parts_table(numbers: dict[str, Any], kind: str, key: str) -> pd.DataFrame:
    """One metric of every method, one row per part of a scenario.

    Args:
        kind: ``captures`` or ``attacks``.
    """
    return pd.DataFrame(
        [
            {
                kind.removesuffix("s").capitalize(): name,
                "Windows": count(part["windows"]),
                "Attacked": count(part["attack_windows"]),
            }
            | {
                METHODS[m].label: _with_interval(part, m, key)
                for m in METHODS
                if m in part["methods"]
            }
            for name, part in numbers.get(kind, {}).items()
        ]
    )


def detection_table(numbers: dict[str, Any]) -> pd.DataFrame:
    """How soon attacks are noticed and how often there is an alarm for nothing; may be empty."""
    rows = []
    for name, found in (numbers.get("detection") or {}).items():
        if name not in METHODS:
            continue
        delay = found.get("delay_ms") or {}
        rows.append(
            {
                "Method": METHODS[name].label,
                "Attacks": _whole(found.get("episodes")),
                "Noticed": _whole(found.get("detected")),
                "Missed": _whole(found.get("missed")),
                "Median delay (ms)": _whole(delay.get("median")),
                "Longest delay (ms)": _whole(delay.get("max")),
                "False alarms": _whole(found.get("false_alarms")),
                "False alarms per hour": _whole(found.get("false_alarms_per_hour")),
            }
        )
    return pd.DataFrame(rows)


def long_table(results: dict[str, Any]) -> pd.DataFrame:
    """Every number of a results file, one row per scenario, capture and method, for download."""
    rows = []
    for name, numbers in scenarios(results).items():
        parts = {"": numbers} | numbers.get("captures", {})
        for capture, part in parts.items():
            rows += [
                {
                    "scenario": name,
                    "capture": capture,
                    "windows": part["windows"],
                    "attack_windows": part["attack_windows"],
                    "method": method,
                    **metrics,
                }
                for method, metrics in part["methods"].items()
            ]
    return pd.DataFrame(rows)


def _with_interval(numbers: dict[str, Any], method: str, name: str) -> str:
    """``0.913 (0.880 to 0.941)``; without the interval where there is none."""
    value = metric(numbers, method, name)
    limits = interval(numbers, method, name)
    text = number(value)
    return f"{text} ({limits[0]:.3f} to {limits[1]:.3f})" if value is not None and limits else text


def interval(numbers: dict[str, Any], method: str, name: str) -> list[float] | None:
    """95 % interval of a metric; None where it is not known."""
    limits: list[float] | None = (numbers.get("intervals") or {}).get(method, {}).get(name)
    return limits


def _whole(value: float | None) -> str:
    return DASH if value is None else count(value)
