"""Sign-in by OpenID Connect, where the server is configured for it: then every page needs it."""

from pathlib import Path

import streamlit as st


def is_configured() -> bool:
    """Whether the server's secrets have a section ``[auth]``, as ``st.login`` wants it.

    Raises:
        FileNotFoundError: if there are secrets, but they cannot be read.
    """
    try:
        return "auth" in st.secrets
    except FileNotFoundError:
        # A file that is there but damaged must not open the pages to everybody.
        if any(Path(file).exists() for file in st.get_option("secrets.files")):
            raise
        return False


def require_sign_in() -> None:
    """Stop the page for visitors who are not signed in; does nothing where it is not configured."""
    try:
        if not is_configured():
            return
    except FileNotFoundError:
        st.error(
            "The server's secrets.toml cannot be read, so nobody can sign in. Mend or remove it, "
            "and start the server again.",
            icon=":material/lock:",
        )
        st.stop()
    if not st.user.get("is_logged_in"):
        st.title("CAN-Graph Fusion")
        st.info("Sign in to see captures, runs and results.", icon=":material/lock:")
        st.button("Sign in", type="primary", icon=":material/login:", on_click=st.login)
        st.stop()
    with st.container(horizontal=True, horizontal_alignment="right", key="signed-in"):
        st.caption(f"Signed in as {st.user.get('email') or st.user.get('name') or 'a user'}")
        st.button(
            "Sign out",
            key="sign-out",
            icon=":material/logout:",
            on_click=st.logout,
            type="tertiary",
        )
