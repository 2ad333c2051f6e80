"""Files that lie elsewhere, from real servers on loopback: fetched whole, once, or refused in one sentence."""

import gzip
import http.server
import importlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from lifecycle.adapters import catalog, readers, sources
from lifecycle.errors import UserError

TEXT = b"n,word\n3,Yes\n1,No\n"
ROWS = {"n": [3, 1], "word": ["Yes", "No"]}


@pytest.fixture(autouse=True)
def nothing_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(sources.FETCHED, raising=False)


def rows(asked: str) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = readers.read_table(sources.locate("data", asked), "").to_dict("list")
    return found


# Over http.


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers by the path, and counts."""

    asked: list[str] = []

    def do_GET(self) -> None:
        type(self).asked.append(self.path)
        name = self.path.partition("?")[0].rpartition("/")[2]
        status, body, headers = 200, TEXT, {}
        if name == "table.csv.gz":
            body = gzip.compress(TEXT)
        elif name == "onway.csv.gz":
            body, headers = gzip.compress(TEXT), {"Content-Encoding": "gzip"}
        elif name == "export":
            headers = {"Content-Type": "text/csv; charset=utf-8"}
        elif name == "closed.csv" and self.headers.get("Authorization") != "Basic dXNlcjpzM2NyM3Q=":
            status = 401
        elif name.isdigit():
            status = int(name)
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body) + 100 * (name == "cut.csv")))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words: Any) -> None:
        pass


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    "path", ["table.csv", "table.csv.gz", "onway.csv.gz", "export", "sub/my%20table.csv?key=s3cr3t"]
)
def test_http_table_is_read(port: int, path: str) -> None:
    assert rows(f"http://127.0.0.1:{port}/{path}") == ROWS


def test_http_table_is_fetched_once_and_known_by_its_bytes(port: int, tmp_path: Path) -> None:
    (tmp_path / "same.csv").write_bytes(TEXT)
    asked = f"http://127.0.0.1:{port}/once.csv"
    digests = [sources.inputs_digest([sources.locate("data", one)]) for one in (asked, asked, f"{tmp_path}/same.csv")]
    assert len(set(digests)) == 1
    assert Handler.asked.count("/once.csv") == 1


def test_http_secrets_are_used_and_not_shown(port: int) -> None:
    asked = f"http://user:s3cr3t@127.0.0.1:{port}/closed.csv?sig=hidden"
    source = sources.locate("data", asked)
    assert rows(asked) == ROWS
    assert source.shown == source.origin == f"http://127.0.0.1:{port}/closed.csv"
    assert catalog.model_name(asked) == "closed" and catalog.short_name(asked) == "closed.csv"


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("404", r"'.*/404' answers with status 404; mend the address"),
        ("500", r"'.*/500' answers with status 500; the server is unwell, so try again later"),
        ("closed.csv", r"'.*' answers with status 401; give user and password in the address, .*"),
        ("cut.csv", r"'.*' cannot be fetched from 127\.0\.0\.1 \(\w+\); .*"),
        ("page", r"'.*/page' ends in 'no suffix'; give a file that ends in one of .*"),
    ],
)
def test_http_mistakes_are_told(port: int, path: str, sentence: str) -> None:
    with pytest.raises(UserError, match=rf"^data: {sentence}\.$") as caught:
        sources.locate("data", f"http://someone:s3cr3t@127.0.0.1:{port}/{path}")
    assert "s3cr3t" not in str(caught.value)


def test_nobody_who_listens_is_told(free_port: Callable[[], int]) -> None:
    with pytest.raises(UserError, match=r"^data: '.*' cannot be fetched from 127\.0\.0\.1 \(ConnectionError\); .*\.$"):
        sources.locate("data", f"http://127.0.0.1:{free_port()}/table.csv")


# An object store.


@pytest.fixture(scope="module")
def bucket(free_port: Callable[[], int], serving: Callable[..., Any]) -> Iterator[str]:
    """A bucket with a file, and a folder of two; its server's address."""
    port = free_port()
    endpoint = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with serving(command, port, stderr=subprocess.DEVNULL), variables(endpoint):
        import boto3

        client = boto3.client("s3", region_name="us-east-1")
        client.create_bucket(Bucket="shop")
        for key in ("table.csv", "folder/1.csv", "folder/2.csv", "folder/_SUCCESS", "notes/about.md"):
            client.put_object(Bucket="shop", Key=key, Body=TEXT)
        yield endpoint


