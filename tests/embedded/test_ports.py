from __future__ import annotations

import socket

from etl.embedded.ports import free_ports, free_range


def test_a_free_range_is_free_throughout_and_keeps_clear_of_ports_that_are_spoken_for() -> None:
    taken = free_ports(200)
    first = free_range(24, without=taken)
    wanted = range(first, first + 24)
    assert not set(wanted) & set(taken)
    for port in wanted:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
