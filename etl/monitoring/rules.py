"""The rules: everything that can be late or wrong, judged once a minute. Pure.

    collect ─▶ Observed ─▶ findings(observed, memory, limits, now) ─▶ incidents.Ledger.note

Silence is judged by receive time, within the market's sessions, and a venue before its channels: when all of a venue
is silent, its channels, its row counts and its faults make one incident, not four.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence

from msgspec import Struct

from etl.adapter.contract import Exchange
from etl.adapter.faults import POLICIES
from etl.exchanges import load as load_exchange
from etl.model.times import NS_PER_S, text_of
from etl.monitoring.fault_words import FAULT_WORDS, OTHER_FAULT
from etl.monitoring.incidents import CRITICAL, WARNING, Finding
from etl.settings import sections

PART_DOWN_S = 20.0
"""A part that the supervisor brings back sooner than this is no incident."""
ROWS_INTERVALS = 12
"""Five-minute intervals whose median the last one is held against."""
ROWS_INTERVAL_S = 300
ROWS_LEAST = 500
"""Below so many rows an interval, a small number is no sign."""
ROWS_SHARE_MIN = 0.2
DISK_FREE_SHARE_MIN = 0.05
DISK_FREE_BYTES_MIN = 1 << 30
HOURLY_GROUPS = ("lake-export", "lake-archive")
HOURLY_FACTOR = 60
"""What is drained once an hour may be so much farther behind than what is drained every minute."""
FAULT_QUIET_S = 90.0
"""A fault of the venue is over when it has not come again for so long and the connection is up."""
ASKED_WITHIN_S = 60.0
"""So much later than an instrument's pace says, its worker has asked the venue's history whether it is quiet."""
LOOKED_WITHIN_S = 2.0
"""A watchdog looks once a second: it finds an event, and counts from there, so much later than it came."""
DAG_FAILURES_MAX = 20
NO_METRICS = "its metrics do not come in time: it hangs, is down, or the machine is too busy"
MONITOR_PAGE = "/plugin/pipeline_monitor"
_PAGES = {kind.value for kind, policy in POLICIES.items() if policy.pages}

IsOpen = Callable[[str, int], bool]
"""Whether the market of an exchange is in session at a time in ns."""
Memory = MutableMapping[str, float]


class FailedRun(Struct, frozen=True):
    """The last finished run of a DAG, or of the job that ``etl schedule`` runs in its place, which failed."""

    dag_id: str
    run_id: str
    ended_ns: int
    by_airflow: bool = True


class Observed(Struct, frozen=True, kw_only=True):
    """What was observed. ``last_receive_s``: Unix seconds by exchange and channel; ``silence_normal_until_s``: so,
    as the workers' watchdogs know it; ``parts``: (state, since) by name; ``backlogs``: messages by group; ``rows``: per
    exchange, counts of intervals, the newest last; ``writers``: the group that writes these rows; ``mute``: processes
    whose metrics were asked for and did not come, of the others all came; ``unseen``: what else could not be asked,
    with its reason."""

    last_receive_s: Mapping[str, Mapping[str, float]] = {}
    silence_normal_until_s: Mapping[str, Mapping[str, float]] = {}
    connections_up: Mapping[str, bool] = {}
    faults: Mapping[str, Mapping[str, float]] = {}
    parts: Mapping[str, tuple[str, float]] = {}
    backlogs: Mapping[str, int] = {}
    rows: Mapping[str, Sequence[int]] = {}
    writers: str = ""
    mute: Sequence[str] = ()
    failed_runs: Sequence[FailedRun] = ()
    disk_free: tuple[int, int] = (1, 1)
    """Free and total bytes where the state lies."""
    unseen: Mapping[str, str] = {}


def findings(
    observed: Observed, memory: Memory, limits: sections.Monitor, now_ns: int, is_open: IsOpen
) -> list[Finding]:
    """Everything that is wrong now."""
    found = list(_parts(observed, now_ns))
    found += _faults(observed, memory, now_ns)
    explained = {one.exchange for one in found if one.exchange}
    silent = list(_silent_venues(observed, memory, limits, now_ns, is_open))
    found += [one for one in silent if one.exchange not in explained]
    explained |= {one.exchange for one in silent}
    for exchange in explained:
        memory[f"disturbed/{exchange}"] = now_ns / NS_PER_S
    found += [
        one for one in _silent_channels(observed, memory, now_ns, is_open) if one.exchange not in explained
    ]
    found += [one for one in _few_rows(observed, memory, now_ns, is_open) if one.exchange not in explained]
    found += _backlogs(observed, memory, limits, now_ns)
    found += _failed_runs(observed)
    found += _disk(observed, now_ns)
    found += _unseen(observed, memory, now_ns)
    return found


def _silent_venues(
    observed: Observed, memory: Memory, limits: sections.Monitor, now_ns: int, is_open: IsOpen
) -> Iterator[Finding]:
    """No channel of the venue has given anything for ``freshness_s``. A worker that started again knows no
    receipts yet: the last one known before stands in. Of a worker that was asked and did not answer nothing is known,
    least of all that its venue is silent: that it does not answer is what is said of it (``_unseen``)."""
    for exchange in sorted({*observed.last_receive_s, *_remembered(memory, "last/")}):
        if observed.mute and exchange not in {*observed.last_receive_s, *observed.connections_up}:
            continue
        venue = load_exchange(exchange)
        received = _streamed(venue, observed.last_receive_s.get(exchange, {}))
        newest_s = max([*received.values(), memory.get(f"last/{exchange}", 0.0)])
        memory[f"last/{exchange}"] = newest_s
        age_s = now_ns / NS_PER_S - newest_s
        is_up = observed.connections_up.get(exchange, False)
        limit_s = limits.freshness_s
        if is_up:
            untils_s = observed.silence_normal_until_s.get(exchange, {})
            limit_s = max(limit_s, _quiet_venue_s(venue, received, untils_s))
        if age_s <= limit_s or not _in_session(exchange, now_ns, limits.freshness_s, is_open):
            continue
        where = (
            "the connection is up, but mute" if is_up else "the worker is not connected and goes on trying"
        )
        yield Finding(
            key=f"silent/{exchange}",
            severity=CRITICAL,
            title=f"{exchange}: no data for {age_s:.0f} s",
            since_ns=int(newest_s * NS_PER_S),
            how_far=f"{age_s:.0f} s since the last event of any channel; {limit_s:.0f} s are normal",
            cause=f"{where}: the venue is down or unreachable, or its worker hangs",
            to_do=f"Look at the venue's status page and at the log of stream-{exchange}. What is missed is declared "
            "as a gap and repaired from the venue's history when it is back (`etl gaps list`).",
            exchange=exchange,
            channels=tuple(sorted(received)),
            symbols=venue.default_symbols,
            link=MONITOR_PAGE,
        )


def _silent_channels(observed: Observed, memory: Memory, now_ns: int, is_open: IsOpen) -> Iterator[Finding]:
    """A channel is silent beyond its own limit while the venue's others flow. Its clock starts anew after the
    whole venue was disturbed."""
    for exchange, by_channel in observed.last_receive_s.items():
        venue = load_exchange(exchange)
        for name, last_s in _streamed(venue, by_channel).items():
            until_s = observed.silence_normal_until_s.get(exchange, {}).get(name, 0.0)
            limit_s = _learned_s(_limit_s(venue, name), last_s, until_s)
            from_s = max(last_s, memory.get(f"disturbed/{exchange}", 0.0))
            age_s = now_ns / NS_PER_S - from_s
            if not limit_s or age_s <= limit_s or not _in_session(exchange, now_ns, limit_s, is_open):
                continue
            yield Finding(
                key=f"silent/{exchange}/{name}",
                severity=WARNING,
                title=f"{exchange} {name}: no data for {now_ns / NS_PER_S - last_s:.0f} s",
                since_ns=int(last_s * NS_PER_S),
                how_far=f"{now_ns / NS_PER_S - last_s:.0f} s since the last event; {limit_s:.0f} s are normal",
                cause="the venue sends this channel no more while the others flow, or no subscribed symbol trades",
                to_do=f"Look at the log of stream-{exchange} for a refused subscription; restart it if there is none.",
                exchange=exchange,
                channels=(name,),
                symbols=venue.default_symbols,
                link=MONITOR_PAGE,
            )


def _faults(observed: Observed, memory: Memory, now_ns: int) -> Iterator[Finding]:
    """Refused keys, missing rights, limits, bans: what the venue itself says, as soon as it is counted."""
    for exchange, by_kind in observed.faults.items():
        for kind, count in by_kind.items():
            if kind not in _PAGES:
                continue
            key = f"fault/{exchange}/{kind}"
            before = memory.get(f"{key}/count", 0.0)
            if count > before or (count < before and count):
                memory.setdefault(f"{key}/since", now_ns / NS_PER_S)
                memory[f"{key}/last"] = now_ns / NS_PER_S
            memory[f"{key}/count"] = count
            if key + "/last" not in memory:
                continue
            quiet_s = now_ns / NS_PER_S - memory[f"{key}/last"]
            if quiet_s >= FAULT_QUIET_S and observed.connections_up.get(exchange, False):
                del memory[f"{key}/last"], memory[f"{key}/since"]
                continue
            cause, to_do = FAULT_WORDS.get(kind, OTHER_FAULT)
            yield Finding(
                key=key,
                severity=CRITICAL,
                title=f"{exchange}: the venue refuses us: {kind.replace('_', ' ')}",
                since_ns=int(memory[f"{key}/since"] * NS_PER_S),
                how_far=f"said {count:.0f} times since the worker started",
                cause=cause,
                to_do=to_do,
                exchange=exchange,
                symbols=load_exchange(exchange).default_symbols,
                link=MONITOR_PAGE,
            )


def _parts(observed: Observed, now_ns: int) -> Iterator[Finding]:
    for name, (state, since_s) in observed.parts.items():
        down_s = now_ns / NS_PER_S - since_s
        if state in ("running", "done", "stopped") or down_s < PART_DOWN_S or name.startswith("simulate-"):
            continue
        exchange = name.removeprefix("stream-") if name.startswith("stream-") else ""
        yield Finding(
            key=f"part/{name}",
            severity=CRITICAL,
            title=f"{name} is not running ({state})",
            since_ns=int(since_s * NS_PER_S),
            how_far=f"not running for {down_s:.0f} s",
            cause="it ends at its start, or waits for a part that is down",
            to_do=f"Read its log, {name}.log; the supervisor goes on trying.",
            exchange=exchange,
            symbols=load_exchange(exchange).default_symbols if exchange else (),
            link=MONITOR_PAGE,
        )


def _backlogs(observed: Observed, memory: Memory, limits: sections.Monitor, now_ns: int) -> Iterator[Finding]:
    """Too many messages to read, and no fewer than at the last check."""
    for group, messages in observed.backlogs.items():
        before = memory.get(f"backlog/{group}", 0.0)
        memory[f"backlog/{group}"] = messages
        allowed = limits.backlog_messages_max * (HOURLY_FACTOR if group in HOURLY_GROUPS else 1)
        if messages <= allowed or messages < before:
            memory.pop(f"backlog-since/{group}", None)
            continue
        since_s = memory.setdefault(f"backlog-since/{group}", now_ns / NS_PER_S)
        yield Finding(
            key=f"backlog/{group}",
            severity=WARNING,
            title=f"{group} is {messages:,} messages behind",
            since_ns=int(since_s * NS_PER_S),
            how_far=f"{messages:,} messages not read; {allowed:,} are allowed",
            cause="its store is slow or down, or its DAG does not run",
            to_do="Look at the store and at the DAG or sink of that name. Nothing is lost while the topic keeps it.",
            link=MONITOR_PAGE,
        )


def _few_rows(observed: Observed, memory: Memory, now_ns: int, is_open: IsOpen) -> Iterator[Finding]:
    """The last whole interval holds far less than the median of those before it. Where as many messages wait for who
    writes them, it is late and not the venues."""
    few: dict[str, tuple[int, int]] = {}
    for exchange, counts in observed.rows.items():
        *before, last = counts or (0,)
        window_s = ROWS_INTERVAL_S * 2
        norm = sorted(before)[len(before) // 2] if len(before) >= ROWS_INTERVALS // 2 else 0
        is_disturbed = now_ns / NS_PER_S - memory.get(f"disturbed/{exchange}", 0.0) < window_s
        if norm < ROWS_LEAST or last >= norm * ROWS_SHARE_MIN or is_disturbed:
            continue
        if not _in_session(exchange, now_ns, ROWS_INTERVAL_S * ROWS_INTERVALS, is_open):
            continue
        few[exchange] = last, norm
    waiting = observed.backlogs.get(observed.writers, 0)
    if few and waiting >= sum(norm - last for last, norm in few.values()):
        yield Finding(
            key=f"rows-late/{observed.writers}",
            severity=WARNING,
            title=f"{observed.writers} is behind: rows of {', '.join(few)} are received and not stored yet",
            since_ns=now_ns - ROWS_INTERVAL_S * 2 * NS_PER_S,
            how_far=f"{waiting:,} messages not written; "
            + "; ".join(
                f"{exchange}: {last:,} rows of five minutes instead of about {norm:,}"
                for exchange, (last, norm) in few.items()
            ),
            cause="the store is slow or down, or the machine has no time for its sink; the venues stream",
            to_do="Look at the sink's log and at the store. Nothing is lost while the topic keeps it.",
            link=MONITOR_PAGE,
        )
        return
    for exchange, (last, norm) in few.items():
        yield Finding(
            key=f"rows/{exchange}",
            severity=WARNING,
            title=f"{exchange}: {last:,} rows in five minutes instead of about {norm:,}",
            since_ns=now_ns - ROWS_INTERVAL_S * 2 * NS_PER_S,
            how_far=f"{last:,} rows stored in the last five minutes; the hour before had a median of {norm:,}",
            cause="symbols or channels have gone from the subscription, or the market is unusually quiet",
            to_do="Compare the channels on the monitor page; look for quarantined and ignored events.",
            exchange=exchange,
            symbols=load_exchange(exchange).default_symbols,
            link=MONITOR_PAGE,
        )


def _failed_runs(observed: Observed) -> Iterator[Finding]:
    for run in observed.failed_runs[:DAG_FAILURES_MAX]:
        yield Finding(
            key=f"dag/{run.dag_id}",
            severity=WARNING,
            title=f"{run.dag_id}: the last run failed",
            since_ns=run.ended_ns,
            how_far=f"run {run.run_id} ended at {text_of(run.ended_ns)} after all its retries",
            cause="the log of its last task says it",
            to_do="Open the run, read the log of the failed task, mend the cause and clear the task."
            if run.by_airflow
            else f"Read schedule.log, mend the cause, and `etl schedule run {run.dag_id}`; or wait for its next time.",
            link=f"/dags/{run.dag_id}/runs/{run.run_id}" if run.by_airflow else "",
        )


def _disk(observed: Observed, now_ns: int) -> Iterator[Finding]:
    free, total = observed.disk_free
    if total <= 1 or (free >= total * DISK_FREE_SHARE_MIN and free >= DISK_FREE_BYTES_MIN):
        return
    yield Finding(
        key="disk",
        severity=CRITICAL,
        title=f"the disk is full: {free / (1 << 20):,.0f} MiB free",
        since_ns=now_ns,
        how_far=f"{free / total:.1%} of {total / (1 << 30):,.0f} GiB are free",
        cause="topics, stores and lake have grown; nothing is deleted by default",
        to_do="Make room or add disk; `expire_data` and the topics' retention delete by settings.",
        link=MONITOR_PAGE,
    )


def _unseen(observed: Observed, memory: Memory, now_ns: int) -> Iterator[Finding]:
    """What could not even be asked, twice in a row: a monitor that sees nothing must not say that all is well."""
    unseen = {**dict.fromkeys(observed.mute, NO_METRICS), **observed.unseen}
    for name in list(_remembered(memory, "unseen/")):
        if name not in unseen:
            del memory[f"unseen/{name}"]
    for name, reason in unseen.items():
        if f"unseen/{name}" not in memory:
            memory[f"unseen/{name}"] = now_ns / NS_PER_S
            continue
        yield Finding(
            key=f"unseen/{name}",
            severity=CRITICAL,
            title=f"{name} does not answer",
            since_ns=int(memory[f"unseen/{name}"] * NS_PER_S),
            how_far=reason,
            cause=f"{name} is down, or cannot be reached from where the monitor runs",
            to_do="Bring it back; what depends on it is not watched until then.",
            link=MONITOR_PAGE,
        )


def _in_session(exchange: str, now_ns: int, window_s: float, is_open: IsOpen) -> bool:
    """Silence means something only if the market was open all along."""
    return is_open(exchange, now_ns) and is_open(exchange, now_ns - int(window_s * NS_PER_S))


def _streamed(venue: type[Exchange], by_channel: Mapping[str, float]) -> Mapping[str, float]:
    """Without answers to requests: a mute venue still answers with a snapshot (``depth`` beside ``depth@100ms``)
    to every new connection."""
    declared = {channel.name for channel in venue.channels}
    return {
        name: last_s
        for name, last_s in by_channel.items()
        if name in declared or not ((channel := venue.channel(name)) and channel.family == name)
    }


def limits_s(
    venue: type[Exchange], channels: Mapping[str, float], normal_until_s: Mapping[str, float]
) -> dict[str, float]:
    """After how many seconds without an event each of ``channels`` is silent; those that come by request, or when
    something happens, have no limit and are left out."""
    limits = {
        name: _learned_s(_limit_s(venue, name), last_s, normal_until_s.get(name, 0.0))
        for name, last_s in _streamed(venue, channels).items()
    }
    return {name: limit_s for name, limit_s in limits.items() if limit_s}


def _limit_s(venue: type[Exchange], channel: str) -> float:
    declared = venue.channel(channel)
    return declared.stale_after_s if declared else 0.0


def _quiet_venue_s(
    venue: type[Exchange], received: Mapping[str, float], normal_until_s: Mapping[str, float]
) -> float:
    """How long the whole venue may be silent as its watchdog has learned: as long as its liveliest channel, 0 = that
    one is no quieter than the venue file says."""
    limits = limits_s(venue, received, normal_until_s)
    if any(limit_s <= _limit_s(venue, name) for name, limit_s in limits.items()):
        return 0.0
    return min(limits.values(), default=0.0)


def _learned_s(limit_s: float, last_s: float, normal_until_s: float) -> float:
    """The limit, or what is normal beyond it as the watchdog has learned, and the time that its question takes."""
    learned_s = normal_until_s - last_s
    is_learned = 0.0 < limit_s < learned_s - LOOKED_WITHIN_S
    return learned_s + ASKED_WITHIN_S if is_learned else limit_s


def _remembered(memory: Mapping[str, float], prefix: str) -> Iterator[str]:
    return (key.removeprefix(prefix) for key in list(memory) if key.startswith(prefix))
