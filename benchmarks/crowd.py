"""Gamers by the thousand, each with an open wallet."""

from hashlib import sha256

from django.db import connection, transaction
from django.utils import timezone

from accounts.models import Game, Gamer
from wallet.models import Wallet


def open_wallets(count: int) -> list[Wallet]:
    now = timezone.now()
    with transaction.atomic():
        game = Game.objects.create(
            client_id="benchmark", name="Benchmark", game_uid="benchmark", created_at=now
        )
        gamers = Gamer.objects.bulk_create(
            [
                Gamer(game=game, gamer_id=f"gamer-{number}", created_at=now)
                for number in range(count)
            ],
            batch_size=1000,
        )
        wallets = Wallet.objects.bulk_create(
            [
                Wallet(
                    gamer=gamer,
                    hd_index=number,
                    address=f"0x{sha256(b'%d' % number).hexdigest()[:40]}",
                    created_at=now,
                    modified_at=now,
                )
                for number, gamer in enumerate(gamers)
            ],
            batch_size=1000,
        )
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT ledger.open_accounts('WALLET', id, NULL) FROM unnest(%s::bigint[]) AS id",
                [[wallet.pk for wallet in wallets]],
            )
    return wallets
