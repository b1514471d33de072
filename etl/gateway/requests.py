"""What a client says over ``/v1/stream``, read and checked."""

from __future__ import annotations

import msgspec
from aiohttp import WSMessage, WSMsgType

from etl.errors import UsageError
from etl.gateway.entry import FORMATS
from etl.gateway.messages import AnyRequest, Subscribe, decode_request


def read_request(message: WSMessage) -> AnyRequest:
    """Raises ``UsageError``."""
    if message.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
        raise UsageError("a request is JSON")
    try:
        request: AnyRequest = decode_request(message.data)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise UsageError(str(error)) from None
    return request


def check_subscribe(request: Subscribe, has_begun: bool) -> None:
    """``has_begun``: the connection has a stream already. Raises ``UsageError``."""
    for wrong, reason in (
        (request.format not in FORMATS, f"format: {' or '.join(FORMATS)}"),
        (has_begun and request.from_, "from: for the first subscription of a connection"),
        (has_begun and request.derive, "derive: for the first subscription of a connection"),
        (request.snapshot and request.from_, "snapshot: of a stream that begins now; this has a from"),
        ((request.to or request.speed) and not request.from_, "to, speed: they need a from"),
    ):
        if wrong:
            raise UsageError(reason)
