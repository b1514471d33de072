"""A broker that can be fenced, as Kafka's is while it starts or as its heartbeat came late: it names no broker then."""

from __future__ import annotations

import socketserver
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager

API_VERSIONS, METADATA = 18, 3
UNSUPPORTED_VERSION, LEADER_NOT_AVAILABLE = 35, 5
NO_RACK = NO_CONTROLLER = -1


class FencedBroker(socketserver.ThreadingTCPServer):
    daemon_threads = True

    def __init__(self, topic: str) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        self.topic = topic
        self.is_fenced = False

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def metadata(self, request: bytes) -> bytes:
        """Version 4, of the topic if the request names any."""
        names_topic = struct.unpack_from(">i", request, 2 + struct.unpack_from(">h", request)[0])[0] > 0
        itself = struct.pack(">i", 1) + _text("127.0.0.1") + struct.pack(">ih", self.port, NO_RACK)
        brokers, controller = ([], NO_CONTROLLER) if self.is_fenced else ([itself], 1)
        topic = struct.pack(">h", LEADER_NOT_AVAILABLE) + _text(self.topic) + struct.pack(">?i", False, 0)
        return (
            struct.pack(">ii", 0, len(brokers))
            + b"".join(brokers)
            + _text("cluster")
            + struct.pack(">ii", controller, names_topic)
            + topic * names_topic
        )


class _Connection(socketserver.StreamRequestHandler):
    server: FencedBroker

    def handle(self) -> None:
        while length := self.rfile.read(4):
            request = self.rfile.read(struct.unpack(">i", length)[0])
            key, version, correlation = struct.unpack(">hhi", request[:8])
            body = self.server.metadata(request[8:]) if key == METADATA else _api_versions(version)
            answer = struct.pack(">i", correlation) + body
            self.wfile.write(struct.pack(">i", len(answer)) + answer)


def _api_versions(version: int) -> bytes:
    if version:
        return struct.pack(">hihhh", UNSUPPORTED_VERSION, 1, API_VERSIONS, 0, 0)
    return struct.pack(">hihhhhhh", 0, 2, API_VERSIONS, 0, 0, METADATA, 0, 4)


def _text(text: str) -> bytes:
    return struct.pack(">h", len(text)) + text.encode()


@contextmanager
def fenced_broker(topic: str) -> Iterator[FencedBroker]:
    with FencedBroker(topic) as broker:
        thread = threading.Thread(target=broker.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield broker
        finally:
            broker.shutdown()
            thread.join()
