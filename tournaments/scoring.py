"""Accepting a score: when it counts, and which of several is the gamer's (API contract, 1, 3.2, 7).

Under LATEST the newest running total counts, the greatest by (effective time, value, hash of the
event); under BEST the best value, and of equal ones the earliest; under SUM all values together.
Each is the same for any order of arrival.
"""

from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from django.conf import settings
from django.db import connection

from accounts.models import Game, Gamer
from kgen.common.errors import Refusal
from kgen.common.money import LARGEST_AMOUNT_IN_JSON
from kgen.common.transactions import requires_transaction
from tournaments.joining import NotJoined
from tournaments.lifecycle import TournamentNotFound, TournamentNotLive
from tournaments.models import Participation, QuarantinedScore, Tournament

Rule = Tournament.ScoreRule
Reason = QuarantinedScore.Reason

# Of the scores that came and the one that stands, the one that counts.
_CHOICE: Final = """
    SELECT {total}, reached_at, applied_hash, {total} * %(sign)s::bigint
    FROM (
        {sent}
        UNION ALL
        SELECT seat.score, seat.reached_at, seat.applied_hash
    ) AS candidate (score, reached_at, applied_hash)
    WHERE candidate.score IS NOT NULL
    ORDER BY {order}
    LIMIT 1
"""
_ORDER: Final[Mapping[str, str]] = {
    Rule.LATEST: "reached_at DESC, score DESC, applied_hash DESC",
    Rule.BEST: "score * %(sign)s::bigint, reached_at, applied_hash",
    Rule.SUM: "reached_at DESC, applied_hash DESC",
}


def _choice(rule: str, *, sent: str, added: str) -> str:
    total = _sum(added) if rule == Rule.SUM else "score"
    return _CHOICE.format(total=total, sent=sent, order=_ORDER[rule])


def _sum(added: str) -> str:
    return f"(coalesce(seat.score, 0) + {added})"


def _unless_too_large(rule: str, *, added: str) -> str:
    """A sum that is too large finds no row."""
    return f"AND {_sum(added)} <= {LARGEST_AMOUNT_IN_JSON}" if rule == Rule.SUM else ""


_VALUE: Final = "%(value)s::bigint"
_ONE: Final = f"VALUES ({_VALUE}, %(reached_at)s::timestamptz, %(body_hash)s::bytea)"

# A rejected comparison rewrites the row as it was: that the row answers at all tells a late event
# from a gamer without a seat. The settlement holds the rows of all seats while it reads them; after
# it `final_rank` is set and nothing changes any more.
_APPLY: Final[Mapping[str, str]] = {
    rule: f"""
UPDATE tournaments_participation AS seat
SET (score, reached_at, applied_hash, standing_key) = ({_choice(rule, sent=_ONE, added=_VALUE)})
WHERE seat.tournament_id = %(tournament)s AND seat.gamer_id = %(gamer)s AND seat.left_at IS NULL
{_unless_too_large(rule, added=_VALUE)}
RETURNING seat.final_rank
"""  # noqa: S608 - only constants are set in
    for rule in Rule.values
}

# The same for many seats, each with all that came for it.
_MANY: Final = "SELECT * FROM unnest(sent.values, sent.times, sent.hashes)"
_APPLY_MANY: Final[Mapping[str, str]] = {
    rule: f"""
UPDATE tournaments_participation AS seat
SET (score, reached_at, applied_hash, standing_key) = (
    {_choice(rule, sent=_MANY, added="sent.total::bigint")}
)
FROM (
    SELECT seat_id, sum(value) AS total, array_agg(value) AS values,
        array_agg(reached_at) AS times, array_agg(body_hash) AS hashes
    FROM unnest(
        %(seats)s::bigint[], %(values)s::bigint[], %(times)s::timestamptz[], %(hashes)s::bytea[]
    ) AS one (seat_id, value, reached_at, body_hash)
    GROUP BY seat_id
) AS sent
WHERE seat.id = sent.seat_id
{_unless_too_large(rule, added="sent.total")}
RETURNING seat.id
"""  # noqa: S608 - only constants are set in
    for rule in Rule.values
}

# In the order of their ids, as the settlement takes them.
_LOCK_SEATS: Final = """
SELECT seat.id, seat.tournament_id, seat.gamer_id, seat.final_rank
FROM tournaments_participation AS seat
JOIN unnest(%(tournaments)s::bigint[], %(gamers)s::bigint[]) AS wanted (tournament_id, gamer_id)
    USING (tournament_id, gamer_id)
WHERE seat.left_at IS NULL
ORDER BY seat.id
FOR NO KEY UPDATE OF seat
"""


