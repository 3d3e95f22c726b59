"""The tables of the benchmarks: aims belong to rows, and a ratio is to a peer that does the same work."""

import json
from pathlib import Path

import pytest

from bench import aggregate
from bench.tables import AIMS, best_peer, throughput_table

RESULTS = Path(__file__).parents[1] / "bench" / "results"


@pytest.mark.parametrize("name", ["fedmd_speed", "condense"])
def test_every_row_has_an_aim(name):
    rows = {case["row"] for case in json.loads((RESULTS / f"{name}.json").read_text())["cases"]}
    assert rows <= set(AIMS)


def test_the_aims_of_aggregation_name_rows_that_are_measured():
    rows = {f"{rule} {shape} {kind}" for rule in aggregate.RULES for shape in map(str, aggregate.SHAPES)
            for kind in ("float32", "float64")}  # fmt: skip
    named = {row for row in AIMS if row.endswith(("float32", "float64"))}
    assert len(named) == 15
    assert named <= rows


def contender(name, seconds, **notes):
    return {"name": name, "ours": name == "fastkd", "seconds": seconds, "errors": {}, "notes": notes}


def test_the_best_peer_does_the_same_work_if_one_does():
    other = contender("quick", 2.0, **{"own definition, off by": 0.1})
    ours, same = contender("fastkd", 1.0), contender("slow", 16.0)
    assert best_peer([ours, other, same])["name"] == "slow"
    assert best_peer([ours, other])["name"] == "quick"
    assert best_peer([ours]) is None
    case = {"row": "median (32, 10000) float32", "compare": True, "contenders": [ours, other, same]}
    assert "| slow 16.0 s | 16x | 15x |" in throughput_table([case])[-1]
