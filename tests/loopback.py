"""A server on the loopback that misbehaves in every way a real one does."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Server(ThreadingHTTPServer):
    """Serves ``bodies`` by name, and whatever else is 404.

    ``tricks`` says what each request in turn suffers, then all goes well, or what ``always`` says.
    """

    daemon_threads = True

    def __init__(self, bodies: dict[str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.bodies, self.etag = bodies, '"one"'
        self.tricks: list[str] = []
        self.always = ""
        self.ranges: list[str | None] = []
        self.asked: list[str] = []

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/{name}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        trick = self.server.tricks.pop(0) if self.server.tricks else self.server.always
        asked = self.headers["Range"]
        self.server.ranges.append(asked)
        name = self.path.removeprefix("/")
        self.server.asked.append(name)
        if trick.startswith("to "):
            self.send_response(302)
            self.send_header("Location", trick.removeprefix("to "))
            self.end_headers()
            return
        if trick.isdigit() or name not in self.server.bodies:
            self.send_error(int(trick or 404))
            return
        body, start = self.server.bodies[name], 0
        fits = self.headers["If-Range"] == self.server.etag
        if asked and fits and trick != "ignore range":
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
            if start >= len(body):
                self.send_error(416)
                return
            self.send_response(206)
            told = start + 1 if trick == "other part" else start
            self.send_header("Content-Range", f"bytes {told}-{len(body) - 1}/{len(body)}")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(body) - start))
        if self.server.etag:
            self.send_header("ETag", self.server.etag)
        self.end_headers()
        middle = (start + len(body)) // 2
        if trick == "cut":
            self.wfile.write(body[start:middle])
        elif trick == "stall":
            self.wfile.write(body[start:middle])
            self.wfile.flush()
            time.sleep(1)
        elif trick == "corrupt":
            self.wfile.write(bytes(len(body) - start))
        else:
            self.wfile.write(body[start:])

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def serving(bodies: dict[str, bytes]) -> Iterator[Server]:
    """A server of these bodies by name, until the block ends; NO_PROXY must name 127.0.0.1."""
    with Server(bodies) as served:
        threading.Thread(target=served.serve_forever, args=(0.01,), daemon=True).start()
        yield served
        served.shutdown()
