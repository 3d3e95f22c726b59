"""`fastkd federate`: markets in files as clients of a federation, compared with learning alone and all together."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

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
    config = CONFIG.get()
    if config is not None:
        files = [config.parent / file if not file.exists() else file for file in files]
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


def _pair(text: str) -> tuple[str, str]:
    venue, _, attack = text.partition("=")
    if not venue or not attack:
        raise ValueError(f"--attack needs VENUE=ATTACK; got {text!r}")
    return venue, attack
