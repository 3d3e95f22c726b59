"""A download killed at any moment loses nothing that was committed, and goes on to the same content."""

import os
import random
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import fastkd
from fastkd.market import CandleStore
from fastkd.market.emulator import BybitEmulator

SCRIPT = Path(__file__).with_name("download_until_killed.py")
KILLS = int(os.environ.get("FASTKD_KILLS", "20"))


def start(path, url, workers):
    environment = os.environ | {"PYTHONPATH": str(Path(fastkd.__file__).parents[1])}
    command = [sys.executable, str(SCRIPT), str(path), url, str(workers)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
def test_killed_downloads_lose_nothing_and_resume(candles, other_candles, tmp_path):
    rng = random.Random(0)
    served = {"BTCUSDT": candles, "ETHUSDT": other_candles}
    with BybitEmulator([candles, other_candles[:1500]], max_per_5s=10**9) as exchange:
        exchange.now_ms = int(other_candles.start_ms[-1]) + 310_000  # both have candles up to now
        whole = {symbol: one[:1500] for symbol, one in served.items()}
        n_killed = round_ = 0
        while n_killed < KILLS:
            path = tmp_path / f"{round_}.db"
            round_ += 1
            finished = False
            while not finished and n_killed < KILLS:
                finished = _run_and_kill(path, exchange.base_url, rng, whole)
                n_killed += not finished
            with start(path, exchange.base_url, 1) as process:
                assert process.stdout.read().endswith("done\n")
            with CandleStore(path) as store:
                for symbol, one in whole.items():
                    assert store.read(symbol, "5m") == one
                    assert store.gaps(symbol, "5m") == ()


def _run_and_kill(path, url, rng, whole):
    """True if the download was done first. Checks what the store holds afterwards."""
    lines = []
    with start(path, url, rng.choice([1, 3])) as process:
        for _ in range(rng.randint(1, 12)):  # let it commit some pages
            lines.append(process.stdout.readline())
        killer = threading.Timer(rng.uniform(0, 0.02), process.kill)  # then strike at a moment of chance
        killer.start()
        lines += process.stdout.readlines()
        killer.join()
    with CandleStore(path) as store:
        for symbol, one in whole.items():
            held = store.read(symbol, "5m")
            assert held == one[: len(held)]  # whole candles, with the right values, and without holes
            committed = [int(line.split()[1]) for line in lines if line.startswith(symbol) and line.endswith("\n")]
            assert not committed or held.start_ms[-1] >= max(committed)
        assert store._connection().execute("PRAGMA integrity_check").fetchone() == ("ok",)
    return lines[-1:] == ["done\n"]
