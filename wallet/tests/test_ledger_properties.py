"""Whatever is asked of it, in whatever order, the ledger agrees with a model of plain integers."""

from collections import Counter
from dataclasses import dataclass, replace
from functools import partial
from uuid import UUID, uuid4

import pytest
from django.db import transaction
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from kgen.common.identifiers import uuid7
from wallet import ledger, reconciliation
from wallet.ledger import (
    CHAIN_SUPPLY,
    KGEN_OUT,
    MINT,
    PLATFORM_RAKE,
    SPENDABLE,
    TREASURY,
    Bucket,
    InsufficientFunds,
    Kind,
    LedgerError,
    Leg,
    Outcome,
    Owner,
    Phase,
    PostingConflict,
    UnknownAccount,
)
from wallet.models import LedgerAccount, Transfer
from wallet.tests.factories import WalletFactory

pytestmark = pytest.mark.django_db

WALLETS, POOLS = 3, 2
# They keep no balance, so they may go below zero.
SYSTEM = (MINT, TREASURY, PLATFORM_RAKE, KGEN_OUT, CHAIN_SUPPLY)
SPENT = (*SPENDABLE, Bucket.CLAIMABLE, Bucket.HOLD)

wallets = st.integers(0, WALLETS - 1)
pools = st.integers(0, POOLS - 1)
# A wallet starts with 10 in each bucket: `few` is often there, `small` often not.
few = st.integers(1, 14)
small = st.integers(1, 60)
# Asked again: mostly for the same, else for another amount under the same id.
same_or_more = st.sampled_from((0, 0, 1, 60))
ends_of_hold = st.sampled_from(("settle", "release", "part"))
huge = st.one_of(st.integers(10**18, 10**18 + 50), st.just(10**77))


@dataclass(frozen=True)
class Asked:
    """A posting as it was asked for, so that it can be asked for again."""

    posting_id: UUID
    legs: tuple[Leg, ...]
    phase: Phase = Phase.POST


@dataclass(frozen=True)
class Spent:
    """A fee or a hold, as it was asked for; `legs` is how it must have been split."""

    posting_id: UUID
    wallet: int
    total: int
    to: int
    kind: Kind
    legs: tuple[Leg, ...]


