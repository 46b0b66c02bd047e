"""What a board costs as it grows: a score, its top, the places around a gamer, a gamer's rank, and
at last the settlement.

Each is timed in the server, from the subject call to the bytes of the answer: on the board that
PostgreSQL counts, on the copy in Valkey, which is as fresh, and as callers get it who do not ask for
the truth, at most 0.2 s old. Scores come in all the while: one before each reading.
Settled is once, in the one transaction that ranks everybody and posts every prize.
"""

import random
from argparse import ArgumentParser
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from hashlib import sha256
from time import perf_counter
from typing import Any

import redis
from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone

from accounts.models import Game, Gamer
from benchmarks import databases
from benchmarks.reports import Goal, Report, Times, milliseconds
from kgen.common.api.renderers import JsonRenderer
from kgen.common.identifiers import uuid7
from tournaments import leaderboard, lifecycle, ranking, scoring, settling
from tournaments.api.serializers import shown_board
from tournaments.lifecycle import Schedule
from tournaments.models import Tournament
from wallet import ledger, prize_pools

PAGE = 100
FEE = 10
GOAL_ENTRANTS = 100_000
GOAL_MS = 5
# What takes long is called less often.
LONGEST_S = 10
FEWEST = 20
# From 1,000 to 1,000,000 entrants log n doubles.
GROWTH = 2

_SEAT_ALL = """
WITH gamers AS (
    INSERT INTO accounts_gamer (
        uid, game_id, gamer_id, username, is_blocked, created_at, {others}
    )
    SELECT gen_random_uuid(), %(game)s, 'gamer-' || number, 'name ' || number, FALSE, %(start)s,
        {blanks}
    FROM generate_series(1, %(entrants)s) AS number
    RETURNING id, gamer_id
)
INSERT INTO tournaments_participation (
    tournament_id, gamer_id, fee_posting_id, joined_at, tiebreak, score, standing_key, reached_at,
    applied_hash
)
SELECT %(tournament)s, id, gen_random_uuid(), %(start)s + random() * interval '1 minute', gamer_id,
    points, -points, %(start)s + interval '1 minute', sha256(gamer_id::bytea)
FROM gamers, LATERAL (SELECT (random() * 50000 + id * 0)::bigint AS points) AS made
"""

# Indexes of wallets of other boards are below the gamers' ids, which are never given twice.
_OPEN_WALLETS = """
WITH wallets AS (
    INSERT INTO wallet_wallet (
        gamer_id, hd_index, address, last_seq, bonus_posting_id, created_at, modified_at
    )
    SELECT id, id, '0x' || lpad(to_hex(id), 40, '0'), 0, gen_random_uuid(), %(start)s, %(start)s
    FROM accounts_gamer WHERE game_id = %(game)s
    RETURNING id
)
SELECT count(ledger.open_accounts('WALLET', id, NULL)) FROM wallets
"""


def measure(options: Sequence[str]) -> Report:
    parser = ArgumentParser(prog="python -m benchmarks leaderboard")
    parser.add_argument("--sizes", default="1000,10000,100000", help="entrants, by commas")
    parser.add_argument("--calls", type=int, default=300, help="of each kind (300)")
    given = parser.parse_args(options)
    sizes = [int(size) for size in given.sizes.split(",")]

    databases.migrate()
    report = Report(
        title=f"A board as it grows: milliseconds, p50 / p99 of {given.calls} calls",
        columns=[
            "entrants",
            "what",
            "PostgreSQL p50",
            "p99",
            "Valkey p50",
            "p99",
            "0.2 s old p50",
            "p99",
        ],
    )
    found: dict[tuple[int, str], Times] = {}
    kept: dict[tuple[int, str], Times] = {}
    settled: dict[int, float] = {}
    for size in sizes:
        board = Board(size)
        readings = board.readings()
        counted = {name: board.times(call, given.calls) for name, call in readings.items()}
        began = perf_counter()
        if not ranking.build(uid=board.tournament.uid):
            raise RuntimeError("Nothing was copied.")
        made_in = perf_counter() - began
        for name, call in readings.items():
            found[size, name] = ranked = board.times(call, given.calls)
            with board.kept():
                kept[size, name] = old = board.times(call, given.calls)
            report.rows.append(
                (f"{size:,}", name, *_shown(counted[name]), *_shown(ranked), *_shown(old))
            )
        board.must_be_ranked()
        scores = Times.of([board.score() for _ in range(given.calls)])
        found[size, "score"] = scores
        report.rows.append((f"{size:,}", "score", *_shown(scores), "", "", "", ""))
        report.notes.append(
            f"{size:,} entrants: the copy is made in {made_in:.1f} s and takes "
            f"{board.copied_bytes() / 1e6:.0f} MB."
        )
        settled[size] = board.settle()
        report.rows.append((f"{size:,}", "settlement", round(settled[size] * 1000)) + ("",) * 5)

    for name in (*readings, "score"):
        if GOAL_ENTRANTS in sizes and name != "score":
            for of, times in (("0.2 s old", kept), ("fresh", found)):
                for which in ("p50", "p99"):
                    took = milliseconds(getattr(times[GOAL_ENTRANTS, name], which))
                    title = f"{name}, {GOAL_ENTRANTS:,} entrants, {of}, {which}"
                    report.goals.append(Goal(title, took, GOAL_MS, is_ceiling=True, unit="ms"))
        if len(sizes) > 1:
            growth = found[sizes[-1], name].p50 / found[sizes[0], name].p50
            title = f"{name}: growth from {sizes[0]:,} to {sizes[-1]:,}"
            report.goals.append(Goal(title, growth, GROWTH, is_ceiling=True))
    if len(sizes) > 1:
        per_entrant = settled[sizes[-1]] / sizes[-1] / (settled[sizes[0]] / sizes[0])
        title = f"settlement: growth an entrant from {sizes[0]:,} to {sizes[-1]:,}"
        report.goals.append(Goal(title, per_entrant, GROWTH, is_ceiling=True))
    return report


