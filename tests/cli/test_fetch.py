"""The command fetch against a local exchange: download, interrupt, resume, report, export."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import fastkd
from fastkd import cli
from fastkd.market import Candle, Candles, CandleStore, synthetic_market
from fastkd.market.emulator import BybitEmulator, Fault

START = 1_704_067_200_000
STEP = 300_000


@pytest.fixture(scope="module")
def candles():
    market = synthetic_market(4000, random_state=0)
    return Candles(*(getattr(market, name) for name in Candle._fields), symbol="BTCUSDT", interval="5m")


def arguments(exchange, store, *more):
    fixed = ["fetch", "BTCUSDT", "5m", "--base-url", exchange.base_url, "--store", store, "--per-second", 1000]
    return [str(a) for a in [*fixed, *more]]


def test_fetch_stores_reports_and_exports(candles, tmp_path, capsys):
    store = tmp_path / "c.db"
    with BybitEmulator(candles) as exchange:
        more = ["--start", "2024-01-01", "--export", tmp_path / "c.csv.gz"]
        assert cli.main(arguments(exchange, store, *more)) == 0
        out, err = capsys.readouterr()
        assert out.splitlines() == [
            "BTCUSDT 5m: 4,000 candles fetched; 4,000 stored, 2024-01-01 00:00 .. 2024-01-14 21:15 UTC; no gaps",
            f"4,000 candles written to {tmp_path / 'c.csv.gz'}",
        ]
        assert err.splitlines()[-1].startswith("BTCUSDT 5m  100 %  up to 2024-01-14 21:15 UTC, 4,000 candles")
        assert Candles.read_csv(tmp_path / "c.csv.gz", symbol="BTCUSDT") == candles
        assert cli.main(arguments(exchange, store, "--quiet", "--export", tmp_path / "c.parquet")) == 0
        assert capsys.readouterr() == ("", "")
        assert Candles.read_parquet(tmp_path / "c.parquet") == candles


def test_gaps_are_reported(candles, tmp_path, capsys):
    two = Candles(*(getattr(candles, n)[[0, 1, 5]] for n in Candle._fields), symbol="BTCUSDT", interval="5m")
    with BybitEmulator(two) as exchange:
        assert cli.main(arguments(exchange, tmp_path / "c.db", "--start", "2024-01-01")) == 0
    assert "1 gap(s): 3 from 2024-01-01 00:10" in capsys.readouterr().out


def test_ctrl_c_keeps_what_came_and_the_same_command_goes_on(candles, tmp_path):
    """The exchange interrupts the program at its third request, as a finger on Ctrl-C would."""
    processes = []

    def interrupt(request):
        if request.number == 3 and not processes[0].poll():
            processes[0].send_signal(signal.SIGINT)
            return Fault.SLOW
        return None

    environment = os.environ | {"PYTHONPATH": str(Path(fastkd.__file__).parents[1])}
    with BybitEmulator(candles, faults=interrupt) as exchange:
        command = [sys.executable, "-m", "fastkd", *arguments(exchange, tmp_path / "c.db", "--workers", 1)]
        command += ["--start", "2024-01-01"]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "env": environment}
        processes.append(subprocess.Popen(command, **pipes))
        _, err = processes[0].communicate(timeout=60)
        assert processes[0].returncode == 130
        expected = (
            "2,000 candles of BTCUSDT 5m are stored, up to 2024-01-07 22:35 UTC. The same command goes on from there."
        )
        assert err.splitlines()[-1] == f"fastkd: interrupted; {expected}"
        with CandleStore(tmp_path / "c.db") as store:
            assert store.read("BTCUSDT", "5m") == candles[:2000]
        again = subprocess.run(command, **{**pipes, "timeout": 60})
        assert again.returncode == 0
        assert again.stdout.startswith("BTCUSDT 5m: 2,001 candles fetched; 4,000 stored")
        with CandleStore(tmp_path / "c.db") as store:
            assert store.read("BTCUSDT", "5m") == candles


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--start", "soon"], "ISO 8601"),
        ([], "needs a start"),
        (["--start", "2024-01-02", "--end", "2024-01-01"], "start must not be later"),
        (["--start", "2024-01-01", "--export", "c.xlsx"], "must end in .csv"),
        (["--start", "2024-01-01", "--per-second", "0"], "per_second"),
    ],
)
def test_mistakes_are_one_line(candles, tmp_path, capsys, more, words):
    with BybitEmulator(candles) as exchange:
        assert cli.main(arguments(exchange, tmp_path / "c.db", *more)) == 2
        assert exchange.requests == []
    _, err = capsys.readouterr()
    assert err.startswith("fastkd: error: ")
    assert err.count("\n") == 1
    assert words in err


def test_errors_of_the_exchange_are_one_line(candles, tmp_path, capsys):
    with BybitEmulator(candles, faults=lambda request: Fault.FORBIDDEN) as exchange:
        assert cli.main(arguments(exchange, tmp_path / "c.db", "--start", "2024-01-01")) == 2
    assert "HTTP 403" in capsys.readouterr().err
    with BybitEmulator(candles) as exchange:
        line = [
            a.replace("BTCUSDT", "NOPEUSDT") for a in arguments(exchange, tmp_path / "c.db", "--start", "2024-01-01")
        ]
        assert cli.main(line) == 2
    assert "does not know NOPEUSDT" in capsys.readouterr().err
