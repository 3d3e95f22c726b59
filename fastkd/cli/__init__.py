"""The command `fastkd`: how a call becomes a function, and how errors leave it. The commands are in modules beside."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cyclopts import App

__all__ = ["build_app", "main"]

OK, USER_ERROR, INTERRUPTED, BROKEN_PIPE = 0, 2, 130, 141
STDIN = "/dev/stdin"  # what "-" stands for among the arguments

COMMANDS = {
    "demo": ("demo:demo", "the whole road on a synthetic market or your candles, with a report"),
    "fetch": ("fetch:fetch", "candles of Bybit into a store; run it again to go on, or to update"),
    "train": ("models:train", "a large model on labels alone: a teacher, or a forecaster"),
    "distill": ("models:distill", "a large model into a small fast one: features, scaler, dates in one file"),
    "evaluate": ("models:evaluate", "judge a forecaster on later candles"),
    "predict": ("models:predict", "forecasts of every candle as a table"),
    "export": ("export:export", "a student as C, fixed-point C, ONNX or Verilog, checked"),
    "selfdistill": ("selfdistill:selfdistill", "generations of one network that teach each other"),
    "federate": ("federate:federate", "federated distillation between markets"),
    "condense": ("condense:condense", "a few rows that train a model like all of them, and the verdict"),
    "bench": ("machine:bench", "speed on this machine against NumPy and what else is installed"),
    "doctor": ("machine:doctor", "what is installed, and whether it computes right here"),
}
CONFIG: ContextVar[Path | None] = ContextVar("the file of --config", default=None)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code: 0; 2 for what the user can mend; 130 after Ctrl-C.

    >>> main(["demo", "no-such-file.csv", "--quiet"])
    2
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal without a sign shows "?" and the run goes on
    tokens = [STDIN if token == "-" else str(token) for token in (sys.argv[1:] if arguments is None else arguments)]
    if tokens[:1] in (["demo"], ["selfdistill"]):  # where candles had a flag, in 0.1
        tokens = [token.removeprefix("--candles=") for token in tokens if token != "--candles"]
    debug = "--debug" in tokens
    try:
        from cyclopts import CycloptsError
    except ImportError:
        print("fastkd: error: the command line needs cyclopts: pip install 'fastkd[cli]'", file=sys.stderr)
        return USER_ERROR
    with warnings.catch_warnings():
        warnings.showwarning = _show_warning
        try:
            tokens, config = _taken([token for token in tokens if token != "--debug"])
            CONFIG.set(config)
            code = build_app(config)(tokens, exit_on_error=False, print_error=False)
            sys.stdout.flush()
            return code or OK
        except KeyboardInterrupt:
            print("fastkd: interrupted", file=sys.stderr)
            return INTERRUPTED
        except BrokenPipeError:  # whoever read the output has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return BROKEN_PIPE
        except (CycloptsError, ValueError, OSError, TypeError) as error:
            if debug:
                raise
            print(f"fastkd: error: {_one_line(error)}", file=sys.stderr)
            return USER_ERROR


def build_app(config: Path | None = None) -> App:
    """The commands; settings come from flags, else from a TOML file, else from the defaults."""
    from cyclopts import App, Group, Parameter
    from cyclopts.config import Toml

    from fastkd._version import __version__

    app = App(
        name="fastkd",
        help="Small fast models for trading that learned from large ones. Every command takes --config FILE (TOML with "
        "its settings; a flag wins) and --debug (the whole traceback of an error).",
        version=f"fastkd {__version__}",
        default_parameter=Parameter(negative="", allow_repeating=True, converter=_strict),
        suppress_keyboard_interrupt=False,
        result_action="return_value",
        group_parameters=Group("Options"),
        help_formatter="default",
    )
    if config is not None:
        app.config = Toml(config, must_exist=True, use_commands_as_keys=False, allow_unknown=False)
    for name, (where, summary) in COMMANDS.items():
        app.command(f"fastkd.cli.{where}", name=name, help=summary)
    return app


def _strict(kind: Any, tokens: Sequence[Any]) -> Any:
    """As cyclopts converts, but 2.5 is no whole number."""
    from cyclopts import convert

    if kind in (int, int | None) and isinstance(tokens[0].value, str):
        return int(tokens[0].value)
    return convert(kind, tokens)


def _taken(tokens: list[str]) -> tuple[list[str], Path | None]:
    """The tokens without --config, and its file."""
    for at, token in enumerate(tokens):
        if token == "--config":
            if at + 1 == len(tokens):
                raise ValueError("--config needs a file")
            return tokens[:at] + tokens[at + 2 :], _readable(tokens[at + 1])
        if token.startswith("--config="):
            return tokens[:at] + tokens[at + 1 :], _readable(token.partition("=")[2])
    return tokens, None


def _readable(name: str) -> Path:
    import tomllib

    with open(name, "rb") as file:
        try:
            found = tomllib.load(file)
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ValueError(f"{name} is not TOML: {error}") from None
    listed = found.get("files", [])
    if not isinstance(listed, list) or not all(isinstance(file, str) for file in listed):
        raise ValueError(f'{name}: files must be a list of names, as ["a.csv", "b.csv"]; got {listed!r}')
    widths = found.get("hidden", [])
    for client, layers in widths.items() if isinstance(widths, dict) else ():
        if not isinstance(layers, list):
            raise ValueError(f"{name}: hidden of {client} must be a list of layer widths, as [32, 16]; got {layers!r}")
    return Path(name)


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    print(f"fastkd: warning: {' '.join(str(message).split())}", file=sys.stderr)


def _one_line(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return " ".join(str(error).split())
