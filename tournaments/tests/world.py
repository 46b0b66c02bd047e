"""What a refusal must leave as it was."""

from accounts.models import Gamer
from rewards.models import Reward
from tournaments.models import GameEvent, Participation, Tournament
from wallet import custody, ledger
from wallet.models import Transfer, Wallet, WalletTransaction


def world() -> dict[str, list[tuple]]:
    """Every row that play and money are made of."""
    tables = (Tournament, Participation, GameEvent, Reward, Wallet, WalletTransaction, Transfer)
    return {
        model.__name__: sorted(
            tuple(bytes(value) if isinstance(value, memoryview) else str(value) for value in row)
            for row in model.objects.values_list(*(f.attname for f in model._meta.concrete_fields))
        )
        for model in tables
    }


def buckets(gamer: Gamer) -> tuple[int, int, int, int]:
    """What the gamer has: bonus, bought, earned, claimable."""
    found = ledger.balances(custody.wallet_of(gamer).pk)
    return found.bonus, found.bought, found.earned, found.claimable


def pool_balance(tournament: Tournament) -> int:
    account = ledger.account_of(ledger.Owner.TOURNAMENT, tournament.pk, ledger.Bucket.POOL)
    return ledger.queued_balance(account)
