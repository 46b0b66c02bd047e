"""T6 and T12: two nodes that disagree, one that is away, and a chain or contract that is not ours."""

import logging
from collections.abc import Iterator

import pytest
from django.conf import settings

from wallet.models import Operator, Slot
from wallet.settlement.chain import ChainUnavailable, Web3Chain
from wallet.settlement.tests.faults.proxy import Fault, FaultProxy
from wallet.settlement.verifying import WrongChain
from wallet.tests.factories import WalletFactory
from wallet.tests.settling import Engine, give_bonus, payout_of, status


@pytest.fixture
def second(engine: Engine) -> Iterator[FaultProxy]:
    """The line to a second node; the engine knows both."""
    proxy = FaultProxy(engine.bench.chain.url)
    engine.chain = Web3Chain(  # type: ignore[assignment]
        engine.bench.chain.url, second_url=proxy.url, kcash_address=settings.KCASH_ADDRESS
    )
    yield proxy
    proxy.close()


def lose_the_nonce(engine: Engine) -> None:
    """Somebody with the operator's key uses the nonce of the lane's open slot, for good."""
    node, operator = engine.bench.chain, engine.bench.operator
    node.rpc("anvil_dropAllTransactions")
    node.rpc("anvil_impersonateAccount", operator)
    node.rpc("eth_sendTransaction", {"from": operator, "to": operator, "value": "0x0"})
    engine.finalize()


@pytest.mark.parametrize("fault", [Fault.STALE, Fault.SERVER_ERROR, Fault.TOO_MANY_REQUESTS])
def test_a_slot_is_given_up_once_both_nodes_say_that_its_nonce_is_lost(
    engine: Engine, second: FaultProxy, caplog, fault
):
    wallet = WalletFactory.create()
    bonus = give_bonus(wallet)
    second.blocks_behind = 30
    engine.bench.chain.mine(30)
    engine.tick()
    lose_the_nonce(engine)
    second.always(fault)

    with caplog.at_level(logging.WARNING):
        engine.tick()
        engine.tick()
    assert Slot.objects.get().state == "OPEN"
    assert payout_of(bonus).state == "SUBMITTED"
    assert any("nonce" in record.getMessage() for record in caplog.records)

    second.heal()
    engine.settle_all()
    assert Slot.objects.earliest("nonce").state == "DEAD"
    assert (status(bonus), engine.onchain(wallet)) == ("COMPLETED", 50)


def test_settlement_goes_on_by_the_second_node_while_the_first_is_away(
    engine: Engine, second: FaultProxy
):
    first = FaultProxy(engine.bench.chain.url)
    try:
        engine.chain = Web3Chain(  # type: ignore[assignment]
            first.url, second_url=second.url, kcash_address=settings.KCASH_ADDRESS
        )
        wallet = WalletFactory.create()
        bonus = give_bonus(wallet)
        first.always(Fault.SERVER_ERROR)

        with pytest.raises(ChainUnavailable):
            engine.tick()
        engine.settle_all()
    finally:
        first.close()

    assert (status(bonus), engine.onchain(wallet)) == ("COMPLETED", 50)
    assert first.calls.total() == 1


def test_a_lane_refuses_a_contract_with_other_code_and_says_so(engine: Engine):
    engine.open_lane()
    bonus = give_bonus(WalletFactory.create())
    address = settings.SETTLEMENT_ADDRESS
    code = bytearray(engine.chain.code(address))
    code[200] ^= 1
    engine.bench.chain.rpc("anvil_setCode", address, "0x" + code.hex())
    engine.chain = type(engine.chain)()  # as a worker that starts anew

    with pytest.raises(WrongChain, match="is not the Settlement of this release"):
        engine.tick()

    bonus.refresh_from_db()
    lane = Operator.objects.get()
    assert (bonus.payout, Slot.objects.count()) == (None, 0)
    assert lane.is_paused
    assert "is not the Settlement of this release" in lane.pause_reason
