"""How a tournament comes to be and ends; the only writer of its phase.

Each move locks the tournament's row, so that no seat is taken or left while it is made. The
database knows the legal moves too (see the first migration).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.db import transaction

from accounts.models import Game
from kgen.common.errors import Conflict, Invalid, NotFound
from kgen.common.identifiers import uuid7
from kgen.common.transactions import requires_transaction
from tournaments import prizes
from tournaments.models import Format, Setback, Tournament
from wallet import prize_pools, solvency


class TournamentNotFound(NotFound):
    code = "TOURNAMENT_NOT_FOUND"
    message = "No such tournament for this game."


class TournamentNotLive(Invalid):
    code = "TOURNAMENT_IS_NOT_LIVE"
    message = "The tournament does not allow this now."


class ScheduleOutOfOrder(Invalid):
    code = "SCHEDULE_OUT_OF_ORDER"
    message = "The times must follow one another: schedule, lobby, start, lock, end."


class RiseOfLowScores(Invalid):
    code = "TOURNAMENT_RISE_OF_LOW_SCORES"
    message = "Where the lowest score wins, none can rise too fast: leave the ceiling a minute out."


class AlreadyPublished(Conflict):
    code = "TOURNAMENT_ALREADY_PUBLISHED"
    message = "The tournament has been published or cancelled before."


class AlreadyFinished(Conflict):
    code = "TOURNAMENT_ALREADY_FINISHED"
    message = "The tournament is over and settled."


class ScoresAlreadyPaused(Conflict):
    code = "SCORES_ALREADY_PAUSED"
    message = "The scores of this tournament are paused already."


class ScoresNotPaused(Conflict):
    code = "SCORES_NOT_PAUSED"
    message = "The scores of this tournament are not paused."


class ScheduleOutOfRange(Invalid):
    code = "SCHEDULE_OUT_OF_RANGE"
    message = "The grace is a day at most, and the end before the year 3000."


# Beyond these a sum of times may leave the calendar, and one such row would stop the sweep for all.
LONGEST_GRACE = timedelta(days=1)
LATEST_END = datetime(3000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Rules:
    """What the operator chooses of how it is scored and paid (API contract, section 7)."""

    score_rule: Tournament.ScoreRule = Tournament.ScoreRule.LATEST
    sort: Tournament.Sort = Tournament.Sort.HIGH
    event_ceiling: int | None = None
    minute_ceiling: int | None = None
    prize_structure: Tournament.PrizeStructure = Tournament.PrizeStructure.BANDS
    prize_table: Sequence[Mapping[str, int]] = ()
    sponsor_contribution: int = 0


TIMES = ("schedules_at", "lobby_at", "starts_at", "locks_at", "ends_at")


@dataclass(frozen=True)
class Schedule:
    schedules_at: datetime
    lobby_at: datetime
    starts_at: datetime
    locks_at: datetime
    ends_at: datetime
    grace: timedelta = settings.END_GRACE


def create(
    *,
    game: Game,
    title: str,
    entry_fee: int,
    schedule: Schedule,
    now: datetime,
    description: str | None = None,
    theme: str | None = None,
    tournament_size: int | None = None,
    min_registration_start_limit: int = 2,
    rules: Rules = Rules(),
) -> Tournament:
    """Draft a tournament, not yet to be seen by gamers.

    Refuses with ScheduleOutOfOrder, ScheduleOutOfRange, RiseOfLowScores and
    prizes.PrizeTableWrong.
    """
    times = [getattr(schedule, name) for name in TIMES]
    if times != sorted(times):
        raise ScheduleOutOfOrder
    if schedule.ends_at >= LATEST_END or schedule.grace > LONGEST_GRACE:
        raise ScheduleOutOfRange

    if rules.minute_ceiling is not None and rules.sort == Tournament.Sort.LOW:
        raise RiseOfLowScores
    prizes.table_of(prizes.Structure(rules.prize_structure), rules.prize_table)

    return Tournament.objects.create(
        game=game,
        title=title,
        description=description,
        theme=theme,
        entry_fee=entry_fee,
        rake_percent=game.rake_percent,
        score_rule=rules.score_rule,
        sort=rules.sort,
        event_ceiling=rules.event_ceiling,
        minute_ceiling=rules.minute_ceiling,
        prize_structure=rules.prize_structure,
        prize_table=list(rules.prize_table),
        sponsor_contribution=rules.sponsor_contribution,
        tournament_size=tournament_size,
        min_registration_start_limit=min_registration_start_limit,
        schedules_at=schedule.schedules_at,
        lobby_at=schedule.lobby_at,
        starts_at=schedule.starts_at,
        locks_at=schedule.locks_at,
        ends_at=schedule.ends_at,
        grace=schedule.grace,
        phase=Tournament.Phase.PREPARATION,
        created_at=now,
        updated_at=now,
    )


def create_like(
    pattern: Format, *, game: Game, title: str, schedule: Schedule, now: datetime
) -> Tournament:
    """Draft a tournament of the same format; refuses as `create` does. The rake is the game's."""
    return create(
        game=game,
        title=title,
        description=pattern.description,
        theme=pattern.theme,
        entry_fee=pattern.entry_fee,
        tournament_size=pattern.tournament_size,
        min_registration_start_limit=pattern.min_registration_start_limit,
        rules=Rules(**{rule.name: getattr(pattern, rule.name) for rule in fields(Rules)}),
        schedule=schedule,
        now=now,
    )