class Board:
    def __init__(self, entrants: int) -> None:
        self.dice = random.Random(entrants)
        now = timezone.now()
        self.game = Game.objects.create(
            client_id=f"board-{entrants}",
            name="Board",
            game_uid=f"board-{entrants}",
            created_at=now,
        )
        self.tournament = _tournament(self.game, now)
        others = _columns_without_default(Gamer)
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(
                _SEAT_ALL.format(others=", ".join(others), blanks=", ".join("''" for _ in others)),
                {
                    "game": self.game.pk,
                    "tournament": self.tournament.pk,
                    "start": self.tournament.starts_at,
                    "entrants": entrants,
                },
            )
            cursor.execute(
                _OPEN_WALLETS, {"game": self.game.pk, "start": self.tournament.starts_at}
            )
            pool = prize_pools.pool_of(tournament_id=self.tournament.pk, game_id=self.game.pk)
            stakes = ledger.Leg(
                ledger.MINT, pool.account_id, entrants * FEE, kind=ledger.Kind.SPONSOR
            )
            ledger.post([stakes], posting_id=uuid7())
        with databases.owner_of(databases.current()) as cursor:
            cursor.execute("VACUUM ANALYZE tournaments_participation")
        self.gamers = list(Gamer.objects.filter(game=self.game).order_by("?")[:1000])
        self.entrants = entrants
        self.is_fresh = True

    def readings(self) -> dict[str, Callable[[], object]]:
        return {
            "top 100": lambda: self.page(0),
            "100 from the middle": lambda: self.page(self.entrants // 2),
            "last 100": lambda: self.page(self.entrants - PAGE),
            "21 around me": lambda: leaderboard.read_around(
                tournament=self.tournament,
                gamer=self.anybody(),
                limit=21,
                now=timezone.now(),
                fresh=self.is_fresh,
            ),
            "own rank": lambda: self.page(0, limit=1),
        }

    def page(self, offset: int, *, limit: int = PAGE) -> leaderboard.Leaderboard:
        return leaderboard.read(
            tournament=self.tournament,
            gamer=self.anybody(),
            limit=limit,
            offset=offset,
            now=timezone.now(),
            fresh=self.is_fresh,
        )

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Read as by callers who do not ask for the truth."""
        self.is_fresh = False
        settings.BOARD_SNAPSHOT_AGE = timedelta(seconds=0.2)
        self.page(0)
        yield
        self.is_fresh = True

    def anybody(self) -> Gamer:
        return self.dice.choice(self.gamers)

    def times(self, call: Callable[[], Any], calls: int) -> Times:
        """Of a reading right after a score, which it has to show."""
        renderer = JsonRenderer()
        taken = []
        for _ in range(calls):
            self.score()
            began = perf_counter()
            renderer.render(shown_board(call()))
            taken.append(perf_counter() - began)
            if sum(taken) > LONGEST_S and len(taken) >= FEWEST:
                break
        return Times.of(taken)

    def score(self) -> float:
        now = timezone.now()
        value = self.dice.randrange(50_000)
        began = perf_counter()
        with transaction.atomic():
            scoring.apply(
                gamer=self.anybody(),
                tournament_uid=self.tournament.uid,
                value=value,
                stamped_at=now,
                body_hash=sha256(f"{now} {value}".encode()).digest(),
                now=now,
            )
        return perf_counter() - began

    def settle(self) -> float:
        """Seconds from the final scores to rewards that can be claimed."""
        over = self.tournament.ends_at + settings.END_GRACE
        began = perf_counter()
        settled = settling.settle(uid=self.tournament.uid, now=over)
        took = perf_counter() - began
        if settled.phase != Tournament.Phase.COMPLETED:
            raise RuntimeError(f"It is {settled.phase}.")
        return took

    def must_be_ranked(self) -> None:
        if not ranking.read(
            tournament=self.tournament, gamer_pk=None, limit=1, offset=0, around=False
        ):
            raise RuntimeError("The copy was not read.")

    def copied_bytes(self) -> int:
        valkey: Any = redis.Redis.from_url(settings.REDIS_URL)
        return sum(
            valkey.memory_usage(key, samples=0)
            for key in valkey.keys(f"board:{{{self.tournament.uid}}}:*")
        )


def _tournament(game: Game, now: datetime) -> Tournament:
    starts_at, ends_at = now - timedelta(minutes=10), now + timedelta(days=1)
    schedule = Schedule(
        schedules_at=starts_at,
        lobby_at=starts_at,
        starts_at=starts_at,
        locks_at=ends_at,
        ends_at=ends_at,
    )
    made = lifecycle.create(
        game=game, title="Board", entry_fee=FEE, schedule=schedule, now=starts_at
    )
    return lifecycle.publish(uid=made.uid, now=starts_at)


def _columns_without_default(model: Any) -> list[str]:
    """Texts that the database wants to be told are empty."""
    known = {"uid", "game_id", "gamer_id", "username", "is_blocked", "created_at"}
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT column_name FROM information_schema.columns WHERE table_name = %s"
            " AND is_nullable = 'NO' AND column_default IS NULL AND is_identity = 'NO'",
            [model._meta.db_table],
        )
        return [name for (name,) in cursor.fetchall() if name not in known]


def _shown(times: Times) -> tuple[float, float]:
    return milliseconds(times.p50), milliseconds(times.p99)
