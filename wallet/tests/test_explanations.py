"""Each bucket as a sum of causes: it adds up to the balance, or says by how much it does not."""

from itertools import islice

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wallet import explanations, ledger
from wallet.explanations import Cause
from wallet.tests.histories import Life
from wallet.tests.owner import owner_of_this_database


@pytest.fixture
def life(committed_database) -> Life:
    life = Life()
    life.lead()
    return life


def explain(life):
    return {one.bucket: one for one in explanations.explanations_of(wallet=life.wallet)}


def test_each_bucket_is_a_sum_of_causes(life):
    told = {bucket: (one.balance, one.sum_of_causes) for bucket, one in explain(life).items()}

    aside, withdrawn = "set aside for withdrawals", "1,060 withdrawals given back (1)"
    assert told == {
        "bonus": (
            37,
            "+ 50 refunds (1) + 50 welcome bonus (1) - 60 entry fees (2) - 3 corrections (1)",
        ),
        "bought": (4, "+ 4 deposits (1) + 3 refunds (1) - 3 entry fees (1)"),
        "earned": (
            7,
            f"+ 1,060 claims (2) + {withdrawn} + 7 corrections (1) - 2,120 {aside} (2)",
        ),
        "claimable": (
            5,
            "+ 1,020 rewards granted (2) + 65 prizes (2) - 1,060 claims (2) - 20 rewards expired (1)",
        ),
        "hold": (
            0,
            f"+ 2,120 set aside for withdrawals (2) - {withdrawn} - 1,060 withdrawals paid out (1)",
        ),
        "onchain": (40, "+ 50 welcome bonus (1) - 10 entry fees (1)"),
    }


def test_causes_add_up_to_the_balances_of_the_ledger(life):
    told = explain(life)

    kept = ledger.balances(life.wallet.pk)
    assert {bucket: one.balance for bucket, one in told.items()} == vars(kept)
    assert [sum(cause.amount for cause in one.causes) for one in told.values()] == [
        one.balance for one in told.values()
    ]
    assert {one.drift for one in told.values()} == {0}


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    acts=st.lists(st.tuples(st.sampled_from(["buy", "join", "win"]), st.integers(1, 60))),
)
def test_whatever_happens_it_adds_up(db, acts):
    life = Life()
    life.welcome()
    for act, amount in islice(acts, 12):
        if act == "join" and ledger.balances(life.wallet.pk).lazy < amount:
            continue
        getattr(life, act)(amount)

    told = explain(life)

    assert {bucket: one.balance for bucket, one in told.items()} == vars(
        ledger.balances(life.wallet.pk)
    )
    assert {one.drift for one in told.values()} == {0}


def test_empty_wallet_has_no_causes(db):
    told = explain(Life())

    assert [(one.balance, list(one.causes), one.drift) for one in told.values()] == [(0, [], 0)] * 6


def test_drift_is_named_where_it_is(life):
    with owner_of_this_database() as cursor:
        cursor.execute(
            "UPDATE ledger.account SET balance = balance + 7"
            " WHERE owner_kind = 'WALLET' AND owner_id = %s AND bucket = 'bonus'",
            [life.wallet.pk],
        )

    told = explain(life)

    assert {bucket: one.drift for bucket, one in told.items() if one.drift} == {"bonus": 7}
    assert told["bonus"].balance == 44


def test_lost_transfer_is_drift_in_both_of_its_buckets(life):
    with owner_of_this_database() as cursor:
        cursor.execute("ALTER TABLE ledger.transfer DISABLE TRIGGER USER")
        cursor.execute("DELETE FROM ledger.transfer WHERE kind = 'CLAIM' AND amount = 60")

    told = explain(life)

    assert {bucket: one.drift for bucket, one in told.items() if one.drift} == {
        "earned": 60,
        "claimable": -60,
    }


def test_what_the_chain_has_without_a_transaction_is_said(db):
    life = Life()
    bonus = life.welcome()
    bonus.uid = life.buy(4).uid  # of the other's amount: 50 booked under a purchase of 4
    life.confirm(bonus)

    assert explain(life)["onchain"].causes == [Cause("deposits", 1, 50)]


def test_takes_one_query(db, django_assert_num_queries):
    life = Life()
    for _ in range(20):
        life.buy(1)

    with django_assert_num_queries(1):
        explanations.explanations_of(wallet=life.wallet)