def clone(*, uid: UUID, starts_at: datetime, now: datetime) -> Tournament:
    """Draft the same tournament again, from another start on and as long as it was planned to be.

    Refuses with TournamentNotFound and as `create` does.
    """
    pattern = Tournament.objects.select_related("game").filter(uid=uid).first()
    if pattern is None:
        raise TournamentNotFound

    planned = {name: getattr(pattern, name) for name in TIMES}
    planned["locks_at"] = pattern.planned_locks_at or pattern.locks_at
    planned["ends_at"] = pattern.planned_ends_at or pattern.ends_at
    was_cut = pattern.planned_ends_at is not None and not pattern.grace
    shift = starts_at - pattern.starts_at
    return create_like(
        pattern,
        game=pattern.game,
        title=pattern.title,
        schedule=Schedule(
            **{name: at + shift for name, at in planned.items()},
            grace=settings.END_GRACE if was_cut else pattern.grace,
        ),
        now=now,
    )


@transaction.atomic
def publish(*, uid: UUID, now: datetime) -> Tournament:
    """Let the clock show the tournament to gamers; from here on its terms are fixed.

    The sponsor's contribution comes into the pool. Refuses with TournamentNotFound,
    AlreadyPublished, prizes.PrizeTableWrong and solvency.FloatUncovered.
    """
    tournament = locked(uid=uid)
    if tournament.phase not in {Tournament.Phase.SETUP, Tournament.Phase.PREPARATION}:
        raise AlreadyPublished
    prizes.refuse_unpayable(terms_of(tournament))
    solvency.refuse_uncovered()

    pool = prize_pools.open_pool(
        tournament_id=tournament.pk, tournament_uid=tournament.uid, game_id=tournament.game_id
    )
    if tournament.sponsor_contribution:
        tournament.sponsor_posting_id = uuid7()
        prize_pools.sponsor(
            pool=pool,
            amount=tournament.sponsor_contribution,
            reference=tournament.sponsor_posting_id,
        )
    _move(tournament, Tournament.Phase.PUBLISHED, now=now)
    return tournament


@transaction.atomic
def pause_scores(*, uid: UUID, now: datetime) -> Tournament:
    """Take no score until they are resumed; the clock goes on (contract, section 7).

    Refuses with TournamentNotFound, TournamentNotLive and ScoresAlreadyPaused.
    """
    tournament = locked(uid=uid)
    _refuse_unless(tournament.is_unsettled_at(now))
    if tournament.scores_paused_at is not None:
        raise ScoresAlreadyPaused

    tournament.scores_paused_at = now
    _save(tournament, "scores_paused_at", now=now)
    return tournament


@transaction.atomic
def resume_scores(*, uid: UUID, now: datetime) -> Tournament:
    """Take scores again. Refuses with TournamentNotFound, TournamentNotLive and ScoresNotPaused."""
    tournament = locked(uid=uid)
    _refuse_unless(tournament.is_unsettled_at(now))
    if tournament.scores_paused_at is None:
        raise ScoresNotPaused

    tournament.scores_paused_at = None
    _save(tournament, "scores_paused_at", now=now)
    return tournament


