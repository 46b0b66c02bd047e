"""How a tournament came out, and why: a record that anybody can work out again.

It holds all that the prizes follow from: the terms, the stakes, and each entry with the score that
stands and the event that set it. Its SHA-256 is over the canonical JSON of it, as RFC 8785 has it for
whole numbers and text: keys in order, nothing between them.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Final
from uuid import UUID

from kgen.common import strict_json
from kgen.common.errors import Conflict, NotFound
from kgen.common.transactions import requires_transaction
from rewards.models import Reward
from tournaments import leaderboard, lifecycle, prizes
from tournaments.models import GameEvent, Participation, ResultRecord, Tournament
from wallet import reconciliation

FORMAT: Final = "kgen-result/1"


class ResultNotFound(NotFound):
    code = "RESULT_NOT_FOUND"
    message = "This tournament has no result yet."


class ResultDiffers(Conflict):
    code = "RESULT_DIFFERS"
    message = "It does not come out as it was settled."


@dataclass(frozen=True)
class Difference:
    """Something that does not come out as the record says."""

    what: str
    recorded: str
    found: str

    def __str__(self) -> str:
        return f"{self.what}: recorded {self.recorded}, found {self.found}"


@requires_transaction
def keep(
    tournament: Tournament,
    entries: Sequence[leaderboard.Entry],
    distribution: prizes.Distribution,
    *,
    stakes: int,
    now: datetime,
) -> ResultRecord:
    """Record a settlement, of whose entries nothing can change any more; once a tournament."""
    record: dict[str, Any] = {
        "format": FORMAT,
        "tournament": _terms(tournament),
        "entries": [_entry(entry) for entry in entries],
        "stakes": stakes,
        "pool": distribution.pool,
        "prizes": list(distribution.prizes),
        "platform_rake": distribution.platform_rake,
        "developer_rake": distribution.developer_rake,
        "remainder": distribution.remainder,
    }
    canonical = strict_json.canonical(record)
    return ResultRecord.objects.create(
        tournament=tournament,
        canonical=canonical.decode(),
        sha256=sha256(canonical).hexdigest(),
        created_at=now,
    )


def of(tournament: Tournament) -> ResultRecord:
    """The record of a settled tournament. Refuses with ResultNotFound."""
    found = ResultRecord.objects.filter(tournament=tournament).first()
    if found is None:
        raise ResultNotFound
    return found


def verify(*, uid: UUID) -> list[Difference]:
    """Work a result out again, from the record alone and from the books; nothing where all agree.

    Refuses with lifecycle.TournamentNotFound and ResultNotFound.
    """
    tournament = Tournament.objects.select_related("game").filter(uid=uid).first()
    if tournament is None:
        raise lifecycle.TournamentNotFound
    kept = of(tournament)
    record = json.loads(kept.canonical)
    return [
        *recompute(record, digest=kept.sha256),
        *_compare("the tournament", record["tournament"], _terms(tournament)),
        *_seats(tournament, record),
        *_events(tournament, record),
        *_ledger(tournament, record),
    ]


def refuse_different(*, uid: UUID) -> None:
    """Raises ResultDiffers unless all agrees; refuses as `verify` does otherwise."""
    differences = verify(uid=uid)
    if differences:
        named = "; ".join(f"{difference}" for difference in differences[:5])
        raise ResultDiffers(f"{ResultDiffers.message} {named}.")


def recompute(record: dict[str, Any], *, digest: str) -> list[Difference]:
    """What does not follow from the record's own inputs: its hash, the order, the prizes."""
    terms, entries = record["tournament"], record["entries"]
    structure = prizes.Structure(terms["prize_structure"])
    distribution = prizes.distribute(
        terms=prizes.Terms(
            entry_fee=terms["entry_fee"],
            rake_percent=terms["rake_percent"],
            structure=structure,
            table=prizes.table_of(structure, terms["prize_table"]),
            sponsored=terms["sponsor_contribution"],
        ),
        stakes=record["stakes"],
        entrants=len(entries),
        earning=sum(_earns(entry, sort=terms["sort"]) for entry in entries),
    )
    ranked = sorted(entries, key=lambda entry: _place(entry, sort=terms["sort"]))
    computed = {
        "pool": distribution.pool,
        "prizes": list(distribution.prizes),
        "platform_rake": distribution.platform_rake,
        "developer_rake": distribution.developer_rake,
        "remainder": distribution.remainder,
    }
    return [
        *_compare("SHA-256", digest, sha256(strict_json.canonical(record)).hexdigest()),
        *_compare(
            "the order",
            [entry["gamer_id"] for entry in entries],
            [entry["gamer_id"] for entry in ranked],
        ),
        *(
            difference
            for name, value in computed.items()
            for difference in _compare(name, record[name], value)
        ),
    ]


