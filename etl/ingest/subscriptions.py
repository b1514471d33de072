"""What each connection of a worker asks for: its shard's symbols, cut by the venue's sockets and limits."""

from __future__ import annotations

from collections.abc import Sequence

from etl.adapter.carried import ALL, Carried
from etl.adapter.contract import Channel, Exchange, Subscription
from etl.adapter.series import STAR, Share
from etl.errors import UsageError
from etl.ingest.contracts import CONTRACTS_MAX


def subscriptions(
    exchange: type[Exchange], symbols: Sequence[str], channels: Sequence[str], shard: str
) -> list[Subscription]:
    """What each connection asks for: this shard's symbols, cut by socket and by the venue's limits of streams.

    Raises ``UsageError``, also where a key may not hold so many connections."""
    index, count = _shard(shard)
    if count > 1 and exchange.connections_max == 1:
        raise UsageError(f"{exchange.name}: one connection per key, so --shard {shard} cannot work")
    direct = exchange().instruments.direct
    named, shares = _told_apart(exchange, symbols or exchange.default_symbols, index, count)
    wanted = tuple(dict.fromkeys(map(direct, named)))[index::count]
    if not (wanted or shares):
        raise UsageError(f"--shard {shard}: no symbol is left for it")
    names = tuple(channels or exchange.default_channels or (channel.name for channel in exchange.channels))
    for name in names:
        if exchange.channel(name) is None:
            known = ", ".join(channel.name for channel in exchange.channels)
            raise UsageError(f"{exchange.name}: no channel {name}; known are {known}")
    cut = _of_contracts(exchange, shares, names) if shares else []
    for whole in exchange.sockets(Subscription(wanted, names)) if wanted else ():
        narrow, symbols_max = _narrowest(exchange, whole), symbols_max_of(exchange, whole)
        if exchange.connections_max == 1 and len(wanted) > symbols_max:
            raise UsageError(
                f"{exchange.name}: {narrow.name} of {len(wanted):,} symbols, and the one connection of a key takes"
                f" {symbols_max:,}"
            )
        cut += [
            Subscription(wanted[start : start + symbols_max], whole.channels, whole.socket)
            for start in range(0, len(wanted), symbols_max)
        ]
    return cut


def _told_apart(
    exchange: type[Exchange], symbols: Sequence[str], index: int, count: int
) -> tuple[list[str], tuple[str, ...]]:
    """Those that are named, or that the venue takes as they are, and this worker's shares of series."""
    if exchange.series is None:
        return list(symbols), ()
    series = [symbol for symbol in symbols if symbol.endswith(STAR) and symbol != ALL]
    shares = [str(Share(symbol.removesuffix(STAR), index, count)) for symbol in series]
    return [symbol for symbol in symbols if symbol not in series], tuple(dict.fromkeys(shares))


def _of_contracts(
    exchange: type[Exchange], shares: tuple[str, ...], names: Sequence[str]
) -> list[Subscription]:
    """Of series; what tells of contracts is listened to in any case. Raises ``UsageError``."""
    told = exchange.series.channel if exchange.series else ""
    channels = tuple(name for name in names if name != told)
    if not channels:
        raise UsageError(
            f"{exchange.name}: a series needs a channel of its contracts, {told} is of the series"
        )
    return list(exchange.sockets(Subscription(shares, channels)))


def symbols_max_of(exchange: type[Exchange], subscription: Subscription) -> int:
    """How many symbols one connection takes with these channels."""
    narrow, channels = _narrowest(exchange, subscription), len(subscription.channels)
    streams = exchange.streams_max // channels if exchange.streams_max else CONTRACTS_MAX
    return max(1, min(streams, narrow.symbols_max or streams))


def _narrowest(exchange: type[Exchange], subscription: Subscription) -> Channel:
    """The channel that limits a connection's symbols, if any does. Raises ``UsageError`` for a star instead of them."""
    channels = [channel for name in subscription.channels if (channel := exchange.channel(name))]
    limited = [channel for channel in channels if channel.symbols_max]
    if limited and Carried(subscription.symbols).has_all:
        raise UsageError(f"{exchange.name}: {limited[0].name} takes no *, only symbols by name")
    return min(limited, key=lambda channel: channel.symbols_max, default=channels[0])


def _shard(text: str) -> tuple[int, int]:
    index, slash, count = text.partition("/")
    if not (slash and index.isdecimal() and count.isdecimal() and int(index) < int(count)):
        raise UsageError(f"--shard {text}: i/n with 0 <= i < n")
    return int(index), int(count)