@transaction.atomic
def lock_now(*, uid: UUID, now: datetime) -> Tournament:
    """Let nobody join or leave any more; out of the lobby it starts with that, since it must have
    started to be locked. As at any lock, too few entrants then cancel it.

    Refuses with TournamentNotFound and TournamentNotLive.
    """
    tournament = locked(uid=uid)
    _refuse_unless(tournament.seats_change_at(now))

    tournament.starts_at = min(tournament.starts_at, now)
    _lock_at(tournament, now)
    _save(tournament, "starts_at", "locks_at", "planned_locks_at", now=now)
    return tournament


@transaction.atomic
def end_now(*, uid: UUID, now: datetime) -> Tournament:
    """End a started tournament. The grace still runs, for scores stamped before now; a sandbox,
    where nobody waits for a prize, does without and is settled at once.

    Refuses with TournamentNotFound and TournamentNotLive.
    """
    tournament = locked(uid=uid)
    _refuse_unless(tournament.is_under_way_at(now))

    _lock_at(tournament, now)
    tournament.planned_ends_at = tournament.ends_at
    tournament.ends_at = now
    if tournament.game.is_sandbox:
        tournament.grace = timedelta(0)
    moved = ("locks_at", "planned_locks_at", "ends_at", "planned_ends_at", "grace")
    _save(tournament, *moved, now=now)
    return tournament


@requires_transaction
def complete(
    tournament: Tournament, *, pool: int, rewarded: int, finish_posting_id: UUID, now: datetime
) -> None:
    """Close a settled tournament for good; its row must be locked by the caller."""
    tournament.settled_at = now
    tournament.settled_pool = pool
    tournament.rewarded_count = rewarded
    tournament.finish_posting_id = finish_posting_id
    _move(tournament, Tournament.Phase.COMPLETED, now=now)


@requires_transaction
def cancel(tournament: Tournament, *, now: datetime) -> None:
    """Call a tournament off; its row must be locked by the caller. Refuses with AlreadyFinished.

    The sponsor's contribution goes back at once; the stakes follow (`tournaments.cancelling`).
    """
    if tournament.phase == Tournament.Phase.COMPLETED:
        raise AlreadyFinished

    if tournament.sponsor_posting_id is not None:
        tournament.sponsor_return_posting_id = uuid7()
        prize_pools.return_contribution(
            pool=prize_pools.pool_of(tournament_id=tournament.pk, game_id=tournament.game_id),
            amount=tournament.sponsor_contribution,
            reference=tournament.sponsor_return_posting_id,
        )
    tournament.cancelled_at = now
    _move(tournament, Tournament.Phase.CANCELLED, now=now)


def terms_of(tournament: Tournament) -> prizes.Terms:
    """What the tournament pays by."""
    return terms_of_format(tournament, rake_percent=tournament.rake_percent)


def terms_of_format(pattern: Format, *, rake_percent: int) -> prizes.Terms:
    """What a tournament of this format pays by. Raises prizes.PrizeTableWrong."""
    structure = prizes.Structure(pattern.prize_structure)
    return prizes.Terms(
        entry_fee=pattern.entry_fee,
        rake_percent=rake_percent,
        structure=structure,
        table=prizes.table_of(structure, pattern.prize_table),
        sponsored=pattern.sponsor_contribution,
    )


@requires_transaction
def locked(*, uid: UUID) -> Tournament:
    """The tournament, its row held alone until the transaction ends; else TournamentNotFound."""
    tournament = Tournament.objects.select_for_update(of=("self",)).filter(uid=uid).first()
    if tournament is None:
        raise TournamentNotFound
    return tournament


def _refuse_unless(allowed: bool) -> None:
    if not allowed:
        raise TournamentNotLive


def _lock_at(tournament: Tournament, now: datetime) -> None:
    """From now on, unless it is locked already."""
    if tournament.locks_at > now:
        tournament.planned_locks_at = tournament.locks_at
        tournament.locks_at = now


def _save(tournament: Tournament, *fields: str, now: datetime) -> None:
    tournament.updated_at = now
    tournament.save(update_fields=[*fields, "updated_at"])


def _move(tournament: Tournament, phase: Tournament.Phase, *, now: datetime) -> None:
    tournament.phase = phase
    tournament.updated_at = now
    tournament.save()
    # Whatever kept it back, it has moved on, by the sweep's hand or by a person's.
    Setback.objects.filter(tournament=tournament).delete()
