"""Guide: how to get from captures to an answer, which keys there are, what the words mean."""

import streamlit as st

from dashboard.context import COMPARISON, DATASETS, HOME, POLICY, TRAINING
from dashboard.glossary import found

st.title("Guide")

st.subheader("To train and watch")
st.markdown(
    "1. Import captures on the data page, or choose the demo. What cannot be read is set aside "
    "and told.\n"
    "2. On the training page choose data set and protocol, change what you like, press *Train "
    "fusion*. Detectors and scores that are missing are made first.\n"
    "3. Watch the curves, pause, resume or stop. A run that a restart cut off says so."
)
with st.container(horizontal=True):
    st.page_link(DATASETS, label="Data sets", icon=":material/database:")
    st.page_link(TRAINING, label="Training", icon=":material/model_training:")

st.subheader("To ask what the agent has learned, and where it is wrong")
st.markdown(
    "1. Open a finished run on the policy page. Lay *Errors of fusion* over the map.\n"
    "2. Click a cell for its windows, choose a window: what is around it, its frames, its graph, "
    "and which ids stood out and why.\n"
    "3. On the comparison page click a cell of a confusion matrix for the windows behind it."
)
with st.container(horizontal=True):
    st.page_link(POLICY, label="Policy", icon=":material/grid_on:")
    st.page_link(COMPARISON, label="Comparison", icon=":material/leaderboard:")

st.subheader("To show results to somebody with ten minutes")
st.markdown(
    "Open the comparison: the first sentence says whether fusion helps. *Report as .html* is one "
    "file with figures, settings and versions that opens and prints anywhere. Every address can "
    "be shared; it holds what you are looking at."
)

st.subheader("Keys")
st.markdown(
    "| Key | What it does |\n|---|---|\n"
    "| `1` to `6` | Home, data sets, training, policy, comparison, guide |\n"
    "| `P`, `N` | Previous and next window, where one is shown |\n"
    "| `S` | Pause or resume the run that is shown |\n"
    "| `R` | Run the page again |"
)

st.subheader("Words")
text = st.text_input(
    "Search", key="word", bind="query-params", placeholder="alpha, threshold, ...", max_chars=60
)
terms = found(text or "")
if terms:
    # One element: each of them costs the browser some milliseconds before the title is there.
    st.markdown("\n\n".join(f"**{term}**: {meaning}" for term, meaning in terms.items()))
else:
    st.info("No such word here. Try a shorter one.", icon=":material/search_off:")
st.page_link(HOME, label="Back to the start", icon=":material/home:")
