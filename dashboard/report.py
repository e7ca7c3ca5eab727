"""The report for stakeholders: one HTML file that needs nothing else, figures included.

Everything that comes from a run, a file name or a setting is escaped: it may hold anything.
"""

import html
import importlib.metadata
import platform
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from core.cache.fingerprint import code_version, read_fingerprint
from core.errors import CacheError
from core.files import content_hash
from core.jobs.run import Run
from core.workspace import Workspace
from dashboard.figures import alpha_histogram, method_bars
from dashboard.formatting import count, duration, scenario
from dashboard.headline import gain_here, gap_closed, headline
from dashboard.palette import METHODS
from dashboard.policy_figures import policy_heatmap
from dashboard.results import (
    load_config,
    load_policy,
    load_predictions,
    load_results,
    load_threshold,
)
from dashboard.scenario_scores import scenario_scores
from dashboard.tables import UNDEFINED, detection_table, method_table, parts_table, scenarios
from dashboard.threshold_figures import calibration, threshold_explorer

SHOWN = ("vgae", "gat", "fusion")
PACKAGES = ("canfusion", "torch", "torch-geometric", "lightning", "numpy", "scikit-learn", "plotly")
STYLE = (Path(__file__).parent / "report.css").read_text(encoding="utf-8")
SIMULATED = (
    "These results are from simulated traffic. They show how the parts work together; they measure "
    "nothing about a real vehicle."
)


def report_html(run: Run, run_dir: Path, workspace: Workspace) -> str:
    """The whole report of a finished run.

    Raises:
        InputError: if a file of the run is missing or torn.
    """
    results = load_results(run_dir)
    title = f"Intrusion detection on {results.get('dataset', run.dataset)}"
    body = "\n".join(_sections(run, run_dir, workspace, results, title))
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        # Even a hole in the escaping could not call home.
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
        "script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:\">\n"
        f"<title>{_text(title)}</title>\n<style>\n{STYLE}</style>\n"
        f"<script>{get_plotlyjs()}</script>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def _sections(
    run: Run, run_dir: Path, workspace: Workspace, results: dict[str, Any], title: str
) -> Iterator[str]:
    made = time.strftime("%Y-%m-%d %H:%M", time.localtime())
    yield f"<h1>{_text(title)}</h1>"
    yield f'<p class="about">CAN-Graph Fusion, run {_text(run.id)}, report of {made}</p>'
    if results.get("simulated"):
        yield f'<p class="note">{SIMULATED}</p>'
    yield f"<p>{_marked(headline(results).text)}</p><p>{_text(gap_closed(results))}</p>"
    for warning in results.get("warnings", ()):
        yield f'<p class="note">{_text(warning)}</p>'
    yield _section(
        "F1 by scenario",
        "<p>1 is perfect. Thin lines, and brackets in tables: 95 % intervals.</p>",
        _figure(method_bars(results), "F1 of every method on every scenario"),
        _list({method.label: method.help for method in METHODS.values()}),
    )
    for name, numbers in scenarios(results).items():
        yield _scenario(run_dir, name, numbers)
    policy, threshold = load_policy(run_dir), load_threshold(run_dir)
    predictions = load_predictions(run_dir)
    yield _section(
        "What the agent learned",
        "<p>Its weight alpha for every pair of scores: fused = (1 - alpha) x anomaly + alpha x GAT "
        "probability. Blue: the VGAE decides; orange: the GAT decides; grey: no training window "
        f"fell there. Black line: fused = {threshold:g}, where the verdict flips.</p>",
        _figure(policy_heatmap(policy, threshold), "Alpha over both scores"),
        _figure(
            alpha_histogram(predictions["alpha"].to_numpy(), predictions["label"].to_numpy()),
            "How often the agent picks which alpha",
        ),
    )
    yield _origin(run, run_dir, workspace, results)


