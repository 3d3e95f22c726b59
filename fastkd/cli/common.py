"""What the commands share: where candles come from, where results go, progress."""

from __future__ import annotations

import json as json_
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from fastkd._files import write_whole
from fastkd.cli import STDIN
from fastkd.cli.outputs import check_outputs, need

if TYPE_CHECKING:
    from fastkd.market import Candles

__all__ = ["Files", "Json", "Output", "Source", "Widths", "need", "read_all", "say_steps", "shown", "write_json"]

Files = Annotated[list[Path], Parameter(allow_leading_hyphen=False, negative="")]
Json = Path | None
Output = Annotated[Path, Parameter(show_default=lambda path: "-" if str(path) == STDIN else str(path))]


def _widths(type_: Any, tokens: Any) -> tuple[int, ...]:
    text = ",".join(token.value for token in tokens)
    try:
        widths = tuple(int(part) for part in text.split(",")) if text else ()
    except ValueError:
        widths = (0,)
    if any(width < 1 for width in widths):
        raise ValueError(f"expected widths of hidden layers such as 32,16; got {text!r}")
    return widths


Widths = Annotated[tuple[int, ...], Parameter(converter=_widths, n_tokens=1, accepts_keys=False, negative="")]


@Parameter(name="*")
@dataclass(frozen=True)
class Source:
    """Which candles.

    Parameters
    ----------
    symbol
        Of a store: which market; of a file: what it holds, kept with the model.
    interval
        Of a store: which candles, such as 1h; of a file: checked.
    category
        Of a store: linear, spot or inverse.
    start
        First candle, ISO time in UTC.
    end
        Last candle, ISO time in UTC.
    """

    symbol: str | None = None
    interval: str | None = None
    category: str | None = None
    start: str | None = None
    end: str | None = None


def read_all(files: Iterable[Path], source: Source) -> list[Candles]:
    """The candles of each file or store; "-" is standard input."""
    from fastkd.market import read_candles

    found = []
    for path in files:
        candles = read_candles(path, symbol=source.symbol, interval=source.interval, category=source.category)
        candles = candles.between(source.start, source.end)
        if not len(candles):
            raise ValueError(f"{path} has no candles between --start and --end")
        found.append(candles)
    return found


def shown(path: Path | None) -> str:
    return "standard input" if str(path) == STDIN else str(path)


def describe(candles: Candles, path: Path) -> str:
    """One line: which candles, how many, when, and how many are missing."""
    from fastkd.market.times import utc_text

    gaps = candles.check().gaps
    holes = f"{len(gaps)} gap(s), {sum(gap.missing for gap in gaps):,} missing" if gaps else "no gaps"
    name = f"{candles.symbol or shown(path)} {candles.interval}"
    span = f"{utc_text(int(candles.start_ms[0]))} .. {utc_text(int(candles.start_ms[-1]))} UTC"
    return f"{name}: {len(candles):,} candles\n  {span}, {holes}"


def check(outputs: Mapping[str, Path | None], inputs: Mapping[str, Iterable[Path | None]]) -> None:
    """Outputs can be written and overwrite no input; "-" is standard output, for one of them."""
    if len(piped := [flag for flag, path in outputs.items() if path is not None and str(path) == STDIN]) > 1:
        raise ValueError(f"{' and '.join(piped)} would both write to standard output; name a file for one of them")
    named = {flag: path for flag, path in outputs.items() if path is not None and str(path) != STDIN}
    check_outputs(named, {what: [f for f in files if f is None or str(f) != STDIN] for what, files in inputs.items()})


def check_suffix(flag: str, path: Path, suffixes: tuple[str, ...], why: str) -> None:
    """Raise if a file's name promises another format; names without a suffix promise none."""
    if path.suffix and path.suffix.lower() not in suffixes:
        raise ValueError(f"{flag} {path}: {why}; name it *{' or *'.join(suffixes)}")


def write_json(path: Path | None, figures: Any) -> None:
    """Figures as JSON, to standard output if the path is "-"."""
    if path is None:
        return
    text = json_.dumps(figures, indent=1, default=_plain) + "\n"
    write_text(path, text)


def write_text(path: Path, text: str) -> None:
    if str(path) == STDIN:
        sys.stdout.write(text)
    else:
        write_whole(path, text.encode())


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    return str(value)


def say_steps(quiet: bool) -> Callable[[str], None]:
    """A function that shows on stderr what is being done: on a terminal in one line that changes."""
    terminal = sys.stderr.isatty()

    def say(text: str) -> None:
        if not quiet:
            begin, end = ("\r\x1b[K", "") if terminal else ("", "\n")
            print(f"{begin}fastkd: {text}" if text or not terminal else begin, end=end, file=sys.stderr, flush=True)

    return say
