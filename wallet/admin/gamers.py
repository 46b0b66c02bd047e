"""Where wallet and gamer meet: a wallet on the gamer's page, and the gamer on the wallet's."""

from typing import Final

from django.db.models import Q
from django.http import HttpRequest

from accounts.admin.gamers import sessions_of_gamer
from accounts.models import Gamer, OtpRequest
from kgen.common.admin import Table, kcash, link, mask_phone, moment, panel, short
from kgen.common.models import StaffAct
from wallet import ledger
from wallet.admin import freezing
from wallet.admin.cells import NEWEST
from wallet.models import KgenWallet, Wallet

# Finance sees money, and no more of the gamer than the name.
OF_THE_GAMER: Final = "accounts.view_gamer"


@panel(Gamer, "Wallet", order=10)
def wallet_of_gamer(request: HttpRequest, gamer: Gamer) -> Table:
    wallet = Wallet.objects.filter(gamer=gamer).select_related("freeze").first()
    if wallet is None:
        return Table(columns=[], rows=[], empty="Opened with the gamer's first session.")
    kept = ledger.balances(wallet.pk)
    outside = _kgen_wallet_of(gamer)
    return Table(
        columns=[
            "Custodial wallet",
            "State",
            "Spendable",
            "of it withdrawable",
            "To claim",
            "On hold",
            "On the chain",
            "KGeN wallet",
        ],
        rows=[
            (
                link(wallet, wallet.address),
                freezing.state_of(wallet),
                kcash(kept.lazy),
                kcash(kept.earned),
                kcash(kept.claimable),
                kcash(kept.hold),
                kcash(kept.onchain),
                short(outside.address) if outside else "not linked yet",
            )
        ],
        empty="",
    )


@panel(Wallet, "Sessions", order=60, permission=OF_THE_GAMER)
def sessions_of_wallet(request: HttpRequest, wallet: Wallet) -> Table:
    return sessions_of_gamer(request, wallet.gamer)


@panel(Wallet, "Phone and KGeN wallet", order=70, permission=OF_THE_GAMER)
def link_of_wallet(request: HttpRequest, wallet: Wallet) -> Table:
    """The phone that the gamer proved by OTP, and where withdrawals go."""
    account = wallet.gamer.kgen_account
    empty = (
        "No phone yet: the gamer proves one in the game, by a one-time password, and can then"
        " withdraw."
    )
    if account is None:
        return Table(columns=[], rows=[], empty=empty)
    proof = (
        OtpRequest.objects.filter(
            gamer=wallet.gamer, phone_hash=account.phone_hash, used_at__isnull=False
        )
        .order_by("-created_at")
        .first()
    )
    outside = _kgen_wallet_of(wallet.gamer)
    kept_by = "-" if outside is None else "the gamer" if outside.hd_index is None else "KGeN"
    return Table(
        columns=["Phone", "Proved", "KGeN wallet", "Whose keys are kept by"],
        rows=[
            (
                mask_phone(account.phone),
                moment(proof.used_at if proof else None),
                outside.address if outside else "-",
                kept_by,
            )
        ],
        empty=empty,
    )


@panel(Wallet, "What staff did", order=80)
def acts_on_wallet(request: HttpRequest, wallet: Wallet) -> Table:
    chosen = Q(object_type="wallet.wallet", object_pk=str(wallet.pk))
    if request.user.has_perm(OF_THE_GAMER):
        chosen |= Q(object_type="accounts.gamer", object_pk=str(wallet.gamer_id))
    newest = StaffAct.objects.filter(chosen)
    return Table(
        columns=["When", "Who", "To the", "What, and why"],
        rows=[
            (
                moment(entry.at),
                entry.by_name,
                entry.object_type.partition(".")[2],
                entry.line(),
            )
            for entry in newest.order_by("-pk")[:NEWEST]
        ],
        empty="Nothing: freezing, correcting, exporting and the like are written down here.",
    )


def _kgen_wallet_of(gamer: Gamer) -> KgenWallet | None:
    if gamer.kgen_account is None:
        return None
    wallet: KgenWallet | None = getattr(gamer.kgen_account, "wallet", None)
    return wallet
