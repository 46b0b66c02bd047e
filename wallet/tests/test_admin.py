import re
import secrets
from typing import Any
from urllib.parse import parse_qsl

import pytest
from django.urls import reverse
from django.utils import timezone

from accounts.tests.factories import GamerFactory, KgenAccountFactory
from accounts.tests.staff import staff_client
from kgen.common.admin import FINANCE, OPERATORS, SUPPORT
from kgen.common.identifiers import uuid7
from kgen.common.models import StaffAct
from wallet import ledger, reversals, tasks, welcome_bonus
from wallet.admin.ledger import TRANSFERS_PER_PAGE
from wallet.models import (
    Attempt,
    LedgerAccount,
    Operator,
    Payout,
    PayoutSwitch,
    ReconciliationRun,
    Slot,
    SlotItem,
    WalletTransaction,
)
from wallet.settlement import pausing
from wallet.tests.factories import KgenWalletFactory, WalletFactory, fill
from wallet.tests.settling import win, withdraw

pytestmark = pytest.mark.django_db

HASH = "0x" + "ab" * 32


@pytest.fixture
def support():
    return staff_client(SUPPORT)


def page(row):
    return reverse(f"admin:wallet_{row._meta.model_name}_change", args=[row.pk])


def panels(client, row, **query):
    return dict(client.get(page(row), query).context["panels"])


def text(cell):
    """What is read in a cell: its markup taken away."""
    return re.sub(r"<[^>]+>", "", str(cell))


def texts(table):
    return [[text(cell) for cell in row] for row in table.rows]


def new_wallet(**made):
    return WalletFactory.create(**made)


def with_bonus(wallet=None) -> WalletTransaction:
    bonus = welcome_bonus.grant(wallet=wallet or new_wallet(), now=timezone.now())
    assert bonus is not None
    return bonus


def on_the_chain(transaction: WalletTransaction) -> Payout:
    """The transaction's payout, made final by a second attempt."""
    now, wallet = timezone.now(), transaction.wallet
    payout = Payout.objects.create(
        uid=uuid7(),
        kind="IN",
        wallet=wallet,
        seq=transaction.seq,
        last_seq=transaction.seq,
        from_address=transaction.counterparty,
        to_address=wallet.address,
        amount=transaction.amount,
        settlement_address="0x" + "5e" * 20,
        onchain_id="0x" + secrets.token_hex(32),
        state="COMPLETED",
        tries=1,
        tx_hash=HASH,
        block_number=12,
        gas_fee=21_000,
        created_at=now,
        modified_at=now,
    )
    WalletTransaction.objects.filter(pk=transaction.pk).update(
        payout=payout, sync_status="COMPLETED"
    )
    lane, _ = Operator.objects.get_or_create(
        address="0x" + "0b" * 20, chain_id=31337, defaults={"next_nonce": 0}
    )
    slot = Slot.objects.create(
        operator=lane,
        nonce=Slot.objects.count(),
        action="SETTLE",
        settlement_address="0x" + "5e" * 20,
        calldata=b"\x00",
        gas=100_000,
        state="FINAL",
        mined_block=12,
        created_at=now,
        closed_at=now,
    )
    SlotItem.objects.create(slot=slot, payout=payout, wallet=wallet, position=0, is_open=False)
    for seq in range(2):
        Attempt.objects.create(
            slot=slot,
            seq=seq,
            tx_hash="0x" + secrets.token_hex(32),
            raw=b"signed bytes",
            max_fee=10**9,
            priority_fee=1,
            created_at=now,
            first_sent_at=now,
            last_sent_at=now,
        )
    return payout


# --- The wallet's page ---------------------------------------------------------------------------


def test_wallet_page_shows_every_bucket(support):
    wallet = new_wallet(bonus=20, bought=5, earned=1000, claimable=60, hold=10, onchain=30)

    balances = texts(panels(support, wallet)["Balances"])

    assert [row[:2] for row in balances] == [
        ["Bonus", "20 KCash"],
        ["Bought", "5 KCash"],
        ["Earned", "1,000 KCash"],
        ["To claim", "60 KCash"],
        ["On hold", "10 KCash"],
        ["On the chain", "30 KCash"],
        ["Lazy balance", "1,025 KCash"],
        ["Delta", "995 KCash"],
    ]


