"""A gamer links a phone: from then on withdrawals have somewhere to go (contract 3.10)."""

from datetime import datetime

from django.db import transaction

from accounts import otp
from accounts.models import Gamer, KgenAccount
from accounts.phones import Phone
from kgen.common.errors import Conflict
from kgen.common.transactions import requires_transaction
from wallet import custody
from wallet.models import KgenWallet


class PhoneLinkedToAnotherGamer(Conflict):
    code = "PHONE_LINKED_TO_ANOTHER_GAMER"
    message = "This phone belongs to another gamer of this game."


def link_by_otp(
    *, gamer: Gamer, phone: Phone, auth_code: str, code: str, now: datetime
) -> KgenWallet:
    """Link the gamer to the KGeN wallet of the phone that the OTP proves.

    A try stays counted whatever follows; the OTP is used up only together with the link. Raises
    what `otp.check` does, `otp.AlreadyLinked` or `PhoneLinkedToAnotherGamer`.
    """
    otp.check(gamer=gamer, phone=phone, auth_code=auth_code, code=code, now=now)
    with transaction.atomic():
        otp.use(gamer=gamer, phone=phone, auth_code=auth_code, now=now)
        return link(gamer=gamer, phone=phone, now=now)


@requires_transaction
def link(*, gamer: Gamer, phone: Phone, now: datetime) -> KgenWallet:
    """Link the gamer to the account behind a phone, found or made; doing it again changes nothing.

    One phone is one KGeN wallet over all games, and at most one gamer of a game. Raises
    `otp.AlreadyLinked` or `PhoneLinkedToAnotherGamer`.
    """
    # The account's row is held until the end, so that of two gamers after one phone one is first.
    account, _ = KgenAccount.objects.select_for_update(no_key=True).get_or_create(
        phone_hash=phone.phone_hash, defaults={"phone": phone.e164, "created_at": now}
    )
    gamer = Gamer.objects.select_for_update(no_key=True).get(pk=gamer.pk)
    if gamer.kgen_account_id not in (None, account.pk):
        raise otp.AlreadyLinked
    if account.gamers.filter(game=gamer.game_id).exclude(pk=gamer.pk).exists():
        raise PhoneLinkedToAnotherGamer

    if gamer.kgen_account_id is None:
        gamer.kgen_account, gamer.linked_at = account, now
        gamer.save(update_fields=["kgen_account", "linked_at"])
    wallet = KgenWallet.objects.filter(account=account).first()
    return wallet or custody.open_kgen_wallet(account=account, now=now)
