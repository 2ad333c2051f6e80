"""A standalone cluster of Spark on loopback, and the processes that work in it."""

import os
import subprocess
import sysconfig
import venv
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pyspark

# A name that no other folder has: each worker must find it where it stands.
OWN_PYTHON = "python-of-this-worker"
SPARK_CLASS = Path(pyspark.__file__).parent / "bin" / "spark-class"


def own_python(folder: Path) -> Path:
    """Make a python for a worker, with the packages of this one and without `lifecycle`; give the folder it is in."""
    venv.create(folder, with_pip=False, symlinks=True)
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(folder)}))
    (packages / "shared.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")
    (folder / "bin" / OWN_PYTHON).symlink_to(folder / "bin" / "python")
    return folder / "bin"


@contextmanager
def cluster(folder: Path, workers: int, serving: Callable[..., Any], free_port: Callable[[], int]) -> Iterator[str]:
    """Start some workers of one core each, with a work folder and a python of its own; give the cluster's address."""
    with ExitStack() as stack:
        port, page = free_port(), free_port()
        command = [str(SPARK_CLASS), "org.apache.spark.deploy.master.Master", "--host", "127.0.0.1"]
        stack.enter_context(
            serving([*command, "--port", str(port), "--webui-port", str(page)], port, stderr=subprocess.DEVNULL)
        )
        address = f"spark://127.0.0.1:{port}"
        for number in range(workers):
            own = free_port()
            command = [str(SPARK_CLASS), "org.apache.spark.deploy.worker.Worker", "--host", "127.0.0.1"]
            command += ["--port", str(own), "--webui-port", str(free_port()), "--cores", "1", "--memory", "1g"]
            command += ["--work-dir", str(folder / f"worker{number}"), address]
            path = os.pathsep.join([str(own_python(folder / f"python{number}")), os.environ["PATH"]])
            env = {**os.environ, "PATH": path}
            stack.enter_context(serving(command, own, stderr=subprocess.DEVNULL, env=env))
        yield address


def executors(folder: Path) -> list[int]:
    """Give the executors of a cluster, by the folder that its workers' folders lie in."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        # It may have ended meanwhile.
        with suppress(OSError):
            works = b"CoarseGrainedExecutorBackend" in (process / "cmdline").read_bytes()
            if works and (process / "cwd").readlink().is_relative_to(folder):
                found.append(int(process.name))
    return found
