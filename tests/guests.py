"""Models of another project: saved by mlflow from a few lines of code, with a signature or none, and no contract."""

import warnings
from pathlib import Path
from typing import Any

import mlflow

FRAME = """
import os, signal, time
import pandas as pd
from pathlib import Path
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel

class Guest(PythonModel):
    def predict(self, context, model_input: pd.DataFrame, params=None):
        rows = model_input
{body}

set_model(Guest())
"""


def save(folder: Path, body: str, signature: Any = None) -> Path:
    """Save a model that predicts by some lines of Python, which find the rows as the frame ``rows``."""
    folder.mkdir(parents=True, exist_ok=True)
    script = folder / "guest.py"
    script.write_text(FRAME.format(body="\n".join(f"        {line}" for line in body.splitlines())), encoding="utf-8")
    with warnings.catch_warnings():
        # It would have type hints for what a frame holds.
        warnings.simplefilter("ignore")
        mlflow.pyfunc.save_model(
            folder / "model", python_model=str(script), signature=signature, pip_requirements=["mlflow"]
        )
    return folder / "model"
