"""The command `fastkd`: the parser, and how errors leave it. Each subcommand's work is in a module of its own."""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

__all__ = ["build_parser", "main"]

OK, USER_ERROR, INTERRUPTED = 0, 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code: 0; 2 for what the user can mend; 130 after Ctrl-C.

    >>> main(["demo", "--candles", "no-such-file.csv", "--quiet"])
    2
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal without a sign shows "?" and the run goes on
    options = build_parser().parse_args(arguments)
    try:
        return options.run(options)
    except KeyboardInterrupt:
        print("fastkd: interrupted", file=sys.stderr)
        return INTERRUPTED
    except (ValueError, OSError) as error:
        if options.debug:
            raise
        print(f"fastkd: error: {_one_line(error)}", file=sys.stderr)
        return USER_ERROR


def build_parser() -> argparse.ArgumentParser:
    """The parser of every subcommand."""
    from fastkd._version import __version__
    from fastkd.cli.condense import add_condense
    from fastkd.cli.distill import add_distill
    from fastkd.cli.export import add_export
    from fastkd.cli.federate import add_federate
    from fastkd.cli.fetch import add_fetch
    from fastkd.cli.selfdistill import add_selfdistill

    parser = argparse.ArgumentParser(prog="fastkd", description="Small fast models that learned from large ones.")
    parser.add_argument("--version", action="version", version=f"fastkd {__version__}")
    parser.add_argument("--debug", action="store_true", help="show the whole traceback of an error")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_demo(commands)
    add_fetch(commands)
    add_selfdistill(commands)
    add_distill(commands)
    add_federate(commands)
    add_condense(commands)
    add_export(commands)
    return parser


def _add_demo(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    from fastkd.cli.result import Settings

    demo = commands.add_parser(
        "demo",
        help="from candles to a fast student, with tables, plots and an HTML report",
        description="Teach a large network on candles, distil it into a small one, compare, time, and write a report.",
    )
    output = Path("fastkd-report.html")
    demo.add_argument("--candles", type=Path, metavar="FILE", help="CSV (or .csv.gz) file; else a synthetic market")
    demo.add_argument("--output", type=Path, metavar="FILE", default=output, help="the report (%(default)s)")

    def add(name: str, kind: Callable[[str], float], metavar: str, text: str) -> None:
        option, default = "--" + name.replace("_", "-"), getattr(Settings, name)
        demo.add_argument(option, type=kind, default=default, metavar=metavar, help=f"{text} (%(default)s)")

    add("rows", _number(int, 1), "N", "candles of the synthetic market, or how many of FILE, counted from the end")
    add("seed", _number(int, 0), "N", "of everything random")
    add("threshold", _number(float), "R", "a larger relative move is UP or DOWN")
    add("temperature", _number(float), "T", "of the soft labels")
    add("kd_weight", _number(float, 0.0, 1.0), "W", "of the soft labels, against the hard ones")
    add("few_labels", _number(int, 1), "N", "labelled rows of the second comparison")
    demo.add_argument("--quiet", action="store_true", help="print errors only")
    demo.set_defaults(run=_demo)


def _demo(options: argparse.Namespace) -> int:
    _need("rich", "matplotlib")
    from fastkd.cli.console import print_result, progress_bar
    from fastkd.cli.demo import read_candles, run_demo
    from fastkd.cli.outputs import check_outputs
    from fastkd.cli.report import write_report
    from fastkd.cli.result import Settings

    check_outputs({"--output": options.output}, {"the candles": [options.candles]})
    names = ("rows", "seed", "threshold", "temperature", "kd_weight", "few_labels")
    settings = Settings(**{name: getattr(options, name) for name in names})
    candles = None
    if options.candles is not None:
        candles = read_candles(options.candles)
        if len(candles) > options.rows and not options.quiet:
            print(f"fastkd: the last {options.rows:,} of {len(candles):,} candles are used (--rows)", file=sys.stderr)
        candles = candles[-options.rows :]
    with progress_bar(options.quiet) as progress:
        result = run_demo(candles, settings=settings, progress=progress)
    write_report(result, options.output)
    if not options.quiet:
        print_result(result, str(options.output))
    return OK


def _need(*modules: str) -> None:
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        raise OSError(f"this command needs {' and '.join(missing)}: pip install 'fastkd[cli]'")


def _number(
    kind: type[int] | type[float], low: float | None = None, high: float | None = None
) -> Callable[[str], float]:
    """A parser of finite numbers in [low, high]; without bounds, of those above 0."""

    def parse(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = float("nan")
        bounded = low is not None or high is not None
        floor = value >= low if low is not None else value > 0
        if not (floor and value <= (high if high is not None else sys.float_info.max)):
            wanted = "a whole number" if kind is int else "a number"
            limits = "above 0" if not bounded else f"of at least {low}" if high is None else f"from {low} to {high}"
            raise argparse.ArgumentTypeError(f"expected {wanted} {limits}, got {text!r}")
        return value

    return parse


def _one_line(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return " ".join(str(error).split())
