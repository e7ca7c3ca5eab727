"""A rare kind of attack that only the VGAE sees gets weights of its own."""

import numpy as np
import pytest

from core.cache.predictions import FusionPredictionCache
from core.config import override
from core.errors import ScoresError
from core.fusion.multi_head import train_multi_head
from core.fusion.reward import fuse
from tests.core.fusion.caches import small_config
from tests.core.fusion.test_training import train_on


def one_common_one_rare(windows: int = 8000, seed: int = 0) -> FusionPredictionCache:
    """Flooding, often, which the GAT sees; spoofing, in one window of a hundred, which only the
    VGAE does, and which one clean window in twenty looks like to it."""
    rng = np.random.default_rng(seed)
    kind = rng.choice(["", "flooding", "spoofing"], windows, p=[0.69, 0.3, 0.01])
    odd = (kind == "spoofing") | ((kind == "") & (rng.random(windows) < 0.05))
    anomaly = np.where(odd, rng.uniform(0.6, 0.9, windows), rng.uniform(0.0, 0.4, windows))
    seen = kind == "flooding"
    gat_prob = np.where(seen, rng.uniform(0.7, 1.0, windows), rng.uniform(0.0, 0.3, windows))
    return FusionPredictionCache.from_arrays(anomaly, gat_prob, kind != "", attack=kind)


def recalls(alpha: np.ndarray, cache: FusionPredictionCache) -> dict[str, float]:
    alarm = fuse(cache.anomaly_score, cache.gat_prob, alpha) >= 0.5
    names = np.array(cache.attack_names, object)[cache.attack]
    return {name: float(alarm[names == name].mean()) for name in {*names}}


def test_every_kind_of_attack_is_found_where_one_agent_gives_up_the_rare_one() -> None:
    fresh = one_common_one_rare(seed=9)
    config = small_config()
    single, _ = train_on(one_common_one_rare(), config)
    heads = train_multi_head(one_common_one_rare(), config.agent, updates=500)
    assert heads.attacks == ("flooding", "spoofing")
    one, many = (recalls(agent.alpha_of(fresh), fresh) for agent in (single.agent, heads))
    assert one["spoofing"] < 0.2
    assert many["spoofing"] > 0.9
    assert min(one["flooding"], many["flooding"]) > 0.97
    # The price: clean windows that look like the rare kind.
    assert one[""] < 0.01 < many[""] < 0.08
    spoofing = heads.alpha_of_attack("spoofing", fresh)
    assert recalls(spoofing, fresh)["spoofing"] > 0.9


def test_with_one_kind_it_is_as_good_as_one_agent() -> None:
    cache = one_common_one_rare(3000)
    names = np.array(cache.attack_names, object)[cache.attack]
    common = cache.select(names != "spoofing")
    heads = train_multi_head(common, small_config().agent, updates=300)
    found = recalls(heads.alpha_of(common), common)
    assert found["flooding"] > 0.97
    assert found[""] < 0.01


def test_what_cannot_be_learnt_is_refused() -> None:
    cache = one_common_one_rare(300)
    cfg = override(small_config(), {}).agent
    for label in (0, 1):
        with pytest.raises(ScoresError, match="attacked and clean windows"):
            train_multi_head(cache.select(cache.label == label), cfg)
    heads = train_multi_head(cache, cfg, updates=1)
    with pytest.raises(ScoresError, match="no head for 'replay'; there are flooding, spoofing"):
        heads.alpha_of_attack("replay", cache)
