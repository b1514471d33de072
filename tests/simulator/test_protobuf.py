from __future__ import annotations

from etl.simulator.protobuf import protobuf


def test_numbers_texts_messages_and_arrays_are_written_as_protocol_buffers_has_them() -> None:
    assert protobuf({"1": 150}) == b"\x08\x96\x01"
    assert protobuf({"2": "testing"}) == b"\x12\x07testing"
    assert protobuf({"3": {"1": 150}}) == b"\x1a\x03\x08\x96\x01"
    assert protobuf({"314": [{"1": "a"}, {"1": "b"}]}) == b"\xd2\x13\x03\x0a\x01a\xd2\x13\x03\x0a\x01b"
    assert protobuf({"1": -1}) == b"\x08" + b"\xff" * 9 + b"\x01"
