"""The API contract, sections 3.7, 3.8 and 3.13."""

import base64
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from accounts.models import Gamer
from accounts.tests.api import GameClient, error_body
from accounts.tests.factories import GameFactory, GamerFactory
from kgen.common.identifiers import uuid7
from wallet import claims, freezing, ledger, welcome_bonus
from wallet.ledger import Balances
from wallet.models import Payout, Wallet, WalletTransaction
from wallet.settlement import batching
from wallet.tests.factories import KgenWalletFactory, WalletFactory

pytestmark = pytest.mark.django_db

BALANCE = "/wallet/lazyChain/balance"
WITHDRAW = "/wallet/_withdraw"
FLOAT = "0x5050a4f4b3f9338c3472dcc01a87c76a144b3c9c"
# The client with its secret, and the token with session, gamer and game.
AUTHENTICATION = 2
NOW = datetime(2026, 1, 1, 0, 0, 0, 120000, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _settlement(settings) -> None:
    settings.SETTLEMENT_ADDRESS = "0x" + "5e" * 20


@pytest.fixture
def wallet():
    """A gamer's wallet as the first session leaves it."""
    wallet = WalletFactory.create(gamer=GamerFactory.create(), now=NOW)
    welcome_bonus.grant(wallet=wallet, now=NOW)
    return wallet


def api(gamer: Gamer) -> GameClient:
    return GameClient(gamer.game).as_gamer(gamer)


def link(gamer):
    kgen = KgenWalletFactory.create()
    Gamer.objects.filter(pk=gamer.pk).update(kgen_account=kgen.account)
    return kgen


def win(wallet: Wallet, amount: int) -> WalletTransaction:
    claims.promise(wallet=wallet, amount=amount, reference=uuid7())
    return claims.credit(
        wallet=wallet,
        amount=amount,
        reference=uuid7(),
        description="Reward for Daily Carrom",
        now=timezone.now(),
    )


def sync(entry: WalletTransaction, status: str, **fields: Any) -> None:
    WalletTransaction.objects.filter(pk=entry.pk).update(sync_status=status, **fields)


# --- Balance -------------------------------------------------------------------------------------


def test_balance_of_a_new_gamer(wallet):
    answer = api(wallet.gamer).get(BALANCE)

    assert answer.status_code == 200
    assert answer.json() == {
        "wallet_address": wallet.address,
        "earned_balance": 0,
        "bought_balance": 0,
        "bonus_balance": 50,
        "wallet_transaction_error": False,
        "created_at": "2026-01-01T00:00:00.120000Z",
        "modified_at": "2026-01-01T00:00:00.120000Z",
        "lazy_balance_delta": 50,
        "is_lazy_balance_updated": False,
        "lazy_balance": 50,
        "on_chain_balance": 0,
        "minWalletBalToWithdraw": 1000,
        "kgen_wallet_address": None,
    }


def test_balance_counts_neither_what_is_claimable_nor_what_is_held():
    wallet = WalletFactory.create(bonus=1, bought=20, earned=300, claimable=4000, hold=50_000)

    body = api(wallet.gamer).get(BALANCE).json()

    assert (body["bonus_balance"], body["bought_balance"], body["earned_balance"]) == (1, 20, 300)
    assert (body["lazy_balance"], body["on_chain_balance"]) == (321, 0)


def test_balance_after_the_chain_has_followed(wallet):
    bonus = WalletTransaction.objects.get()
    ledger.confirm_on_chain(transaction_uid=bonus.uid, wallet_id=wallet.pk, signed_amount=50)
    sync(bonus, "COMPLETED")

    body = api(wallet.gamer).get(BALANCE).json()

    assert (body["lazy_balance"], body["on_chain_balance"], body["lazy_balance_delta"]) == (
        50,
        50,
        0,
    )
    assert (body["is_lazy_balance_updated"], body["wallet_transaction_error"]) == (True, False)


def test_balance_is_not_updated_while_what_cancels_out_waits(wallet):
    bonus = WalletTransaction.objects.get()
    ledger.confirm_on_chain(transaction_uid=bonus.uid, wallet_id=wallet.pk, signed_amount=50)

    body = api(wallet.gamer).get(BALANCE).json()

    assert (body["lazy_balance_delta"], body["is_lazy_balance_updated"]) == (0, False)


def test_balance_tells_of_a_failed_transfer(wallet):
    sync(WalletTransaction.objects.get(), "FAILED", sync_error="InsufficientAllowance")

    body = api(wallet.gamer).get(BALANCE).json()

    assert (body["wallet_transaction_error"], body["is_lazy_balance_updated"]) == (True, False)


def test_balance_names_minimum_and_link():
    gamer = GamerFactory.create(game=GameFactory.create(min_withdrawal=10))
    WalletFactory.create(gamer=gamer)
    kgen = link(gamer)

    body = api(gamer).get(BALANCE).json()

    assert (body["minWalletBalToWithdraw"], body["kgen_wallet_address"]) == (10, kgen.address)


def test_delta_is_negative_while_a_withdrawal_is_under_way():
    wallet = WalletFactory.create(earned=1000, onchain=1000)
    link(wallet.gamer)
    client = api(wallet.gamer)
    client.post(WITHDRAW)

    body = client.get(BALANCE).json()

    assert (body["lazy_balance"], body["on_chain_balance"]) == (0, 1000)
    assert body["lazy_balance_delta"] == -1000


def test_balance_costs_two_queries_beyond_authentication(wallet, django_assert_num_queries):
    client = api(wallet.gamer)
    client.get(BALANCE)

    with django_assert_num_queries(AUTHENTICATION + 2):
        client.get(BALANCE)


# --- Transactions --------------------------------------------------------------------------------


def path_of(wallet: Wallet) -> str:
    return f"/wallet/lazyChain/transactions/{wallet.address}"


def masked(address: str) -> str:
    return f"{address[:4]}*****{address[-4:]}"


def test_transactions_of_a_new_gamer(wallet):
    bonus = WalletTransaction.objects.get()

    answer = api(wallet.gamer).get(path_of(wallet))

    assert answer.status_code == 200
    assert answer.json() == {
        "fromTransactions": [],
        "toTransactions": [
            {
                "uid": str(bonus.uid),
                "from_wallet": "0x50*****3c9c",
                "to_wallet": masked(wallet.address),
                "amount": 50,
                "sync_status": "PENDING",
                "sync_error": None,
                "requesting_system": "Esports",
                "gas_fee_payer": "SYSTEM",
                "tx_hash": None,
                "block_number": None,
                "gas_fee": None,
                "description": {
                    "platformProtocolsTxnAmount": 50,
                    "platformProtocolsTxnName": "Welcome bonus",
                    "platformProtocolsTxnDescription": "Welcome bonus",
                    "platformProtocolsTxnType": "CREDIT",
                    "type": "WELCOME_BONUS",
                },
                "created_at": "2026-01-01T00:00:00.120000Z",
                "modified_at": "2026-01-01T00:00:00.120000Z",
            }
        ],
        "last_evaluated_key": "",
    }


def test_withdrawal_goes_from_the_wallet_to_the_kgen_wallet(wallet):
    win(wallet, 1000)
    kgen = link(wallet.gamer)
    client = api(wallet.gamer)
    uid = client.post(WITHDRAW).json()["transaction_uid"]

    body = client.get(path_of(wallet)).json()

    (withdrawal,) = body["fromTransactions"]
    assert (withdrawal["uid"], withdrawal["amount"]) == (uid, 1000)
    assert withdrawal["from_wallet"] == masked(wallet.address)
    assert withdrawal["to_wallet"] == masked(kgen.address)
    assert withdrawal["description"] == {
        "platformProtocolsTxnAmount": 1000,
        "platformProtocolsTxnName": "Withdrawal",
        "platformProtocolsTxnDescription": "Withdrawal to the KGeN wallet",
        "platformProtocolsTxnType": "DEBIT",
        "type": "WITHDRAW",
    }
    assert [entry["description"]["type"] for entry in body["toTransactions"]] == [
        "REWARD_CLAIM",
        "WELCOME_BONUS",
    ]


def test_withdrawal_that_waits_for_staff_is_accepted_like_any_other():
    game = GameFactory.create(auto_approve_limit=999)
    wallet = WalletFactory.create(gamer=GamerFactory.create(game=game), earned=1000)
    link(wallet.gamer)
    client = api(wallet.gamer)

    answer = client.post(WITHDRAW)

    assert (answer.status_code, answer.json()["status"]) == (200, "SUCCESS")
    (withdrawal,) = client.get(path_of(wallet)).json()["fromTransactions"]
    assert (withdrawal["sync_status"], withdrawal["sync_error"]) == ("PENDING", None)
    assert Payout.objects.get().state == "AWAITING_APPROVAL"


def test_completed_transaction_names_its_place_on_the_chain(wallet):
    batching.group_transactions(now=NOW + timedelta(hours=1))
    Payout.objects.update(
        state="COMPLETED",
        settlement_address="0x" + "5e" * 20,
        onchain_id="0x" + "1d" * 32,
        tx_hash="0x" + "ab" * 32,
        block_number=17,
        gas_fee=10**20,
    )
    sync(WalletTransaction.objects.get(), "COMPLETED")

    (bonus,) = api(wallet.gamer).get(path_of(wallet)).json()["toTransactions"]

    assert (bonus["sync_status"], bonus["tx_hash"]) == ("COMPLETED", "0x" + "ab" * 32)
    assert (bonus["block_number"], bonus["gas_fee"]) == (17, "100000000000000000000")


def test_failed_transaction_tells_why(wallet):
    sync(WalletTransaction.objects.get(), "FAILED", sync_error="InsufficientAllowance")

    (bonus,) = api(wallet.gamer).get(path_of(wallet)).json()["toTransactions"]

    assert (bonus["sync_status"], bonus["sync_error"]) == ("FAILED", "InsufficientAllowance")


def test_address_is_taken_in_any_letter_case(wallet):
    client = api(wallet.gamer)
    upper = "0x" + wallet.address[2:].upper()

    answer = client.get(f"/wallet/lazyChain/transactions/{upper}")

    assert answer.json() == client.get(path_of(wallet)).json()


def test_pages_follow_each_other_without_gap_or_repetition(wallet):
    for amount in range(1, 7):
        win(wallet, amount)
    client = api(wallet.gamer)

    amounts, key = [], None
    pages = 0
    while key != "":
        query = {"limit": 3} if key is None else {"limit": 3, "last_evaluated_key": key}
        body = client.get(path_of(wallet), query).json()
        amounts += [entry["amount"] for entry in body["toTransactions"]]
        key = body["last_evaluated_key"]
        pages += 1

    assert amounts == [6, 5, 4, 3, 2, 1, 50]
    assert pages == 3


def test_page_is_cut_over_both_directions_together(wallet):
    win(wallet, 1000)
    link(wallet.gamer)
    client = api(wallet.gamer)
    client.post(WITHDRAW)

    body = client.get(path_of(wallet), {"limit": 2}).json()

    assert [len(body[name]) for name in ("fromTransactions", "toTransactions")] == [1, 1]
    assert body["last_evaluated_key"].isascii()
    assert body["last_evaluated_key"] != ""


def test_last_page_that_is_just_full_has_no_key(wallet):
    body = api(wallet.gamer).get(path_of(wallet), {"limit": 1}).json()

    assert (len(body["toTransactions"]), body["last_evaluated_key"]) == (1, "")


def test_new_transactions_do_not_shift_a_page(wallet):
    win(wallet, 1)
    win(wallet, 2)
    client = api(wallet.gamer)
    key = client.get(path_of(wallet), {"limit": 1}).json()["last_evaluated_key"]
    win(wallet, 3)

    body = client.get(path_of(wallet), {"limit": 1, "last_evaluated_key": key}).json()

    assert [entry["amount"] for entry in body["toTransactions"]] == [1]


@pytest.mark.parametrize(
    "address", ["0x", "0x" + "a" * 39, "0x" + "g" * 40, "a" * 42, "0x" + "a" * 41, "null"]
)
def test_malformed_address_is_a_bad_request(wallet, address):
    answer = api(wallet.gamer).get(f"/wallet/lazyChain/transactions/{address}")

    body = error_body(answer)
    assert (answer.status_code, body["error"]) == (400, "BAD_REQUEST")
    assert set(body["details"]["fields"]) == {"wallet_address"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("limit", "0"),
        ("limit", "201"),
        ("limit", "-1"),
        ("limit", "ten"),
        ("limit", "1.0"),
        ("last_evaluated_key", "x"),
        ("last_evaluated_key", "***"),
        ("last_evaluated_key", "é"),
        ("last_evaluated_key", base64.urlsafe_b64encode(b"2.7").decode()),
        ("last_evaluated_key", base64.urlsafe_b64encode(b"1.-7").decode()),
        ("last_evaluated_key", base64.urlsafe_b64encode(b"1." + b"9" * 30).decode()),
    ],
)
def test_bad_limit_or_key_is_a_bad_request(wallet, name, value):
    answer = api(wallet.gamer).get(path_of(wallet), {name: value})

    body = error_body(answer)
    assert (answer.status_code, body["error"]) == (400, "BAD_REQUEST")
    assert set(body["details"]["fields"]) == {name}