@contextmanager
def variables(endpoint: str, **more: str) -> Iterator[None]:
    """Set what a user of an object store sets."""
    import s3fs

    own = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "s3cr3t", "AWS_ENDPOINT_URL": endpoint}
    s3fs.S3FileSystem.clear_instance_cache()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**own, "AWS_EC2_METADATA_DISABLED": "true", **more}.items():
            patch.setenv(name, value)
        yield


def test_s3_key_folder_and_glob_are_read(bucket: str) -> None:
    with variables(bucket):
        assert rows("s3://shop/table.csv") == ROWS
        assert rows("s3://shop/folder/")["n"] == rows("s3://shop/folder/*.csv")["n"] == [3, 1, 3, 1]
        assert sources.locate("data", "s3://shop/table.csv").origin == "s3://shop/table.csv"


@pytest.mark.parametrize(
    ("key", "sentence"),
    [
        ("shop/none.csv", r"there is no 's3://shop/none\.csv': no such bucket, container or key; mend the address"),
        ("nobody/table.csv", r"there is no 's3://nobody/table\.csv': no such bucket, .*"),
        ("shop/notes/", r"'s3://shop/notes/' holds no table \(about\.md\); give a table's address"),
    ],
)
def test_s3_mistakes_are_told(bucket: str, key: str, sentence: str) -> None:
    with variables(bucket), pytest.raises(UserError, match=rf"^data: {sentence}\.$"):
        sources.locate("data", f"s3://{key}")


def test_s3_without_credentials_is_told(bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere = {"AWS_SHARED_CREDENTIALS_FILE": f"{tmp_path}/none", "AWS_CONFIG_FILE": f"{tmp_path}/none"}
    with variables(bucket, **nowhere):
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
        with pytest.raises(UserError, match=r"^data: 's3://shop/.*' needs credentials, .*AWS_ACCESS_KEY_ID.*\.$"):
            sources.locate("data", "s3://shop/table.csv")


@pytest.mark.parametrize(
    ("asked", "module", "package"),
    [("s3://b/x.csv", "s3fs", "s3fs"), ("gs://b/x.csv", "gcsfs", "gcsfs"), ("abfss://c@a/x.csv", "adlfs", "adlfs")],
)
def test_a_client_that_is_not_installed_is_told(
    asked: str, module: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = importlib.import_module("fsspec.registry")._registry
    monkeypatch.delitem(loaded, asked.partition(":")[0], raising=False)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UserError, match=rf"^data: '.*' needs the package {package}, .*`pip install '{package}'`.*\.$"):
        sources.locate("data", asked)


# A run's artifact.


def test_artifact_of_a_run_is_read(tmp_path: Path, new_store: Callable[[], Any]) -> None:
    """In a process of its own, since mlflow remembers the first store that it is told."""
    store = new_store()
    run = store.client.create_run("0")
    store.artifacts(run).mkdir(parents=True, exist_ok=True)
    (store.artifacts(run) / "made.csv").write_bytes(TEXT)
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from lifecycle.adapters import readers, sources\nfrom lifecycle.errors import UserError\n"
        "try: print(readers.read_table(sources.locate('data', sys.argv[2]), '').to_dict('list'))\n"
        "except UserError as error: print(error)\n"
    )
    steps = str(Path(__file__).parents[2] / "steps")
    said = [
        store.run(sys.executable, "-c", code, steps, asked, MLFLOW_TRACKING_URI=store.uri).well().out.strip()
        for asked in (f"runs:/{run.info.run_id}/made.csv", f"runs:/{run.info.run_id}/none.csv")
    ]
    assert said[0] == str(ROWS)
    assert said[1].startswith(f"data: 'runs:/{run.info.run_id}/none.csv' is not to be had: ")
    assert "lifecycle-" not in "".join(os.listdir(store.folder))
