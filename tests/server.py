"""A web server on this machine, with the faults that real ones have."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Served:
    """A file, and what goes wrong with it. `cuts`: after how many bytes of each answer the connection is closed."""

    content: bytes
    etag: str = '"one"'
    ranges: bool = True
    cuts: list[int] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)  # answered first, in this order
    type: str = "application/octet-stream"
    length: bool = True
    range_start: int | None = None  # where a 206 begins, instead of where it was asked to


@dataclass
class Site:
    """What is served, by path, and what was asked for: path and `Range`."""

    url: str
    files: dict[str, Served]
    asked: list[tuple[str, str]] = field(default_factory=list)


@contextmanager
def serving(files: dict[str, Served]) -> Iterator[Site]:
    """`files`, at an address of this machine, until the block ends."""
    site = Site(url="", files=files)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            site.asked.append((self.path, self.headers.get("Range", "")))
            served = site.files.get(self.path)
            if served is None:
                self.send_error(404)
            elif served.statuses:
                self.send_error(served.statuses.pop(0))
            else:
                self.answer(served)

        def answer(self, served: Served) -> None:
            start = self.range_asked(served)
            if start is not None and start >= len(served.content):
                self.send_error(416)
                return
            first = 0 if start is None else start if served.range_start is None else served.range_start
            body = served.content[first:]
            self.send_response(200 if start is None else 206)
            self.send_header("Content-Type", served.type)
            if served.etag:
                self.send_header("ETag", served.etag)
            if served.length:
                self.send_header("Content-Length", str(len(body)))
            if start is not None:
                last = len(served.content) - 1
                self.send_header("Content-Range", f"bytes {first}-{last}/{len(served.content)}")
            self.end_headers()
            self.wfile.write(body[: served.cuts.pop(0)] if served.cuts else body)
            self.close_connection = True

        def range_asked(self, served: Served) -> int | None:
            asked = self.headers.get("Range", "")
            if not asked or not served.ranges or self.headers.get("If-Range", served.etag) != served.etag:
                return None
            return int(asked.removeprefix("bytes=").removesuffix("-"))

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        site.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield site
        finally:
            server.shutdown()
            thread.join()
