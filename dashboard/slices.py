"""Where the map cuts through what else than both scores an agent sees."""

from pathlib import Path

import streamlit as st

from dashboard.results import Policy, load_agent, load_config
from dashboard.selection import number_in_address

STEPS = 100
"""Places that a slider can be put to."""


def pick_slice(run_dir: Path, policy: Policy) -> Policy:
    """The map at the values that are picked of further features; as it is where there are none."""
    agent = load_agent(run_dir)
    if agent is None:
        _explain_absence(run_dir)
        return policy
    free = agent.encoder.free
    if not free:
        return policy
    st.markdown("**Cut through the map**: what else the agent sees")
    chosen = {}
    with st.grid(min(3, len(free)), min_column_width=200):
        for name in free:
            low, usual, high = agent.encoder.reach(name)
            key = f"at_{name}"
            st.session_state.setdefault(key, number_in_address(key, usual, low, high))
            chosen[name] = st.slider(
                name,
                low,
                high,
                step=(high - low) / STEPS,
                format="%.4g",
                key=key,
                bind="query-params",
                help=f"Median of the training windows: {usual:.4g}",
            )
    st.caption("The map opens at the training's medians. Counts are those of all windows.")
    return policy.cut(agent, chosen)


def _explain_absence(run_dir: Path) -> None:
    further = [
        name for name in load_config(run_dir).agent.state if name not in ("anomaly", "gat_prob")
    ]
    if further:
        st.info(
            "This run did not keep its agent (agent.pth), so that the map cannot be cut at other "
            f"values of {', '.join(further)} than the training's medians.",
            icon=":material/content_cut:",
        )
