"""What came from strangers: arrays are read in place or refused, and nothing is allocated or unpickled for them."""

import contextlib
import io
import pickle
import tracemalloc

import numpy as np
import pytest

pytest.importorskip("flwr", reason="needs the extra fastkd[flower]")

from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from npy_bytes import npy

from fastkd.federated import Assignment, Broadcast, Failure, Predictions, Update
from fastkd.flower import pack, view
from fastkd.flower.records import answer_of, as_answer, as_question, question_of

DTYPES = st.sampled_from([np.float32, np.float64, np.int64, np.uint8, np.float16, np.bool_, ">f4", ">i8"])


def raw(data, stype="numpy.ndarray"):
    return Array("float32", (16,), stype, data)


@given(DTYPES.flatmap(lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, min_side=0, max_side=4))))
def test_pack_is_read_by_flower_and_view_reads_what_flower_writes(values):
    np.testing.assert_array_equal(pack(values).numpy(), values)
    for array in (pack(values), Array(np.asarray(values)), Array(np.asfortranarray(values))):
        found = view(array)
        np.testing.assert_array_equal(found, values)
        assert found.dtype == np.asarray(values).dtype.newbyteorder("=")
        assert found.flags.aligned
        assert not found.flags.writeable


def test_pack_writes_the_bytes_of_numpy():
    values = np.arange(12, dtype=np.float32).reshape(3, 4)
    file = io.BytesIO()
    np.save(file, values)
    assert pack(values).data == file.getvalue()


def test_a_view_is_the_message_itself():
    array = pack(np.zeros(10**6, np.float32))
    tracemalloc.start()
    found = view(array)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert np.shares_memory(found, np.frombuffer(array.data, np.uint8))
    assert peak < 20_000


def test_bytes_at_any_address_are_read():
    values = np.arange(5, dtype=np.float64)
    for shift in range(1, 8):  # a shorter header puts the numbers where float64 may not lie
        text = b"{'descr': '<f8', 'fortran_order': False, 'shape': (5,), }" + b" " * shift + b"\n"
        found = view(raw(b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + values.tobytes()))
        np.testing.assert_array_equal(found, values)
        assert found.flags.aligned


def pickled():
    file = io.BytesIO()
    np.save(file, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    return file.getvalue()


@pytest.mark.parametrize(
    ("array", "match"),
    [
        (raw(npy("(100000000000000,)")), "not the size of the 64 bytes"),
        (raw(npy("(2000000000,)")), "not the size"),
        (raw(npy("(999999999999999999, 999999999999999999)")), "not the size"),
        (raw(npy("(15,)")), "not the size"),
        (raw(npy("(-16,)")), "header"),
        (raw(npy("(16,)", "|O")), "header"),
        (raw(npy("(16,)", "<U1")), "array of numbers"),
        (raw(npy("(8,)", "<c8")), "array of numbers"),
        (raw(npy("(8,)", "<M8")), "array of numbers"),
        (raw(npy("(16,)", "<f3")), "data type|dtype"),
        (raw(npy("(16,)", version=3)), "version 3"),
        (raw(npy("(16,)", order="__import__('os')")), "header"),
        (raw(npy("(" + "1, " * 40 + ")", body=b"xxxx")), "header says|.npy header"),
        (raw(b"\x93NUMPY\x01\x00\xff\xff" + b"(" * 65535), "header of 65535 bytes"),
        (raw(b"\x93NUMPY\x01\x00\x70\x00{"), "header of 112 bytes"),
        (raw(pickled()), "header"),
        (raw(pickle.dumps([1])), "no .npy"),
        (raw(b""), "no .npy"),
        (raw(npy("(16,)"), "torch.Tensor"), "numpy.ndarray"),
    ],
)
def test_what_is_no_array_of_numbers_is_refused(array, match):
    with pytest.raises((ValueError, TypeError), match=match):
        view(array)


@given(st.binary(max_size=200), st.booleans())
def test_random_bytes_are_read_or_refused(data, framed):
    array = raw(b"\x93NUMPY\x01\x00" + data if framed else data)
    with contextlib.suppress(ValueError):
        assert view(array).nbytes <= len(data)


def same(a, b):
    for name in a.__dataclass_fields__:
        x, y = getattr(a, name), getattr(b, name)
        np.testing.assert_array_equal(x, y) if isinstance(x, np.ndarray) else None
        assert isinstance(x, np.ndarray) or x == y or (x != x and y != y), name


@pytest.mark.parametrize(
    "message",
    [
        Broadcast(3, np.arange(4.0)),
        Assignment(0, "probability", 3.0, None, None, None, 2.0),
        Assignment(
            7, "logit", 3.0, np.arange(2, dtype=np.int32), np.ones((2, 3)), np.arange(3, dtype=np.int32), 2.0, True
        ),
    ],
)
def test_questions_arrive_as_they_were(message):
    found, plain, arrays = question_of(
        as_question(message, {"number": 4, "classes": [0, 1]}, {"public_X": np.ones((2, 2))})
    )
    same(message, found)
    assert plain == {"number": 4, "classes": [0, 1]}
    assert set(arrays) == {"public_X"}


def test_answers_arrive_as_they_were():
    task = Assignment(3, "logit", 3.0, None, None, None, 2.0)
    values = np.ones((2, 3), np.float32)
    same(
        Predictions("a", 3, None, values, 9),
        answer_of(as_answer(Predictions("x", 3, None, values, 9)), Predictions, "a", task),
    )
    update = Update("x", 3, values[0], 0.5)
    same(Update("a", 3, values[0], 0.5), answer_of(as_answer(update), Update, "a", None))
    same(Failure("a", 3, "why"), answer_of(as_answer(Failure("x", 3, "why")), Update, "a", None))


def test_questions_and_answers_of_strangers_are_refused():
    good = {"fastkd": ConfigRecord({"round": 1, "count": 1}), "arrays": ArrayRecord({"values": pack(np.zeros(3))})}
    bad = [
        {},
        {"fastkd": MetricRecord({"round": 1})},
        {**good, "more": ConfigRecord()},
        {**good, "fastkd": ConfigRecord({"round": 1.0})},
        {**good, "fastkd": ConfigRecord({"round": True})},
        {**good, "arrays": ArrayRecord({"other": pack(np.zeros(3))})},
        {**good, "arrays": ArrayRecord({"values": pack(np.zeros(3)), "more": pack(np.zeros(3))})},
        {"fastkd": good["fastkd"]},
    ]
    assert answer_of(RecordDict(good), Predictions, "a", Assignment(1, "logit", 1.0, None, None, None, 1.0)).round == 1
    for records in bad:
        with pytest.raises(ValueError, match=r"."):
            answer_of(RecordDict(records), Predictions, "a", None)
    for records in (
        good,
        {"fastkd": ConfigRecord({"message": "Broadcast", "round": 1})},
        {"fastkd": ConfigRecord({"message": "os"})},
    ):
        with pytest.raises(ValueError, match="not a question"):
            question_of(RecordDict(records))


def test_only_numbers_travel():
    with pytest.raises(TypeError, match="only arrays of numbers"):
        pack(np.array(["a"]))
