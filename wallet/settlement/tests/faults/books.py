"""The books against the chain: everything that must hold once settlement has come to rest."""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from wallet import ledger, reconciliation
from wallet.models import (
    Attempt,
    KgenWallet,
    Operator,
    Payout,
    Slot,
    SlotItem,
    Transfer,
    Wallet,
    WalletTransaction,
)
from wallet.tests.chain import Bench
from wallet.tests.soundness import assert_sound

State = Payout.State
SyncStatus = WalletTransaction.SyncStatus

VOIDED = b"\0" * 31 + b"\1"


@dataclass(frozen=True)
class Payment:
    """A Settled event."""

    onchain_id: str
    from_address: str
    to_address: str
    amount: int
    tx_hash: str


def assert_books_equal_chain(
    bench: Bench, *, strangers: Collection[str] = (), still_open: Collection[str] = ()
) -> None:
    """Every payout paid once, every payee's balance, the ledger, the nonces: all agree.

    `strangers` are ids that somebody else paid with the operator's key; `still_open` the states in
    which a payout may have come to rest without an end.
    """
    paid = payments(bench)
    ours = [payment for payment in paid if payment.onchain_id not in strangers]
    assert once_each(paid) == []
    assert_payouts_are_what_was_paid(ours, still_open=still_open)
    assert_withdrawals_end_once(bench)
    assert wrong_balances(bench) == []
    if not still_open:
        assert list(WalletTransaction.objects.exclude(sync_status=SyncStatus.COMPLETED)) == []
    assert_nonces_are_gapless(bench)
    assert_the_dead_were_never_mined(bench)
    assert_sound()
    assert reconciliation.holds_without_payout() == []
    assert reconciliation.wallets_that_differ_from_their_transactions() == []


def payments(bench: Bench) -> list[Payment]:
    """Every Settled event of the chain as it is now."""
    return [
        Payment(
            onchain_id="0x" + event["args"]["id"].hex(),
            from_address=event["args"]["from"].lower(),
            to_address=event["args"]["to"].lower(),
            amount=event["args"]["amount"],
            tx_hash="0x" + event["transactionHash"].hex(),
        )
        for event in bench.settlement.events.Settled().get_logs(from_block=0)
    ]


def once_each(paid: Sequence[Payment]) -> list[str]:
    """The ids that were paid more than once."""
    counted = Counter(payment.onchain_id for payment in paid)
    return [onchain_id for onchain_id, often in counted.items() if often > 1]


def assert_payouts_are_what_was_paid(
    paid: Sequence[Payment], *, still_open: Collection[str]
) -> None:
    completed = {
        Payment(
            str(payout.onchain_id),
            payout.from_address,
            payout.to_address,
            int(payout.amount),
            str(payout.tx_hash),
        )
        for payout in Payout.objects.filter(state=State.COMPLETED)
    }
    assert set(paid) == completed
    others = Payout.objects.exclude(state__in=[State.COMPLETED, State.VOIDED, *still_open])
    assert list(others.values("uid", "kind", "state", "seq", "tries", "error")) == []


def assert_withdrawals_end_once(bench: Bench) -> None:
    """A withdrawal is paid or given back: one end each, never both, and the chain agrees."""
    ends = dict[Any, list[str]]()
    for posting_id, kind in Transfer.objects.filter(
        phase=1, kind__in=["SETTLE", "RELEASE"]
    ).values_list("posting_id", "kind"):
        ends.setdefault(posting_id, []).append(kind)
    withdrawals = Payout.objects.filter(kind=Payout.Kind.WITHDRAW)
    expected = {State.COMPLETED.value: "SETTLE", State.VOIDED.value: "RELEASE"}
    assert {uid: set(kinds) for uid, kinds in ends.items()} == {
        payout.pk: {expected[payout.state]} for payout in withdrawals if payout.state in expected
    }
    given_back = WalletTransaction.objects.filter(reverses__payout__in=withdrawals)
    assert sorted(given_back.values_list("reverses_id", "wallet_id", "amount")) == sorted(
        withdrawals.filter(state=State.VOIDED).values_list("uid", "wallet_id", "amount")
    )
    for payout in Payout.objects.filter(state=State.VOIDED, onchain_id__isnull=False):
        assert bench.record(str(payout.onchain_id)) == VOIDED


def wrong_balances(bench: Bench) -> list[tuple[str, int, int]]:
    """Address, what should be there, what is there: of custodial and KGeN wallets alike."""
    owed = {
        wallet.address: ledger.balances(wallet.pk).onchain
        for wallet in Wallet.objects.order_by("pk")
    }
    for kgen_wallet in KgenWallet.objects.order_by("pk"):
        owed[kgen_wallet.address] = sum(
            int(payout.amount)
            for payout in Payout.objects.filter(
                to_address=kgen_wallet.address, state=State.COMPLETED
            )
        )
    return [
        (address, amount, held)
        for address, amount in owed.items()
        if (held := bench.balance(address)) != amount
    ]


def assert_nonces_are_gapless(bench: Bench) -> None:
    """A lane used each nonce once, without a gap, and the chain stands where the lane does."""
    assert list(SlotItem.objects.filter(is_open=True).exclude(slot__state="OPEN")) == []
    for lane in Operator.objects.all():
        used = list(lane.slots.order_by("nonce").values_list("nonce", flat=True))
        assert all(after == before + 1 for before, after in pairwise(used))
        if not used:
            continue
        assert used[-1] + 1 == lane.next_nonce
        still_waiting = lane.slots.filter(state=Slot.State.OPEN, mined_block__isnull=True).count()
        on_chain = bench.web3.eth.get_transaction_count(
            bench.web3.to_checksum_address(lane.address)
        )
        assert on_chain == lane.next_nonce - still_waiting


def assert_the_dead_were_never_mined(bench: Bench) -> None:
    """Whatever slot was given up, its nonce was somebody else's."""
    given_up = Attempt.objects.filter(slot__state=Slot.State.DEAD)
    mined = [
        tx_hash
        for tx_hash in given_up.values_list("tx_hash", flat=True)
        if bench.chain.rpc("eth_getTransactionReceipt", tx_hash)
    ]
    assert mined == []
