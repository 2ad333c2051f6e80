"""The options of a search as the command line gives them."""

from typing import Any

import click

from lifecycle.adapters import cli


def options(**changes: Any) -> dict[str, Any]:
    """Give the defaults of a search of four trials, with some changed."""
    return {
        "models": "",
        "metric": "",
        "max_evals": 4,
        "algo": "tpe",
        "select_on": "cv",
        "engine": "local",
        "parallelism": 1,
        "timeout": 60.0,
        "log_models": "best",
        "seed": 42,
        "max_rows": 0,
        "threshold": "",
        "trial_timeout": 0.0,
        "patience": 0,
        "resume": "",
        "warm_start": "",
        "space": "",
        "max_latency_ms": 0.0,
        "max_size_mb": 0.0,
    } | changes


def defaults(step: str, **changes: Any) -> dict[str, Any]:
    """Give what the command line of an entry point gives where nothing is typed, with some changed."""

    def nothing(**_: Any) -> None: ...

    for option in reversed(cli.OPTIONS[step]):
        nothing = option(nothing)
    script = click.command()(nothing)
    return {str(one.name): one.get_default(click.Context(script)) for one in script.params} | changes
