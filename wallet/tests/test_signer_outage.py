"""Payouts while the signer is away: they wait, and are paid once when it is back."""

import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from wallet.models import Payout
from wallet.settlement import signing
from wallet.settlement.signing import SignerUnavailable
from wallet.tests.factories import WalletFactory
from wallet.tests.settling import Engine, payout_of, status, withdraw
from wallet.tests.signer import Signer


@pytest.fixture
def signer(engine: Engine, settings, tmp_path: Path) -> Iterator[Signer]:
    """Named in the settings, not yet started; the engine asks it."""
    signer = Signer(tmp_path)
    settings.SIGNER_SOCKET = str(signer.socket)
    engine.custodian = signing.custodian()
    yield signer
    signer.close()


def tick(engine: Engine) -> None:
    with contextlib.suppress(SignerUnavailable):
        engine.tick()
    engine.finalize()


def test_a_withdrawal_waits_for_a_signer_that_is_not_there_yet(engine: Engine, signer: Signer):
    wallet = WalletFactory.create()
    withdrawn = withdraw(wallet, 70)

    for _ in range(3):
        tick(engine)

    assert payout_of(withdrawn).state == Payout.State.PENDING
    assert payout_of(withdrawn).tries == 0

    signer.start()
    engine.settle_all()

    payout = payout_of(withdrawn)
    assert (status(withdrawn), payout.state) == ("COMPLETED", "COMPLETED")
    assert engine.bench.balance(payout.to_address) == 70
    assert engine.onchain(wallet) == 0


def test_a_signer_that_is_killed_between_two_signatures_costs_nothing(
    engine: Engine, signer: Signer
):
    wallets = [WalletFactory.create() for _ in range(3)]
    withdrawn = [withdraw(wallet, 70) for wallet in wallets]

    signer.start()
    while not wallets[0].permits.filter(state="GRANTED").exists():
        tick(engine)
    signer.stop(signal.SIGKILL)
    for _ in range(3):
        tick(engine)
    signer.start()
    engine.settle_all()

    payouts = [payout_of(transaction) for transaction in withdrawn]
    assert [payout.state for payout in payouts] == ["COMPLETED"] * 3
    assert [engine.bench.balance(payout.to_address) for payout in payouts] == [70] * 3
