"""A gamer opens the game: session, custodial wallet and welcome bonus, all or none."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, transaction

from accounts import personal_data, sessions
from accounts.models import Game, Gamer
from accounts.sessions import OpenSession
from kgen.common.errors import Unprocessable
from kgen.common.transactions import requires_transaction
from wallet import custody, ledger, welcome_bonus
from wallet.models import Wallet

logger = logging.getLogger(__name__)


class SessionNotStarted(Unprocessable):
    code = "SESSION_NOT_STARTED"
    message = "The wallet could not be made; nothing was kept. Try again."


@dataclass(frozen=True, slots=True)
class Onboarded:
    """An open session and the wallet behind it."""

    opened: OpenSession
    wallet: Wallet


def open_session(
    *, game: Game, gamer_id: str, profile: Mapping[str, object], now: datetime
) -> Onboarded:
    """Open a session; the first one of a gamer also makes the wallet and grants the bonus.

    Of two first calls in parallel one makes everything and the other finds it. Raises
    `sessions.GamerBlocked` or `SessionNotStarted` (contract 3.1).
    """
    with transaction.atomic():
        opened = sessions.open_session(game=game, gamer_id=gamer_id, profile=profile, now=now)
        if opened.is_new_gamer:
            wallet = _first_wallet(gamer=opened.gamer, now=now)
        else:
            wallet = custody.wallet_of(opened.gamer)
    return Onboarded(opened=opened, wallet=wallet)


@requires_transaction
def _first_wallet(*, gamer: Gamer, now: datetime) -> Wallet:
    try:
        wallet = custody.open_wallet(gamer=gamer, now=now)
        if not personal_data.was_erased(gamer=gamer):
            welcome_bonus.grant(wallet=wallet, now=now)
    except (DatabaseError, ledger.LedgerError, ImproperlyConfigured) as error:
        logger.exception("No wallet could be made")
        raise SessionNotStarted from error
    return wallet