def test_wallet_page_shows_transactions_with_their_sync_and_hash(support):
    bonus = with_bonus()
    on_the_chain(bonus)
    win(bonus.wallet, 60)

    newest = texts(panels(support, bonus.wallet)["Newest transactions"])

    assert [(row[0], row[2], row[3], row[4]) for row in newest] == [
        ("2", "+60 KCash", "PENDING", "-"),
        ("1", "+50 KCash", "COMPLETED", f"{HASH[:8]}…{HASH[-6:]}"),
    ]


def test_wallet_page_shows_the_kgen_wallet(support):
    account = KgenAccountFactory()
    outside = KgenWalletFactory.create(account=account)
    wallet = new_wallet(gamer=GamerFactory(kgen_account=account))

    content = support.get(page(wallet)).content.decode()

    assert outside.address in content


@pytest.mark.parametrize("of", ["custodial", "KGeN"])
def test_gamer_is_found_by_either_address_in_any_case(support, of):
    account = KgenAccountFactory()
    wallet = new_wallet(gamer=GamerFactory(kgen_account=account))
    outside = KgenWalletFactory.create(account=account)
    address = wallet.address if of == "custodial" else outside.address
    new_wallet()

    response = support.get("/admin/accounts/gamer/", {"q": "0x" + address[2:].upper()})

    assert response["Location"] == reverse("admin:accounts_gamer_change", args=[wallet.gamer.pk])


def test_gamer_page_sums_the_wallet_up(support):
    wallet = new_wallet(bonus=20, earned=100, claimable=60)

    (row,) = texts(
        dict(
            support.get(reverse("admin:accounts_gamer_change", args=[wallet.gamer.pk])).context[
                "panels"
            ]
        )["Wallet"]
    )

    assert row == [
        wallet.address,
        "open",
        "120 KCash",
        "100 KCash",
        "60 KCash",
        "0 KCash",
        "0 KCash",
        "not linked yet",
    ]


# --- The ledger ----------------------------------------------------------------------------------


def account(wallet, bucket):
    return LedgerAccount.objects.get(owner_kind="WALLET", owner_id=wallet.pk, bucket=bucket)


def test_account_page_shows_transfers_with_the_balance_after_each(support):
    bonus = with_bonus(new_wallet(gamer=GamerFactory(gamer_id="g-481")))
    fill(bonus.wallet, ledger.Bucket.BONUS, 7)

    transfers = texts(panels(support, account(bonus.wallet, "bonus"))["Transfers, newest first"])

    assert [row[1:5] for row in transfers] == [
        ["Grant", "Mint: where welcome bonuses come from", "+7 KCash", "57 KCash"],
        ["Welcome bonus", "Mint: where welcome bonuses come from", "+50 KCash", "50 KCash"],
    ]


def test_account_without_a_kept_balance_is_summed_up(support):
    fill(new_wallet(), ledger.Bucket.BONUS, 57)

    rows = support.get("/admin/wallet/ledgeraccount/", {"bucket__exact": "mint"})

    assert "-57 KCash" in rows.content.decode()


@pytest.mark.parametrize("of", ["a wallet's bucket", "the mint"])
def test_account_page_turns_over_every_transfer_once(support, of):
    wallet = new_wallet()
    for amount in range(1, 2 * TRANSFERS_PER_PAGE + 4):
        fill(wallet, ledger.Bucket.BONUS, amount)
    shown = (
        account(wallet, "bonus")
        if of == "a wallet's bucket"
        else LedgerAccount.objects.get(pk=ledger.MINT)
    )

    amounts: list[int] = []
    query: dict[str, str] = {}
    pages = 0
    while True:
        table = panels(support, shown, **query)["Transfers, newest first"]
        amounts += [int(row[3].strip("+- KCash")) for row in texts(table)]
        pages += 1
        older = [address for address, label in table.links if label == "Older"]
        if not older:
            break
        query = dict(parse_qsl(older[0].removeprefix("?")))

    assert pages == 3
    assert sorted(amounts) == list(range(1, 2 * TRANSFERS_PER_PAGE + 4))


@pytest.mark.parametrize("before", ["x", "-1", "1/2", "9" * 30, "2026-01-01/x/1", "\x00", "²"])
def test_account_page_survives_any_page_key(support, before):
    bonus = with_bonus()

    for shown in (account(bonus.wallet, "bonus"), LedgerAccount.objects.get(pk=ledger.MINT)):
        assert support.get(page(shown), {"before": before}).status_code == 200


