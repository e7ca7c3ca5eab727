"""The list of runs, each one a link."""

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from core.jobs.run import Run
from dashboard.formatting import DASH, ago, duration


def runs_table(runs: Sequence[Run]) -> None:
    """Newest first; the first column opens the run."""
    if not runs:
        st.caption("None yet.")
        return
    frame = pd.DataFrame(
        [
            {
                "Open": f"/training?run={run.id}",
                "What": run.title,
                "Data set": run.dataset or DASH,
                "Protocol": str(run.params.get("protocol", DASH)),
                "State": run.state,
                "Started": ago(run.created),
                "Took": duration(run.finished - run.started)
                if run.finished and run.started
                else DASH,
                "Note": run.error,
            }
            for run in runs
        ]
    )
    link = st.column_config.LinkColumn("Run", display_text=r"run=(.+)", width="medium")
    st.dataframe(frame, hide_index=True, column_config={"Open": link})
