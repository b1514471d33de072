"""What a client raises.

EtlError
└── ClientError       the gateway does not answer, or not any more
    ├── Refused       it answered that it will not: token, scope, parameter, size
    └── LostError     the topic no longer has what a stream was to go on from
"""

from __future__ import annotations

from etl.errors import EtlError


class ClientError(EtlError):
    pass


class Refused(ClientError):
    """``code`` as docs/gateway.md has it; ``status`` of HTTP, 0 where a stream said it."""

    def __init__(self, code: str, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.code = code
        self.status = status


class LostError(ClientError):
    pass