def test_transaction_page_shows_its_legs(support):
    wallet = new_wallet(gamer=GamerFactory(gamer_id="g-481"))
    claim = win(wallet, 60)

    legs = texts(panels(support, claim)["In the ledger"])

    assert [row[:4] for row in legs] == [["Claim", "g-481: to claim", "g-481: earned", "60 KCash"]]


# --- Payouts -------------------------------------------------------------------------------------


def test_payout_page_shows_transactions_and_attempts_but_no_signed_bytes(support):
    bonus = with_bonus()
    payout = on_the_chain(bonus)

    response = support.get(page(payout))

    shown = dict(response.context["panels"])
    assert [row[2] for row in texts(shown["Wallet transactions that it settles"])] == ["+50 KCash"]
    assert [row[:3] for row in texts(shown["Attempts"])] == [
        ["0", "FINAL", "2"],
        ["0", "FINAL", "1"],
    ]
    assert HASH in response.content.decode()
    assert "signed bytes" not in response.content.decode()


def test_payout_is_found_by_its_hash_in_any_case(support):
    payout = on_the_chain(with_bonus())
    other = on_the_chain_elsewhere()

    response = support.get("/admin/wallet/payout/", {"q": HASH.upper().replace("0X", "0x")})

    assert list(response.context["cl"].result_list) == [payout]
    assert other.pk != payout.pk


def on_the_chain_elsewhere() -> Payout:
    payout = on_the_chain(with_bonus())
    Payout.objects.filter(pk=payout.pk).update(tx_hash="0x" + "cd" * 32)
    return payout


# --- For reading alone ---------------------------------------------------------------------------


def everything() -> dict[str, Any]:
    """One row of each model, by the model's name."""
    bonus = with_bonus()
    payout = on_the_chain(bonus)
    slot = Slot.objects.get(items__payout=payout)
    return {
        "wallet": bonus.wallet,
        "wallettransaction": bonus,
        "ledgeraccount": account(bonus.wallet, "bonus"),
        "payout": payout,
        "slot": slot,
        "attempt": slot.attempts.get(seq=0),
    }


MODELS = ["wallet", "wallettransaction", "ledgeraccount", "payout", "slot", "attempt"]


@pytest.mark.parametrize("role", [OPERATORS, SUPPORT])
@pytest.mark.parametrize("model", MODELS)
def test_money_can_be_read_and_nothing_else(role, model):
    client, row = staff_client(role), everything()[model]
    before = type(row).objects.values().get(pk=row.pk)

    assert client.get(page(row)).status_code == 200
    assert client.post(page(row), {"amount": "999", "balance": "999"}).status_code == 403
    assert client.get(f"/admin/wallet/{model}/add/").status_code == 403
    assert client.post(page(row).replace("change", "delete"), {"post": "yes"}).status_code == 403
    assert type(row).objects.values().get(pk=row.pk) == before


QUERIES = {
    "wallet": 7,
    "wallettransaction": 7,
    "ledgeraccount": 7,
    "payout": 7,
    "slot": 7,
    "attempt": 7,
}


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("model", MODELS)
def test_list_costs_the_same_queries_whatever_its_length(
    support, model, rows, django_assert_num_queries
):
    for _ in range(rows):
        everything()

    with django_assert_num_queries(QUERIES[model]):
        support.get(f"/admin/wallet/{model}/")


@pytest.mark.parametrize("rows", [1, 3])
def test_account_page_costs_the_same_queries_whatever_moved(
    support, rows, django_assert_num_queries
):
    wallet = new_wallet()
    for _ in range(rows):
        win(wallet, 60)

    with django_assert_num_queries(11):
        support.get(page(account(wallet, "earned")))


@pytest.mark.parametrize("term", ["not-a-uuid", "\x00", "0xAB", "9" * 30])
def test_searches_survive_any_term(support, term):
    everything()

    for model in MODELS:
        assert support.get(f"/admin/wallet/{model}/", {"q": term}).status_code == 200


def test_nothing_here_is_counted_to_its_end(support, monkeypatch):
    monkeypatch.setattr("kgen.common.admin.LONGEST_LIST", 2)
    for _ in range(3):
        with_bonus()

    response = support.get("/admin/wallet/wallettransaction/")

    assert response.context["cl"].result_count == 2
    assert WalletTransaction.objects.count() == 3


# --- Reconciliation ------------------------------------------------------------------------------


