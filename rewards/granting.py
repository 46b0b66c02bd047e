"""Making a promise to pay, once per reference."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db import transaction

from accounts.models import Gamer
from kgen.common.errors import Conflict, Invalid
from kgen.common.identifiers import uuid7
from kgen.common.transactions import requires_transaction
from rewards.models import Reward
from wallet import claims, custody


class ReferenceTaken(Conflict):
    code = "REWARD_REFERENCE_TAKEN"
    message = "This reference names another reward."


class ExpiresTooSoon(Invalid):
    code = "REWARD_EXPIRES_TOO_SOON"
    message = "A reward must expire later than now, or never."


@transaction.atomic
def grant(
    *,
    gamer: Gamer,
    amount: int,
    source: Reward.Source,
    reference: str,
    now: datetime,
    expires_at: datetime | None = None,
) -> Reward:
    """Promise a gamer KCash from outside a tournament, set aside from the treasury at once.

    Granting the same again returns the first reward. Refuses with ReferenceTaken if the gamer's game
    used the reference for another gamer or amount, and with ExpiresTooSoon.
    """
    # The gamer's wallet is the lock of all their money; it lets the same grant in only one by one.
    wallet = custody.lock(custody.wallet_of(gamer).pk)
    posting_id = uuid7()
    reward, is_new = Reward.objects.get_or_create(
        game_id=gamer.game_id,
        source=source,
        reference=reference,
        defaults={
            "gamer": gamer,
            "amount": amount,
            "grant_posting_id": posting_id,
            "expires_at": expires_at,
            "created_at": now,
            "updated_at": now,
        },
    )
    if (reward.gamer_id, reward.amount) != (gamer.pk, amount):
        raise ReferenceTaken
    if is_new:
        if expires_at is not None and expires_at <= now:
            raise ExpiresTooSoon
        claims.promise(wallet=wallet, amount=amount, reference=posting_id)
    return reward


@dataclass(frozen=True)
class Grant:
    """One of many, its gamer's wallet locked by the caller."""

    gamer_id: int
    wallet_id: int
    amount: int
    reference: str
    expires_at: datetime | None


@requires_transaction
def grant_each(
    *, game_id: int, source: Reward.Source, grants: Sequence[Grant], now: datetime
) -> int:
    """As `grant` of each to gamers of one game, in a few queries; says how many are new.

    A reference that is in use is passed by: the caller has looked at whose it is.
    """
    # In one order, so that two files with the same references cannot lock each other out.
    ordered = [(uuid7(), one) for one in sorted(grants, key=lambda one: one.reference)]
    Reward.objects.bulk_create(
        [
            Reward(
                gamer_id=one.gamer_id,
                game_id=game_id,
                amount=one.amount,
                source=source,
                reference=one.reference,
                grant_posting_id=posting_id,
                expires_at=one.expires_at,
                created_at=now,
                updated_at=now,
            )
            for posting_id, one in ordered
        ],
        ignore_conflicts=True,
    )
    made = set(
        Reward.objects.filter(
            grant_posting_id__in=[posting_id for posting_id, _ in ordered]
        ).values_list("grant_posting_id", flat=True)
    )
    claims.promise_each(
        [
            claims.Movement(one.wallet_id, one.amount, posting_id)
            for posting_id, one in ordered
            if posting_id in made
        ]
    )
    return len(made)


@requires_transaction
def record_prizes(
    *,
    game_id: int,
    tournament_uid: UUID,
    tournament_title: str,
    prizes: Sequence[tuple[int, int]],
    now: datetime,
) -> None:
    """Promise the prizes of a settled tournament: (gamer's key, amount above 0), the winner first.

    The tournament's own posting sets the money aside; the unique reference keeps this to once.
    """
    Reward.objects.bulk_create(
        [
            Reward(
                gamer_id=gamer,
                game_id=game_id,
                amount=amount,
                source=Reward.Source.TOURNAMENT,
                reference=f"{tournament_uid}/{rank}",
                tournament_uid=tournament_uid,
                tournament_title=tournament_title,
                rank=rank,
                created_at=now,
                updated_at=now,
            )
            for rank, (gamer, amount) in enumerate(prizes, start=1)
        ],
        batch_size=1000,
    )