class LedgerMachine(RuleBasedStateMachine):
    outcomes: Counter[tuple[str, str]] = Counter()

    postings: Bundle[Asked] = Bundle("postings")
    fees: Bundle[Spent] = Bundle("fees")
    holds: Bundle[Spent] = Bundle("holds")

    @initialize()
    def open(self) -> None:
        self.savepoint = transaction.atomic()
        self.savepoint.__enter__()
        opened = [WalletFactory.create() for _ in range(WALLETS)]
        self.wallet_ids = [wallet.pk for wallet in opened]
        self.wallet_accounts = [ledger.accounts_of(pk) for pk in self.wallet_ids]
        for number in range(POOLS):
            ledger.open_accounts(Owner.TOURNAMENT, number, owner_uid=uuid4())
        self.pools = [
            ledger.account_of(Owner.TOURNAMENT, number, Bucket.POOL) for number in range(POOLS)
        ]
        # The model: what each account holds, and which postings were made.
        self.held = Counter[int]()
        self.made: dict[tuple[UUID, Phase], object] = {}
        for number in range(WALLETS):
            for bucket in (*SPENDABLE, Bucket.CLAIMABLE):
                self.ask(
                    "fund",
                    Asked(uuid7(), (Leg(MINT, self.at(number, bucket), 10, Kind.GRANT),)),
                )

    def teardown(self) -> None:
        if hasattr(self, "savepoint"):
            assert [audit.find() for audit in reconciliation.AUDITS[:6]] == [[]] * 6
            transaction.set_rollback(True)
            self.savepoint.__exit__(None, None, None)

    def at(self, wallet: int, bucket: Bucket) -> int:
        return self.wallet_accounts[wallet][bucket]

    # --- What the model expects ---

    def expected(self, key: tuple[UUID, Phase], request: object, legs: tuple[Leg, ...]) -> str:
        if key in self.made:
            return "replay" if self.made[key] == request else "conflict"
        after = Counter(self.held)
        # A pool pays out of what was there before; everybody else leg by leg.
        for leg in legs:
            after[leg.debit] -= leg.amount
            if leg.debit not in SYSTEM and after[leg.debit] < 0:
                return "floor"
            after[leg.credit] += leg.amount
        return "posted"

    def apply(self, legs: tuple[Leg, ...]) -> None:
        for leg in legs:
            self.held[leg.debit] -= leg.amount
            self.held[leg.credit] += leg.amount

    def settle_on(
        self,
        name: str,
        call,
        *,
        key: tuple[UUID, Phase],
        request: object,
        legs: tuple[Leg, ...],
    ) -> str:
        """Make the call; it must end as the model says, and a refusal must change nothing."""
        wanted = self.expected(key, request, legs)
        rows = Transfer.objects.count()
        try:
            with transaction.atomic():
                got = "posted" if call() is Outcome.POSTED else "replay"
        except InsufficientFunds:
            got = "floor"
        except PostingConflict:
            got = "conflict"
        except LedgerError as error:
            got = repr(error)
        assert got == wanted
        assert Transfer.objects.count() == rows + (len(legs) if got == "posted" else 0)
        if got == "posted":
            self.apply(legs)
            self.made[key] = request
        self.outcomes[name, got] += 1
        return got

    def ask(self, name: str, asked: Asked) -> Asked:
        self.settle_on(
            name,
            lambda: ledger.post(asked.legs, posting_id=asked.posting_id, phase=asked.phase),
            key=(asked.posting_id, asked.phase),
            request=asked.legs,
            legs=asked.legs,
        )
        return asked

    def spend(self, name: str, spent: Spent, order=SPENDABLE) -> str:
        return self.settle_on(
            name,
            lambda: ledger.spend(
                wallet_id=self.wallet_ids[spent.wallet],
                total=spent.total,
                to=spent.to,
                posting_id=spent.posting_id,
                kind=spent.kind,
                order=order,
            ),
            key=(spent.posting_id, Phase.POST),
            request=(spent.wallet, spent.total, spent.to, spent.kind),
            legs=spent.legs,
        )

    def split(self, wallet: int, total: int, to: int, kind: Kind, order) -> tuple[Leg, ...]:
        legs, left = [], total
        for bucket in order:
            part = min(left, self.held[self.at(wallet, bucket)])
            if part:
                legs.append(Leg(self.at(wallet, bucket), to, part, kind))
                left -= part
        if left:  # the database must refuse: leave the shortage with the last bucket
            legs.append(Leg(self.at(wallet, order[-1]), to, left, kind))
        return tuple(legs)

    # --- What can be asked ---

    @rule(target=postings, wallet=wallets, bucket=st.sampled_from(SPENT), amount=small)
    def fund(self, wallet, bucket, amount):
        return self.ask(
            "fund", Asked(uuid7(), (Leg(MINT, self.at(wallet, bucket), amount, Kind.GRANT),))
        )

    @rule(target=postings, wallet=wallets, bucket=st.sampled_from(SPENT), amount=huge)
    def move_too_much(self, wallet, bucket, amount):
        return self.ask(
            "huge", Asked(uuid7(), (Leg(self.at(wallet, bucket), KGEN_OUT, amount, Kind.SETTLE),))
        )

    @rule(target=fees, wallet=wallets, pool=pools, amount=small)
    def pay_fee(self, wallet, pool, amount):
        to = self.pools[pool]
        legs = self.split(wallet, amount, to, Kind.ENTRY_FEE, SPENDABLE)
        spent = Spent(uuid7(), wallet, amount, to, Kind.ENTRY_FEE, legs)
        return spent if self.spend("fee", spent) == "posted" else multiple()

    @rule(fee=fees, more=same_or_more)
    def pay_fee_again(self, fee, more):
        self.spend("fee", replace(fee, total=fee.total + more))

    @rule(fee=fees)
    def refund(self, fee):
        legs = tuple(Leg(leg.credit, leg.debit, leg.amount, Kind.REFUND) for leg in fee.legs)
        # Named after the fee, so that the second refund of it is a replay.
        refund_id = UUID(int=fee.posting_id.int ^ 1)
        self.settle_on(
            "refund",
            lambda: ledger.refund(fee.posting_id, new_posting_id=refund_id),
            key=(refund_id, Phase.POST),
            request=legs,
            legs=legs,
        )

    @rule(
        target=postings,
        pool=pools,
        shares=st.lists(st.tuples(wallets, few), min_size=1, max_size=7),
    )
    def pay_prizes(self, pool, shares):
        legs = [
            Leg(self.pools[pool], self.at(wallet, Bucket.CLAIMABLE), amount, Kind.PRIZE)
            for wallet, amount in shares
        ]
        return self.ask("prizes", Asked(uuid7(), tuple(legs)))

    @rule(target=postings, pool=pools, wallet=wallets, percent=st.integers(1, 100))
    def empty_pool(self, pool, wallet, percent):
        account = self.pools[pool]
        prize = self.held[account] * percent // 100
        parts = [
            (self.at(wallet, Bucket.CLAIMABLE), prize, Kind.PRIZE),
            (PLATFORM_RAKE, self.held[account] - prize, Kind.RAKE_PLATFORM),
        ]
        legs = tuple(Leg(account, to, amount, kind) for to, amount, kind in parts if amount)
        if not legs:
            return multiple()
        asked = self.ask("finish", Asked(uuid7(), legs))
        assert self.held[account] == 0
        return asked

    @rule(target=postings, wallet=wallets, amount=few)
    def claim(self, wallet, amount):
        leg = Leg(
            self.at(wallet, Bucket.CLAIMABLE), self.at(wallet, Bucket.EARNED), amount, Kind.CLAIM
        )
        return self.ask("claim", Asked(uuid7(), (leg,)))

    @rule(target=postings, wallet=wallets, amount=few, times=st.integers(2, 7))
    def move_back_and_forth(self, wallet, amount, times):
        here, there = self.at(wallet, Bucket.EARNED), self.at(wallet, Bucket.BOUGHT)
        legs = [
            Leg(*((here, there) if step % 2 else (there, here)), amount, Kind.GRANT)
            for step in range(times)
        ]
        return self.ask("batch", Asked(uuid7(), tuple(legs)))

    @rule(asked=postings, more=same_or_more)
    def post_again(self, asked, more):
        legs = tuple(replace(leg, amount=leg.amount + more) for leg in asked.legs)
        self.ask("again", replace(asked, legs=legs))

    @rule(target=holds, wallet=wallets, amount=few)
    def hold(self, wallet, amount):
        to, order = self.at(wallet, Bucket.HOLD), (Bucket.EARNED,)
        legs = self.split(wallet, amount, to, Kind.HOLD, order)
        spent = Spent(uuid7(), wallet, amount, to, Kind.HOLD, legs)
        return spent if self.spend("hold", spent, order) == "posted" else multiple()

    @rule(hold=holds, how=ends_of_hold, then=ends_of_hold, share=few)
    def end_hold_twice(self, hold, how, then, share):
        for name in (how, then):
            self.end_hold(hold, name, share)

    def end_hold(self, hold: Spent, how: str, share: int) -> None:
        settled = {"settle": hold.total, "release": 0, "part": min(share, hold.total)}[how]
        parts = [
            (KGEN_OUT, settled, Kind.SETTLE),
            (self.at(hold.wallet, Bucket.EARNED), hold.total - settled, Kind.RELEASE),
        ]
        legs = tuple(Leg(hold.to, to, amount, kind) for to, amount, kind in parts if amount)
        call = {
            "settle": partial(ledger.settle, hold.posting_id),
            "release": partial(ledger.release, hold.posting_id),
            "part": partial(ledger.post, legs, posting_id=hold.posting_id, phase=Phase.RESOLVE),
        }[how]
        key = (hold.posting_id, Phase.RESOLVE)
        self.settle_on(how, call, key=key, request=legs, legs=legs)

    @rule(target=postings, wallet=wallets, amount=small, is_credit=st.booleans())
    def confirm_on_chain(self, wallet, amount, is_credit):
        uid, onchain = uuid7(), self.at(wallet, Bucket.ONCHAIN)
        ends = (CHAIN_SUPPLY, onchain) if is_credit else (onchain, CHAIN_SUPPLY)
        legs = (Leg(*ends, amount, Kind.CONFIRM),)
        self.settle_on(
            "confirm",
            lambda: ledger.confirm_on_chain(
                transaction_uid=uid,
                wallet_id=self.wallet_ids[wallet],
                signed_amount=amount if is_credit else -amount,
            ),
            key=(uid, Phase.CONFIRM),
            request=legs,
            legs=legs,
        )
        return Asked(uid, legs, Phase.CONFIRM) if (uid, Phase.CONFIRM) in self.made else multiple()

    @rule(wallet=wallets, amount=few)
    def one_bad_leg(self, wallet, amount):
        legs = [
            Leg(MINT, self.at(wallet, Bucket.BONUS), amount, Kind.GRANT),
            Leg(MINT, 10**9, amount, Kind.GRANT),
        ]
        with pytest.raises(UnknownAccount), transaction.atomic():
            ledger.post(legs, posting_id=uuid7())
        self.outcomes["bad leg", "refused"] += 1

    # --- What holds after every step ---

    @invariant()
    def database_agrees_with_the_model(self) -> None:
        if not hasattr(self, "held"):
            return
        assert sum(self.held.values()) == 0
        numbers = [number for accounts in self.wallet_accounts for number in accounts.values()]
        kept = LedgerAccount.objects.filter(pk__in=numbers).values_list("pk", "balance")
        assert dict(kept) == {number: self.held[number] for number in numbers}
        for account in self.pools:
            assert ledger.queued_balance(account) == self.held[account]


