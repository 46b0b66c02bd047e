"""A voided withdrawal is given back once, and neither side of it is ever on the chain."""

import pytest

from accounts.tests.api import GameClient
from kgen.common.identifiers import uuid7
from wallet import ledger, reconciliation, reversals
from wallet.ledger import Balances, PostingConflict
from wallet.models import Payout, Transfer, WalletTransaction
from wallet.reversals import NotBeingVoided
from wallet.tests.factories import WalletFactory
from wallet.tests.settling import START, withdraw
from wallet.tests.test_flows import Refused

pytestmark = pytest.mark.django_db


@pytest.fixture
def wallet():
    return WalletFactory.create()


@pytest.fixture
def withdrawal(wallet):
    """Held, and its id being voided on the chain."""
    withdrawal = withdraw(wallet, 70)
    move(withdrawal, "VOIDING")
    return withdrawal


def move(withdrawal, state: str) -> None:
    Payout.objects.filter(pk=withdrawal.uid).update(
        state=state, settlement_address="0x" + "5e" * 20, onchain_id="0x" + "1d" * 32
    )


def give_back(withdrawal) -> WalletTransaction:
    return reversals.give_back(withdrawal_uid=withdrawal.uid, now=START)


def test_voided_withdrawal_is_given_back(wallet, withdrawal):
    assert ledger.balances(wallet.pk) == Balances(0, 0, 0, 0, 70, 0)

    reversal = give_back(withdrawal)

    assert ledger.balances(wallet.pk) == Balances(0, 0, 70, 0, 0, 0)
    withdrawal.refresh_from_db()
    assert (withdrawal.sync_status, withdrawal.sync_error) == ("COMPLETED", None)
    assert WalletTransaction.objects.filter(pk=reversal.uid).values().get() == {
        "uid": reversal.uid,
        "wallet_id": wallet.pk,
        "seq": withdrawal.seq + 1,
        "type": "REVERSAL",
        "direction": "CREDIT",
        "amount": 70,
        "counterparty": withdrawal.counterparty,
        "name": "Withdrawal returned",
        "description": "The withdrawal could not be paid; its KCash is back",
        "sync_status": "COMPLETED",
        "sync_error": None,
        "payout_id": None,
        "reverses_id": withdrawal.uid,
        "created_at": START,
        "modified_at": START,
    }
    assert Payout.objects.get(pk=withdrawal.uid).state == "VOIDED"
    ended = Transfer.objects.filter(posting_id=withdrawal.uid, phase=1)
    assert list(ended.values_list("kind", "amount")) == [("RELEASE", 70)]
    assert [finding for audit in reconciliation.AUDITS for finding in audit.find()] == []


def test_withdrawal_is_given_back_once(withdrawal):
    give_back(withdrawal)

    with Refused(NotBeingVoided) as refusal:
        give_back(withdrawal)

    assert refusal.raised.details == {"state": "VOIDED"}


@pytest.mark.parametrize("state", ["SUBMITTED", "CONFIRMING", "REVIEW", "FAILED"])
def test_withdrawal_that_may_still_be_paid_is_kept(withdrawal, state):
    move(withdrawal, state)

    with Refused(NotBeingVoided):
        give_back(withdrawal)

    assert Payout.objects.get(pk=withdrawal.uid).state == state


def test_withdrawal_that_has_left_is_kept(withdrawal):
    ledger.settle(withdrawal.uid)

    with Refused(PostingConflict):
        give_back(withdrawal)

    assert Payout.objects.get(pk=withdrawal.uid).state == "VOIDING"


def test_only_withdrawals_are_given_back(wallet, withdrawal):
    won = WalletTransaction.objects.get(type="REWARD_CLAIM")

    for uid in (won.uid, uuid7()):
        with Refused(WalletTransaction.DoesNotExist):
            reversals.give_back(withdrawal_uid=uid, now=START)


def test_statement_shows_both_without_a_place_on_the_chain(wallet, withdrawal):
    reversal = give_back(withdrawal)

    path = f"/wallet/lazyChain/transactions/{wallet.address}"
    body = GameClient(wallet.gamer.game).as_gamer(wallet.gamer).get(path).json()

    shown = {one["uid"]: one for one in body["fromTransactions"] + body["toTransactions"]}
    names = ("sync_status", "sync_error", "tx_hash", "block_number", "gas_fee")
    for uid in (withdrawal.uid, reversal.uid):
        assert [shown[str(uid)][name] for name in names] == ["COMPLETED", None, None, None, None]
    assert body["toTransactions"][0]["description"]["type"] == "REVERSAL"
