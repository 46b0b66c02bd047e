import logging
from datetime import UTC, datetime
from typing import Any

import pytest

from accounts.tests.staff import staff_client
from kgen.common.admin import FINANCE
from wallet import float_alarm
from wallet.models import SolvencySample

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _target(settings) -> None:
    settings.FLOAT_TARGET = 1000


def sample(**told: Any) -> SolvencySample:
    """Of a platform that owes nobody anything."""
    nothing = dict.fromkeys(
        [
            "custodial",
            "bonus",
            "bought",
            "earned",
            "claimable",
            "hold",
            "pools",
            "queued",
            "queued_in",
            "sent_in",
            "queued_out",
            "queued_withdrawals",
            "gas_spent",
        ],
        0,
    )
    told = {"float_balance": 5000, "float_allowance": 10**9, **nothing, **told}
    return SolvencySample(taken_at=NOW, block_number=1, block_made_at=NOW, **told)


@pytest.mark.parametrize(
    ("told", "warnings"),
    [
        ({}, []),
        ({"float_balance": 300}, []),
        (
            {"float_balance": 299},
            ["The float can pay 299 KCash, less than 30 % of the 1,000 that it should have."],
        ),
        ({"queued_in": 5000}, []),
        ({"queued_in": 6000, "sent_in": 1000}, []),
        ({"queued_in": 5001}, ["The float can pay 5,000 KCash, and 5,001 are to be paid now."]),
        (
            {"float_allowance": 299, "queued_in": 300},
            [
                "The float can pay 299 KCash, less than 30 % of the 1,000 that it should have.",
                "The float can pay 299 KCash, and 300 are to be paid now.",
                "It holds 5,000, but lets the contract spend no more than 299.",
            ],
        ),
    ],
)
def test_float_that_runs_low_is_told_of(told, warnings, caplog):
    one = sample(**told)

    with caplog.at_level(logging.ERROR, logger="wallet.float_alarm"):
        float_alarm.sound(one)

    assert float_alarm.warnings(one) == warnings
    assert caplog.messages == warnings


@pytest.mark.django_db
def test_switch_shows_the_float_and_what_is_wrong_with_it():
    sample(float_balance=9000).save()
    sample(float_balance=299, queued_in=40).save()

    page = staff_client(FINANCE).get("/admin/wallet/payoutswitch/1/change/")

    (row,) = dict(page.context["panels"])["Float wallet"].rows
    assert [str(cell).split(">")[-2].split("<")[0] for cell in row[:3]] == [
        "2026-03-01 12:00:00 UTC",
        "299 KCash",
        "40 KCash",
    ]
    assert "less than 30 % of the 1,000" in str(row[3])


@pytest.mark.django_db
def test_switch_of_a_new_platform_has_no_figures_yet():
    page = staff_client(FINANCE).get("/admin/wallet/payoutswitch/1/change/")

    assert dict(page.context["panels"])["Float wallet"].rows == []
