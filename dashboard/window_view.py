"""One window: its scores and verdict, what is around it, its frames, its graph, and why."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow as pa
import streamlit as st

from core.captures.frame_table import FrameTable
from core.config import FusionConfig
from core.workspace import Workspace
from dashboard.context import friendly_errors
from dashboard.figures import CONFIG, FUSION_LINES, timeline
from dashboard.formatting import code, plain
from dashboard.results import load_config, load_predictions, load_results, rows_where
from dashboard.selection import choose_window, chosen_window, forget_window
from dashboard.window_data import capture_file, explanation, frame_rows, frames_of_window
from dashboard.window_graph import graph_option, in_words

AROUND, FRAMES, GRAPH, WHY = PARTS = ("Around it", "Frames", "Graph", "Why")
NEIGHBOURS = 60
"""Windows shown on either side."""
HIGHLIGHT = "background-color: rgba(209, 86, 31, 0.25)"
SOURCES = {"profile": "its own habit", "vgae": "VGAE", "gat": "GAT"}


def window_view(run_dir: Path, workspace: Workspace, threshold: float) -> None:
    """The window in the address, if there is one.

    Args:
        threshold: fused score from which it is called an attack.
    """
    chosen = chosen_window()
    if chosen is None:
        st.caption("Choose a row of the table to look into one window.")
        return
    rows = _rows(load_predictions(run_dir), chosen[0])
    place = rows["window"].searchsorted(chosen[1]) if len(rows) else 0
    if place >= len(rows) or rows["window"].iloc[place] != chosen[1]:
        st.warning(
            f"This run scored no window {chosen[1]} of {code(chosen[0])}.",
            icon=":material/search_off:",
        )
        return
    row = rows.iloc[place]
    with st.container(border=True, key="one-window"):
        _header(rows, int(place))
        _verdict(row, threshold)
        part = st.segmented_control(
            "Look at", PARTS, default=AROUND, required=True, key="part", bind="query-params"
        )
        with friendly_errors():
            if part == WHY:
                _why(run_dir, workspace, row)
            elif part in (FRAMES, GRAPH):
                show = _frames if part == FRAMES else _graph
                _from_capture(run_dir, workspace, row, show)
            else:
                _around(rows, int(place), threshold)


def window_table(
    windows: pd.DataFrame, key: str, most: int = 2000, columns: tuple[str, ...] = ()
) -> None:
    """Windows to choose one from; the chosen one goes into the address.

    Args:
        windows: rows of a run's predictions with ``seconds`` since the capture's start.
        columns: more score columns of ``windows`` to show.
    """
    if windows.empty:
        st.caption("No windows here.")
        return
    shown = windows.head(most).reset_index(drop=True)
    names = {
        "capture": "Capture",
        "window": "Window",
        "seconds": "Start (s)",
        "truth": "Truth",
        "anomaly_score": "Anomaly",
        "gat_prob": "GAT",
        "alpha": "Alpha",
        "fused": "Fused",
    } | {name: name for name in columns}
    shown = shown.assign(truth=truth_of(shown))

    def take() -> None:
        rows = st.session_state[key].selection.rows
        if rows:
            choose_window(str(shown["capture"].iloc[rows[0]]), int(shown["window"].iloc[rows[0]]))

    st.dataframe(
        shown[list(names)].rename(columns=names),
        hide_index=True,
        height=min(38 + 35 * len(shown), 300),
        column_config={
            name: st.column_config.NumberColumn(format="%.3f")
            for name in ("Anomaly", "GAT", "Alpha", "Fused", "Start (s)")
        },
        on_select=take,
        selection_mode="single-row",
        key=key,
    )


def truth_of(windows: pd.DataFrame) -> pd.Series:
    """What each window holds, in words: ``benign`` or the attack's name."""
    attack = windows["attack"].astype(str)
    named = attack.where(attack != "", "attack")
    return named.where(windows["label"] == 1, "benign")


def _rows(predictions: pa.Table, capture: str) -> pd.DataFrame:
    rows = rows_where(predictions, capture=capture)
    return rows.sort_values("window", ignore_index=True)


def _header(rows: pd.DataFrame, place: int) -> None:
    row = rows.iloc[place]
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f"**Window {row['window']}** of {code(str(row['capture']))}")
        for label, icon, to in (
            ("Previous", ":material/arrow_back:", place - 1),
            ("Next", ":material/arrow_forward:", place + 1),
        ):
            there = 0 <= to < len(rows)
            st.button(
                label,
                key=f"window-{label.lower()}",
                icon=icon,
                disabled=not there,
                on_click=choose_window,
                args=(str(row["capture"]), int(rows["window"].iloc[to])) if there else None,
                shortcut=label[0],
            )
        st.button(
            "Close",
            icon=":material/close:",
            key="window-close",
            on_click=forget_window,
            type="tertiary",
        )


