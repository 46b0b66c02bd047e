from datetime import timedelta

from django.db import connection, transaction

from accounts.models import Gamer
from kgen.common.identifiers import uuid7
from tournaments.models import Participation, Tournament
from wallet import ledger, prize_pools
from wallet.models import Wallet


def crowd_of(entrants: int, tournament: Tournament, *, best: int | None = None) -> None:
    """Seat so many gamers at once, with wallets and scores from `best` down to 1.

    Their stakes come from the mint in one posting: for tests that need a crowd and look at others.
    """
    start = tournament.starts_at
    best = best or entrants
    with transaction.atomic():
        gamers = Gamer.objects.bulk_create(
            Gamer(
                game=tournament.game,
                gamer_id=f"crowd-{tournament.pk}-{number:06}",
                created_at=start,
            )
            for number in range(entrants)
        )
        wallets = Wallet.objects.bulk_create(
            Wallet(
                gamer=gamer,
                hd_index=2**31 - 1 - gamer.pk,
                address=f"0x{gamer.pk:040x}",
                created_at=start,
                modified_at=start,
            )
            for gamer in gamers
        )
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT ledger.open_accounts('WALLET', id, NULL) FROM unnest(%s::bigint[]) AS id",
                [[wallet.pk for wallet in wallets]],
            )
        Participation.objects.bulk_create(
            Participation(
                tournament=tournament,
                gamer=gamer,
                tiebreak=gamer.gamer_id,
                joined_at=start,
                score=max(1, best - number),
                standing_key=-max(1, best - number),
                reached_at=start + timedelta(minutes=1),
                applied_hash=bytes(32),
            )
            for number, gamer in enumerate(gamers)
        )
        pool = prize_pools.pool_of(tournament_id=tournament.pk, game_id=tournament.game_id)
        stakes = ledger.Leg(
            debit=ledger.MINT,
            credit=pool.account_id,
            amount=entrants * tournament.entry_fee,
            kind=ledger.Kind.SPONSOR,
        )
        ledger.post([stakes], posting_id=uuid7())
