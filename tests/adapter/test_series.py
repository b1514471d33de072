"""Series and their shares, as symbols of subscriptions."""

from __future__ import annotations

from etl.adapter.carried import Carried, is_all, is_many
from etl.adapter.series import Share, is_share, share_of

CONTRACTS = [f"KXBTC15M-26NOV2919{minute:02d}" for minute in range(60)]


def test_a_share_is_written_as_it_is_read() -> None:
    share = Share("KXBTC15M-", 1, 3)
    assert str(share) == "KXBTC15M-*%1/3"
    assert share_of("KXBTC15M-*%1/3") == share
    assert is_share("KXBTC15M-*%1/3")
    assert not is_share("KXBTC15M-*")


def test_each_contract_of_a_series_is_in_one_share_and_in_the_whole() -> None:
    shares = [Share("KXBTC15M-", index, 3) for index in range(3)]
    owners = [[share.index for share in shares if contract in share] for contract in CONTRACTS]
    assert all(len(each) == 1 for each in owners)
    assert {index for (index,) in owners} == {0, 1, 2}
    assert all(contract in Share("KXBTC15M-") for contract in CONTRACTS)
    assert "KXBTCD-26NOV2919-T1" not in Share("KXBTC15M-")


def test_a_worker_of_a_series_carries_its_contracts_and_no_star_of_all() -> None:
    carried = Carried(["KXBTC15M-*%0/1", "KXONE"])
    assert CONTRACTS[0] in carried
    assert "KXONE" in carried
    assert "KXTWO" not in carried
    assert not carried.has_all
    assert [is_many(symbol) for symbol in ("KXBTC15M-*%0/1", "O:*", "KXONE")] == [True, True, False]
    assert not is_all("KXBTC15M-*%0/1")


def test_shares_of_one_series_are_akin_however_it_was_shared_out() -> None:
    carried = Carried(["KX-*%0/2"])
    former = ["KX-*%0/1", "KX-*%1/2", "KX-7", "KY-*%0/1", "KXO"]
    assert carried.akin(former) == {"KX-*%0/1", "KX-*%1/2", "KX-7"}
    assert Carried(["KX-7"]).akin(former) == set()
    assert "KX-*%1/2" not in carried
    assert "KX-*%1/2" in Carried(["KX-*%0/1"])
