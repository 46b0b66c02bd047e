"""The ledger as plain integers, asked the same things in the same order as the real one."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import cycle
from uuid import UUID, uuid4

from django.db import connection, transaction
from hypothesis import HealthCheck, settings
from hypothesis import Phase as HypothesisPhase
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
from wallet import ledger
from wallet.ledger import (
    CHAIN_SUPPLY,
    KGEN_OUT,
    MINT,
    PLATFORM_RAKE,
    SPENDABLE,
    TREASURY,
    BadPosting,
    Balances,
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
from wallet.models import Transfer
from wallet.tests.factories import WalletFactory
from wallet.tests.soundness import assert_sound

WALLETS, POOLS = 3, 2
# They keep no balance, so they may go below zero.
SYSTEM = (MINT, TREASURY, PLATFORM_RAKE, KGEN_OUT, CHAIN_SUPPLY)
SPENT = (*SPENDABLE, Bucket.CLAIMABLE, Bucket.HOLD)
NOWHERE = 10**9
BEYOND = 10**78

# How a call can end, by what the ledger says.
ENDS = {
    InsufficientFunds: "floor",
    PostingConflict: "conflict",
    BadPosting: "bad",
    UnknownAccount: "unknown",
}

wallets = st.integers(0, WALLETS - 1)
pools = st.integers(0, POOLS - 1)
buckets = st.sampled_from(SPENT)
# A wallet starts with 10 in each bucket: `few` is often there, `small` often not.
few = st.integers(1, 14)
small = st.integers(1, 60)
# Up to 1 leg, up to 4 and more are written by three engines.
times = st.sampled_from((1, 2, 3, 5, 7))
huge = st.one_of(st.integers(10**18, 10**18 + 50), st.just(10**77))
# Asked again: for the same, or for something else under the same id.
CHANGES = ("amount", "shorter", "kind", "target")
changes = st.sampled_from(("same", "same", *CHANGES))
ENDS_OF_HOLD = ("settle", "release", "part", "wrong sum")
ends_of_hold = st.sampled_from(ENDS_OF_HOLD)

Row = tuple[object, ...]
Key = tuple[UUID, Phase]


@dataclass(frozen=True)
class Asked:
    """A posting as it was asked for, so that it can be asked for again."""

    name: str
    posting_id: UUID
    legs: tuple[Leg, ...]

    def changed(self, how: str) -> "Asked":
        first, *others = self.legs
        legs: Sequence[Leg] = {
            "same": self.legs,
            "amount": (replace(first, amount=first.amount + 1), *others),
            "kind": (replace(first, kind=Kind.REMAINDER), *others),
            "target": (
                replace(first, credit=TREASURY if first.debit != TREASURY else KGEN_OUT),
                *others,
            ),
            "shorter": self.legs[:1],
        }[how]
        return replace(self, legs=tuple(legs))


@dataclass(frozen=True)
class Spent:
    """A fee or a hold, as it was asked for; `legs` is how it must have been split."""

    name: str
    posting_id: UUID
    wallet: int
    total: int
    to: int
    kind: Kind
    order: tuple[Bucket, ...]
    legs: tuple[Leg, ...]

    def changed(self, how: str) -> "Spent":
        return {
            "same": self,
            "amount": replace(self, total=self.total + 1),
            "kind": replace(self, kind=Kind.REMAINDER),
            "target": replace(self, to=KGEN_OUT),
            "shorter": replace(self, order=(*self.order[1:], Bucket.CLAIMABLE)),
        }[how]

    @property
    def request(self) -> object:
        return self.wallet, self.total, self.to, self.kind, self.order


class LedgerMachine(RuleBasedStateMachine):
    outcomes: Counter[tuple[str, str]] = Counter()

    postings: Bundle[Asked] = Bundle("postings")
    fees: Bundle[Spent] = Bundle("fees")
    holds: Bundle[Spent] = Bundle("holds")

    @initialize()
    def open(self) -> None:
        self.savepoint = transaction.atomic()
        self.savepoint.__enter__()
        self.wallet_ids = [WalletFactory.create().pk for _ in range(WALLETS)]
        self.wallet_accounts = [ledger.accounts_of(pk) for pk in self.wallet_ids]
        for number in range(POOLS):
            ledger.open_accounts(Owner.TOURNAMENT, number, owner_uid=uuid4())
        self.pools = [
            ledger.account_of(Owner.TOURNAMENT, number, Bucket.POOL) for number in range(POOLS)
        ]
        self.others_rows = Transfer.objects.count()
        # The model: what each account holds and how often that changed in its row; for each posting
        # what was asked for and the rows that it made.
        self.held = Counter[int]()
        self.seq = Counter[int]()
        self.made: dict[Key, object] = {}
        self.rows: dict[Key, list[Row]] = {}
        self.changes: defaultdict[str, Iterator[str]] = defaultdict(partial(cycle, CHANGES))
        for number in range(WALLETS):
            for bucket in (*SPENDABLE, Bucket.CLAIMABLE):
                leg = Leg(MINT, self.at(number, bucket), 10, Kind.GRANT)
                self.ask_for(Asked("fund", uuid7(), (leg,)))
        for pool in self.pools:
            self.ask_for(Asked("sponsor", uuid7(), (Leg(TREASURY, pool, 30, Kind.SPONSOR),)))

    def teardown(self) -> None:
        if not hasattr(self, "savepoint"):
            return
        try:
            if not connection.needs_rollback:
                assert_sound()
                in_model = sum(map(len, self.rows.values()))
                assert Transfer.objects.count() == self.others_rows + in_model
        finally:
            transaction.set_rollback(True)
            self.savepoint.__exit__(None, None, None)

    def at(self, wallet: int, bucket: Bucket) -> int:
        return self.wallet_accounts[wallet][bucket]

    # --- What the model expects ---

    def worked_out(self, legs: Sequence[Leg]) -> list[Row] | str:
        """The rows of a posting that is new, or how it must be refused."""
        held, seq = Counter(self.held), Counter(self.seq)
        rows: list[Row] = []
        for number, leg in enumerate(legs, start=1):
            held[leg.debit] -= leg.amount
            held[leg.credit] += leg.amount
            booked_debit = leg.debit not in SYSTEM
            booked_credit = leg.credit not in (*SYSTEM, *self.pools)
            if booked_debit and held[leg.debit] < 0:
                return "floor"
            if booked_credit and held[leg.credit] >= BEYOND:
                return "bad"
            seq[leg.debit] += booked_debit
            seq[leg.credit] += booked_credit
            rows.append(
                (
                    number,
                    leg.kind,
                    leg.debit,
                    leg.credit,
                    leg.amount,
                    seq[leg.debit] if booked_debit else None,
                    seq[leg.credit] if booked_credit else None,
                    held[leg.debit] if booked_debit else None,
                    held[leg.credit] if booked_credit else None,
                )
            )
        return rows

    def judge(
        self, name: str, call, *, key: Key, request: object, legs: Sequence[Leg], wrong: str = ""
    ) -> str:
        """Make the call: it must end as the model says and write the rows that the model says.

        `wrong` is how it must be refused where that does not depend on what is held.
        """
        rows: list[Row] = []
        if key in self.made:
            expected = "replay" if self.made[key] == request else "conflict"
        elif wrong:
            expected = wrong
        else:
            worked_out = self.worked_out(legs)
            if isinstance(worked_out, str):
                expected = worked_out
            else:
                expected, rows = "posted", worked_out
        try:
            with transaction.atomic():
                got = "posted" if call() is Outcome.POSTED else "replay"
        except LedgerError as refusal:
            got = ENDS[type(refusal)]
        assert got == expected
        if expected == "posted":
            self.made[key] = request
            self.rows[key] = rows
            for leg in legs:
                self.held[leg.debit] -= leg.amount
                self.held[leg.credit] += leg.amount
                self.seq[leg.debit] += leg.debit not in SYSTEM
                self.seq[leg.credit] += leg.credit not in (*SYSTEM, *self.pools)
        # A refusal and a repetition leave what there was.
        assert self.rows_of(key) == self.rows.get(key, [])
        self.outcomes[name, got] += 1
        return got

    def rows_of(self, key: Key) -> list[Row]:
        posting_id, phase = key
        found = Transfer.objects.filter(posting_id=posting_id, phase=phase).order_by("leg")
        return list(
            found.values_list(
                "leg",
                "kind",
                "debit_id",
                "credit_id",
                "amount",
                "debit_seq",
                "credit_seq",
                "debit_after",
                "credit_after",
            )
        )

    def ask(self, name: str, legs: Sequence[Leg]) -> Asked:
        """Ask; what was posted is asked for again, and something else under its id."""
        asked = Asked(name, uuid7(), tuple(legs))
        if self.ask_for(asked) == "posted":
            self.ask_for(asked)
            self.ask_for(asked.changed(next(self.changes[name])))
        return asked

    def ask_for(self, asked: Asked) -> str:
        return self.judge(
            asked.name,
            partial(ledger.post, asked.legs, posting_id=asked.posting_id),
            key=(asked.posting_id, Phase.POST),
            request=asked.legs,
            legs=asked.legs,
        )

    def spend(self, spent: Spent) -> str:
        """Spend; what was posted is asked for again, and something else under its id."""
        ended = self.spend_once(spent)
        if ended == "posted":
            self.spend_once(spent)
            self.spend_once(spent.changed(next(self.changes[spent.name])))
        return ended

    def spend_once(self, spent: Spent) -> str:
        return self.judge(
            spent.name,
            partial(
                ledger.spend,
                wallet_id=self.wallet_ids[spent.wallet],
                total=spent.total,
                to=spent.to,
                posting_id=spent.posting_id,
                kind=spent.kind,
                order=spent.order,
            ),
            key=(spent.posting_id, Phase.POST),
            request=spent.request,
            legs=spent.legs,
        )

    def spending(
        self, name: str, wallet: int, total: int, to: int, kind: Kind, order: tuple[Bucket, ...]
    ) -> Spent:
        """Bonus fully before bought before earned."""
        legs, left = [], total
        for bucket in order:
            part = min(left, self.held[self.at(wallet, bucket)])
            if part:
                legs.append(Leg(self.at(wallet, bucket), to, part, kind))
                left -= part
        if left:  # the ledger must refuse: leave the shortage with the last bucket
            legs.append(Leg(self.at(wallet, order[-1]), to, left, kind))
        return Spent(name, uuid7(), wallet, total, to, kind, order, tuple(legs))

    # --- What can be asked ---

    @rule(target=postings, wallet=wallets, bucket=buckets, amount=small)
    def fund(self, wallet, bucket, amount):
        return self.ask("fund", [Leg(MINT, self.at(wallet, bucket), amount, Kind.GRANT)])

    @rule(target=postings, pool=pools, amount=few, times=times)
    def sponsor(self, pool, amount, times):
        return self.ask("sponsor", [Leg(TREASURY, self.pools[pool], amount, Kind.SPONSOR)] * times)

    @rule(wallet=wallets, bucket=buckets, amount=huge)
    def move_too_much(self, wallet, bucket, amount):
        self.ask("too much", [Leg(self.at(wallet, bucket), KGEN_OUT, amount, Kind.SETTLE)])

    @rule(wallet=wallets, bucket=buckets, times=times, amount=huge)
    def move_huge_amounts(self, wallet, bucket, times, amount):
        account = self.at(wallet, bucket)
        self.ask("huge", [Leg(MINT, account, amount, Kind.GRANT)] * times)
        self.ask("huge", [Leg(account, KGEN_OUT, amount, Kind.SETTLE)] * times)

    @rule(wallet=wallets, bucket=buckets, times=times)
    def hold_more_than_there_are_digits(self, wallet, bucket, times):
        account = self.at(wallet, bucket)
        rest = BEYOND - self.held[account]
        if rest < BEYOND:
            legs = [Leg(MINT, account, 1, Kind.GRANT)] * (times - 1)
            self.ask("huge", [Leg(MINT, account, rest, Kind.GRANT), *legs])

    @rule(target=fees, wallet=wallets, pool=pools, amount=small)
    def pay_fee(self, wallet, pool, amount):
        fee = self.spending("fee", wallet, amount, self.pools[pool], Kind.ENTRY_FEE, SPENDABLE)
        return fee if self.spend(fee) == "posted" else multiple()

    @rule(
        target=holds,
        wallet=wallets,
        amount=few,
        is_ended=st.booleans(),
        how=ends_of_hold,
        share=few,
    )
    def hold(self, wallet, amount, is_ended, how, share):
        to = self.at(wallet, Bucket.HOLD)
        held = self.spending("hold", wallet, amount, to, Kind.HOLD, (Bucket.EARNED,))
        if self.spend(held) != "posted":
            return multiple()
        if is_ended:
            self.end_hold_in_every_way(hold=held, how=how, share=share)
        return held

    @rule(spent=st.one_of(fees, holds), how=changes)
    def spend_again(self, spent, how):
        self.spend_once(spent.changed(how))

    @rule(posted=st.one_of(fees, postings), other=st.one_of(fees, postings))
    def take_back(self, posted, other):
        """Named after the posting, so that taking it back again is a repetition."""
        refund_id = UUID(int=posted.posting_id.int ^ 1)
        for original in (posted, posted, other):
            was_made = (original.posting_id, Phase.POST) in self.made
            legs = tuple(
                Leg(leg.credit, leg.debit, leg.amount, Kind.REFUND)
                for leg in original.legs
                if was_made
            )
            new_id = refund_id if was_made else uuid7()
            self.judge(
                "refund",
                partial(ledger.refund, original.posting_id, new_posting_id=new_id),
                key=(new_id, Phase.POST),
                request=legs,
                legs=legs,
                wrong="" if was_made else "unknown",
            )

    @rule(wallet=wallets, pool=pools, amount=small)
    def pay_fee_and_get_it_back(self, wallet, pool, amount):
        fee = self.spending("fee", wallet, amount, self.pools[pool], Kind.ENTRY_FEE, SPENDABLE)
        before = ledger.balances(self.wallet_ids[wallet])
        if self.spend(fee) == "posted":
            self.take_back(posted=fee, other=fee)
        assert ledger.balances(self.wallet_ids[wallet]) == before

    @rule(
        target=postings,
        pool=pools,
        shares=st.lists(st.tuples(wallets, few), min_size=1, max_size=7),
    )
    def pay_prizes(self, pool, shares):
        return self.ask(
            "prizes",
            [
                Leg(self.pools[pool], self.at(wallet, Bucket.CLAIMABLE), amount, Kind.PRIZE)
                for wallet, amount in shares
            ],
        )

    @rule(target=postings, pool=pools, wallet=wallets, percent=st.integers(0, 100))
    def empty_pool(self, pool, wallet, percent):
        account = self.pools[pool]
        stakes = self.held[account]
        prize = stakes * percent // 100
        rake = (stakes - prize) // 2
        parts = [
            (self.at(wallet, Bucket.CLAIMABLE), prize, Kind.PRIZE),
            (PLATFORM_RAKE, rake, Kind.RAKE_PLATFORM),
            (TREASURY, stakes - prize - rake, Kind.REMAINDER),
        ]
        legs = [Leg(account, to, amount, kind) for to, amount, kind in parts if amount]
        if not legs:
            return multiple()
        asked = self.ask("finish", legs)
        assert ledger.queued_balance(account) == 0
        return asked

    @rule(target=postings, wallet=wallets, amount=few)
    def claim(self, wallet, amount):
        here, there = self.at(wallet, Bucket.CLAIMABLE), self.at(wallet, Bucket.EARNED)
        return self.ask("claim", [Leg(here, there, amount, Kind.CLAIM)])

    @rule(target=postings, wallet=wallets, amount=few, times=times)
    def move_back_and_forth(self, wallet, amount, times):
        here, there = self.at(wallet, Bucket.EARNED), self.at(wallet, Bucket.BOUGHT)
        to, back = Leg(here, there, amount, Kind.GRANT), Leg(there, here, amount, Kind.GRANT)
        return self.ask("batch", [back if step % 2 else to for step in range(times)])

    @rule(asked=postings, how=changes)
    def post_again(self, asked, how):
        self.ask_for(asked.changed(how))

    @rule(hold=holds, how=ends_of_hold, share=few)
    def end_hold_in_every_way(self, hold, how, share):
        for name in (how, *ENDS_OF_HOLD):
            self.end_hold(hold, name, share)

    def end_hold(self, hold: Spent, how: str, share: int) -> None:
        settled = {"settle": hold.total, "release": 0}.get(how, min(share, hold.total))
        released = hold.total - settled + (how == "wrong sum")
        parts = [
            (KGEN_OUT, settled, Kind.SETTLE),
            (self.at(hold.wallet, Bucket.EARNED), released, Kind.RELEASE),
        ]
        legs = tuple(Leg(hold.to, to, amount, kind) for to, amount, kind in parts if amount)
        calls = {
            "settle": partial(ledger.settle, hold.posting_id),
            "release": partial(ledger.release, hold.posting_id),
        }
        in_parts = partial(ledger.post, legs, posting_id=hold.posting_id, phase=Phase.RESOLVE)
        self.judge(
            "part" if how == "wrong sum" else how,
            calls.get(how, in_parts),
            key=(hold.posting_id, Phase.RESOLVE),
            request=legs,
            legs=legs,
            wrong="bad" if how == "wrong sum" else "",
        )

    @rule(posted=st.one_of(postings, fees, holds), wallet=wallets, amount=few, is_in=st.booleans())
    def confirm_on_chain(self, posted, wallet, amount, is_in):
        """Under the id of a posting that was made before: the chain's phase is one of its own."""
        onchain = self.at(wallet, Bucket.ONCHAIN)
        ends = (CHAIN_SUPPLY, onchain) if is_in else (onchain, CHAIN_SUPPLY)
        for more in (0, 0, 1):
            legs = (Leg(*ends, amount + more, Kind.CONFIRM),)
            self.judge(
                "confirm",
                partial(
                    ledger.confirm_on_chain,
                    transaction_uid=posted.posting_id,
                    wallet_id=self.wallet_ids[wallet],
                    signed_amount=(amount + more) * (1 if is_in else -1),
                ),
                key=(posted.posting_id, Phase.CONFIRM),
                request=legs,
                legs=legs,
            )
        if not isinstance(posted, Spent) or posted.kind != Kind.HOLD:
            # Only what was posted is taken back, not what the chain made of it.
            self.take_back(posted=posted, other=posted)

    @rule(wallet=wallets, pool=pools, amount=few, times=times)
    def ask_for_what_can_never_be(self, wallet, pool, amount, times):
        bonus, pot = self.at(wallet, Bucket.BONUS), self.pools[pool]
        onchain = self.at(wallet, Bucket.ONCHAIN)
        wrong = {
            "nowhere": ([Leg(MINT, NOWHERE, amount, Kind.GRANT)], "unknown"),
            "other asset": ([Leg(MINT, onchain, amount, Kind.GRANT)], "unknown"),
            "itself": ([Leg(bonus, bonus, 1, Kind.GRANT)], "bad"),
            "pool pays and takes": (
                [Leg(MINT, pot, amount, Kind.SPONSOR), Leg(pot, TREASURY, 1, Kind.PRIZE)],
                "bad",
            ),
        }
        for name, (bad, ends) in wrong.items():
            legs = (*[Leg(MINT, bonus, amount, Kind.GRANT)] * (times - 1), *bad)
            posting_id = uuid7()
            call = partial(ledger.post, legs, posting_id=posting_id)
            self.refuse(name, call, (posting_id, Phase.POST), ends)
        for end in (ledger.settle, ledger.release):
            posting_id = uuid7()
            self.refuse("no hold", partial(end, posting_id), (posting_id, Phase.RESOLVE), "unknown")

    def refuse(self, name: str, call, key: Key, wrong: str) -> None:
        self.judge(name, call, key=key, request=None, legs=(), wrong=wrong)

    @rule(wallet=wallets)
    def read_balances(self, wallet):
        holds = {
            bucket: self.held[self.at(wallet, Bucket(bucket))] for bucket in (*SPENT, "onchain")
        }
        lazy = sum(holds[bucket] for bucket in SPENDABLE)

        balances = ledger.balances(self.wallet_ids[wallet])

        assert balances == Balances(**{str(bucket): held for bucket, held in holds.items()})
        assert (balances.lazy, balances.delta) == (lazy, lazy - holds["onchain"])

    # --- What holds after every step ---

    @invariant()
    def database_agrees_with_the_model(self) -> None:
        if not hasattr(self, "rows"):
            return
        assert sum(self.held.values()) == 0
        numbers = [
            *(number for accounts in self.wallet_accounts for number in accounts.values()),
            *self.pools,
        ]
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT id, balance + coalesce(sum(amount), 0), seq, balance >= 0"
                "  FROM ledger.account LEFT JOIN ledger.pending_credit ON account_id = id"
                " WHERE id = ANY (%s) GROUP BY id",
                [numbers],
            )
            found = set(cursor.fetchall())
        assert found == {(n, self.held[n], self.seq[n], True) for n in numbers}


def run(*, examples: int, steps: int, seeks_smallest: bool = True) -> Counter[tuple[str, str]]:
    """How often each kind of call ended in each way; raises where the ledger and its model differ.

    Without `seeks_smallest` it stops at the first difference, however long the way to it was.
    """
    LedgerMachine.outcomes.clear()
    phases = [HypothesisPhase.generate, *([HypothesisPhase.shrink] if seeks_smallest else [])]
    run_state_machine_as_test(
        LedgerMachine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            phases=phases,
            report_multiple_bugs=False,
            derandomize=True,  # what is counted is of this very run
            suppress_health_check=list(HealthCheck),
        ),
    )
    return LedgerMachine.outcomes
