"""`fastkd federate`: markets in files as clients of a federation, compared with learning alone and all together."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from fastkd.cli import CONFIG
from fastkd.cli.common import Json, check, say_steps, write_json
from fastkd.experiments.venues import VenueSettings

__all__ = ["federate"]


def federate(
    files: Annotated[list[Path], Parameter(negative="")],
    *,
    settings: Annotated[VenueSettings, Parameter(name="*")] = VenueSettings(),  # noqa: B008 - frozen
    attack: Annotated[list[str] | None, Parameter(negative="")] = None,
    on: Literal["here", "flower"] = "here",
    public: Path | None = None,
    app: Path | None = None,
    host: str = "127.0.0.1",
    port: int = 9092,
    models: Path | None = None,
    json: Json = None,
    plot: Path | None = None,
    quiet: bool = False,
) -> int:
    """Federated distillation between markets, each a client with rows and a model of its own.

    They learn by themselves, by FedMD, by FedAvg and from all rows in one place, and are compared on later candles,
    fold after fold.

    Parameters
    ----------
    files
        Candles, two or more files of one interval; a client is named after its file. In a --config, names relative to
        its folder.
    attack
        VENUE=ATTACK, such as ETHUSDT=LossMaximization; may be given several times.
    on
        "flower" runs nothing: it writes an app for machines of their own, one venue each, with keys and the commands
        that start it. Needs --app and --public.
    public
        With --on flower, candles on the server whose features everybody gets to see.
    app
        With --on flower, a new folder.
    host, port
        With --on flower, where the venues reach the server.
    models
        A folder for the students of the last fold.
    json
        Also write all figures; - for standard output.
    plot
        Also draw accuracies by way and round (.png, .svg, .pdf).
    quiet
        Print errors only.
    """
    from fastkd.cli.outputs import check_folder, check_plot
    from fastkd.experiments.venues import check_settings, read_venues, run_venues, venue_name
    from fastkd.experiments.venues_report import figures, summary
    from fastkd.experiments.venues_report import plot as draw

    if attack is not None:
        settings = dataclasses.replace(settings, attacks={**settings.attacks, **dict(map(_pair, attack))})
    far = {"--public": public, "--app": app, "--host": None if host == "127.0.0.1" else host,
           "--port": None if port == 9092 else port}  # fmt: skip
    config = CONFIG.get()
    if config is not None:
        files = [config.parent / file if not file.exists() else file for file in files]
    if on == "flower":
        _refuse({"--models": models, "--json": json, "--plot": plot}, "is of a comparison here, not of --on flower")
        if app is None or public is None:
            raise ValueError("--on flower needs --app FOLDER and --public FILE")
        print(_write_app(files, settings, public, app, host, port))
        return 0
    _refuse(far, "goes with --on flower")
    outputs = {"--json": json, "--plot": plot}
    if models is not None:
        check_folder(models)
        names = [venue_name(file) for file in files if models.is_dir()]
        outputs |= {f"--models ({name})": models / f"{name}.safetensors" for name in names}
    check(outputs, {"the candles": files, "the settings": [config]})
    check_plot(plot)
    check_settings(settings)
    venues = read_venues(files, settings)
    say = say_steps(quiet)
    result = run_venues(venues, settings, progress=lambda title, done, n: say(f"[{done + 1}/{n}] {title}"))
    if models is not None:
        models.mkdir(parents=True, exist_ok=True)
        for name, model in result.models.items():
            model.save(models / f"{name}.safetensors")
    write_json(json, figures(result))
    if plot is not None:
        draw(result, plot)
    if not quiet:
        print(summary(result))
    return 0


def _refuse(given: dict[str, Any], why: str) -> None:
    for flag, value in given.items():
        if value is not None:
            raise ValueError(f"{flag} {why}")


def _write_app(files: list[Path], settings: VenueSettings, public: Path, app: Path, host: str, port: int) -> str:
    """Write the app; where it is, and the commands."""
    from fastkd.experiments.venues import venue_name
    from fastkd.flower.project import VenueApp, write_app
    from fastkd.market import read_candles

    names = {f.name for f in dataclasses.fields(VenueApp)}
    usual = VenueSettings()
    for field in dataclasses.fields(settings):
        if field.name not in names and getattr(settings, field.name) != getattr(usual, field.name):
            raise ValueError(f"{field.name} is of a comparison here; an app on Flower does not have it")
    intervals = {str(file): str(read_candles(file).interval) for file in (*files, public)}
    if len(set(intervals.values())) != 1:
        raise ValueError(f"all candles must be of one interval; got {intervals}")
    shared = {name: getattr(settings, name) for name in names if hasattr(settings, name) and name != "hidden"}
    made = VenueApp(interval=intervals[str(public)], public_candles=str(public.absolute()), **shared)
    nodes = {venue_name(file): file.absolute() for file in files}
    if len(nodes) != len(files):
        raise ValueError(f"venues are named after their files, which must differ; got {[file.name for file in files]}")
    commands = write_app(app, nodes, made, host=host, port=port)
    return "\n".join(
        [f"{app}: an app without code, keys, and START.md, which says who gives these commands:", *commands]
    )


def _pair(text: str) -> tuple[str, str]:
    venue, _, attack = text.partition("=")
    if not venue or not attack:
        raise ValueError(f"--attack needs VENUE=ATTACK; got {text!r}")
    return venue, attack
