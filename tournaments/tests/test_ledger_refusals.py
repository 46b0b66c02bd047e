"""What the ledger alone refuses reaches the caller as one of the contract's 4xx, and moves nothing."""

import pytest

from accounts.tests.api import GameClient, error_body
from kgen.common.api.exceptions import status_of
from kgen.common.identifiers import uuid7
from rewards.tests.factories import prize, winner
from tournaments.tests.world import world
from wallet import custody, ledger
from wallet.tests.factories import fill

pytestmark = pytest.mark.django_db


def post(gamer, path, body=None, **kwargs):
    return GameClient(gamer.game).as_gamer(gamer).post(path, body, **kwargs)


@pytest.mark.parametrize("key", [None, "claim-1"])
def test_an_account_that_would_be_overdrawn(now, key):
    gamer = winner()
    prize(gamer, 60, now=now)
    wallet = custody.wallet_of(gamer)
    claimable = ledger.wallet_account(wallet.pk, ledger.Bucket.CLAIMABLE)
    lost = ledger.Leg(claimable, ledger.TREASURY, 1, ledger.Kind.GRANT)
    ledger.post([lost], posting_id=uuid7())
    before = world()

    response = post(gamer, "/rewards/_claim", key=key)

    assert response.status_code == 400
    assert error_body(response) == {"error": "INSUFFICIENT_BALANCE", "details": {}}
    assert world() == before


def test_a_balance_with_more_digits_than_there_are(now):
    gamer = winner()
    prize(gamer, 60, now=now)
    fill(custody.wallet_of(gamer), ledger.Bucket.EARNED, 10**78 - 1)
    before = world()

    response = post(gamer, "/rewards/_claim")

    assert response.status_code == 400
    assert error_body(response) == {"error": "BAD_REQUEST", "details": {}}
    assert world() == before


def test_every_refusal_of_the_ledger_has_a_status():
    refusals = ledger.LedgerError.__subclasses__()

    assert {refusal.__name__: (status_of(refusal), refusal.code) for refusal in refusals} == {
        "BadPosting": (400, "BAD_REQUEST"),
        "InsufficientFunds": (400, "INSUFFICIENT_BALANCE"),
        "UnknownAccount": (404, "NOT_FOUND"),
        "PostingConflict": (409, "IDEMPOTENCY_KEY_REUSED"),
        "PostingIdOutOfRange": (400, "BAD_REQUEST"),
    }
