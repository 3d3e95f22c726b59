"""Model files: what is saved comes back bit for bit, and nothing else comes in."""

import base64
import json
import os
import stat
import struct
import threading
from types import SimpleNamespace

import numpy as np
import pytest

import fastkd
from fastkd._files import write_whole
from fastkd._io import ModelFileError, load, save
from fastkd.distill import TemperatureSchedule
from fastkd.models import MLPClassifier, MLPRegressor, NotFittedError

X = np.random.default_rng(0).normal(size=(30, 4))
LABELS = {
    "int": np.arange(30) % 3,
    "negative": 2 * (np.arange(30) % 2) - 1,
    "text": np.array(["down", "flat", "up"])[np.arange(30) % 3],
    "bool": np.arange(30) % 2 == 0,
    "float": np.arange(30) % 3 * 1.0,
}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


def classifier(labels="int", **changes):
    return MLPClassifier(**({"hidden": (6, 5), "epochs": 2, "random_state": 0} | changes)).fit(X, LABELS[labels])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("labels", list(LABELS))
def test_a_classifier_comes_back_bit_for_bit(path, dtype, labels):
    model = classifier(labels, dtype=dtype, activation="gelu")
    model.scaler = SimpleNamespace(mean_=X.mean(axis=0), scale_=X.std(axis=0))
    model.save(path)
    back = load(path)
    assert type(back) is MLPClassifier
    assert back.get_params() == model.get_params()
    assert back.parameters.dtype == model.parameters.dtype
    np.testing.assert_array_equal(back.parameters, model.parameters)
    np.testing.assert_array_equal(back.classes_, model.classes_)
    assert back.classes_.dtype == model.classes_.dtype
    np.testing.assert_array_equal(back.scaler.scale_, model.scaler.scale_)
    np.testing.assert_array_equal(back.predict_proba(X), model.predict_proba(X))
    np.testing.assert_array_equal(back.predict(X), model.predict(X))


@pytest.mark.parametrize("y", [X[:, 0], X[:, :1], X[:, :2]])
def test_a_regressor_comes_back(path, y):
    model = MLPRegressor(hidden=(), epochs=1, loss="quantile", quantile=0.2, random_state=0).fit(X, y)
    save(model, path)
    back = load(str(path))
    assert back.quantile == 0.2
    assert back.predict(X).shape == y.shape
    np.testing.assert_array_equal(back.predict(X), model.predict(X))


def test_feature_names_come_back(path):
    frames = pytest.importorskip("pandas")
    frame = frames.DataFrame(X, columns=["open", "high", "low", "close"])
    MLPClassifier(epochs=1).fit(frame, LABELS["int"]).save(path)
    assert load(path).feature_names_in_.tolist() == ["open", "high", "low", "close"]


def test_settings_that_are_functions_are_left_out_and_schedules_kept(path):
    schedule = TemperatureSchedule("linear", start=4.0, end=2.0, steps=7)
    model = classifier(lr_schedule=lambda epoch: 1.0, temperature=schedule, random_state=np.random.default_rng(0))
    model.save(path)
    back = load(path)
    assert back.temperature == schedule
    assert back.lr_schedule == "constant"
    assert back.random_state is None


def test_the_network_is_that_of_the_weights_and_settings_are_for_the_next_fit(path):
    model = classifier().set_params(hidden=(3,), activation="tanh", dtype="float64")
    model.save(path)
    back = load(path)
    np.testing.assert_array_equal(back.predict_proba(X), model.predict_proba(X))
    assert (back.hidden, back.activation, back.dtype) == ((3,), "tanh", "float64")


def test_a_loaded_model_trains_on(path):
    classifier().save(path)
    back = load(path)
    before = back.gradient(X, LABELS["int"])[0]
    for _ in range(50):
        back.partial_fit(X, LABELS["int"])
    assert back.gradient(X, LABELS["int"])[0] < before


def test_other_tools_can_read_the_tensors(path):
    from safetensors.numpy import load_file

    model = classifier()
    model.save(path)
    tensors = load_file(path)
    assert {name: tensor.shape for name, tensor in tensors.items()} == {
        "layers.0.weight": (4, 6),
        "layers.0.bias": (6,),
        "layers.1.weight": (6, 5),
        "layers.1.bias": (5,),
        "layers.2.weight": (5, 3),
        "layers.2.bias": (3,),
    }
    np.testing.assert_array_equal(tensors["layers.0.weight"].ravel(), model.parameters[:24])


