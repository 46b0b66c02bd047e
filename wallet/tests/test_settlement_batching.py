from kgen.common.identifiers import uuid7
from wallet import deposits, transactions, withdrawals
from wallet.models import Payout, WalletTransaction
from wallet.settlement.batching import group_transactions
from wallet.tests.factories import KgenWalletFactory, WalletFactory
from wallet.tests.settling import START, give_bonus, join, payout_of, receive, win


def payouts():
    return list(Payout.objects.order_by("wallet_id", "seq").values_list("kind", "seq", "amount"))


def test_each_transaction_becomes_a_payout_between_float_and_wallet(db, settings):
    wallet = WalletFactory.create()
    bonus, fee = give_bonus(wallet), join(wallet, 10)

    assert group_transactions(now=START) == 2

    assert payouts() == [("IN", 1, 50), ("OUT", 2, 10)]
    going_in, going_out = payout_of(bonus), payout_of(fee)
    assert (going_in.from_address, going_in.to_address) == (settings.FLOAT_ADDRESS, wallet.address)
    assert (going_out.from_address, going_out.to_address) == (
        wallet.address,
        settings.FLOAT_ADDRESS,
    )
    assert (going_in.state, going_in.onchain_id) == ("PENDING", None)


def test_grouping_again_makes_nothing(db):
    give_bonus(WalletFactory.create())
    group_transactions(now=START)

    assert group_transactions(now=START) == 0

    assert Payout.objects.count() == 1


def test_as_many_wallets_are_grouped_at_once_as_asked_for(db):
    for _ in range(3):
        give_bonus(WalletFactory.create())

    assert [group_transactions(now=START, limit=2) for _ in range(3)] == [2, 1, 0]


def test_a_withdrawal_has_its_payout_at_once_behind_all_that_went_before(db):
    wallet, linked = WalletFactory.create(), KgenWalletFactory.create()
    wallet.gamer.kgen_account = linked.account
    wallet.gamer.save()
    wallet.gamer.game.min_withdrawal = 1
    give_bonus(wallet)
    win(wallet, 70)

    withdrawal = withdrawals.withdraw(gamer=wallet.gamer, now=START)

    assert payouts() == [("IN", 1, 50), ("IN", 2, 70), ("WITHDRAW", 3, 70)]
    payout = Payout.objects.get(pk=withdrawal.transaction_uid)
    assert (payout.from_address, payout.to_address) == (wallet.address, linked.address)
    assert group_transactions(now=START) == 0


def test_what_reaches_the_chain_another_way_is_never_paid_out(db):
    wallet = WalletFactory.create()
    bonus = give_bonus(wallet)
    group_transactions(now=START)
    receive(wallet, 5)
    transactions.record(
        WalletTransaction.Type.REVERSAL,
        WalletTransaction.Direction.CREDIT,
        wallet=wallet,
        uid=uuid7(),
        amount=5,
        counterparty=bonus.counterparty,
        description="",
        now=START,
        reverses=bonus,
    )

    assert group_transactions(now=START) == 0

    assert payouts() == [("IN", 1, 50)]


def test_a_bought_deposit_is_paid_out_of_the_float(db, settings):
    wallet = WalletFactory.create()
    bought = deposits.buy(wallet=wallet, amount=70, reference="order 1", now=START)

    assert group_transactions(now=START) == 1

    payout = payout_of(bought)
    assert (payout.kind, payout.amount, payout.from_address, payout.to_address) == (
        "IN",
        70,
        settings.FLOAT_ADDRESS,
        wallet.address,
    )
