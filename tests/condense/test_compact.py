"""Condensed sets as bytes: everything comes back, and nothing harmful comes in."""

import json
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastkd.condense import Condensed
from fastkd.condense.compact import MAGIC, MOST_HEAD


def a_set(y, dtype=np.float32):
    rng = np.random.default_rng(0)
    soft = rng.dirichlet(np.ones(3), len(y)).astype(dtype)
    weight = rng.random(len(y)).astype(dtype)
    X = rng.normal(size=(len(y), 2)).astype(dtype)
    return Condensed(X, np.asarray(y), {"loss": [0.5]}, soft, weight, {"method": "kip", "seen": [1, 2]})


def forged(about, arrays=b"", deflate=zlib.compress):
    head = deflate(about if isinstance(about, bytes) else json.dumps(about).encode())
    rest = struct.pack("<I", len(head)) + head + arrays
    return MAGIC + struct.pack("<I", zlib.crc32(rest)) + rest


HONEST = {"arrays": [["X", "<f4", [1, 1]], ["y", "|u1", [1]]], "labels": ["<i8", [7]], "history": {}, "info": {}}
BYTES = np.float32(1.5).tobytes() + b"\0"


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "y",
    [
        [0, 1, 1, -5],
        np.array([3, 200, 3], np.uint8),
        ["up", "down", "ümläut"],
        [b"a", b"bc", b"a"],
        [True, False, True],
        [0.25, -1.5, 0.0],
        [[0.25, 1.0], [2.0, 3.0], [0.0, 0.0]],
        np.arange(400),
    ],
)
def test_everything_comes_back(y, dtype):
    small = a_set(y, dtype)
    back = Condensed.from_bytes(small.to_bytes())
    for name in ("X", "y", "soft_labels", "sample_weight"):
        one, other = getattr(small, name), getattr(back, name)
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)
    assert (back.history, back.info) == (small.history, small.info)
    back.X[0] = 0  # a copy that may be written to


def test_what_is_not_there_stays_away():
    back = Condensed.from_bytes(Condensed(np.zeros((2, 1)), np.array([0, 1])).to_bytes())
    assert back.soft_labels is None
    assert back.sample_weight is None


def test_the_forger_can_write_an_honest_set():
    back = Condensed.from_bytes(forged(HONEST, BYTES))
    assert back.X.tolist() == [[1.5]]
    assert back.y.tolist() == [7]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 255))
def test_a_changed_byte_is_noticed(at, value):
    data = bytearray(a_set([0, 1, 2]).to_bytes())
    at %= len(data)
    if data[at] != value:
        data[at] = value
        with pytest.raises(ValueError, match="the upload"):
            Condensed.from_bytes(data, source="the upload")


@pytest.mark.parametrize(
    ("about", "arrays", "message"),
    [
        (HONEST, BYTES[:-1], "beyond the last byte"),
        (HONEST, BYTES + b"x", "1 bytes follow"),
        (HONEST, BYTES[:-1] + b"\1", "out of bounds"),
        (HONEST, np.float32(np.nan).tobytes() + b"\0", "not finite"),
        (HONEST | {"arrays": [["X", "<f4", [1 << 40, 1 << 40]], ["y", "|u1", [1]]]}, BYTES, "beyond the last byte"),
        (HONEST | {"arrays": [["X", "<f4", [-1, 1]], ["y", "|u1", [1]]]}, BYTES, "has the shape"),
        (HONEST | {"arrays": [["X", "<f4", [True, 1]], ["y", "|u1", [1]]]}, BYTES, "has the shape"),
        (HONEST | {"arrays": [["X", "|O", [1, 1]], ["y", "|u1", [1]]]}, BYTES, "plain numbers"),
        (HONEST | {"arrays": [["X", "<f4", [1, 1]], ["X", "<f4", [1, 1]]]}, BYTES, "there twice"),
        (HONEST | {"arrays": [["X", "<f4", [1, 1]], ["__class__", "|u1", [1]]]}, BYTES, "is unknown"),
        (HONEST | {"arrays": [["X", "<f4", [1, 1]]], "labels": None}, BYTES[:4], "holds no condensed data set"),
        (HONEST | {"arrays": [["X", "<f4", [1, 1]], ["y", "|u1", [0]]]}, BYTES[:4], "do not agree"),
        (HONEST | {"labels": ["<i8", [[1], [2, 3]]]}, BYTES, "damaged or of a later version"),
        (HONEST | {"labels": ["|O", [7]]}, BYTES, "plain numbers"),
        (HONEST | {"history": []}, BYTES, "must be objects"),
        ({"arrays": []}, b"", "labels"),
        (b"[" * 100_000, b"", "damaged or of a later version"),
        (b"not json", b"", "damaged or of a later version"),
    ],
)
def test_forged_bytes_are_refused(about, arrays, message):
    with pytest.raises(ValueError, match=message):
        Condensed.from_bytes(forged(about, arrays))


def test_a_head_that_swells_is_not_unpacked():
    with pytest.raises(ValueError, match="longer than"):
        Condensed.from_bytes(forged(b" " * (MOST_HEAD + 1)))
    with pytest.raises(ValueError, match="cut off"):
        Condensed.from_bytes(forged(b"{}", deflate=lambda head: zlib.compress(head)[:-1]))


@pytest.mark.parametrize("data", [b"", b"FKDCOND", b"PK" + bytes(100)])
def test_other_bytes_are_named(data):
    with pytest.raises(ValueError, match="is no compact condensed set"):
        Condensed.from_bytes(data)


def test_few_bytes_do_not_become_many():
    def of(n, labels):
        about = {"arrays": [["X", "<f4", [n, 1]], ["y", "|u1", [n]]], "labels": labels, "history": {}, "info": {}}
        return forged(about, bytes(5 * n))

    back = Condensed.from_bytes(of(5000, ["<U9999", ["a"]]))
    assert back.y.nbytes == 4 * 5000
    for labels in (["<U9999", ["a" * 9999]], ["<U9999", ["a"] * 257], ["<U1", []], ["<U1", "a"], ["<U1", [1]]):
        with pytest.raises(ValueError, match="labels"):
            Condensed.from_bytes(of(5000, labels))
    with pytest.raises(ValueError, match="rows without bytes"):
        Condensed.from_bytes(forged(HONEST | {"arrays": [["X", "<f4", [1 << 40, 0]]]}))


def test_long_text_labels_come_back():
    y = np.array(["a" * 300, "b"] * 10_000)
    back = Condensed.from_bytes(Condensed(np.zeros((20_000, 1), np.float32), y).to_bytes())
    np.testing.assert_array_equal(back.y, y)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -1.0])
@pytest.mark.parametrize("name", ["soft_labels", "sample_weight"])
def test_weights_and_soft_labels_that_are_none_are_refused(tmp_path, name, bad):
    small = a_set([0, 1, 2])
    getattr(small, name)[0] = bad
    with pytest.raises(ValueError, match=f"{name} must be finite"):
        Condensed.from_bytes(small.to_bytes())
    small.save(tmp_path / "a.npz")
    with pytest.raises(ValueError, match=f"{name} must be finite"):
        Condensed.load(tmp_path / "a.npz")
