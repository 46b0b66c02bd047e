from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from accounts.models import Gamer
from accounts.tests.factories import GameFactory, GamerFactory
from wallet.models import KgenWallet
from wallet.tests.factories import WalletFactory

pytestmark = pytest.mark.django_db

OUTSIDE = "0xAbCdEf0123456789aBcDeF0123456789abcdef01"


def link_wallet(gamer, *, phone: str = "+12025550143", address: str = OUTSIDE) -> str:
    output = StringIO()
    call_command(
        "link_wallet",
        client=gamer.game.client_id,
        gamer=gamer.gamer_id,
        phone=phone,
        address=address,
        stdout=output,
    )
    return output.getvalue().strip()


def test_link_wallet_links_an_outside_address():
    gamer = GamerFactory.create()

    printed = link_wallet(gamer)

    gamer.refresh_from_db()
    kgen = KgenWallet.objects.get(account=gamer.kgen_account)
    assert printed == kgen.address == OUTSIDE.lower()
    assert kgen.hd_index is None
    assert kgen.account.phone == "+12025550143"
    assert link_wallet(gamer) == printed


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"address": "0x12"}, "0x and 40 hex digits"),
        ({"phone": "2025550143"}, "with its country"),
        ({"phone": "+1 202 555"}, "no mobile number"),
    ],
)
def test_link_wallet_refuses_what_is_malformed(wrong, complaint):
    gamer = GamerFactory.create()

    with pytest.raises(CommandError, match=complaint):
        link_wallet(gamer, **wrong)

    gamer.refresh_from_db()
    assert gamer.kgen_account is None
    assert not KgenWallet.objects.exists()


def test_link_wallet_refuses_addresses_that_are_taken():
    wallet = WalletFactory.create()
    gamer = GamerFactory.create()

    with pytest.raises(CommandError, match="somebody's wallet"):
        link_wallet(gamer, address=wallet.address)
    link_wallet(gamer)
    with pytest.raises(CommandError, match="another KGeN wallet"):
        link_wallet(gamer, address="0x" + "12" * 20)
    with pytest.raises(CommandError, match="somebody's wallet"):
        link_wallet(GamerFactory.create(), phone="+12025550144")

    assert KgenWallet.objects.count() == 1


@pytest.mark.parametrize("whose", ["KCASH_ADDRESS", "SETTLEMENT_ADDRESS", "FLOAT_ADDRESS", None])
def test_link_wallet_refuses_addresses_where_kcash_would_be_lost(settings, whose):
    address = "0x" + 40 * "0"
    if whose:
        address = "0x" + 20 * "ab"
        setattr(settings, whose, address)

    with pytest.raises(CommandError, match="No gamer can hold KCash"):
        link_wallet(GamerFactory.create(), address=address)

    assert not KgenWallet.objects.exists()


def test_link_wallet_refuses_unknown_gamers():
    gamer = Gamer(game=GameFactory.create(), gamer_id="nobody")

    with pytest.raises(CommandError, match="has no gamer nobody"):
        link_wallet(gamer)
