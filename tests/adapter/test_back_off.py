from __future__ import annotations

from random import Random

from etl.adapter.back_off import back_off_s


def test_back_off_doubles_up_to_its_cap_with_full_jitter() -> None:
    random = Random(7)
    for failures, most in ((0, 0.5), (1, 1.0), (3, 4.0), (5, 10.0), (10_000, 10.0)):
        delays = [back_off_s(failures, 0.5, 10.0, random.random()) for _ in range(300)]
        assert 0.0 <= min(delays) < most / 4
        assert most * 3 / 4 < max(delays) <= most
        assert back_off_s(failures, 0.5, 10.0) == most