# Every way in which each kind of call can end; a run in which one never happened proves nothing.
ENDS = {
    "fund": ("posted",),
    "huge": ("floor",),
    "fee": ("posted", "floor", "replay", "conflict"),
    "refund": ("posted", "floor", "replay"),
    "prizes": ("posted", "floor"),
    "finish": ("posted",),
    "claim": ("posted", "floor"),
    "batch": ("posted", "floor"),
    "again": ("replay", "conflict"),
    "hold": ("posted", "floor"),
    "settle": ("posted", "replay", "conflict"),
    "release": ("posted", "replay", "conflict"),
    "part": ("posted", "conflict"),
    "confirm": ("posted", "floor"),
    "bad leg": ("refused",),
}


def run(*, examples: int, steps: int) -> Counter[tuple[str, str]]:
    """How often each kind of call ended in each way."""
    LedgerMachine.outcomes.clear()
    run_state_machine_as_test(
        LedgerMachine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            derandomize=True,  # what is counted below is of this very run
            suppress_health_check=list(HealthCheck),
        ),
    )
    return LedgerMachine.outcomes


def test_ledger_agrees_with_its_model():
    outcomes = run(examples=15, steps=40)

    ended = Counter[str]()
    for (_, end), times in outcomes.items():
        ended[end] += times
    assert set(ended) == {"posted", "floor", "replay", "conflict", "refused"}
    assert min(ended.values()) >= 10


@pytest.mark.slow
def test_ledger_agrees_with_its_model_for_long():
    outcomes = run(examples=150, steps=50)

    rare = {(name, end) for name, ends in ENDS.items() for end in ends if outcomes[name, end] < 10}
    assert rare == set()