def test_saving_replaces_whole_files_and_leaves_none_behind(path, monkeypatch):
    classifier().save(path)
    before = path.read_bytes()
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        classifier(random_state=1).save(path)
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_what_cannot_be_saved(path):
    with pytest.raises(NotFittedError):
        save(MLPClassifier(), path)
    with pytest.raises(TypeError, match="takes the models of"):
        save({"weights": 1}, path)
    with pytest.raises(OSError):
        save(classifier(), path / "no" / "such" / "folder")
    assert not path.exists()


# -- files that must not load -----------------------------------------------------------------------------------------


def split(data):
    (length,) = struct.unpack("<Q", data[:8])
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def joined(header, body):
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


def signed(header, body):
    """The file with a right digest: whoever edits a file can compute it, so the checks behind it count."""
    from safetensors.numpy import load as load_bytes

    from fastkd._io import digest

    header["__metadata__"]["sha256"] = digest(header["__metadata__"]["fastkd"], load_bytes(joined(header, body)))
    return joined(header, body)


def edited(change):
    def edit(data):
        header, body = split(data)
        inner = json.loads(header["__metadata__"]["fastkd"])
        change(inner)
        header["__metadata__"]["fastkd"] = json.dumps(inner)
        return signed(header, body)

    return edit


def flip_a_weight(data):
    return data[:-1] + bytes([data[-1] ^ 1])


def non_finite(data):
    header, body = split(data)
    return signed(header, body[:-4] + struct.pack("<f", np.nan))


def other_metadata(**changes):
    def edit(data):
        header, body = split(data)
        header["__metadata__"] |= changes
        return joined(header, body)

    return edit


def without_metadata(data):
    header, body = split(data)
    del header["__metadata__"]
    return joined(header, body)


def transposed(data):
    header, body = split(data)
    header["layers.0.weight"]["shape"] = header["layers.0.weight"]["shape"][::-1]
    return signed(header, body)


def renamed(data):
    header, body = split(data)
    header["layers.9.weight"] = header.pop("layers.0.weight")
    return signed(header, body)


def huge_header(data):
    return struct.pack("<Q", 2**62) + data[8:]


