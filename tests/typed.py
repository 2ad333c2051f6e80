"""The options of a search as the command line gives them."""

from typing import Any


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
