"""Run by test_store_killed.py: download, and print each commit. Arguments: store, URL, requests at the same time."""

import sys

from fastkd.market import BybitClient, CandleStore


def main(path, url, workers):
    client = BybitClient(url, per_second=1e6)
    with CandleStore(path) as store:
        for symbol in ("BTCUSDT", "ETHUSDT"):
            store.download(
                client,
                symbol,
                "5m",
                "2024-01-01",
                limit=60,
                workers=int(workers),
                progress=lambda at: print(at.symbol, at.done_ms, flush=True),
            )
    print("done", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