def test_other_wallets_are_not_found_whoever_they_belong_to(wallet):
    other = WalletFactory.create(gamer=GamerFactory.create(game=wallet.gamer.game))
    kgen = link(wallet.gamer)
    client = api(wallet.gamer)

    answers = [
        client.get(f"/wallet/lazyChain/transactions/{address}")
        for address in (other.address, kgen.address, FLOAT, "0x" + "0" * 40)
    ]

    assert [answer.status_code for answer in answers] == [404] * 4
    assert len({answer.json()["message"] for answer in answers}) == 1
    assert [error_body(answer) for answer in answers] == [
        {"error": "WALLET_NOT_FOUND", "details": {}}
    ] * 4


@pytest.mark.parametrize("rows", [1, 3])
def test_transactions_cost_two_queries_beyond_authentication(
    wallet, rows, django_assert_num_queries
):
    for amount in range(1, rows):
        win(wallet, amount)
    batching.group_transactions(now=NOW + timedelta(hours=1))
    client = api(wallet.gamer)
    client.get(path_of(wallet))

    with django_assert_num_queries(AUTHENTICATION + 2):
        body = client.get(path_of(wallet)).json()

    assert len(body["toTransactions"]) == rows


# --- Withdraw ------------------------------------------------------------------------------------


def test_withdraw(wallet):
    win(wallet, 1000)
    kgen = link(wallet.gamer)

    answer = api(wallet.gamer).post(WITHDRAW)

    entry = WalletTransaction.objects.get(type="WITHDRAW")
    assert answer.status_code == 200
    assert answer.json() == {
        "userKGeNWalletAddr": kgen.address,
        "earnedBalance": 1000,
        "status": "SUCCESS",
        "message": "Withdrawn Successfully",
        "transaction_uid": str(entry.uid),
    }
    assert ledger.balances(wallet.pk) == Balances(50, 0, 0, 0, 1000, 0)


