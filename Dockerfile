# The project with its locked environment and a Java for Spark; docs/containers.md says how it is used.
FROM python:3.11.7-slim-bookworm

# The only package of the system. To the minor version: Debian removes older patches from its mirrors.
RUN apt-get update \
    && apt-get install -y --no-install-recommends "openjdk-17-jre-headless=17.*" \
    && rm -rf /var/lib/apt/lists/*

# The lock alone, so that a change to the code builds no environment anew; pip compiles what it installs.
COPY requirements.txt /opt/lifecycle/
RUN pip install --no-cache-dir --require-hashes -r /opt/lifecycle/requirements.txt

COPY MLproject python_env.yaml conda.yaml /opt/lifecycle/
COPY data /opt/lifecycle/data
COPY steps /opt/lifecycle/steps
RUN python -m compileall -q /opt/lifecycle/steps \
    && useradd --uid 10001 --create-home lifecycle \
    && install -d -o lifecycle -g lifecycle /work

# mlflow asks who runs it, also where that is a number without a name; the image has no git.
ENV USER=lifecycle \
    MPLCONFIGDIR=/tmp/matplotlib \
    GIT_PYTHON_REFRESH=quiet

USER 10001
WORKDIR /work
# No ENTRYPOINT: mlflow's docker_env gives commands such as `python steps/prepare.py`.
CMD ["mlflow", "run", "/opt/lifecycle", "--env-manager", "local"]
