import pytest

from dashboard import formatting


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "–"), (0.4, "0 s"), (59, "59 s"), (125, "2 min 05 s"), (11_520, "3 h 12 min")],
)
def test_durations(seconds, text):
    assert formatting.duration(seconds) == text


@pytest.mark.parametrize(
    ("passed", "text"),
    [(5, "just now"), (300, "5 min ago"), (86_400, "1 day ago"), (200_000, "2 days ago")],
)
def test_ages(passed, text):
    assert formatting.ago(1e9, now=1e9 + passed) == text


def test_undefined_is_a_dash_and_zero_is_not():
    assert formatting.number(None) == "–"
    assert formatting.number(0.0) == "0.000"


def test_sizes():
    assert formatting.size(840) == "840 B"
    assert formatting.size(12_300) == "12.3 kB"
    assert formatting.size(2_000_000_000) == "2.0 GB"


def test_scenarios_read_as_words():
    name = "test_02_unknown_vehicle_known_attack"
    assert formatting.scenario(name) == "02 unknown vehicle, known attack"
    assert formatting.scenario("validation") == "validation"


def test_names_cannot_leave_their_code_span():
    assert formatting.code("a`[x](y)`") == "`a'[x](y)'`"


def test_markup_in_what_is_told_stays_text():
    assert formatting.plain("_a_ $x$ :red[b]") == r"\_a\_ \$x\$ \:red\[b\]"
    assert formatting.plain("Zürich 3 – 東京") == "Zürich 3 – 東京"
