"""The folder that starts a federation: certificates that verify, a bundle that names installed apps, apps that run."""

import json
import stat
import subprocess
import sys
import tomllib
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("flwr", reason="needs the extra fastkd[flower]")

from flwr.app import Context, RecordDict

import fastkd
from fastkd.flower import LocalGrid
from fastkd.flower.certificates import make_certificates
from fastkd.flower.project import VenueApp, write_app
from fastkd.flower.venues import client, server
from fastkd.market import synthetic_market


def test_openssl_verifies_the_server_certificate(tmp_path):
    made = make_certificates(tmp_path, ["a"], hosts=["fl.example.org", "10.0.0.7"])
    assert set(made) == {"ca.crt", "server.pem", "server.key", "a", "a.pub"}
    for name, path in made.items():
        private = name in ("server.key", "a")
        assert stat.S_IMODE(path.stat().st_mode) == (0o600 if private else 0o644)
    for host in (["-verify_hostname", "fl.example.org"], ["-verify_ip", "10.0.0.7"]):
        command = ["openssl", "verify", "-CAfile", str(made["ca.crt"]), *host, str(made["server.pem"])]
        assert "OK" in subprocess.run(command, capture_output=True, text=True, check=True).stdout
    command = [
        "openssl",
        "verify",
        "-CAfile",
        str(made["ca.crt"]),
        "-verify_hostname",
        "other.org",
        str(made["server.pem"]),
    ]
    assert subprocess.run(command, capture_output=True).returncode != 0
    with pytest.raises(FileExistsError, match=r"ca\.crt"):
        make_certificates(tmp_path, ["b"])
    for name in ("", "../a", "a/b", "server.key", ".a"):
        with pytest.raises(ValueError, match="plain file name"):
            make_certificates(tmp_path / "new", [name])
    assert not (tmp_path / "new").exists()


def test_the_bundle_has_no_code_and_names_apps_that_exist(tmp_path):
    app = VenueApp("1h", "/data/public.csv.gz", rounds=3, f=1)
    commands = write_app(tmp_path / "fed", {name: f"/data/{name}.csv" for name in "abc"}, app)
    bundle = tomllib.loads((tmp_path / "fed" / "app" / "pyproject.toml").read_text())
    flower = bundle["tool"]["flwr"]["app"]
    assert flower["config"]["rounds"] == 3
    assert flower["config"]["public-candles"] == "/data/public.csv.gz"
    assert flower["config"]["nodes"] == 3
    assert [p.name for p in (tmp_path / "fed" / "app").iterdir()] == ["pyproject.toml"]
    for place in flower["components"].values():
        module, name = place.split(":")
        assert hasattr(__import__(module, fromlist=[name]), name)
    text = (tmp_path / "fed" / "START.md").read_text()
    assert all(command in text for command in commands)
    assert len(commands) == 1 + 3 + 3 + 1
    with pytest.raises(FileExistsError, match="already"):
        write_app(tmp_path / "fed", {"a": "a.csv", "b": "b.csv"}, app)
    with pytest.raises(ValueError, match="at least two"):
        write_app(tmp_path / "other", {"a": "a.csv"}, app)
    with pytest.raises(ValueError, match="host"):
        write_app(tmp_path / "other", {"a": "a.csv", "b": "b.csv"}, app, host="x; rm -rf /")


def test_the_apps_run_as_they_are_configured(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for k, name in enumerate(("a", "b", "public")):
        synthetic_market(700, random_state=k, interval="1h").to_csv(tmp_path / f"{name}.csv")
    write_app(
        tmp_path / "fed",
        {"a": "a.csv", "b": "b.csv"},
        VenueApp("1h", "public.csv", rounds=2, public_rows=100, aggregator="mean"),
    )
    config = tomllib.loads((tmp_path / "fed" / "app" / "pyproject.toml").read_text())["tool"]["flwr"]["app"]["config"]
    nodes = {name: {"candles": f"{name}.csv", "state-dir": f"state-{name}"} for name in ("a", "b")}
    grid = LocalGrid({"a": client, "b": client}, node_config=nodes)
    for context in grid.contexts.values():
        context.run_config.update(config)
    server(grid, Context(run_id=1, node_id=0, node_config={}, state=RecordDict(), run_config=config))
    history = json.loads((tmp_path / "federation" / "history.json").read_text())
    assert [record["participants"] for record in history] == [["a", "b"]] * 2
    assert [record["failed"] for record in history] == [{}, {}]
    model = fastkd.load(tmp_path / "federation" / "student.safetensors")
    assert model.predict_proba(np.zeros((1, model.n_features_in_))).shape == (1, 3)
    assert (tmp_path / "state-a").is_dir()


def test_candles_of_another_interval_are_an_error_with_both_named(tmp_path):
    synthetic_market(300, random_state=0, interval="5m").to_csv(tmp_path / "a.csv")
    from fastkd.flower.venues import _client

    context = SimpleNamespace(
        node_config={"candles": str(tmp_path / "a.csv")},
        run_config={"interval": "1h", "features": "rich", "horizon": 1, "hidden": "4", "learning-rate": 0.01},
    )
    with pytest.raises(ValueError, match="candles of 5m; the federation is of 1h"):
        _client(context)


def test_importing_flower_switches_its_telemetry_off():
    code = (
        "import fastkd.flower, os; print(os.environ['FLWR_TELEMETRY_ENABLED'], os.environ['FLWR_DISABLE_UPDATE_CHECK'])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.split() == ["0", "1"]


def test_the_command_writes_the_app(tmp_path, monkeypatch, capsys):
    pytest.importorskip("cyclopts")
    from fastkd.cli import main

    monkeypatch.chdir(tmp_path)
    for k, name in enumerate(("a", "b", "public")):
        synthetic_market(400, random_state=k, interval="1h").to_csv(tmp_path / f"{name}.csv")
    road = ["federate", "a.csv", "b.csv", "--on", "flower", "--public", "public.csv", "--app", "fed"]
    assert main([*road, "--rounds", "7", "--aggregator", "median"]) == 0
    said = capsys.readouterr().out
    config = tomllib.loads((tmp_path / "fed" / "app" / "pyproject.toml").read_text())["tool"]["flwr"]["app"]["config"]
    assert (config["rounds"], config["aggregator"], config["interval"], config["nodes"]) == (7, "median", "1h", 2)
    assert config["public-candles"] == str(tmp_path / "public.csv")
    assert "flower-superlink" in said
    assert f'candles="{tmp_path / "a.csv"}"' in said
    for more, match in (
        (["--folds", "9"], "folds"),
        (["--attack", "a=SignFlip"], "attack"),
        (["--plot", "p.png"], "plot"),
    ):
        assert main([*road[:-1], "other", *more]) == 2
        assert match in capsys.readouterr().err
    assert main(road[:-2]) == 2
    assert "--app" in capsys.readouterr().err
    assert main(["federate", "a.csv", "b.csv", "--app", "fed"]) == 2
    assert "--on flower" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()
