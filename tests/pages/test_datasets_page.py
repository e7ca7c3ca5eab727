"""The data set page: catalogue, duplicates, quarantine, imports, removal."""

import errno
import threading

import pytest
from streamlit.testing.v1 import AppTest

from core.captures import catalogue, dataset_import
from core.captures.catalogue import build_catalogue
from core.captures.dataset_import import SOURCE
from core.jobs.registry import registry
from core.jobs.run import ACTIVE
from tests.pages.test_pages import said

HEAD = "timestamp,arbitration_id,data_field,attack\n"
FREE, ATTACKED, TEST = "train_01_attack_free", "train_02_with_attacks", "test_01_known"


def write(folder, key, text):
    path = folder / key
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def lines(start, attacked=()):
    return "".join(f"{start + i},123,00{i:02X},{int(i in attacked)}\n" for i in range(40))


@pytest.fixture
def source(tmp_path):
    """A folder to import; one of its test captures is also trained on."""
    write(tmp_path / "source", f"{FREE}/clean.csv", HEAD + lines(1))
    write(tmp_path / "source", f"{ATTACKED}/DoS-a.csv", HEAD + lines(2, range(10, 20)))
    write(tmp_path / "source", f"{TEST}/odd.csv", HEAD + lines(3) + "x,1,00,0\n")
    write(tmp_path / "source", f"{TEST}/leak.csv", HEAD + lines(1))
    return tmp_path / "source"


@pytest.fixture
def mine(workspace, source):
    """The same as a data set that the catalogue knows."""
    dataset_import.import_dataset(source, "mine", workspace)
    build_catalogue("mine", workspace)
    return workspace


def press(app, label):
    button = next(b for b in app.button if b.label == label)
    return button.click().run()


def open_dialog():
    from dashboard.catalogue_view import confirm_remove
    from dashboard.context import jobs

    confirm_remove("mine", jobs())


def fill_import(app, source, name, drop=False):
    for label, value in (("Folder on this machine", str(source)), ("Name in the workspace", name)):
        next(t for t in app.text_input if t.label == label).set_value(value)
    box = next(c for c in app.checkbox if c.label.startswith("Leave out"))
    if drop:
        box.check()
    return press(app, "Import")


def finish(workspace):
    jobs = registry(workspace)
    return jobs.wait(jobs.runs()[0].id, 120)


def captures_shown(app):
    return next(f.value for f in app.dataframe if "Bus load" in f.value.columns)


def test_the_catalogue_is_shown_with_duplicates_first(open_page, mine):
    app = open_page("datasets", dataset="mine")
    assert not app.exception
    shown = captures_shown(app).set_index("Capture")
    assert list(shown["Frames"]) == [40, 40, 40, 40]
    assert shown.loc["DoS-a.csv", "Attacked"] == 0.25
    assert shown.loc["odd.csv", "Skipped"] == 1
    assert "a test capture is also trained on" in app.error[0].value


def test_an_attacked_capture_is_looked_at_first_and_another_can_be_chosen(open_page, mine):
    app = open_page("datasets", dataset="mine")
    assert app.selectbox(key="capture").value == f"{ATTACKED}/DoS-a.csv"
    assert "DoS: 10 frames between" in said(app)
    app.selectbox(key="capture").select(f"{TEST}/odd.csv").run()
    assert "no frame of it is an attack" in said(app)
    assert "Lines set aside" in said(app)
    reasons = next(f.value for f in app.dataframe if "First at line" in f.value.columns)
    assert list(reasons["First at line"]) == [42]
    assert not app.exception


