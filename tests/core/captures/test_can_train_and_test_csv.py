"""The can-train-and-test CSV: the grammar by hand, and the reader against a plain one."""

import csv
import math
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.captures import text
from core.captures.formats import can_train_and_test_csv as form
from core.captures.frame_table import EXTENDED
from core.captures.readers import READERS
from core.captures.rows import BadLine
from core.errors import CaptureError
from tests.core.captures.capture_strategies import (
    Frame,
    damaged,
    frames,
    frames_of,
    table_of,
    write_text,
)

read = READERS[form.NAME].read
HEADER = "timestamp,arbitration_id,data_field,attack"
HEX = "0123456789abcdefABCDEF"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("1513921661.083812,2C0,1400,0", (1513921661.083812, 0x2C0, 0, 2, b"\x14\x00", 0)),
        ("1513921661.08,000,,1", (1513921661.08, 0, 0, 0, b"", 1)),
        ("0.5,7ff,00112233445566ff,0", (0.5, 0x7FF, 0, 8, bytes.fromhex("00112233445566ff"), 0)),
        ("0.5,18FEF100,AB,0", (0.5, 0x18FEF100, EXTENDED, 1, b"\xab", 0)),
        ("0.5,0x2c0,AB,0", (0.5, 0x2C0, 0, 1, b"\xab", 0)),
        ("9e-06,2C0,AB,0.0", (9e-06, 0x2C0, 0, 1, b"\xab", 0)),
        ("7,2C0,AB,1.0", (7.0, 0x2C0, 0, 1, b"\xab", 1)),
        ('"7.5", 2C0 ,"AB",True', (7.5, 0x2C0, 0, 1, b"\xab", 1)),
    ],
)
def test_a_line_is_read_as_the_format_says(tmp_path: Path, line: str, expected: Frame) -> None:
    assert frames_of(read(write_text(tmp_path / "x.csv", [HEADER, line]))) == [expected]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("1.5,2C0,140,0", "payload has an odd number of digits"),
        ("1.5,2C0,11223344556677889,0", "payload is longer than 8 bytes"),
        ("1.5,2C0,1x,0", "payload is not hexadecimal"),
        ("1.5,,11,0", "id is not hexadecimal"),
        ("1.5,2.00E+06,11,0", "id was turned into a number by a spreadsheet"),
        ("1.5,123456789,11,0", "id is not hexadecimal"),
        ("1.5,20000000,11,0", "id is beyond 29 bits"),
        (",2C0,11,0", "timestamp is missing"),
        ("noon,2C0,11,0", "timestamp is not a number"),
        ("1.5,2C0,11,2", "label is not understood"),
        ("1.5,2C0,11,", "label is missing"),
        ("1.5,2C0,11", "not 4 columns"),
        ("1.5,2C0,11,0,0", "not 4 columns"),
        ("1.5,2C0.11,0", "not 4 columns"),
    ],
)
def test_a_bad_line_is_set_aside_with_its_reason(tmp_path: Path, line: str, reason: str) -> None:
    lines = [HEADER, "1.0,2C0,11,0", line, "", "2.0,2C0,22,1"]
    table = read(write_text(tmp_path / "x.csv", lines))
    assert table.timestamp.tolist() == [1.0, 2.0]
    assert table.skipped.counts == {reason: 1}
    assert table.skipped.examples == ((3, reason, line),)


def test_only_the_first_few_bad_lines_of_a_reason_are_kept(tmp_path: Path) -> None:
    lines = [HEADER, "1.0,2C0,11,0", *["x,2C0,11,0"] * 9, "1.0,2C0,1,0", "y" * 500]
    table = read(write_text(tmp_path / "x.csv", lines))
    assert table.skipped.counts == {
        "timestamp is not a number": 9,
        "payload has an odd number of digits": 1,
        "not 4 columns": 1,
    }
    assert [number for number, _, _ in table.skipped.examples] == [3, 4, 5, 12, 13]
    assert len(table.skipped.examples[-1][2]) == 120


@pytest.mark.parametrize(
    "header",
    [
        "attack,data_field,timestamp,arbitration_id",
        "\ufeffArbitration_ID, Timestamp ,DATA_FIELD,Label",
        '"timestamp","arbitration_id","data_field","attack"',
    ],
)
def test_columns_may_stand_in_any_order(tmp_path: Path, header: str) -> None:
    values = {"timestamp": "1.25", "arbitration_id": "2C0", "data_field": "AB"}
    values |= {"attack": "1", "label": "1"}
    line = ",".join(values[name] for name in form.header_names(header.encode()))
    table = read(write_text(tmp_path / "x.csv", [header, line]))
    assert frames_of(table) == [(1.25, 0x2C0, 0, 1, b"\xab", 1)]


def test_further_columns_are_left_alone(tmp_path: Path) -> None:
    lines = [HEADER + ",source", "1.25,2C0,AB,1,a.csv", "1.5,2C0,AB,0,b"]
    table = read(write_text(tmp_path / "x.csv", lines))
    assert table.label.tolist() == [1, 0]


def test_without_attack_column_the_capture_is_unlabelled(tmp_path: Path) -> None:
    lines = ["timestamp,arbitration_id,data_field", "1.25,2C0,AB"]
    table = read(write_text(tmp_path / "x.csv", lines))
    assert not table.labelled
    assert table.warnings == ("no attack column: the capture is unlabelled",)


