"""The word-parallel number readers against Python's own."""

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from core.captures import text
from core.captures.text import PAD, Text


def fields(values: list[bytes]) -> tuple[Text, np.ndarray, np.ndarray]:
    """Fields one after another without anything between: neighbours must not leak in."""
    ends = PAD + np.cumsum([len(v) for v in values])
    return Text.of(b"".join(values)), ends - [len(v) for v in values], ends


@given(st.lists(st.tuples(st.integers(0, 10**11), st.text("0123456789", max_size=10)), min_size=1))
@example([(9007199254, "740992"), (9007199254, "740993"), (9999999999, "99999999")])
def test_decimals_are_rounded_like_python_rounds_them(numbers: list[tuple[int, str]]) -> None:
    values = [f"{whole}.{fraction}" for whole, fraction in numbers]
    buffer, start, end = fields([v.encode() for v in values])
    point = start + [v.index(".") for v in values]
    got, good = text.read_decimal(buffer, start, point, end)
    for i, value in enumerate(values):
        if good[i]:
            assert got[i] == float(value)
        whole, _, fraction = value.partition(".")
        usual = len(whole) <= 10 and 1 <= len(fraction) <= 8 and int(whole + fraction) <= 2**53
        assert good[i] == usual


@given(st.lists(st.binary(min_size=1, max_size=11), min_size=1))
def test_only_digits_are_decimals(values: list[bytes]) -> None:
    buffer, start, end = fields([b"1." + v for v in values])
    _, good = text.read_decimal(buffer, start, start + 1, end)
    expected = [len(v) <= 8 and all(c in b"0123456789" for c in v) for v in values]
    assert good.tolist() == expected


@given(st.lists(st.text("0123456789abcdefABCDEF", max_size=10), min_size=1))
def test_hex_numbers(values: list[str]) -> None:
    buffer, start, end = fields([v.encode() for v in values])
    got, good = text.read_hex_number(buffer, start, end)
    assert good.tolist() == [1 <= len(v) <= 8 for v in values]
    for i in np.flatnonzero(good):
        assert got[i] == int(values[i], 16)


def test_every_byte_that_is_no_hex_digit_is_told() -> None:
    values = [bytes([c]) for c in range(256)]
    buffer, start, end = fields(values)
    _, good = text.read_hex_number(buffer, start, end)
    assert np.flatnonzero(good).tolist() == sorted(b"0123456789abcdefABCDEF")
    buffer, start, end = fields([v + b"0" for v in values])
    _, _, good = text.read_hex_bytes(buffer, start, end)
    assert np.flatnonzero(good).tolist() == sorted(b"0123456789abcdefABCDEF")


@given(st.lists(st.binary(max_size=70), min_size=1), st.sampled_from([8, 64]))
def test_hex_payloads(values: list[bytes], width: int) -> None:
    buffer, start, end = fields([v.hex().encode() for v in values])
    payload, length, good = text.read_hex_bytes(buffer, start, end, width)
    assert payload.shape == (len(values), width)
    assert good.tolist() == [len(v) <= width for v in values]
    for i in np.flatnonzero(good):
        assert payload[i].tobytes() == values[i].ljust(width, b"\0")
        assert length[i] == len(values[i])


def test_literals_must_match_whole() -> None:
    values = [b"False", b"Falsy", b"Fals", b"False1", b"false", b""]
    assert text.equals(*fields(values), "False").tolist() == [True] + [False] * 5


@given(st.lists(st.text("ab,.;\r", max_size=12), min_size=1))
def test_lines_are_cut_like_python_splits_them(lines: list[str]) -> None:
    cut = text.split_lines(("\n".join(lines) + "\n").encode(), ",.")
    assert len(cut) == len(lines)
    for i, line in enumerate(lines):
        parts = line.removesuffix("\r").replace(".", ",").split(",")
        assert cut.line(i) == line.removesuffix("\r")
        assert cut.count[i] == len(parts) - 1
        assert cut.count_of(".")[i] == line.count(".")
        for k, part in enumerate(parts):
            start, end = cut.field(k)
            assert cut.text.characters[start[i] : end[i]].tobytes().decode() == part
        for k, delimiter in enumerate(c for c in line if c in ",."):
            assert cut.delimiter(k, delimiter)[i]
        assert not cut.delimiter(len(parts) - 1, ",")[i]