def test_nothing_is_read_before_it_is_asked_for(open_page, workspace, source, monkeypatch):
    dataset_import.import_dataset(source, "mine", workspace)
    with monkeypatch.context() as patched:
        patched.setattr(catalogue, "read_chunks", lambda path: pytest.fail("a page read it"))
        patched.setattr(catalogue, "content_hash", lambda path: pytest.fail("a page hashed it"))
        app = open_page("datasets", dataset="mine")
    assert "has not looked at these captures yet" in said(app)
    assert captures_shown(app)["Frames"].isna().all()
    app.button(key="catalogue").click().run()
    assert finish(workspace).state == "done"
    app.run()
    assert list(captures_shown(app)["Frames"]) == [40, 40, 40, 40]
    assert "has not looked" not in said(app)


def test_a_capture_that_cannot_be_used_says_why(open_page, mine):
    (mine.datasets / "mine" / TEST / "junk.csv").write_bytes(bytes(range(256)))
    build_catalogue("mine", mine)
    app = open_page("datasets", dataset="mine")
    app.selectbox(key="capture").select(f"{TEST}/junk.csv").run()
    assert "This capture cannot be used" in said(app)
    assert not app.exception


def test_an_import_is_catalogued_and_shown_without_what_it_left_out(open_page, workspace, source):
    app = fill_import(open_page("datasets"), source, "Messung 3", drop=True)
    assert finish(workspace).state == "done"
    app = open_page("datasets", dataset="Messung 3")
    assert list(captures_shown(app)["Frames"]) == [40, 40, 40]
    assert any("leak.csv left out" in text.value for text in app.text)
    assert not app.error


def test_an_import_at_work_is_shown_and_can_be_cancelled(open_page, workspace, source, monkeypatch):
    at_work, copy_file = threading.Event(), dataset_import._copy_file

    def slow(*args):
        copy_file(*args)
        at_work.set()
        while True:
            args[-1].check()

    monkeypatch.setattr(dataset_import, "_copy_file", slow)
    app = fill_import(open_page("datasets"), source, "mine")
    assert at_work.wait(10)
    app.run()
    assert "Import of a data set · mine" in said(app)
    (run,) = registry(workspace).runs()
    assert run.state in ACTIVE
    app.button(key=f"stop-{run.id}").click().run()
    assert finish(workspace).state == "stopped"
    assert list(workspace.datasets.iterdir()) == []
    assert not app.run().exception


def test_a_failed_import_says_why(open_page, workspace, source, monkeypatch):
    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(dataset_import, "_copy_file", full)
    app = fill_import(open_page("datasets"), source, "mine")
    assert finish(workspace).state == "failed"
    assert "No space left on device" in app.run().error[0].value


def test_a_name_that_cannot_be_is_an_error_in_words(open_page, workspace, source):
    app = fill_import(open_page("datasets"), source, "../mine")
    assert "not a data set name" in app.error[0].value
    assert registry(workspace).runs() == []


@pytest.mark.parametrize("choice", ["resume", "discard"])
def test_an_import_that_was_cut_off_can_go_on_or_be_thrown_away(
    open_page, workspace, source, choice
):
    rest = workspace.datasets / ".importing-mine"
    write(rest, SOURCE, f'{{"source": "{source}", "drop_duplicates": true}}')
    app = open_page("datasets")
    assert "was cut off" in said(app)
    app.button(key=f"{choice}-mine").click().run()
    if choice == "resume":
        assert finish(workspace).state == "done"
        assert not (workspace.datasets / "mine" / TEST / "leak.csv").exists()
    assert not rest.exists()
    assert "was cut off" not in said(app.run())


def test_removing_asks_says_what_hangs_on_it_and_removes(open_page, mine):
    cache = mine.prediction_cache("mine", "commissioned")
    cache.parent.mkdir(parents=True)
    cache.write_bytes(b"junk")
    app = open_page("datasets", dataset="mine")
    app.button(key="remove-dataset").click().run()
    assert "prediction cache, commissioned" in said(app)
    assert (mine.datasets / "mine").exists()
    # AppTest closes a dialog at the next click, so that the rest is tried on the dialog alone.
    app = AppTest.from_function(open_dialog, default_timeout=20).run()
    app.checkbox(key="remove-made").check().run()
    app.button(key="confirm-remove").click().run()
    assert not app.exception
    assert not (mine.datasets / "mine").exists()
    assert not cache.exists()
    app = open_page("datasets")
    assert not app.exception
    assert "mine" not in app.selectbox(key="dataset").options


