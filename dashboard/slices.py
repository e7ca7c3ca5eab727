"""Where the map cuts through what else than both scores an agent sees.

torch is loaded for runs of such agents only.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from core.config import FusionAgentConfig
from core.errors import InputError
from dashboard.results import Policy, load_config
from dashboard.selection import number_in_address

if TYPE_CHECKING:
    from core.fusion.agent import FusionAgent

STEPS = 100
"""Places that a slider can be put to."""


def pick_slice(run_dir: Path, policy: Policy) -> Policy:
    """The map at the values that are picked of further features; as it is where there are none.

    Raises:
        InputError: if the run's agent is damaged.
    """
    if not _sees_more(run_dir):
        return policy
    path = run_dir / "agent.pth"
    if not path.is_file():
        st.info(
            "This run did not keep its agent (agent.pth), so that its map is shown at the "
            "training's medians only. Runs that are trained from now on keep it.",
            icon=":material/content_cut:",
        )
        return policy
    agent = _agent(path, path.stat().st_mtime_ns)
    free = agent.encoder.free
    if not free:
        return policy
    st.markdown("**Cut through the map**: what else the agent sees")
    chosen = {}
    with st.grid(min(3, len(free)), min_column_width=200):
        for name in free:
            chosen[name] = _slider(name, *agent.encoder.reach(name))
    st.caption("The map opens at the training's medians. Counts are those of all windows.")
    return cut(policy, agent, chosen)


def cut(policy: Policy, agent: "FusionAgent", at: Mapping[str, float]) -> Policy:
    """The same cells where what else the agent sees has other values (feature -> value)."""
    from core.fusion.policy import policy_map

    found = policy_map(agent, len(policy.axis), at=at)
    return replace(policy, alpha=found.alpha.astype(float), q_spread=found.q_spread.astype(float))


def _slider(name: str, low: float, usual: float, high: float) -> float:
    key = f"at_{name}"
    st.session_state.setdefault(key, number_in_address(key, usual, low, high))
    return st.slider(
        name,
        low,
        high,
        step=(high - low) / STEPS,
        format="%.4g",
        key=key,
        bind="query-params",
        help=f"Median of the training windows: {usual:.4g}",
    )


def _sees_more(run_dir: Path) -> bool:
    """Whether the run's agent sees more than both scores."""
    try:
        return load_config(run_dir).agent.state != FusionAgentConfig().state
    except InputError:
        return False


@st.cache_resource(max_entries=8, show_spinner="Loading the agent")
def _agent(path: Path, stamp: int) -> "FusionAgent":
    from core.fusion.agent import FusionAgent

    return FusionAgent.load(path)