# How far a score has risen within a minute: the sum, or since the minute's first event.
_OPEN_MINUTES: Final = """
INSERT INTO tournaments_scoreminute (seat_id, minute, base, top)
SELECT sent.seat_id, sent.minute, start.base, start.base
FROM unnest(%(seats)s::bigint[], %(minutes)s::timestamptz[], %(sums)s::boolean[])
    AS sent (seat_id, minute, is_sum)
JOIN tournaments_participation AS seat ON seat.id = sent.seat_id
CROSS JOIN LATERAL (
    SELECT CASE WHEN sent.is_sum THEN 0 ELSE coalesce(seat.score, 0) END AS base
) AS start
ON CONFLICT (seat_id, minute) DO NOTHING
"""
_RISE: Final = """
UPDATE tournaments_scoreminute AS known
SET top = CASE WHEN sent.is_sum THEN known.top + sent.value ELSE greatest(known.top, sent.value) END
FROM unnest(
    %(seats)s::bigint[], %(minutes)s::timestamptz[], %(values)s::bigint[], %(ceilings)s::bigint[],
    %(sums)s::boolean[]
) AS sent (seat_id, minute, value, ceiling, is_sum)
WHERE known.seat_id = sent.seat_id AND known.minute = sent.minute
    AND CASE WHEN sent.is_sum THEN known.top + sent.value ELSE greatest(known.top, sent.value) END
        - known.base <= sent.ceiling
RETURNING known.seat_id
"""


@dataclass(frozen=True)
class Score:
    """A score as it came; `tournament_uid` is None where the game named no id."""

    gamer: Gamer
    tournament_uid: UUID | None
    value: int
    stamped_at: datetime
    body_hash: bytes
    received_at: datetime


@requires_transaction
def apply(
    *,
    gamer: Gamer,
    tournament_uid: UUID,
    value: int,
    stamped_at: datetime,
    body_hash: bytes,
    now: datetime,
) -> None:
    """Let a value count for the gamer's score as the tournament's rule has it.

    One above a ceiling of the tournament is quarantined for review instead. Refuses with
    TournamentNotFound, NotJoined and TournamentNotLive; the caller's transaction must end with the
    refusal. It must not come twice for one event: a sum would take it twice.
    """
    tournament = Tournament.objects.filter(uid=tournament_uid, game_id=gamer.game_id).first()
    if tournament is None or not tournament.is_visible_at(now):
        raise TournamentNotFound
    _weigh(
        tournament, gamer, value=value, stamped_at=stamped_at, body_hash=body_hash, received_at=now
    )


@requires_transaction
def apply_many(*, game: Game, scores: Sequence[Score]) -> list[Refusal | None]:
    """Let each score count as `apply` would, in their order; say of each why it may not.

    If any may not, none is written. The events come once each.
    """
    tournaments = {
        tournament.uid: tournament
        for tournament in Tournament.objects.filter(
            game=game, uid__in={score.tournament_uid for score in scores if score.tournament_uid}
        )
    }
    pairs = {
        (tournaments[score.tournament_uid].pk, score.gamer.pk)
        for score in scores
        if score.tournament_uid in tournaments
    }
    seats = _lock_seats(pairs)
    refusals: list[Refusal | None] = []
    weighed = []
    for score in scores:
        tournament = tournaments.get(score.tournament_uid) if score.tournament_uid else None
        if tournament is None or not tournament.is_visible_at(score.received_at):
            refusals.append(TournamentNotFound())
            continue
        seat_id, final_rank = seats.get((tournament.pk, score.gamer.pk), (None, None))
        reached_at = effective_time(
            tournament, stamped_at=score.stamped_at, received_at=score.received_at
        )
        if seat_id is None:
            refusals.append(NotJoined())
        elif final_rank is not None or not counts(
            tournament, reached_at=reached_at, received_at=score.received_at
        ):
            refusals.append(_not_live(tournament))
        else:
            refusals.append(None)
            weighed.append((tournament, seat_id, reached_at, score))
    if not any(refusals):
        _write_many(weighed)
    return refusals


# With its seat, and when it counts as reached.
_Weighed = tuple[Tournament, int, datetime, Score]