def test_withdraw_ignores_a_body(wallet):
    win(wallet, 1000)
    link(wallet.gamer)

    answer = api(wallet.gamer).post(WITHDRAW, b"{not json")

    assert answer.status_code == 200


def test_withdraw_again_with_the_same_key_is_the_same_withdrawal(wallet):
    win(wallet, 1000)
    link(wallet.gamer)
    client = api(wallet.gamer)

    answers = [client.post(WITHDRAW, key="once") for _ in range(2)]

    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].json() == answers[1].json()
    assert WalletTransaction.objects.filter(type="WITHDRAW").count() == 1


def refused(client: GameClient, wallet: Wallet) -> tuple[int, dict[str, Any]]:
    """Status and body of a withdrawal that moves nothing."""
    before = (ledger.balances(wallet.pk), WalletTransaction.objects.count())
    answer = client.post(WITHDRAW)
    assert (ledger.balances(wallet.pk), WalletTransaction.objects.count()) == before
    return answer.status_code, error_body(answer)


@pytest.mark.parametrize("earned", [0, 999])
def test_withdraw_below_the_minimum(wallet, earned):
    if earned:
        win(wallet, earned)

    assert refused(api(wallet.gamer), wallet) == (
        400,
        {
            "error": "MIN_WITHDRAW_BALANCE_NOT_MET",
            "details": {"earned_balance": earned, "minWalletBalToWithdraw": 1000},
        },
    )


