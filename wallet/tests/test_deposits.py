"""KCash from outside: booked once, and on the chain's books at once where the chain has it."""

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone

from accounts.tests.api import GameClient
from kgen.common.identifiers import uuid7
from wallet import deposits, ledger, reconciliation
from wallet.deposits import DepositConflict, NotFromOutside
from wallet.ledger import BadPosting, Balances
from wallet.models import Deposit, Transfer, WalletTransaction
from wallet.tests.factories import WalletFactory
from wallet.tests.settling import START, receive
from wallet.tests.test_flows import FLOAT, Refused, freeze

pytestmark = pytest.mark.django_db

OUTSIDE = "0x" + "0f" * 20
HASH = "0x" + "de" * 32
EVENT = deposits.ChainEvent(31337, HASH, log_index=3, block_number=12)


def legs(uid):
    posted = Transfer.objects.filter(posting_id=uid).order_by("phase")
    return list(posted.values_list("phase", "kind", "debit_id", "credit_id", "amount"))


def account(wallet, bucket):
    return ledger.wallet_account(wallet.pk, bucket)


def findings():
    return [finding for audit in reconciliation.AUDITS for finding in audit.find()]


# --- On the chain --------------------------------------------------------------------------------


def test_deposit_from_outside_is_bought_and_on_the_chain_at_once():
    wallet = WalletFactory.create()

    deposit = receive(wallet, 70)

    assert ledger.balances(wallet.pk) == Balances(0, 70, 0, 0, 0, 70)
    assert (deposit.type, deposit.direction, deposit.amount) == ("DEPOSIT", "CREDIT", 70)
    assert (deposit.sync_status, deposit.payout_id) == ("COMPLETED", None)
    assert (deposit.from_address, deposit.to_address) == (OUTSIDE, wallet.address)
    assert legs(deposit.uid) == [
        (0, "DEPOSIT", ledger.KGEN_OUT, account(wallet, "bought"), 70),
        (2, "CONFIRM", ledger.CHAIN_SUPPLY, account(wallet, "onchain"), 70),
    ]
    assert Deposit.objects.values().get() == {
        "transaction_id": deposit.uid,
        "chain_id": 31337,
        "tx_hash": HASH,
        "log_index": 3,
        "block_number": 12,
        "purchase_reference": None,
        "created_at": START,
    }
    assert findings() == []


def test_deposit_is_booked_once_per_event():
    wallet = WalletFactory.create()
    first = receive(wallet, 70)

    again, another = receive(wallet, 70), receive(wallet, 70, tx_hash="0x" + "ad" * 32)

    assert again == first
    assert another.seq == 2
    assert ledger.balances(wallet.pk) == Balances(0, 140, 0, 0, 0, 140)


@pytest.mark.parametrize("amount", [0, -1, 0.5, float("nan"), True, 10**78])
def test_deposit_is_a_whole_amount(amount):
    wallet = WalletFactory.create()

    with Refused(BadPosting):
        receive(wallet, amount)

    assert not Deposit.objects.exists()


def test_deposit_that_is_booked_otherwise_is_refused():
    wallet, other = WalletFactory.create(), WalletFactory.create()
    receive(wallet, 70)

    with Refused(DepositConflict):
        receive(wallet, 71)
    with Refused(DepositConflict):
        receive(other, 70)


def test_our_own_transfers_are_no_deposits():
    wallet = WalletFactory.create()

    for sender in (FLOAT, wallet.address.upper().replace("0X", "0x")):
        with Refused(NotFromOutside):
            deposits.receive(wallet=wallet, amount=70, from_address=sender, event=EVENT, now=START)


def test_frozen_wallet_receives():
    wallet = WalletFactory.create()
    freeze(wallet)

    receive(wallet, 70)

    assert ledger.balances(wallet.pk).bought == 70


# --- Bought --------------------------------------------------------------------------------------


def test_purchase_is_bought_and_waits_for_the_chain():
    wallet = WalletFactory.create()

    bought = deposits.buy(wallet=wallet, amount=70, reference="order 1", now=START)
    again = deposits.buy(wallet=wallet, amount=70, reference="order 1", now=START)

    assert again == bought
    assert ledger.balances(wallet.pk) == Balances(0, 70, 0, 0, 0, 0)
    assert (bought.type, bought.sync_status) == ("DEPOSIT", "PENDING")
    assert (bought.from_address, bought.to_address) == (FLOAT, wallet.address)
    assert legs(bought.uid) == [(0, "DEPOSIT", ledger.MINT, account(wallet, "bought"), 70)]
    assert findings() == []


def test_purchase_that_is_booked_otherwise_is_refused():
    wallet, other = WalletFactory.create(), WalletFactory.create()
    deposits.buy(wallet=wallet, amount=70, reference="order 1", now=START)

    with Refused(DepositConflict):
        deposits.buy(wallet=wallet, amount=7, reference="order 1", now=START)
    with Refused(DepositConflict):
        deposits.buy(wallet=other, amount=70, reference="order 1", now=START)


def test_purchase_needs_a_reference():
    wallet = WalletFactory.create()

    with Refused(IntegrityError):
        deposits.buy(wallet=wallet, amount=70, reference="", now=START)


def test_deposit_is_on_the_chain_or_bought():
    wallet = WalletFactory.create()

    with pytest.raises(IntegrityError, match="deposit_on_chain_or_bought"), transaction.atomic():
        Deposit.objects.create(
            transaction_id=uuid7(), chain_id=1, purchase_reference="order 1", created_at=START
        )

    assert ledger.balances(wallet.pk).lazy == 0


# --- What the gamer sees -------------------------------------------------------------------------


def test_statement_names_the_deposits_place_on_the_chain(django_assert_num_queries):
    wallet = WalletFactory.create(now=timezone.now())
    received = receive(wallet, 70)
    bought = deposits.buy(wallet=wallet, amount=30, reference="order 1", now=START)
    client = GameClient(wallet.gamer.game).as_gamer(wallet.gamer)

    with django_assert_num_queries(4):  # two of them ask who it is
        answer = client.get(f"/wallet/lazyChain/transactions/{wallet.address}")

    shown = {one["uid"]: one for one in answer.json()["toTransactions"]}
    on_chain, waiting = shown[str(received.uid)], shown[str(bought.uid)]
    assert on_chain["description"] == {
        "platformProtocolsTxnAmount": 70,
        "platformProtocolsTxnName": "Deposit",
        "platformProtocolsTxnDescription": "KCash received from outside",
        "platformProtocolsTxnType": "CREDIT",
        "type": "DEPOSIT",
    }
    place = ("sync_status", "tx_hash", "block_number", "gas_fee", "from_wallet")
    assert [on_chain[name] for name in place] == ["COMPLETED", HASH, 12, None, "0x0f*****0f0f"]
    assert [waiting[name] for name in place] == ["PENDING", None, None, None, "0x50*****3c9c"]
    assert WalletTransaction.objects.count() == 2
