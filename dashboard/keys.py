"""Keys that open pages. Streamlit binds keys to buttons, so they are a row at the foot of pages."""

from collections.abc import Sequence

import streamlit as st
from streamlit.navigation.page import Page


def page_keys(pages: Sequence[Page]) -> None:
    """A button with a digit for every page, in their order."""
    with st.container(horizontal=True, key="page-keys"):
        for digit, page in enumerate(pages, start=1):
            if st.button(page.title, key=f"go-{digit}", shortcut=str(digit), type="tertiary"):
                st.switch_page(page)
