"""An S3 store on loopback, moto's, which on demand refuses, fails, stalls, and breaks off what it sends."""

import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import fsspec
from moto.core import DEFAULT_ACCOUNT_ID
from moto.moto_server.werkzeug_app import create_backend_app
from moto.s3.models import s3_backends
from werkzeug.serving import WSGIRequestHandler, make_server


BUCKET = "pictures"
SECRETS = {"AWS_SECRET_ACCESS_KEY": "loopbackSecretOfAnna", "AWS_SESSION_TOKEN": "loopbackTokenOfAnna"}
STATUS = {"AccessDenied": "403 Forbidden", "InternalError": "500 Internal Server Error", "SlowDown": "503 Slow Down"}
BREAK_OFF, STALL = "break off", "stall"


class Store:
    """The store, with one bucket. As a context manager it runs in a thread.

    A test may set `before`. It is called before each request, with its method and key. What it returns is the code of
    an error that is answered, `BREAK_OFF` or `STALL`, or `None`.
    """

    def __init__(self) -> None:
        self.app = create_backend_app("s3")
        self.backend = s3_backends[DEFAULT_ACCOUNT_ID]["aws"]
        self.server = make_server("127.0.0.1", 0, self, threaded=True, request_handler=_Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.requests: list[str] = []  # method, key and range of each, in order
        self.before: Callable[[str, str], str | None] = lambda method, key: None
        self.released = threading.Event()  # ends what stalls

    @property
    def variables(self) -> dict[str, str]:
        """Environment variables of a process whose client talks to this store."""
        places = {"AWS_ENDPOINT_URL": self.url, "AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true"}
        files = dict.fromkeys(("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"), "/nowhere")
        return {"AWS_ACCESS_KEY_ID": "anna", **SECRETS, **places, **files}

    def put(self, key: str, content: bytes) -> None:
        self.backend.put_object(BUCKET, key, content)

    def put_folder(self, folder: Path, prefix: str) -> None:
        for path in folder.rglob("*"):
            if path.is_file():
                self.put(f"{prefix}/{path.relative_to(folder).as_posix()}", path.read_bytes())

    def delete(self, key: str) -> None:
        self.backend.delete_object(BUCKET, key)

    def contents(self, prefix: str = "") -> dict[str, bytes]:
        """Contents of the objects, by their keys."""
        keys = self.backend.get_bucket(BUCKET).keys
        return {name: keys[name].value for name in list(keys) if name.startswith(prefix)}

    def __call__(self, environ: dict[str, Any], start_response: Callable) -> Iterable[bytes]:
        method, key = environ["REQUEST_METHOD"], environ["PATH_INFO"].encode("latin-1").decode()[len(BUCKET) + 2 :]
        self.requests.append(f"{method} {key} {environ.get('HTTP_RANGE', '')}".strip())
        wanted = self.before(method, key)
        if wanted in STATUS:
            content = f"<Error><Code>{wanted}</Code><Message>{wanted} was wanted</Message></Error>".encode()
            start_response(STATUS[wanted], [("Content-Type", "text/xml"), ("Content-Length", str(len(content)))])
            return [content]
        if wanted == STALL:
            self.released.wait()
        answer = self.app(environ, start_response)
        return [b"".join(answer)[:-1]] if wanted == BREAK_OFF else answer

    def __enter__(self) -> "Store":
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()
        self.backend.create_bucket(BUCKET, "us-east-1")
        return self

    def __exit__(self, *exception) -> None:
        self.released.set()
        self.server.shutdown()
        self.server.server_close()
        self.backend.reset()
        fsspec.get_filesystem_class("s3").clear_instance_cache()  # or other tests would talk to this store


class _Handler(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_request(self, *arguments) -> None: ...