# --- What is recorded ----------------------------------------------------------------------------


def _terms(tournament: Tournament) -> dict[str, Any]:
    return {
        "uid": str(tournament.uid),
        "game_uid": tournament.game.game_uid,
        "title": tournament.title,
        "starts_at": _instant(tournament.starts_at),
        "ends_at": _instant(tournament.ends_at),
        "score_rule": str(tournament.score_rule),
        "sort": str(tournament.sort),
        "entry_fee": tournament.entry_fee,
        "rake_percent": tournament.rake_percent,
        "prize_structure": str(tournament.prize_structure),
        "prize_table": tournament.prize_table,
        "sponsor_contribution": tournament.sponsor_contribution,
    }


def _entry(entry: leaderboard.Entry) -> dict[str, Any]:
    """`event` is the SHA-256 of the event that set the score, as it was sent, in canonical JSON."""
    return {
        "gamer_id": entry.gamer_id,
        "joined_at": _instant(entry.joined_at),
        "score": entry.score,
        "reached_at": None if entry.reached_at is None else _instant(entry.reached_at),
        "event": None if entry.applied_hash is None else entry.applied_hash.hex(),
    }


def _instant(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


# --- The same again ------------------------------------------------------------------------------


def _place(entry: dict[str, Any], *, sort: str) -> tuple[int, int, str, str, bytes]:
    """API contract, section 1: score, then who reached it first, joined first, and gamer_id."""
    score = entry["score"]
    return (
        int(score is None),
        0 if score is None else -score if sort == Tournament.Sort.HIGH else score,
        entry["reached_at"] or entry["joined_at"],
        entry["joined_at"],
        entry["gamer_id"].encode(),
    )


def _earns(entry: dict[str, Any], *, sort: str) -> bool:
    return leaderboard.earns(entry["score"], sort=sort)


def _seats(tournament: Tournament, record: dict[str, Any]) -> list[Difference]:
    entries = leaderboard.entries(tournament)
    found = [_entry(entry) for entry in entries]
    won = Participation.objects.filter(tournament=tournament, prize__gt=0).order_by("final_rank")
    return [
        *_compare("the seats", len(record["entries"]), len(found)),
        *(
            difference
            for recorded, seat in zip(record["entries"], found, strict=False)
            for difference in _compare(f"the seat of {recorded['gamer_id']}", recorded, seat)
        ),
        *_compare("the seats' prizes", record["prizes"], list(won.values_list("prize", flat=True))),
    ]


def _events(tournament: Tournament, record: dict[str, Any]) -> list[Difference]:
    """The event that set a score has that score; a sum has many. One that is gone is not missed."""
    if tournament.score_rule == Tournament.ScoreRule.SUM:
        return []
    recorded = {
        (entry["gamer_id"], entry["event"]): entry["score"]
        for entry in record["entries"]
        if entry["event"] is not None
    }
    kept = GameEvent.objects.filter(tournament=tournament, payload__has_key="score")
    # By the names of the seats: an erased gamer has another one now.
    names = {entry.gamer_pk: entry.gamer_id for entry in leaderboard.entries(tournament)}
    found = {
        (names.get(gamer_pk), bytes(body_hash).hex()): payload["score"]["value"]
        for gamer_pk, body_hash, payload in kept.values_list(
            "gamer_id", "body_hash", "payload"
        ).iterator()
    }
    return [
        difference
        for (gamer_id, event), score in recorded.items()
        if (gamer_id, event) in found
        for difference in _compare(
            f"the event that set the score of {gamer_id}", score, found[gamer_id, event]
        )
    ]


def _ledger(tournament: Tournament, record: dict[str, Any]) -> list[Difference]:
    """What left the pool, and for what."""
    books = reconciliation.tournament_books(tournament.uid)
    rake = record["platform_rake"] + record["developer_rake"]
    promised = Reward.objects.filter(tournament_uid=tournament.uid).order_by("rank")
    return [
        *_compare("the stakes in the ledger", record["stakes"], books.stakes - books.refunds),
        *_compare("the prizes in the ledger", sum(record["prizes"]), books.prizes),
        *_compare("the rake in the ledger", rake, books.rake),
        *_compare("the remainder in the ledger", record["remainder"], books.remainder),
        *_compare("the rewards", record["prizes"], list(promised.values_list("amount", flat=True))),
    ]


def _compare(what: str, recorded: object, found: object) -> list[Difference]:
    return [] if recorded == found else [Difference(what, f"{recorded}", f"{found}")]
