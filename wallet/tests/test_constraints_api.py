"""What the database refuses and no rule named is the contract's 4xx, and never a 500."""

from collections.abc import Callable

import orjson
import pytest
from django.db import IntegrityError, transaction
from django.test import RequestFactory

from kgen.common.api.exceptions import exception_handler
from kgen.common.identifiers import uuid7
from wallet import ledger
from wallet.ledger import Bucket, Kind, Leg
from wallet.models import Wallet, WalletTransaction
from wallet.tests.factories import WalletFactory
from wallet.tests.settling import START, give_bonus
from wallet.tests.test_flows import state

pytestmark = pytest.mark.django_db


def write(wallet: Wallet, **changed: object) -> None:
    """The wallet's second transaction, past every rule but the database's."""
    WalletTransaction.objects.create(
        **{
            "uid": uuid7(),
            "wallet": wallet,
            "seq": 2,
            "type": "JOIN",
            "direction": "DEBIT",
            "amount": 5,
            "counterparty": wallet.address,
            "name": "",
            "description": "",
            "created_at": START,
            "modified_at": START,
            **changed,
        }
    )


def overdraw(wallet: Wallet) -> None:
    earned = ledger.wallet_account(wallet.pk, Bucket.EARNED)
    leg = Leg(debit=earned, credit=ledger.TREASURY, amount=1, kind=Kind.GRANT)
    ledger.post([leg], posting_id=uuid7())


@pytest.mark.parametrize(
    ("act", "constraint", "status", "code"),
    [
        (lambda w: write(w, seq=1), "wallet_transaction_seq", 409, "REQUEST_IN_PROGRESS"),
        (lambda w: write(w, uid=w.bonus_posting_id), "_pkey", 409, "REQUEST_IN_PROGRESS"),
        (lambda w: write(w, amount=0), "amount_is_positive", 400, "BAD_REQUEST"),
        (lambda w: write(w, direction="CREDIT"), "direction_of_type", 400, "BAD_REQUEST"),
        (lambda w: write(w, type="REFUND"), "wallet_transaction_", 400, "BAD_REQUEST"),
        (overdraw, "transfer_never_overdraws", 400, "INSUFFICIENT_BALANCE"),
    ],
)
def test_constraint_that_refuses_is_the_contracts_4xx(
    act: Callable[[Wallet], None], constraint: str, status: int, code: str
):
    wallet = WalletFactory.create()
    give_bonus(wallet)
    before = state()

    with (
        pytest.raises((IntegrityError, ledger.LedgerError), match=constraint) as raised,
        transaction.atomic(),
    ):
        act(wallet)
    answer = exception_handler(raised.value, {"request": RequestFactory().post("/api/v1/x")})

    body = orjson.loads(answer.content)
    assert (answer.status_code, body["statusCode"], body["error"]) == (status, status, code)
    assert answer.get("Retry-After") == ("1" if status == 409 else None)
    assert state() == before
