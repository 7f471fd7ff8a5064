"""As much of S3 as functions use, in memory; it writes down which permission each request would have needed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import parse_qs, unquote, urlparse
from xml.sax.saxutils import escape


class StandIn(ThreadingHTTPServer):
    """
    One bucket, which takes every signature.

    Attributes:
        objects: Bodies by key.
        used: The permissions used, each with the folder at the top that it was used on.
        is_shaky: Whether the first answer to every new object is an error, though it was taken.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.objects: dict[str, bytes] = {}
        self.used: set[tuple[str, str]] = set()
        self.is_shaky = False
        self.url = f"http://127.0.0.1:{self.server_port}"


class _Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: StandIn

    def do_PUT(self) -> None:
        key = self._key("s3:PutObject")
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("If-None-Match") == "*" and key in self.server.objects:
            self._answer(412, b"")
        else:
            self.server.objects[key] = body
            self._answer(500 if self.server.is_shaky else 200, b"")

    def do_GET(self) -> None:
        asked = parse_qs(urlparse(self.path).query)
        if "list-type" in asked:
            self._answer(
                200, _listing(sorted(key for key in self.server.objects if key.startswith(asked["prefix"][0])))
            )
            return
        body = self.server.objects.get(self._key("s3:GetObject"))
        self._answer(404 if body is None else 200, body or b"")

    def do_HEAD(self) -> None:
        self._answer(200 if self._key("s3:GetObject") in self.server.objects else 404, b"")

    def log_message(self, format: str, *args: object) -> None:
        pass

    def _key(self, permission: str) -> str:
        key = unquote(urlparse(self.path).path).split("/", 2)[2]
        self.server.used.add((permission, key.split("/")[0]))
        return key

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        for name, value in (
            ("Content-Length", str(len(body))),
            ("ETag", '"0"'),
            ("Last-Modified", "Wed, 20 Mar 2024 12:00:00 GMT"),
        ):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


def _listing(keys: list[str]) -> bytes:
    rest = '<Size>1</Size><LastModified>2024-03-20T12:00:00.000Z</LastModified><ETag>"0"</ETag>'
    contents = "".join(f"<Contents><Key>{escape(key)}</Key>{rest}</Contents>" for key in keys)
    said = f"<Name>bucket</Name><KeyCount>{len(keys)}</KeyCount><IsTruncated>false</IsTruncated>{contents}"
    return f"<ListBucketResult>{said}</ListBucketResult>".encode()


@contextmanager
def s3_stand_in() -> Iterator[StandIn]:
    """Run a stand-in for S3 on a free port."""
    with StandIn() as server:
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()
