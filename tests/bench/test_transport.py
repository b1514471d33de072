from __future__ import annotations

from etl.bench.transport import MIX_FRAMES, the_mix
from etl.settings import Settings
from etl.wire import codec


def test_the_mix_is_what_a_worker_publishes_of_each_frame_in_its_order(settings: Settings) -> None:
    mix = the_mix(settings)
    raw = [one for one in mix if one.topic == settings.topics.raw]
    assert len(raw) == MIX_FRAMES
    assert [int(one.headers["frame_sequence"]) for one in raw] == list(range(1, MIX_FRAMES + 1))
    assert mix[0] is raw[0]
    normalized = [codec.decode(one.value) for one in mix if one.topic == settings.topics.normalized]
    assert len(normalized) >= MIX_FRAMES
    sequences = [record.frame_sequence for record in normalized]
    assert sequences == sorted(sequences)
