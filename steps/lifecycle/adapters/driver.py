"""What a Spark job of Databricks runs first: an entry point of the project that was uploaded with this file.

mlflow puts the text of this file into the job's own, after lines that unpack the upload and step into its folder. So it
knows no `__file__`, and may import nothing of ours before the project's folder is on the path.
"""

import os
import runpy
import sys


def run(project: str, step: str, *arguments: str) -> None:
    """Run an entry point's script in this process, which is the one that has the cluster's Spark session.

    Parameters
    ----------
    project : str
        The project's folder.
    step : str
        The script, relative to it.
    arguments : str
        Its command line.

    Raises
    ------
    RuntimeError
        Where it ends with another exit code than 0: runtimes differ in what they take SystemExit for.
    """
    os.chdir(project)
    sys.path.insert(0, os.path.abspath(os.path.dirname(step)))
    sys.argv = [step, *arguments]
    try:
        runpy.run_path(step, run_name="__main__")
    except SystemExit as ended:
        if ended.code:
            raise RuntimeError(f"{step} ended with exit code {ended.code}; its own words stand above") from None


if __name__ == "__main__":
    run(*sys.argv[1:])