def _verdict(row: pd.Series, threshold: float) -> None:
    called, attacked = row["fused"] >= threshold, row["label"] == 1
    truth = str(truth_of(row.to_frame().T).iloc[0])
    judged = {
        (True, True): (":green[:material/check: a hit]"),
        (False, False): (":green[:material/check: right]"),
        (True, False): (":red[:material/close: a false alarm]"),
        (False, True): (":red[:material/close: missed]"),
    }[bool(called), bool(attacked)]
    with st.container(horizontal=True):
        for label, value in (
            ("Anomaly score", f"{row['anomaly_score']:.3f}"),
            ("GAT probability", f"{row['gat_prob']:.3f}"),
            ("Alpha", f"{row['alpha']:.2f}"),
            ("Fused score", f"{row['fused']:.3f}"),
            ("Verdict", "attack" if called else "benign"),
            ("Truth", truth),
        ):
            st.metric(label, value, width="content")
    st.markdown(
        f"(1 − {row['alpha']:.2f}) × {row['anomaly_score']:.3f} + {row['alpha']:.2f} × "
        f"{row['gat_prob']:.3f} = **{row['fused']:.3f}**, "
        f"{'at or above' if called else 'below'} the threshold {threshold:g}: "
        f"**{'attack' if called else 'benign'}**. In truth {plain(truth)}: {judged}."
    )


def _around(rows: pd.DataFrame, place: int, threshold: float) -> None:
    shown = rows.iloc[max(place - NEIGHBOURS, 0) : place + NEIGHBOURS + 1]
    figure = timeline(shown, FUSION_LINES, threshold)
    first = shown["start_time"].min()
    begin, end = (float(rows[name].iloc[place] - first) for name in ("start_time", "end_time"))
    figure.add_vrect(
        begin, end, line={"width": 1, "color": "#7d8794"}, fillcolor="#7d8794", opacity=0.25
    )
    figure.update_layout(xaxis={"title": "time since the first window shown (s)"})
    st.plotly_chart(
        figure,
        key="window-around",
        config=CONFIG,
        alt=f"Scores of {len(shown)} windows around this one, which is marked",
    )


def _from_capture(
    run_dir: Path,
    workspace: Workspace,
    row: pd.Series,
    show: Callable[[FrameTable, pd.Series], None],
) -> None:
    config = load_config(run_dir)
    path = capture_file(workspace, _dataset(run_dir, config), config, str(row["capture"]))
    show(frames_of_window(path, row, config), row)


def _frames(frames: FrameTable, row: pd.Series) -> None:
    shown = frame_rows(frames, int(row["first_frame"]))
    attacked = shown["Attack"] != ""
    st.caption(
        f"{len(shown)} frames, {int(attacked.sum())} of them attacked. Times from the window's "
        "first frame."
    )
    if not (shown["Kind"] != "").any():
        shown = shown.drop(columns="Kind")
    marked = shown.style.apply(
        lambda line: [HIGHLIGHT if line["Attack"] else ""] * len(line), axis=1
    ).format({"Time (ms)": "{:.3f}"})
    st.dataframe(
        marked,
        hide_index=True,
        height=420,
        key="window-frames",
        column_config={"Payload": st.column_config.TextColumn(width="large")},
    )


def _graph(frames: FrameTable, row: pd.Series) -> None:
    st.caption(
        f"{in_words(frames)}. A node is an id, larger the more frames it has; an arrow leads from "
        "each frame's id to the next one's. Scroll to zoom, point at an id to see its transitions."
    )
    st.echarts_chart(graph_option(frames), key="window-graph", height=560, alt=in_words(frames))


def _why(run_dir: Path, workspace: Workspace, row: pd.Series) -> None:
    config = load_config(run_dir)
    capture = str(row["capture"])
    dataset = _dataset(run_dir, config)
    capture_file(workspace, dataset, config, capture)  # Says so where there is no such file.
    found = explanation(workspace, config, dataset, capture, int(row["window"]))
    (window,) = found["windows"]
    ids = pd.DataFrame(window["ids"])
    st.dataframe(
        pd.DataFrame(
            {
                "ID": ids["arbitration_id"],
                "Share": ids["contribution"],
                "Why": ids["reasons"],
                "In the window": ids["present"],
                **{f"From {text}": ids[name] for name, text in SOURCES.items()},
            }
        ),
        hide_index=True,
        key="window-why",
        column_config={
            "Share": st.column_config.ProgressColumn(
                format="percent",
                min_value=0,
                max_value=1,
                help="Share of the evidence in this window that speaks against the id.",
            ),
            "Why": st.column_config.TextColumn(width="large"),
            **{
                f"From {text}": st.column_config.NumberColumn(format="percent")
                for text in SOURCES.values()
            },
        },
    )
    st.caption(
        "Which ids departed from what is usual for them on this vehicle, by their behaviour, by "
        "what the VGAE cannot reconstruct and by what raises the GAT's odds. Labels are not used."
    )
    now = window["anomaly_score"], window["gat_prob"]
    kept = float(row["anomaly_score"]), float(row["gat_prob"])
    if None not in now and max(abs(a - b) for a, b in zip(now, kept, strict=True)) > 0.01:
        st.info(
            f"The detectors in the workspace are not those that scored this window in the run "
            f"(cross-fitted, or trained anew since): they give {now[0]:.3f} and {now[1]:.3f}.",
            icon=":material/info:",
        )
    for warning in found["warnings"]:
        st.caption(plain(warning))


def _dataset(run_dir: Path, config: FusionConfig) -> str:
    return str(load_results(run_dir).get("dataset") or config.data.dataset)