def _write_many(weighed: Sequence[_Weighed]) -> None:
    unlimited: list[_Weighed] = []
    limited: defaultdict[int, deque[_Weighed]] = defaultdict(deque)
    one_by_one = []
    for one in weighed:
        tournament, seat_id, _, score = one
        if tournament.event_ceiling is not None and score.value > tournament.event_ceiling:
            one_by_one.append(one)
        elif tournament.minute_ceiling is not None:
            limited[seat_id].append(one)
        else:
            unlimited.append(one)
    one_by_one += _write_alike(unlimited)
    for one in one_by_one:
        _weigh_again(one)
    # How far a score has risen is asked of each seat's events in their order.
    while limited:
        first = [events.popleft() for events in limited.values()]
        limited = defaultdict(deque, {seat: rest for seat, rest in limited.items() if rest})
        risen = _may_rise([_rise_of(one) for one in first])
        too_large = _write_alike([one for one in first if one[1] in risen])
        for one in first:
            if one[1] not in risen:
                _quarantine_one(one, Reason.MINUTE_CEILING)
        for one in too_large:
            _quarantine_one(one, Reason.TOO_LARGE)


def _write_alike(weighed: Sequence[_Weighed]) -> list[_Weighed]:
    """Write what stands below every ceiling; return what would make a sum too large."""
    alike: defaultdict[tuple[str, str], list[_Weighed]] = defaultdict(list)
    for one in weighed:
        alike[one[0].score_rule, one[0].sort].append(one)
    too_large: list[_Weighed] = []
    for (rule, sort), some in alike.items():
        with connection.cursor() as cursor:
            cursor.execute(
                _APPLY_MANY[rule],
                {
                    "seats": [seat_id for _, seat_id, _, _ in some],
                    "values": [score.value for _, _, _, score in some],
                    "times": [reached_at for _, _, reached_at, _ in some],
                    "hashes": [score.body_hash for _, _, _, score in some],
                    "sign": _sign(sort),
                },
            )
            written = {seat_id for (seat_id,) in cursor.fetchall()}
        too_large += [one for one in some if one[1] not in written]
    return too_large


def _weigh_again(one: _Weighed) -> None:
    tournament, _, _, score = one
    _weigh(
        tournament,
        score.gamer,
        value=score.value,
        stamped_at=score.stamped_at,
        body_hash=score.body_hash,
        received_at=score.received_at,
    )


def _rise_of(one: _Weighed) -> "_Rise":
    tournament, seat_id, reached_at, score = one
    return _Rise(tournament, seat_id=seat_id, reached_at=reached_at, value=score.value)


def _quarantine_one(one: _Weighed, reason: Reason) -> None:
    tournament, _, reached_at, score = one
    _quarantine(
        tournament,
        score.gamer,
        value=score.value,
        reached_at=reached_at,
        body_hash=score.body_hash,
        reason=reason,
        is_live=True,
        now=score.received_at,
    )


def _weigh(
    tournament: Tournament,
    gamer: Gamer,
    *,
    value: int,
    stamped_at: datetime,
    body_hash: bytes,
    received_at: datetime,
) -> None:
    reached_at = effective_time(tournament, stamped_at=stamped_at, received_at=received_at)
    is_live = counts(tournament, reached_at=reached_at, received_at=received_at)
    reason = _above_ceiling(
        tournament, gamer, value=value, reached_at=reached_at, is_counted=is_live
    )
    if reason is None and not write(
        tournament, gamer, value=value, reached_at=reached_at, body_hash=body_hash, is_live=is_live
    ):
        reason = Reason.TOO_LARGE
    if reason is not None:
        _quarantine(
            tournament,
            gamer,
            value=value,
            reached_at=reached_at,
            body_hash=body_hash,
            reason=reason,
            is_live=is_live,
            now=received_at,
        )