SPOILED = {
    "empty": lambda data: b"",
    "short": lambda data: data[:5],
    "half": lambda data: data[: len(data) // 2],
    "one byte less": lambda data: data[:-1],
    "one byte more": lambda data: data + b"\0",
    "text": lambda data: b"not a model at all, but long enough to look into",
    "pickle": lambda data: b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00\x8c\x05print\x94." * 3,
    "huge header": huge_header,
    "a flipped bit": flip_a_weight,
    "NaN": non_finite,
    "no metadata": without_metadata,
    "another format": other_metadata(format="pt"),
    "another version": other_metadata(format="fastkd-model/99"),
    "no JSON": other_metadata(fastkd="{"),
    "JSON of another kind": other_metadata(fastkd="[1]"),
    "digest": other_metadata(sha256="0" * 64),
    "edited but not signed": other_metadata(fastkd=json.dumps({"class": "MLPClassifier"})),
    "transposed": transposed,
    "renamed": renamed,
    "unknown class": edited(lambda h: h.update({"class": "os.system"})),
    "class in a list": edited(lambda h: h.update({"class": ["MLPClassifier"]})),
    "unknown setting": edited(lambda h: h["hyper_parameters"].update(alpha=1.0)),
    "bad setting": edited(lambda h: h["hyper_parameters"].update(learning_rate="fast")),
    "settings gone": edited(lambda h: h.pop("hyper_parameters")),
    "other sizes": edited(lambda h: h.update(sizes=[4, 5, 6, 3])),
    "no sizes": edited(lambda h: h.update(sizes=[])),
    "vast sizes": edited(lambda h: h.update(sizes=[4, 2**40, 3])),
    "sizes of text": edited(lambda h: h.update(sizes="big")),
    "other activation": edited(lambda h: h.update(activation="sigmoid")),
    "other dtype": edited(lambda h: h.update(dtype="float64")),
    "too few classes": edited(lambda h: h["classes"].update(values=[0, 1])),
    "equal classes": edited(lambda h: h["classes"].update(values=[0, 1, 1])),
    "classes of objects": edited(lambda h: h["classes"].update(dtype="|O")),
    "feature names": edited(lambda h: h.update(feature_names=["a"])),
}


@pytest.mark.parametrize("name", list(SPOILED))
def test_spoiled_files_are_refused(path, name):
    classifier().save(path)
    path.write_bytes(SPOILED[name](path.read_bytes()))
    with pytest.raises(ModelFileError):
        load(path)


def test_the_helpers_of_this_test_change_nothing_by_themselves(path):
    model = classifier()
    model.save(path)
    path.write_bytes(edited(lambda h: None)(path.read_bytes()))
    np.testing.assert_array_equal(load(path).parameters, model.parameters)


def test_missing_files_and_folders_are_os_errors(path):
    with pytest.raises(FileNotFoundError):
        load(path)
    with pytest.raises(OSError):
        load(path.parent)


def rewritten(path, change):
    """The file with another header and a digest that fits it."""
    from safetensors.numpy import load_file, save_file

    from fastkd._io import digest

    with open(path, "rb") as file:
        (size,) = struct.unpack("<Q", file.read(8))
        metadata = json.loads(file.read(size))["__metadata__"]
    tensors = load_file(path)
    header = json.loads(metadata["fastkd"])
    change(header)
    text = json.dumps(header, sort_keys=True)
    save_file(tensors, path, metadata=metadata | {"fastkd": text, "sha256": digest(text, tensors)})


@pytest.mark.parametrize(
    "classes",
    [
        {"dtype": "<i8", "values": [2, 1, 0]},
        {"dtype": "<f8", "values": [0.0, 1.0, float("nan")]},
        {"dtype": "<U999999999", "values": ["a", "c", "b"]},
        None,
    ],
)
def test_classes_that_no_fit_gives_are_refused(path, classes):
    classifier().save(path)
    rewritten(path, lambda header: header.update(classes=classes))
    with pytest.raises(ModelFileError, match="classes"):
        load(path)


def test_a_regressor_has_no_classes(path):
    MLPRegressor((3,), epochs=1, random_state=0).fit(X, X[:, 0]).save(path)
    rewritten(path, lambda header: header.update(classes={"dtype": "<i8", "values": [0]}))
    with pytest.raises(ModelFileError, match="classes"):
        load(path)


def test_generators_are_left_out(path):
    classifier(random_state=np.random.RandomState(0)).save(path)
    assert load(path).random_state is None


OLD_FILE = (  # written by 0.1.0: a schedule, a scaler, no `scale`
    "WAUAAAAAAAB7Il9fbWV0YWRhdGFfXyI6eyJzaGEyNTYiOiI1OTQ1NTU3YTk2Y2EwYzdiZGM1MjYyOTExYzNkOTA1YjgwZmI1MTU2YWU2YzZiNj"
    "VjOGFmNzE0ZDZhMzQ2NGY5IiwiZmFzdGtkIjoie1wiYWN0aXZhdGlvblwiOiBcInJlbHVcIiwgXCJib2R5XCI6IG51bGwsIFwiY2xhc3NcIjog"
    "XCJNTFBDbGFzc2lmaWVyXCIsIFwiY2xhc3Nlc1wiOiB7XCJkdHlwZVwiOiBcIjxpOFwiLCBcInZhbHVlc1wiOiBbMCwgMV19LCBcImR0eXBlXC"
    "I6IFwiZmxvYXQzMlwiLCBcImZlYXR1cmVfbmFtZXNcIjogbnVsbCwgXCJoeXBlcl9wYXJhbWV0ZXJzXCI6IHtcImFjdGl2YXRpb25cIjogXCJy"
    "ZWx1XCIsIFwiYmF0Y2hfc2l6ZVwiOiA2NCwgXCJkdHlwZVwiOiBcImZsb2F0MzJcIiwgXCJlYXJseV9zdG9wcGluZ1wiOiBmYWxzZSwgXCJlcG"
    "9jaHNcIjogNTAsIFwiaGlkZGVuXCI6IFsyXSwgXCJrZF93ZWlnaHRcIjogMC43LCBcImwyXCI6IDAuMCwgXCJsYWJlbF9zbW9vdGhpbmdcIjog"
    "MC4wLCBcImxlYXJuaW5nX3JhdGVcIjogMC4wMDEsIFwibHJfc2NoZWR1bGVcIjogXCJjb25zdGFudFwiLCBcIm1vbWVudHVtXCI6IDAuOSwgXC"
    "JuX2luaXRcIjogMSwgXCJuX2l0ZXJfbm9fY2hhbmdlXCI6IDEwLCBcIm9wdGltaXplclwiOiBcImFkYW1cIiwgXCJwYXRpZW5jZVwiOiA1LCBc"
    "InJhbmRvbV9zdGF0ZVwiOiAwLCBcInRlbXBlcmF0dXJlXCI6IHtcIlRlbXBlcmF0dXJlU2NoZWR1bGVcIjoge1wiZGVjYXlcIjogMC45LCBcIm"
    "VuZFwiOiAxLjAsIFwia2luZFwiOiBcImxpbmVhclwiLCBcInN0YXJ0XCI6IDQuMCwgXCJzdGVwc1wiOiAzfX0sIFwidG9sXCI6IDAuMDAwMSwg"
    "XCJ2YWxpZGF0aW9uX2ZyYWN0aW9uXCI6IDAuMSwgXCJ2ZXJib3NlXCI6IGZhbHNlLCBcIndvcmtlcnNcIjogMX0sIFwic2luZ2xlX291dHB1dF"
    "wiOiBudWxsLCBcInNpemVzXCI6IFsyLCAyLCAyXX0iLCJmb3JtYXQiOiJmYXN0a2QtbW9kZWwvMSJ9LCJzY2FsZXIubWVhbiI6eyJkdHlwZSI6"
    "IkY2NCIsInNoYXBlIjpbMl0sImRhdGFfb2Zmc2V0cyI6WzAsMTZdfSwic2NhbGVyLnNjYWxlIjp7ImR0eXBlIjoiRjY0Iiwic2hhcGUiOlsyXS"
    "wiZGF0YV9vZmZzZXRzIjpbMTYsMzJdfSwibGF5ZXJzLjAuYmlhcyI6eyJkdHlwZSI6IkYzMiIsInNoYXBlIjpbMl0sImRhdGFfb2Zmc2V0cyI6"
    "WzMyLDQwXX0sImxheWVycy4wLndlaWdodCI6eyJkdHlwZSI6IkYzMiIsInNoYXBlIjpbMiwyXSwiZGF0YV9vZmZzZXRzIjpbNDAsNTZdfSwibG"
    "F5ZXJzLjEuYmlhcyI6eyJkdHlwZSI6IkYzMiIsInNoYXBlIjpbMl0sImRhdGFfb2Zmc2V0cyI6WzU2LDY0XX0sImxheWVycy4xLndlaWdodCI6"
    "eyJkdHlwZSI6IkYzMiIsInNoYXBlIjpbMiwyXSwiZGF0YV9vZmZzZXRzIjpbNjQsODBdfX0gICAAAAAAAADwPwAAAAAAAABAAAAAAAAACEAAAA"
    "AAAAAQQAAAAAAAAAAAAevyPssnTL/eiMu/w1/WvwAAAAAAAAAAMnFEP8dpgT9uvIU+B+kPPw=="
)


def test_files_of_the_first_release_load(path):
    path.write_bytes(base64.b64decode(OLD_FILE))
    model = fastkd.load(path)
    assert (model.scale, model.hidden, model.temperature(1)) == (None, (2,), 2.5)
    np.testing.assert_array_equal(model.scaler_.mean_, [1.0, 2.0])
    np.testing.assert_array_equal(model.scaler.scale_, [3.0, 4.0])
    plain = MLPClassifier((2,), random_state=0).initialize(2, 2)
    raw = np.array([[5.0, 6.0], [-2.0, 9.0]])
    np.testing.assert_allclose(model.predict_proba(raw), plain.predict_proba((raw - [1.0, 2.0]) / [3.0, 4.0]))
    model.partial_fit(raw, [0, 1])


# -- where a file is written ------------------------------------------------------------------------------------------


@pytest.mark.skipif(os.name != "posix", reason="links, pipes and modes of POSIX")
class TestWhereItIsWritten:
    def test_a_link_stays_one_and_its_target_is_written(self, tmp_path):
        target, link = tmp_path / "v1", tmp_path / "latest"
        target.write_bytes(b"old")
        link.symlink_to(target)
        write_whole(link, b"new")
        assert link.is_symlink()
        assert target.read_bytes() == b"new"
        assert sorted(p.name for p in tmp_path.iterdir()) == ["latest", "v1"]

    def test_a_dangling_link_makes_its_target(self, tmp_path):
        (tmp_path / "latest").symlink_to("v2")
        write_whole(tmp_path / "latest", b"new")
        assert (tmp_path / "v2").read_bytes() == b"new"

    def test_a_pipe_stays_one(self, tmp_path):
        pipe = tmp_path / "pipe"
        os.mkfifo(pipe)
        found = []
        reader = threading.Thread(target=lambda: found.append(pipe.read_bytes()))
        reader.start()
        classifier().save(pipe)
        reader.join(10)
        assert stat.S_ISFIFO(pipe.stat().st_mode)
        (tmp_path / "copy").write_bytes(found[0])
        assert load(tmp_path / "copy").n_parameters

    def test_a_device_stays_one(self):
        classifier().save("/dev/null")
        assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
        if os.path.exists("/dev/full"):
            with pytest.raises(OSError, match="/dev/full"):
                classifier().save("/dev/full")
            assert stat.S_ISCHR(os.stat("/dev/full").st_mode)

    def test_errors_name_the_file_that_was_asked_for(self, tmp_path):
        for bad in (tmp_path / "no folder" / "m", tmp_path):
            with pytest.raises(OSError) as error:
                write_whole(bad, b"x")
            assert error.value.filename == str(bad)
            assert "tmp" not in str(error.value).replace(str(tmp_path), "")
        assert not list(tmp_path.iterdir())