def test_withdraw_again_without_a_key_is_below_the_minimum(wallet):
    win(wallet, 1000)
    link(wallet.gamer)
    client = api(wallet.gamer)
    client.post(WITHDRAW)

    status, body = refused(client, wallet)

    assert (status, body["error"]) == (400, "MIN_WITHDRAW_BALANCE_NOT_MET")


def test_withdraw_without_a_link(wallet):
    win(wallet, 1000)

    assert refused(api(wallet.gamer), wallet) == (
        409,
        {"error": "KGEN_WALLET_NOT_LINKED", "details": {}},
    )


def test_withdraw_from_a_frozen_wallet(wallet):
    win(wallet, 1000)
    link(wallet.gamer)
    client = api(wallet.gamer)
    freezing.freeze(wallet=wallet, reason="stolen phone", by="sam", now=timezone.now())

    assert refused(client, wallet) == (
        403,
        {"error": "GAMER_BLOCKED", "details": {"reason": "WALLET_FROZEN"}},
    )
    assert client.get(BALANCE).status_code == 200


# --- Who may call --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path"),
    [("get", BALANCE), ("get", "/wallet/lazyChain/transactions/0x"), ("post", WITHDRAW)],
)
def test_wallet_is_for_its_own_gamer_alone(wallet, method, path):
    without_token = getattr(GameClient(wallet.gamer.game), method)(path)
    under_another_game = getattr(
        GameClient(GameFactory.create(), token=api(wallet.gamer).token), method
    )(path)

    assert (without_token.status_code, error_body(without_token)) == (
        401,
        {"error": "UN_AUTHORIZED", "details": {"reason": "TOKEN_MISSING"}},
    )
    assert (under_another_game.status_code, error_body(under_another_game)) == (
        401,
        {"error": "UN_AUTHORIZED", "details": {"reason": "TOKEN_CLIENT_MISMATCH"}},
    )


@pytest.mark.parametrize(
    ("method", "path"),
    [("get", BALANCE), ("get", "/wallet/lazyChain/transactions/0x"), ("post", WITHDRAW)],
)
def test_blocked_gamer_is_refused(wallet, method, path):
    client = api(wallet.gamer)
    Gamer.objects.update(is_blocked=True)

    answer = getattr(client, method)(path)

    assert (answer.status_code, error_body(answer)) == (
        403,
        {"error": "GAMER_BLOCKED", "details": {"reason": "ACCOUNT"}},
    )


def test_wrong_method_is_refused(wallet):
    client = api(wallet.gamer)

    assert [
        client.post(BALANCE).status_code,
        client.post(path_of(wallet)).status_code,
        client.get(WITHDRAW).status_code,
    ] == [405, 405, 405]
