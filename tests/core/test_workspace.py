"""Names that may become folders."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import DatasetError
from core.workspace import typed_name, valid_name


@given(st.text(max_size=300) | st.text("./\\~\0 a\u202e", max_size=6))
def test_a_name_is_refused_in_words_or_is_one_folder_right_here(name: str) -> None:
    try:
        assert valid_name(name) == name
    except DatasetError:
        return
    assert len(os.fsencode(name)) <= 200
    path = Path("/workspace") / name
    assert path.parent == Path("/workspace")
    assert path.name == name
    assert os.path.normpath(path) == str(path)


@pytest.mark.parametrize(
    "name", ["demo", "Übung 3", "車両データ", "می\u200cخودرو", "🚗", "-rf", "a.b"]
)
def test_what_a_person_types_is_a_name(name: str) -> None:
    assert valid_name(name) == name


def test_what_is_typed_around_a_name_and_how_umlauts_are_made_does_not_count() -> None:
    assert typed_name("  Mu\u0308nchen 2\n") == "M\u00fcnchen 2"
    with pytest.raises(DatasetError, match=r"not a data set name: 'a: b'.* and any of / .* : "):
        typed_name(" a: b")


@pytest.mark.parametrize(
    "name",
    ["", " ", "..", ".a", "a/b", "a\\b", "C:", "a\n", "a\x7f", "a\u2028b", "\ud800", "a\u202e"],
)
def test_what_hides_or_leads_elsewhere_is_none(name: str) -> None:
    with pytest.raises(DatasetError, match="not a data set name"):
        valid_name(name)
