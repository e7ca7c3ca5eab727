"""The dashboard's entry: ``streamlit run dashboard/app.py``."""

import importlib
import threading
from pathlib import Path

import streamlit as st

from dashboard.context import COMPARISON, DATASETS, GUIDE, HOME, POLICY, TRAINING, jobs
from dashboard.keys import page_keys
from dashboard.sign_in import require_sign_in

ICON = Path(__file__).parents[1] / "assets" / "icon.svg"


@st.cache_resource
def warm_up() -> None:
    """Once per server: find the runs again, and load what is slow before a page asks for it."""
    jobs()
    threading.Thread(
        target=importlib.import_module, args=("plotly.graph_objects",), daemon=True
    ).start()


st.set_page_config(page_title="CAN-Graph Fusion", page_icon=str(ICON), layout="wide")
require_sign_in()
warm_up()
pages = [
    st.Page(HOME, title="Home", icon=":material/home:", default=True),
    st.Page(DATASETS, title="Data sets", icon=":material/database:", url_path="datasets"),
    st.Page(TRAINING, title="Training", icon=":material/model_training:", url_path="training"),
    st.Page(POLICY, title="Policy", icon=":material/grid_on:", url_path="policy"),
    st.Page(COMPARISON, title="Comparison", icon=":material/leaderboard:", url_path="comparison"),
    st.Page(GUIDE, title="Guide", icon=":material/menu_book:", url_path="guide"),
]
st.navigation(pages, position="top").run()
page_keys(pages)
