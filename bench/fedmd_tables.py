"""Write the results of bench/fedmd.py into docs/federation.md and docs/privacy.md.

They go between ``<!-- fedmd:NAME -->`` and ``<!-- /fedmd:NAME -->``; NAME is what titles of tables begin with.
Run: ``python -m bench.fedmd_tables [--check]``.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

MARK = re.compile(r"(<!-- fedmd:([^>]+?) -->\n)(.*?)(<!-- /fedmd:\2 -->)", re.DOTALL)
DOCUMENTS = ("docs/federation.md", "docs/privacy.md")


def tables(cases: list[dict[str, Any]], name: str) -> str:
    """A table for each title that begins with the name: rows down, figures across."""
    blocks = []
    for title in dict.fromkeys(case["table"] for case in cases if case["table"].startswith(name)):
        rows = [case for case in cases if case["table"] == title]
        columns = list(dict.fromkeys(what for row in rows for what in row["figures"]))
        lines = [f"| {title} | " + " | ".join(columns) + " |", "|---" * (1 + len(columns)) + "|"]
        for row in rows:
            cells = [f"{row['figures'][what]:.3f}" if what in row["figures"] else "" for what in columns]
            lines.append(f"| {row['row']} | " + " | ".join(cells) + " |")
        blocks.append("\n".join(lines) + "\n")
    return "\n".join(blocks)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--results", type=Path, default=Path("bench/results/fedmd.json"))
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a document is out of date")
    options = parser.parse_args()
    cases = json.loads(options.results.read_text())["cases"]
    stale = []
    for path in map(Path, DOCUMENTS):
        text = path.read_text(encoding="utf-8")
        new = MARK.sub(lambda m: m[1] + tables(cases, m[2]) + m[4], text)
        if new != text:
            stale.append(str(path))
            if not options.check:
                path.write_text(new, encoding="utf-8")
    if stale:
        print(f"{'out of date' if options.check else 'written'}: {', '.join(stale)}")
    return 1 if stale and options.check else 0


if __name__ == "__main__":
    sys.exit(main())