@pytest.mark.parametrize(
    ("header", "missing"),
    [
        ("timestamp,arbitration_id,attack", "missing columns data_field;"),
        ("time,id,data,label", "missing columns timestamp, arbitration_id, data_field;"),
    ],
)
def test_missing_columns_are_named(tmp_path: Path, header: str, missing: str) -> None:
    path = write_text(tmp_path / "x.csv", [header, "1,2,3,0"])
    with pytest.raises(CaptureError, match=missing) as error:
        read(path)
    assert str(path) in str(error.value)
    assert header in str(error.value)


def test_a_header_alone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match="no frames in it"):
        read(write_text(tmp_path / "x.csv", [HEADER]))


@pytest.mark.parametrize(
    ("name", "attack"),
    [("DoS-kia.csv", "DoS"), ("valid_systematic-3.csv", "valid_systematic"), ("rpm.v2.csv", "rpm")],
)
def test_the_attack_is_named_by_the_file(tmp_path: Path, name: str, attack: str) -> None:
    table = read(write_text(tmp_path / name, [HEADER, "1.5,2C0,11,0", "1.6,2C0,11,1"]))
    assert table.attack_names == (attack,)
    assert table.attack.tolist() == [-1, 0]


@given(st.lists(frames(kinds=False), min_size=1, max_size=30))
def test_what_is_written_is_read_back(scratch: Path, generated: list[Frame]) -> None:
    path = scratch / "attack.csv"
    form.write(table_of(generated), path)
    table = read(path)
    assert frames_of(table) == generated
    assert table.labelled
    assert table.skipped.counts == {}


@st.composite
def plain_lines(draw: st.DrawFn) -> str:
    """Mostly well-formed lines."""
    time = draw(st.sampled_from(["0.000001", "1513921661.083812", "12.5", "7", "-3.25", "9e-06"]))
    digits = draw(st.text(HEX, min_size=3, max_size=3) | st.text(HEX, min_size=1, max_size=9))
    data = draw(st.binary(max_size=8).map(bytes.hex) | st.text(HEX, max_size=18))
    label = draw(st.sampled_from(["0", "1", "0", "1", "1.0", "true", "2", ""]))
    return f"{time},{digits},{data},{label}"


def is_finite_decimal(value: str) -> bool:
    """Whether Python reads it as a finite number, and it holds nothing that only Python accepts."""
    try:
        return math.isfinite(float(value)) and set(value) <= set("0123456789.+-eE")
    except ValueError:
        return False


def reference(line: str) -> Frame | None:
    """One line, with the csv module and one regular expression per field; None if no frame."""
    fields = [f.strip(" \t") for f in next(csv.reader([line], quoting=csv.QUOTE_NONE))]
    if len(fields) != 4:
        return None
    time, digits, data, label = fields
    labels = {"0": 0, "0.0": 0, "false": 0, "1": 1, "1.0": 1, "true": 1, "r": 0, "t": 1}
    if not is_finite_decimal(time):
        return None
    if not re.match(r"^(0[xX])?[0-9A-Fa-f]{1,8}$", digits) or int(digits, 16) > 0x1FFFFFFF:
        return None
    if not re.match(r"^([0-9A-Fa-f]{2}){0,8}$", data) or label.lower() not in labels:
        return None
    number = int(digits, 16)
    payload = bytes.fromhex(data)
    flags = EXTENDED * (number > 0x7FF)
    return float(time), number, flags, len(payload), payload, labels[label.lower()]


DAMAGE = ",. \t0aFgxRT_-+e\x00é"


@given(st.lists(damaged(plain_lines(), DAMAGE), min_size=1, max_size=25))
def test_damaged_files_read_as_a_plain_parser_would(scratch: Path, lines: list[str]) -> None:
    path = write_text(scratch / "damaged.csv", [HEADER, *lines])
    expected = [reference(line) for line in lines if line.strip()]
    if not any(expected):
        with pytest.raises(CaptureError):
            read(path)
        return
    table = read(path)
    assert frames_of(table) == [frame for frame in expected if frame]
    assert sum(table.skipped.counts.values()) == expected.count(None)


@given(
    st.lists(damaged(plain_lines(), DAMAGE), min_size=1, max_size=25),
    st.permutations(form.header_names(HEADER.encode())),
)
def test_the_fast_way_never_contradicts_the_exact_one(lines: list[str], names: list[str]) -> None:
    layout = form._Layout(Path("x.csv"), names)
    order = [HEADER.split(",").index(name) for name in names]
    fields = [line.split(",") for line in lines]
    moved = [",".join(f[i] for i in order) if len(f) == 4 else ",".join(f) for f in fields]
    cut = text.split_lines(("\n".join(moved) + "\n").encode(), ",.")
    columns, good = layout.fast(cut)
    for i in np.flatnonzero(good):
        try:
            row = layout.exact(cut.line(i))
        except BadLine as bad:
            pytest.fail(f"{cut.line(i)!r} was taken, but: {bad}")
        assert row.timestamp == columns.timestamp[i]
        assert (row.arbitration_id, row.flags) == (columns.arbitration_id[i], columns.flags[i])
        assert row.payload == columns.payload[i, : columns.length[i]].tobytes()
        assert (row.length, row.label) == (columns.length[i], columns.label[i])


def test_usual_lines_all_go_the_fast_way() -> None:
    block = "".join(
        f"{t},{i},{d},{label}\r\n"
        for t in ("0.5", "1513921661.083812", "1513921661.0838")
        for i in ("000", "7FF", "18FEF100")
        for d in ("", "11", "1122334455667788")
        for label in (0, 1)
    )
    layout = form._Layout(Path("x.csv"), HEADER.split(","))
    _, good = layout.fast(text.split_lines(block.encode(), ",."))
    assert good.all()
