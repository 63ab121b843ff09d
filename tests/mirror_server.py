"""A copy of repositories on loopback, as `collect` asks for it, which on demand fails, stalls, and leads elsewhere."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit


STALL = object()
"""An answer that does not come while the server runs."""


class Mirror(ThreadingHTTPServer):
    """The server. As a context manager it runs in a thread."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.files: dict[str, bytes] = {}  # contents by REPOSITORY/COMMIT/PATH
        self.before: dict[str, list] = {}  # answers that come first: a status, headers and a content, or STALL
        self.asked: list[str] = []
        self.released = threading.Event()

    def __enter__(self) -> "Mirror":
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *exception) -> None:
        self.released.set()
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1

    def log_message(self, *arguments) -> None: ...

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path[1:])
        self.server.asked.append(path)
        first = self.server.before.get(path)
        if first and first[0] is STALL:
            self.server.released.wait()
            return
        if first:
            status, headers, content = first.pop(0)
        else:
            content = self.server.files.get(path, b"404: Not Found")
            status, headers = 200 if path in self.server.files else 404, {}
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(content))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)
        self.close_connection = "Content-Length" in headers  # which then announces more than comes