def _scenario(run_dir: Path, name: str, numbers: dict[str, Any]) -> str:
    parts = [
        f"<p>{count(numbers['windows'])} windows, {count(numbers['attack_windows'])} attacked. "
        f"{_marked(gain_here(numbers))}</p>",
        _table(method_table(numbers)),
    ]
    if numbers.get("attacks"):
        parts += ["<h3>F1 per attack</h3>", _table(parts_table(numbers, "attacks", "f1"))]
    if numbers.get("captures"):
        parts += ["<h3>F1 per capture</h3>", _table(parts_table(numbers, "captures", "f1"))]
    detection = detection_table(numbers)
    if len(detection):
        parts += ["<h3>Detection delay and false alarms</h3>", _table(detection)]
    scores = scenario_scores(run_dir, name)
    methods = [method for method in SHOWN if method in scores.sorted]
    if len(scores.rows) and methods:
        own = load_threshold(run_dir)
        parts += [
            "<h3>What the threshold does</h3>",
            _figure(threshold_explorer(scores.sorted, methods, own, own), "ROC, PR and matrices"),
            "<h3>Calibration</h3>",
            _figure(calibration(scores.reliability, methods), "Calibration of the scores"),
        ]
    return _section(scenario(name), *parts)


def _origin(run: Run, run_dir: Path, workspace: Workspace, results: dict[str, Any]) -> str:
    """Data, settings, seed and versions: what is needed to do it again."""
    took = run.finished - run.started if run.finished and run.started else None
    facts = {
        "Run": run.id,
        "Started": time.strftime("%Y-%m-%d %H:%M", time.localtime(run.created)),
        "Took": duration(took),
        "Data set": str(results.get("dataset", "")),
        "Protocol": str(results.get("protocol", "")),
        "Seed": str(results.get("seed", "")),
        "Device": str(results.get("device", "")),
        "Python": platform.python_version(),
        **{name: _version(name) for name in PACKAGES},
        "Code of scoring (SHA-256)": code_version(),
        "Scores, predictions.arrow (SHA-256)": content_hash(run_dir / "predictions.arrow"),
    }
    settings = dict(_flat(load_config(run_dir).to_dict()))
    return _section(
        "Where this comes from",
        _list(facts),
        "<h3>Captures</h3>",
        _captures(results, workspace),
        "<h3>Settings</h3>",
        _list(settings, "settings"),
        f"<p>{_text(UNDEFINED)}</p>",
    )


def _captures(results: dict[str, Any], workspace: Workspace) -> str:
    """Content of the captures that the prediction cache was made from."""
    path = workspace.prediction_cache(
        str(results.get("dataset", "")), str(results.get("protocol", ""))
    )
    try:
        captures = read_fingerprint(path).get("captures", {})
    except CacheError as error:
        return f"<p>Not known: {_text(error)}</p>"
    made = time.strftime("%Y-%m-%d %H:%M", time.localtime(path.stat().st_mtime))
    rows = [{"Capture": key, "SHA-256": content} for key, content in captures.items()]
    return f"<p>As kept in the prediction cache of {made}.</p>" + _table(pd.DataFrame(rows))


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, str(value)


def _section(title: str, *parts: str) -> str:
    return f"<section>\n<h2>{_text(title)}</h2>\n" + "\n".join(parts) + "\n</section>"


def _figure(figure: go.Figure, alt: str) -> str:
    figure = go.Figure(figure).update_layout(template="plotly_white")
    drawn = figure.to_html(
        full_html=False, include_plotlyjs=False, config={"displaylogo": False, "responsive": True}
    )
    return f'<figure role="img" aria-label="{_text(alt)}">{drawn}</figure>'


def _table(table: pd.DataFrame) -> str:
    head = "".join(f"<th>{_text(name)}</th>" for name in table.columns)
    rows = "\n".join(
        "<tr>" + "".join(f"<td>{_text(value)}</td>" for value in row) + "</tr>"
        for row in table.itertuples(index=False, name=None)
    )
    return (
        f'<div class="wide"><table>\n<thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{rows}\n</tbody></table></div>"
    )


def _list(facts: Mapping[str, str], kind: str = "") -> str:
    rows = "".join(
        f"<dt>{_text(name)}</dt><dd>{_text(value)}</dd>" for name, value in facts.items()
    )
    return f'<dl class="{kind}">{rows}</dl>'


def _text(value: object) -> str:
    return html.escape(str(value))


def _marked(text: str) -> str:
    """Escaped, with ``**bold**`` parts."""
    return re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", _text(text))
