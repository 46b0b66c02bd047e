from io import StringIO
from uuid import UUID

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import IntegrityError, transaction

from rewards import granting
from rewards.granting import ReferenceTaken
from rewards.models import Reward
from rewards.tests.factories import prize, promotion, winner
from wallet import custody, ledger
from wallet.models import Transfer

pytestmark = pytest.mark.django_db


def claimable(gamer):
    return ledger.balances(custody.wallet_of(gamer).pk).claimable


def test_grant_sets_the_amount_aside(now):
    gamer = winner()

    reward = promotion(gamer, 25, now=now)

    reward.refresh_from_db()
    assert (reward.gamer, reward.amount, reward.status) == (gamer, 25, "UNCLAIMED")
    assert (reward.source, reward.reference) == ("PROMOTION", "welcome-week")
    assert (reward.created_at, reward.expires_at) == (now, None)
    assert claimable(gamer) == 25
    posting = Transfer.objects.get(posting_id=reward.grant_posting_id)
    assert (posting.kind, posting.amount, posting.debit_id) == ("GRANT", 25, ledger.TREASURY)


def test_the_same_grant_again_is_the_same_reward(now):
    gamer = winner()
    first = promotion(gamer, 25, now=now)

    again = promotion(gamer, 25, now=now)

    assert again.uid == first.uid
    assert claimable(gamer) == 25


def test_a_reference_of_another_reward_is_refused(now):
    gamer = winner()
    other = winner(gamer.game)
    promotion(gamer, 25, now=now)

    for changed in ((gamer, 26), (other, 25)):
        with pytest.raises(ReferenceTaken):
            promotion(*changed, now=now)

    assert Reward.objects.count() == 1
    assert (claimable(gamer), claimable(other)) == (25, 0)


def test_a_reward_that_would_expire_at_once_is_refused(now):
    gamer = winner()

    with pytest.raises(granting.ExpiresTooSoon):
        promotion(gamer, 25, now=now, expires_at=now)

    assert Reward.objects.count() == 0
    assert claimable(gamer) == 0


def test_each_game_and_each_source_has_references_of_its_own(now):
    gamer, other = winner(), winner()
    promotion(gamer, 25, now=now)

    promotion(other, 30, now=now)
    granting.grant(
        gamer=gamer,
        amount=35,
        source=Reward.Source.ACHIEVEMENT,
        reference="welcome-week",
        now=now,
    )

    assert list(
        Reward.objects.order_by("id").values_list("game", "source", "reference", "amount")
    ) == [
        (gamer.game_id, "PROMOTION", "welcome-week", 25),
        (other.game_id, "PROMOTION", "welcome-week", 30),
        (gamer.game_id, "ACHIEVEMENT", "welcome-week", 35),
    ]
    assert (claimable(gamer), claimable(other)) == (60, 30)


def test_prizes_are_recorded_once(now):
    gamer = winner()
    reward = prize(gamer, 60, now=now)

    with pytest.raises(IntegrityError, match="reward_granted_once"), transaction.atomic():
        granting.record_prizes(
            game_id=gamer.game_id,
            tournament_uid=UUID(str(reward.tournament_uid)),
            tournament_title="Daily",
            prizes=[(gamer.pk, 60)],
            now=now,
        )

    assert Reward.objects.get() == reward
    assert reward.game_id == gamer.game_id


def grant_reward(gamer, **changed):
    options = {
        "--client": gamer.game.client_id,
        "--gamer": gamer.gamer_id,
        "--amount": "25",
        "--reference": "spring-2026",
    } | changed
    out = StringIO()
    call_command("grant_reward", *(word for pair in options.items() for word in pair), stdout=out)
    return out.getvalue().splitlines()[-1]


def test_grant_reward_prints_the_id_each_time(now):
    gamer = winner()

    first, again = grant_reward(gamer), grant_reward(gamer)

    assert first == again == str(Reward.objects.get().uid)
    assert claimable(gamer) == 25


def test_grant_reward_names_the_source(now):
    gamer = winner()

    grant_reward(gamer, **{"--source": "achievement"})

    assert Reward.objects.get().source == "ACHIEVEMENT"


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        ({"--client": "nobody"}, "no such gamer"),
        ({"--gamer": "nobody"}, "no such gamer"),
        ({"--amount": "0"}, "out of range"),
        ({"--amount": "9" * 5000}, "out of range"),
        ({"--reference": ""}, "1 to 128"),
        ({"--reference": "x" * 129}, "1 to 128"),
        ({"--source": "tournament"}, "invalid choice"),
        ({"--amount": "26"}, "names another reward"),
    ],
)
def test_grant_reward_says_what_is_wrong(now, changed, complaint):
    gamer = winner()
    grant_reward(gamer)

    with pytest.raises(CommandError, match=complaint):
        grant_reward(gamer, **changed)

    assert Reward.objects.count() == 1
    assert claimable(gamer) == 25