@requires_transaction
def write(
    tournament: Tournament,
    gamer: Gamer,
    *,
    value: int,
    reached_at: datetime,
    body_hash: bytes,
    is_live: bool,
) -> bool:
    """Let a value count, whatever the ceilings say; False where the sum would be too large.

    Refuses with NotJoined, and with TournamentNotLive unless `is_live`.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            _APPLY[tournament.score_rule],
            {
                "value": value,
                "reached_at": reached_at,
                "body_hash": body_hash,
                "sign": _sign(tournament.sort),
                "tournament": tournament.pk,
                "gamer": gamer.pk,
            },
        )
        row = cursor.fetchone()
    if row is None:
        if tournament.score_rule == Rule.SUM and _is_seated(tournament, gamer):
            return False
        raise NotJoined
    (final_rank,) = row
    if final_rank is not None or not is_live:
        raise _not_live(tournament)
    return True


def effective_time(
    tournament: Tournament, *, stamped_at: datetime, received_at: datetime
) -> datetime:
    """When a score counts as reached: never in the future, a little before the start is the start."""
    effective = min(stamped_at, received_at)
    early = tournament.starts_at - effective
    if timedelta(0) < early <= settings.FUTURE_CLOCK_TOLERANCE:
        return tournament.starts_at
    return effective


def counts(tournament: Tournament, *, reached_at: datetime, received_at: datetime) -> bool:
    """Whether a score of this effective time, received now, may be taken."""
    in_time = tournament.starts_at <= reached_at <= tournament.ends_at
    is_paused = tournament.scores_paused_at is not None
    return in_time and not is_paused and tournament.takes_scores_at(received_at)


def _not_live(tournament: Tournament) -> TournamentNotLive:
    is_paused = tournament.scores_paused_at is not None
    return TournamentNotLive(details={"reason": "SCORES_PAUSED"} if is_paused else None)


def _sign(sort: str) -> int:
    return -1 if sort == Tournament.Sort.HIGH else 1


def _lock_seats(pairs: set[tuple[int, int]]) -> dict[tuple[int, int], tuple[int, int | None]]:
    """The seats of (tournament, gamer), each with its final rank, held against all who write it."""
    with connection.cursor() as cursor:
        cursor.execute(
            _LOCK_SEATS,
            {
                "tournaments": [tournament for tournament, _ in pairs],
                "gamers": [gamer for _, gamer in pairs],
            },
        )
        return {
            (tournament, gamer): (seat_id, final_rank)
            for seat_id, tournament, gamer, final_rank in cursor.fetchall()
        }


# --- Ceilings ------------------------------------------------------------------------------------


def _above_ceiling(
    tournament: Tournament, gamer: Gamer, *, value: int, reached_at: datetime, is_counted: bool
) -> Reason | None:
    if tournament.event_ceiling is not None and value > tournament.event_ceiling:
        return Reason.EVENT_CEILING
    if tournament.minute_ceiling is None or not is_counted:
        return None
    seat = _lock_seat(tournament, gamer)
    if seat is None:
        return None
    rise = _Rise(tournament, seat_id=seat.pk, reached_at=reached_at, value=value)
    return None if _may_rise([rise]) else Reason.MINUTE_CEILING


@dataclass(frozen=True)
class _Rise:
    tournament: Tournament
    seat_id: int
    reached_at: datetime
    value: int


def _may_rise(rises: Sequence[_Rise]) -> set[int]:
    """The seats whose score may rise so within the minute; at most one rise of each is asked."""
    parameters: dict[str, Any] = {
        "seats": [rise.seat_id for rise in rises],
        "minutes": [rise.reached_at.replace(second=0, microsecond=0) for rise in rises],
        "values": [rise.value for rise in rises],
        "ceilings": [rise.tournament.minute_ceiling for rise in rises],
        "sums": [rise.tournament.score_rule == Rule.SUM for rise in rises],
    }
    with connection.cursor() as cursor:
        cursor.execute(_OPEN_MINUTES, parameters)
        cursor.execute(_RISE, parameters)
        return {seat_id for (seat_id,) in cursor.fetchall()}


def _quarantine(
    tournament: Tournament,
    gamer: Gamer,
    *,
    value: int,
    reached_at: datetime,
    body_hash: bytes,
    reason: Reason,
    is_live: bool,
    now: datetime,
) -> None:
    seat = _lock_seat(tournament, gamer)
    if seat is None:
        raise NotJoined
    if seat.final_rank is not None or not is_live:
        raise _not_live(tournament)
    QuarantinedScore.objects.get_or_create(
        seat=seat,
        body_hash=body_hash,
        defaults={
            "value": value,
            "reached_at": reached_at,
            "received_at": now,
            "reason": reason,
        },
    )


def _lock_seat(tournament: Tournament, gamer: Gamer) -> Participation | None:
    """The gamer's seat, so that no other score of theirs is weighed meanwhile."""
    seats = Participation.objects.seated().select_for_update(no_key=True)
    return seats.filter(tournament=tournament, gamer=gamer).first()


def _is_seated(tournament: Tournament, gamer: Gamer) -> bool:
    return Participation.objects.seated().filter(tournament=tournament, gamer=gamer).exists()
