"""A bucket on loopback: as much of S3's protocol as the lake uses, objects kept in memory."""

from __future__ import annotations

import hashlib
import re
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape, unescape

Objects = dict[str, bytes]


@contextmanager
def running_bucket(is_conditional: bool = True) -> Iterator[tuple[str, Objects]]:
    """``host:port`` and the objects by ``bucket/key``; not ``is_conditional``: it ignores If-None-Match, as some do."""
    objects: Objects = {}
    in_parts: dict[str, int] = {}
    uploads: dict[str, dict[int, bytes]] = {}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            return

        def _place(self) -> tuple[str, dict[str, str]]:
            parts = urlsplit(self.path)
            query = {
                name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()
            }
            return unquote(parts.path).strip("/"), query

        def _body(self) -> bytes:
            if self.headers.get("Transfer-Encoding") == "chunked":
                body = b"".join(iter(self._chunk, b""))
            else:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if "aws-chunked" in (self.headers.get("Content-Encoding") or ""):
                return _unchunked(body)
            return body

        def _is_new(self) -> bool:
            """Asked for as S3 has it, or as Google has it, whose XML interface is S3's else."""
            return (
                self.headers.get("If-None-Match") == "*"
                or self.headers.get("x-goog-if-generation-match") == "0"
            )

        def _chunk(self) -> bytes:
            size = int(self.rfile.readline().partition(b";")[0], 16)
            data = self.rfile.read(size)
            self.rfile.readline()
            return data

        def _answer(self, status: int, body: bytes = b"", **headers: str) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            if "Content_Length" not in headers:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def do_PUT(self) -> None:
            key, query = self._place()
            body = self._body()
            if "uploadId" in query:
                uploads[query["uploadId"]][int(query["partNumber"])] = body
            elif self._is_new() and key in objects and is_conditional:
                self._answer(412)
                return
            elif "/" in key:
                objects[key] = body
                in_parts.pop(key, None)
            self._answer(200, ETag='"x"')

        def do_POST(self) -> None:
            key, query = self._place()
            body = self._body()
            if "uploads" in query:
                upload = uuid.uuid4().hex
                uploads[upload] = {}
                self._xml(200, "InitiateMultipartUploadResult", f"<UploadId>{upload}</UploadId>")
            elif "uploadId" in query:
                parts = uploads.pop(query["uploadId"])
                objects[key] = b"".join(parts[number] for number in sorted(parts))
                in_parts[key] = len(parts)
                self._xml(200, "CompleteMultipartUploadResult", '<ETag>"x"</ETag>')
            else:  # ?delete: many at once
                names = [unescape(name.decode()) for name in re.findall(rb"<Key>(.*?)</Key>", body)]
                for name in names:
                    objects.pop(f"{key}/{name}", None)
                deleted = (f"<Deleted><Key>{escape(name)}</Key></Deleted>" for name in names)
                self._xml(200, "DeleteResult", "".join(deleted))

        def do_DELETE(self) -> None:
            objects.pop(self._place()[0], None)
            self._answer(204)

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            key, query = self._place()
            if "list-type" in query:
                self._list(key, query.get("prefix", ""), query.get("delimiter", ""))
            elif "/" not in key:
                self._answer(200 if any(name.startswith(f"{key}/") for name in objects) else 404)
            elif key not in objects:
                self._answer(404)
            else:
                self._object(key, objects[key])

        def _object(self, key: str, data: bytes) -> None:
            tag = hashlib.md5(data, usedforsecurity=False).hexdigest()
            if key in in_parts:
                tag = f"{tag[::-1]}-{in_parts[key]}"
            headers = {"ETag": f'"{tag}"', "Last_Modified": "Fri, 21 Nov 2025 00:00:00 GMT"}
            wanted = re.match(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
            if not wanted:
                self._answer(200, data, Content_Length=str(len(data)), **headers)
                return
            start, end = int(wanted[1]), min(int(wanted[2] or len(data)), len(data) - 1)
            part = data[start : end + 1]
            headers["Content_Range"] = f"bytes {start}-{end}/{len(data)}"
            self._answer(206, part, Content_Length=str(len(part)), **headers)

        def _list(self, bucket: str, prefix: str, delimiter: str) -> None:
            contents, folders = [], set()
            for name in sorted(objects):
                key = name.removeprefix(f"{bucket}/")
                rest = key.removeprefix(prefix)
                if not key.startswith(prefix):
                    continue
                if delimiter and delimiter in rest:
                    folders.add(prefix + rest.partition(delimiter)[0] + delimiter)
                else:
                    contents.append(
                        f"<Contents><Key>{escape(key)}</Key><Size>{len(objects[name])}</Size>"
                        "<LastModified>2025-11-21T00:00:00Z</LastModified></Contents>"
                    )
            common = "".join(
                f"<CommonPrefixes><Prefix>{escape(f)}</Prefix></CommonPrefixes>" for f in sorted(folders)
            )
            count = len(contents) + len(folders)
            head = f"<KeyCount>{count}</KeyCount><IsTruncated>false</IsTruncated>"
            self._xml(200, "ListBucketResult", head + "".join(contents) + common)

        def _xml(self, status: int, name: str, inner: str) -> None:
            self._answer(status, f'<?xml version="1.0"?><{name}>{inner}</{name}>'.encode())

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}", objects
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _unchunked(body: bytes) -> bytes:
    """The payload of an ``aws-chunked`` body: hexadecimal length, CRLF, bytes, CRLF, …, 0."""
    parts = []
    while body:
        head, _, rest = body.partition(b"\r\n")
        size = int(head.partition(b";")[0], 16)
        if size == 0:
            break
        parts.append(rest[:size])
        body = rest[size + 2 :]
    return b"".join(parts)
