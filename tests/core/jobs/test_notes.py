import pytest

from core.errors import InputError, StorageError
from core.jobs.notes import FILE, Notes, parse_tags, read_notes, write_notes


def test_what_is_written_is_read(tmp_path):
    notes = Notes(("baseline", "größer"), "<script>alert(1)</script>\n2nd line")
    write_notes(tmp_path, notes)
    assert read_notes(tmp_path) == notes


@pytest.mark.parametrize("content", [None, "", "{", "[]", '{"tags": 3}', '{"note": "x"}'])
def test_without_a_sound_file_there_are_no_notes(tmp_path, content):
    if content is not None:
        (tmp_path / FILE).write_text(content)
    assert read_notes(tmp_path) == Notes()


def test_tags_are_parted_by_commas_and_each_kept_once():
    assert parse_tags(" a,  b c ,a,, ") == ("a", "b c")
    assert parse_tags("") == ()


@pytest.mark.parametrize("text", ["x" * 41, ",".join(map(str, range(21)))])
def test_too_much_is_refused(text):
    with pytest.raises(InputError, match="expected at most"):
        parse_tags(text)


def test_a_long_note_and_a_run_that_is_gone_are_refused(tmp_path):
    with pytest.raises(InputError, match="at most 2000"):
        write_notes(tmp_path, Notes(note="x" * 2001))
    with pytest.raises(StorageError, match="is gone"):
        write_notes(tmp_path / "gone", Notes())
    assert not (tmp_path / "gone").exists()