def test_a_leaking_test_capture_can_be_left_out_and_taken_back(open_page, mine):
    app = open_page("datasets", dataset="mine")
    app.button(key="leave-out").click().run()
    assert list(captures_shown(app)["Capture"]) == ["clean.csv", "DoS-a.csv", "odd.csv"]
    assert not app.error
    assert "Left out" in said(app)
    app.button(key="take-back").click().run()
    assert len(captures_shown(app)) == 4
    assert "a test capture is also trained on" in app.error[0].value


def test_an_upload_is_checked_said_and_catalogued(open_page, workspace):
    app = open_page("datasets")
    next(t for t in app.text_input if t.label == "Data set name").set_value("mine")
    good = (HEAD + lines(1)).encode()
    app.file_uploader[0].set_value([("a.csv", good, "text/csv"), ("b.csv", b"\0\1", "text/csv")])
    press(app, "Add")
    assert not app.exception
    assert "Added a.csv: 40 frames" in app.success[0].value.replace("\\", "")
    assert "b.csv" in app.error[0].value.replace("\\", "")
    assert finish(workspace).kind == "catalogue"
    app = open_page("datasets", dataset="mine")
    assert list(captures_shown(app)["Frames"]) == [40]


def test_an_empty_data_set_says_so(open_page, workspace):
    (workspace.datasets / "bare").mkdir(parents=True)
    app = open_page("datasets", dataset="bare")
    assert "No captures in this data set" in said(app)
    assert not app.exception
    assert not app.error


def test_a_window_is_drawn_as_its_graph_beginning_with_the_first_attacked_one(open_page, workspace):
    # Two hundred clean frames, then an attack: window 2 of 100 frames holds its first one.
    text = HEAD + "".join(f"{i / 100},{i % 3 + 1:03X},00,{int(i >= 230)}\n" for i in range(400))
    write(workspace.datasets, f"mine/{FREE}/clean.csv", HEAD + lines(1))
    write(workspace.datasets, f"mine/{TEST}/flood-1.csv", text)
    build_catalogue("mine", workspace)
    app = open_page("datasets", dataset="mine", draw="true")
    assert not app.exception
    assert app.number_input(key=f"place-{TEST}/flood-1.csv").value == 2
    assert "3 ids and 3 different transitions; attacked: 0x001, 0x002, 0x003" in said(app)
    app.number_input(key=f"place-{TEST}/flood-1.csv").set_value(0).run()
    assert "none of them attacked" in said(app)


def test_without_known_vehicles_the_page_says_how_they_come_about(open_page, mine):
    app = open_page("datasets", dataset="mine")
    assert "No vehicle is known yet" in said(app)
    (mine.profiles).mkdir()
    (mine.profiles / "junk.safetensors").write_bytes(b"junk")
    app = open_page("datasets", dataset="mine")
    assert not app.exception
    assert "not a vehicle's profile" in said(app).replace("\\", "")


def test_disk_use_is_told_and_removing_asks_first(open_page, mine):
    (mine.graphs / "x").mkdir(parents=True)
    app = open_page("datasets", dataset="mine")
    assert "The workspace takes" in said(app)
    app.button(key="free-Graphs").click().run()
    assert "Nothing has been removed yet" in said(app).replace("\n", " ")
    assert mine.graphs.is_dir()


def test_a_cache_deleted_while_the_page_shows_it_is_no_error(open_page, mine):
    cache = mine.prediction_cache("mine", "commissioned")
    cache.parent.mkdir(parents=True)
    cache.write_bytes(b"junk")
    app = open_page("datasets", dataset="mine")
    cache.unlink()
    app.run()
    assert not app.exception
    assert "not built yet" in said(app)
