import pytest

from dashboard.headline import gain_here, gap_closed, headline


def scenario(attack_windows=10, **f1):
    methods = {name: {"f1": value, "tp": round(100 * value), "tn": 0} for name, value in f1.items()}
    return {"windows": 100, "attack_windows": attack_windows, "methods": methods}


def results(*scenarios):
    return {"scenarios": {f"test_{i}": s for i, s in enumerate(scenarios)}}


@pytest.mark.parametrize(("fusion", "verdict"), [(0.99, "helps"), (0.9, "equal"), (0.85, "hurts")])
def test_fusion_is_compared_with_the_better_single_model(fusion, verdict):
    said = headline(results(scenario(vgae=0.9, gat=0.8, fusion=fusion, oracle=1.0)))
    assert said.verdict == verdict
    assert "0.900 for VGAE alone" in said.text


def test_a_simpler_rule_that_does_as_well_is_named():
    said = headline(results(scenario(vgae=0.9, gat=0.8, fixed_alpha=0.99, fusion=0.99)))
    assert "simpler rule" in said.text
    assert "Best fixed alpha" in said.text


def test_scenarios_without_attacks_do_not_count():
    clean = scenario(attack_windows=0, vgae=0.0, gat=0.0, fusion=0.0, oracle=0.0)
    assert headline(results(clean)).verdict == "unknown"
    attacked = scenario(vgae=0.9, gat=0.8, fusion=0.95, oracle=1.0)
    assert headline(results(attacked, clean)) == headline(results(attacked))


def test_gap_closed_counts_right_windows():
    attacked = scenario(vgae=0.8, gat=0.6, fusion=0.9, oracle=1.0)
    said = gap_closed(results(attacked))
    assert "fusion gets 10 wrong, the better single model 20, the oracle 0" in said
    assert "50 % of the gap closed" in said


def test_no_gap_and_a_loss_are_said_plainly():
    perfect = scenario(vgae=1.0, gat=0.6, fusion=1.0, oracle=1.0)
    assert "no gap" in gap_closed(results(perfect))
    worse = scenario(vgae=0.8, gat=0.6, fusion=0.7, oracle=1.0)
    assert "fusion gets 30 wrong, the better single model 20" in gap_closed(results(worse))
    assert "closed" not in gap_closed(results(worse))


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ([0.01, 0.09], "it helps"),
        ([-0.09, -0.01], "it does not help"),
        ([-0.01, 0.02], "no clear difference"),
    ],
)
def test_what_fusion_adds_in_a_scenario_is_told_with_how_sure_that_is(limits, words):
    gain = {"best_single": "vgae", "f1": sum(limits) / 2, "f1_interval": limits}
    assert words in gain_here({"fusion_gain": gain})


def test_nothing_is_told_where_nothing_is_known():
    assert gain_here({}) == ""
    assert gain_here({"fusion_gain": {"best_single": None, "f1": None}}) == ""
