"""A stream of records that outlives its connections: each goes on at the cursor of the last record that was given."""

from __future__ import annotations

import asyncio
import json
import random
import ssl
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import Any

import aiohttp
import msgspec
from msgspec import Struct

from etl.client.errors import ClientError, LostError, Refused
from etl.client.told_bars import ToldBars
from etl.errors import WireError
from etl.model.derived import AnyDerived
from etl.model.records import Gap, Record
from etl.wire.codec import record_in
from etl.wire.cursor import cursor_text, parse_cursor
from etl.wire.json_records import record_of
from etl.wire.market_data_pb2 import Delivery

MESSAGE_BYTES_MAX = 256 << 20
BACK_OFF_FIRST_S = 0.05
BACK_OFF_MAX_S = 5.0
GIVE_UP_AFTER_S = 300.0
"""Without a connection that said anything."""
SILENCE_MAX_S = 30.0
"""Heartbeats come every few seconds: a connection that is silent for so long is made again."""
REFUSALS = frozenset(("no_token", "bad_request", "not_granted"))
"""Codes of errors that another try would get again."""

Wanted = str | Sequence[str]


class Lost(Struct, frozen=True):
    """The topic no longer has these offsets of a partition, both inclusive."""

    partition: int
    from_offset: int
    to_offset: int


OnGap = Callable[[Gap | Lost], None]


class Stream:
    """Made by ``Client.stream``. ``async for`` gives records; ``batches`` gives what came at once, as it came."""

    def __init__(
        self,
        url: str,
        token: str,
        context: ssl.SSLContext | None,
        asked: dict[str, Any],
        cursor: str,
        snapshot: bool,
        on_gap: OnGap | None,
    ) -> None:
        self.reconnects = 0
        """How often a connection was made again."""
        self.is_live = False
        """Whether the past is told, or none was asked for."""
        self.lags = 0
        """How often the gateway said that we take too little."""
        self.unknown_records = 0
        """Passed over: of kinds, or with words, that this version does not know."""
        self._url = url.replace("http", "ws", 1) + "/v1/stream"
        self._headers = {"Authorization": f"Bearer {token}"}
        self._context = context
        self._asked = {**asked, "op": "subscribe", "format": "protobuf"}
        self._snapshot = snapshot
        self._on_gap = on_gap
        self._topic = ""
        self._offsets: dict[int, int] = {}
        self._told_bars = ToldBars()
        if cursor:
            self._place(cursor)

    @property
    def cursor(self) -> str:
        """After the last record that was given: keep it, and ``Client.stream(cursor=…)`` goes on there."""
        return cursor_text(self._topic, self._offsets) if self._topic else ""

    async def __aiter__(self) -> AsyncGenerator[Record | AnyDerived, None]:
        async with aclosing(self._told()) as lots:  # who leaves the loop closes the connection too
            async for told in lots:
                if isinstance(told, list):
                    for record in told:
                        yield record
                    continue
                for delivered in told.records:
                    self._offsets[delivered.partition] = delivered.offset + 1
                    try:
                        record = record_in(delivered.record)
                    except WireError:  # of a newer gateway: what this version has no word for
                        self.unknown_records += 1
                        continue
                    if isinstance(record, Gap) and self._on_gap:
                        self._on_gap(record)
                    yield record
                self._place(told.cursor)

    async def batches(self) -> AsyncGenerator[Any, None]:
        """``Delivery`` messages of ``market_data.proto``: records not decoded, for who takes very many. A snapshot,
        and what is derived, is passed over."""
        async with aclosing(self._told()) as lots:
            async for told in lots:
                if not isinstance(told, list):
                    yield told
                    self._place(told.cursor)

    async def _told(self) -> AsyncGenerator[Any, None]:
        """``Delivery`` messages, or a list: of a snapshot, or of what is derived; ends where the stream does.

        Raises ``ClientError``."""
        loop = asyncio.get_running_loop()
        heard_s, wait_s = loop.time(), BACK_OFF_FIRST_S
        async with aiohttp.ClientSession(headers=self._headers) as session:
            while True:
                reason = "the connection ended"
                try:
                    async with session.ws_connect(
                        self._url, ssl=self._context or True, max_msg_size=MESSAGE_BYTES_MAX, compress=0
                    ) as socket:
                        await socket.send_json(self._request())
                        while True:
                            message = await socket.receive(SILENCE_MAX_S)
                            if message.type is aiohttp.WSMsgType.BINARY:
                                heard_s, wait_s = loop.time(), BACK_OFF_FIRST_S
                                yield Delivery.FromString(message.data)
                            elif message.type is aiohttp.WSMsgType.TEXT:
                                heard_s = loop.time()
                                answer = json.loads(message.data)
                                if answer["type"] == "end":
                                    return
                                if records := self._heard(answer):
                                    yield records
                            else:
                                break
                except aiohttp.WSServerHandshakeError as error:
                    if error.status in (401, 403):
                        raise Refused(
                            "no_token", f"the gateway refuses: {error.status}", error.status
                        ) from None
                    reason = f"HTTP {error.status}"
                except (aiohttp.ClientError, TimeoutError, OSError) as error:
                    reason = str(error) or type(error).__name__
                if loop.time() - heard_s > GIVE_UP_AFTER_S:
                    raise ClientError(f"no stream for {GIVE_UP_AFTER_S:g} s: {reason}")
                self.reconnects += 1
                await asyncio.sleep(wait_s * random.uniform(0.5, 1.0))  # noqa: S311  so that not all come at once
                wait_s = min(wait_s * 2, BACK_OFF_MAX_S)

    def _request(self) -> dict[str, Any]:
        if not self._topic:
            return self._asked | ({"snapshot": True} if self._snapshot else {})
        return self._asked | {"from": self.cursor}

    def _heard(self, answer: dict[str, Any]) -> list[Record] | list[AnyDerived]:
        """What a text said; the records of a snapshot, or derived ones. Raises ``ClientError``."""
        kind = answer["type"]
        if kind == "error" and answer["code"] in REFUSALS:
            raise Refused(answer["code"], answer["message"])
        if kind == "lost":
            self._tell_lost(Lost(answer["partition"], answer["from_offset"], answer["to_offset"]))
        self.lags += kind == "lagging"
        self.is_live |= kind == "live" or (kind == "subscribed" and "from" not in self._request())
        records = [record_of(fields) for fields in answer["records"]] if kind == "snapshot" else []
        if kind in ("subscribed", "live", "heartbeat", "snapshot", "derived"):
            self._place(answer["cursor"])
        if kind == "derived":
            return self._told_bars.new(msgspec.convert(answer["records"], list[AnyDerived]))
        return records

    def _tell_lost(self, lost: Lost) -> None:
        if self._on_gap is None:
            raise LostError(
                f"offsets {lost.from_offset} to {lost.to_offset} of partition {lost.partition} are gone; with on_gap"
                " the stream goes on behind them"
            )
        self._on_gap(lost)

    def _place(self, text: str) -> None:
        cursor = parse_cursor(text)
        self._topic, self._offsets = cursor.topic, cursor.offsets