def drifted() -> ReconciliationRun:
    wallet = new_wallet(bonus=1)  # money without a transaction
    tasks.reconcile_changes()
    run = ReconciliationRun.objects.get()
    assert f"wallet {wallet.pk}" in {one["subject"] for one in run.findings}
    return run


@pytest.fixture
def _wallets_alone(settings) -> None:
    """Audits of the apps above would ask for the reward of each amount that a test gives."""
    settings.LEDGER_AUDITS = ("wallet.reconciliation.AUDITS",)


def test_run_tells_what_it_found(support):
    run = drifted()

    shown = panels(support, run)["Drift: found in both looks"]

    assert list(shown.columns) == ["Audit", "Where", "What is wrong"]
    assert texts(shown) == [[one["audit"], one["subject"], one["problem"]] for one in run.findings]
    every = support.get(reverse("admin:wallet_reconciliationrun_changelist"))
    assert (every.status_code, "drift" in every.content.decode()) == (200, True)


@pytest.mark.usefixtures("_wallets_alone")
def test_switch_shows_its_state_and_the_newest_run(support):
    run = drifted()
    switch = PayoutSwitch.objects.get()

    shown = panels(support, switch)

    assert [row[2:] for row in texts(shown["Newest reconciliation"])] == [["drift", "1"]]
    assert texts(shown["Drift of the newest run"])[0][1] == run.findings[0]["subject"]
    assert "paused" in support.get(page(switch)).content.decode()


def test_finance_pauses_and_resumes_with_a_reason():
    finance, switch = staff_client(FINANCE), PayoutSwitch.objects.get()

    finance.post(reverse("admin:wallet_payoutswitch_resume", args=[1]), {"reason": "early"})
    finance.post(reverse("admin:wallet_payoutswitch_pause", args=[1]), {"reason": "count"})
    switch.refresh_from_db()
    assert (switch.is_paused, switch.reason) == (True, "count")
    finance.post(reverse("admin:wallet_payoutswitch_resume", args=[1]), {"reason": ""})
    switch.refresh_from_db()
    assert switch.is_paused
    finance.post(reverse("admin:wallet_payoutswitch_resume", args=[1]), {"reason": "counted"})

    switch.refresh_from_db()
    assert (switch.is_paused, switch.reason) == (False, "counted")
    assert [entry.line() for entry in StaffAct.objects.order_by("pk")] == [
        "Pause payouts: count",
        "Resume payouts: counted",
    ]


@pytest.mark.parametrize("role", [SUPPORT, OPERATORS])
def test_others_may_not_resume(role):
    pausing.pause(reason="drift", by="reconciliation", now=timezone.now())

    answer = staff_client(role).post(
        reverse("admin:wallet_payoutswitch_resume", args=[1]), {"reason": "no"}
    )

    assert answer.status_code == 403
    assert PayoutSwitch.objects.get().is_paused


def test_reversal_shows_the_release_of_its_hold(support):
    withdrawal = withdraw(new_wallet(), 70)
    Payout.objects.filter(pk=withdrawal.uid).update(
        state="VOIDING", settlement_address="0x" + "5e" * 20, onchain_id=HASH
    )

    reversal = reversals.give_back(withdrawal_uid=withdrawal.uid, now=timezone.now())

    shown = texts(panels(support, reversal)["In the ledger"])
    assert [(row[0], row[3]) for row in shown] == [("Release", "70 KCash")]


# --- Links ---------------------------------------------------------------------------------------


def test_a_link_that_the_reader_may_not_follow_is_its_text(support):
    transaction = with_bonus()
    payout, gamer = on_the_chain(transaction), transaction.wallet.gamer
    address = reverse("admin:accounts_gamer_change", args=[gamer.pk])
    finance = staff_client(FINANCE)

    read = {row: finance.get(page(row)).content.decode() for row in (payout, transaction.wallet)}
    listed = finance.get(reverse("admin:wallet_wallettransaction_changelist")).content.decode()
    followed = support.get(page(payout)).content.decode()

    assert finance.get(address).status_code == 403
    assert all(str(gamer) in text(content) for content in (*read.values(), listed))
    assert not any(address in content for content in (*read.values(), listed))
    assert f'<a href="{page(transaction.wallet)}">' in read[payout]
    assert f'<a href="{page(payout)}">' in read[transaction.wallet]
    assert f'<a href="{address}">{gamer}</a>' in followed
    assert support.get(address).status_code == 200
