"""State_dicts and layers of several types: floats are aggregated, whole numbers pass by, types stay."""

import numpy as np
import pytest

from fastkd import aggregate

RULES = {
    "mean": {},
    "median": {},
    "trimmed_mean": {"f": 2},
    "krum": {"f": 2},
    "multi_krum": {"f": 2, "m": 3},
    "bulyan": {"f": 2},
    "geometric_median": {},
    "centered_clipping": {"radius": 4.0},
}


def state_dicts(n=11):
    rng = np.random.default_rng(0)
    return [
        {
            "w": rng.standard_normal((3, 4)).astype(np.float32),
            "seen": np.array(100 + i),
            "b": rng.standard_normal(5).astype(np.float32),
            "mask": np.arange(3) == i % 3,
        }
        for i in range(n)
    ]


@pytest.mark.parametrize("rule", RULES)
def test_dicts_come_back_as_dicts(rule):
    given = state_dicts()
    shuffled = [dict(reversed(d.items())) if i else d for i, d in enumerate(given)]
    result = getattr(aggregate, rule)(shuffled, **RULES[rule])
    assert list(result) == ["w", "seen", "b", "mask"]
    layers = getattr(aggregate, rule)([[d["w"], d["b"]] for d in given], **RULES[rule])
    for key, layer in zip(("w", "b"), layers):
        assert result[key].tobytes() == layer.tobytes()
        assert result[key].dtype == np.float32
        assert result[key].shape == given[0][key].shape
    assert result["seen"] == 100
    assert result["mask"].tolist() == [True, False, False]
    assert not np.may_share_memory(result["mask"], given[0]["mask"])
    given[0]["w"][1, 1] = np.nan
    assert getattr(aggregate, rule)(given, **RULES[rule])["seen"] == 101  # of the first usable client


def test_dicts_into_out_and_around_a_center():
    given = state_dicts()
    expected = aggregate.median(given)
    out = {key: np.zeros_like(a) for key, a in given[0].items()}
    assert aggregate.median(given, out=out) is out
    for key, a in expected.items():
        np.testing.assert_array_equal(out[key], a)
    for bad in ({**out, "w": np.zeros((4, 3), np.float32)}, {"w": out["w"]}, [out["w"], out["b"]]):
        with pytest.raises(ValueError, match="out must be"):
            aggregate.median(given, out=bad)
    near = aggregate.centered_clipping(given, 1e-6, center=expected)
    np.testing.assert_allclose(near["w"], expected["w"], atol=1e-5)


def test_dicts_that_do_not_match_name_the_client_and_the_entry():
    def changed(i, **entries):
        given = state_dicts()
        given[i] = {**given[i], **entries}
        return given

    lacking = state_dicts()
    del lacking[3]["b"]
    with pytest.raises(ValueError, match="client 0 sent an entry 'b', which client 3 did not"):
        aggregate.median(lacking)
    with pytest.raises(ValueError, match="client 2 sent an entry 'x'"):
        aggregate.median(changed(2, x=np.ones(2)))
    with pytest.raises(ValueError, match="client 4, entry 'w', has shape"):
        aggregate.median(changed(4, w=np.ones(2, np.float32)))
    with pytest.raises(ValueError, match="client 4, entry 'seen', has shape"):
        aggregate.median(changed(4, seen=np.arange(2)))
    with pytest.raises(ValueError, match="entry 'seen': clients 0 and 5"):
        aggregate.median(changed(5, seen=np.array(1.5)))
    with pytest.raises(TypeError, match="client 1, entry 'w'"):
        aggregate.median(changed(1, w=np.array("text")))
    with pytest.raises(ValueError, match="no entry holds floating-point"):
        aggregate.median([{"a": np.arange(2)}] * 3)
    with pytest.raises(ValueError, match="client 1 sent a list of layers; client 0 sent a dict"):
        aggregate.median([state_dicts()[0], [np.ones(2)]])


def test_one_layer_of_whole_numbers_leaves_the_others_alone():
    X = np.random.default_rng(0).standard_normal((9, 12)).astype(np.float32)
    layers = [[x[:8], np.array([i, i]), x[8:].astype(float)] for i, x in enumerate(X)]
    result = aggregate.median(layers)
    assert [a.dtype for a in result] == [np.float32, np.float64, np.float64]
    assert result[0].tobytes() == aggregate.median(X[:, :8]).tobytes()
    np.testing.assert_array_equal(result[1], [4.0, 4.0])
    chosen = aggregate.krum(layers, 2, return_info=True)[1].selected
    whole = np.hstack([X, np.repeat(np.arange(9.0), 2).reshape(9, 2)])
    assert chosen.tolist() == aggregate.krum(whole, 2, return_info=True)[1].selected.tolist()


@pytest.mark.parametrize("arrays", [[np.ones(2), np.ones(3)], np.ones(4)])
def test_pairs_as_flower_has_them_say_what_to_do(arrays):
    with pytest.raises(TypeError, match=r"client 0 sent a pair.*for arrays, _ in results"):
        aggregate.median([(arrays, 10), (arrays, 20)])
