"""A settled tournament's record, and what working it out again finds."""

import json
from datetime import timedelta
from hashlib import sha256
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, transaction

from accounts.tests.api import GameClient, error_body
from kgen.common import strict_json
from tournaments import cancelling, results, settling
from tournaments.eventing import Event, receive
from tournaments.lifecycle import Rules
from tournaments.models import GameEvent, Participation, ResultRecord, Tournament
from tournaments.tests.factories import TournamentFactory, player, seat
from tournaments.tests.world import buckets, pool_balance

pytestmark = pytest.mark.django_db

Rule, Sort, Structure = Tournament.ScoreRule, Tournament.Sort, Tournament.PrizeStructure
TABLE = [{"first": 1, "last": 1, "amount": 6000}, {"first": 2, "last": 3, "amount": 1500}]
KINDS = [
    Rules(),
    Rules(score_rule=Rule.BEST, sort=Sort.LOW),
    Rules(score_rule=Rule.SUM, prize_structure=Structure.SHARES, prize_table=TABLE),
    Rules(
        prize_structure=Structure.FIXED,
        prize_table=[{"first": 1, "last": 2, "amount": 40}],
        sponsor_contribution=90,
    ),
]


def play(now, rules: Rules = KINDS[0]) -> Tournament:
    """Five gamers, of whom one has no score; settled."""
    tournament = TournamentFactory.create(now=now, over=True, rules=rules)
    for name, score in (("ann", 9), ("bob", 7), ("cyd", 7), ("dan", 1), ("eve", None)):
        taken = seat(tournament, gamer=player(tournament.game, gamer_id=name))
        if score is not None:
            at = tournament.starts_at + timedelta(minutes=1)
            body = {"score": {"value": score}}
            event = Event(
                body_hash=sha256(f"{name} {score}".encode()).digest(),
                occurred_at=at,
                player_id=name,
                game_slug=None,
                metadata={},
                payload=body,
                tournament_uid=tournament.uid,
                score=score,
                joined_uids=(),
            )
            receive(gamer=taken.gamer, event=event, now=at)
    return settling.settle(uid=tournament.uid, now=now)


def test_record_holds_all_that_the_prizes_follow_from(now):
    tournament = play(now)

    kept = results.of(tournament)

    record = json.loads(kept.canonical)
    assert kept.canonical.encode() == strict_json.canonical(record)
    assert kept.sha256 == sha256(kept.canonical.encode()).hexdigest()
    start = tournament.starts_at
    assert record == {
        "format": "kgen-result/1",
        "tournament": {
            "uid": str(tournament.uid),
            "game_uid": tournament.game.game_uid,
            "title": tournament.title,
            "starts_at": f"{start:%Y-%m-%dT%H:%M:%S.%fZ}",
            "ends_at": f"{tournament.ends_at:%Y-%m-%dT%H:%M:%S.%fZ}",
            "score_rule": "LATEST",
            "sort": "HIGH",
            "entry_fee": 10,
            "rake_percent": 15,
            "prize_structure": "BANDS",
            "prize_table": [],
            "sponsor_contribution": 0,
        },
        "entries": [
            {
                "gamer_id": name,
                "joined_at": f"{start:%Y-%m-%dT%H:%M:%S.%fZ}",
                "score": score,
                "reached_at": score and f"{start + timedelta(minutes=1):%Y-%m-%dT%H:%M:%S.%fZ}",
                "event": score and sha256(f"{name} {score}".encode()).hexdigest(),
            }
            for name, score in (("ann", 9), ("bob", 7), ("cyd", 7), ("dan", 1), ("eve", None))
        ],
        "stakes": 50,
        "pool": 42,
        "prizes": [32, 10],
        "platform_rake": 4,
        "developer_rake": 4,
        "remainder": 0,
    }


@pytest.mark.parametrize("rules", KINDS, ids=lambda rules: f"{rules.score_rule} {rules.sort}")
def test_every_kind_of_tournament_can_be_worked_out_again(now, rules):
    tournament = play(now, rules)

    assert results.verify(uid=tournament.uid) == []
    assert pool_balance(tournament) == 0


def test_lowest_score_wins_where_the_operator_said_so(now):
    tournament = play(now, KINDS[1])

    winners = Participation.objects.filter(prize__gt=0).order_by("final_rank")
    assert list(winners.values_list("tiebreak", "prize")) == [("dan", 32), ("bob", 10)]
    assert tournament.rewarded_count == 2


def test_zero_earns_where_the_lowest_score_wins(now):
    tournament = TournamentFactory.create(now=now, over=True, rules=Rules(sort=Sort.LOW))
    first = seat(tournament, score=0)
    seat(tournament, score=None)

    settling.settle(uid=tournament.uid, now=now)

    assert buckets(first.gamer)[3] == 17
    assert results.verify(uid=tournament.uid) == []


def test_fixed_prizes_come_from_the_sponsor_and_the_rest_has_a_place(now):
    tournament = play(now, KINDS[3])

    record = json.loads(results.of(tournament).canonical)
    # 42 of the stakes and 90 of the sponsor, of which 80 are prizes.
    assert (record["pool"], record["prizes"], record["remainder"]) == (132, [40, 40], 52)
    assert pool_balance(tournament) == 0


# --- What it finds -------------------------------------------------------------------------------


def found(tournament: Tournament) -> list[str]:
    return [difference.what for difference in results.verify(uid=tournament.uid)]


def test_score_changed_behind_our_back_is_found(now):
    tournament = play(now)
    Participation.objects.filter(tiebreak="dan").update(score=2, standing_key=-2)

    assert found(tournament) == ["the seat of dan"]


def test_event_changed_behind_our_back_is_found(now):
    tournament = play(now)
    GameEvent.objects.filter(gamer__gamer_id="ann").update(payload={"score": {"value": 8}})

    assert found(tournament) == ["the event that set the score of ann"]


def test_event_that_is_kept_no_more_is_not_missed(now):
    tournament = play(now)
    GameEvent.objects.all().delete()

    assert found(tournament) == []


def test_prize_changed_behind_our_back_is_found(now):
    tournament = play(now)
    Participation.objects.filter(tiebreak="ann").update(prize=33)

    assert found(tournament) == ["the seats' prizes"]


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda record: record["prizes"].append(1), ["SHA-256", "prizes"]),
        (
            lambda record: record["entries"][0].update(score=3),
            ["SHA-256", "the order"],
        ),
        (lambda record: record["tournament"].update(title="Other"), ["SHA-256"]),
        (lambda record: record.update(stakes=60), ["SHA-256", "pool", "prizes"]),
    ],
)
def test_record_that_does_not_follow_from_its_inputs_is_found(now, change, what):
    kept = results.of(play(now))
    record = json.loads(kept.canonical)
    change(record)

    differences = results.recompute(record, digest=kept.sha256)

    names = [difference.what for difference in differences]
    assert [name for name in names if not name.endswith("_rake")] == what


def test_application_cannot_change_a_record(now):
    kept = results.of(play(now))

    for statement in (
        "UPDATE tournaments_resultrecord SET sha256 = ''",
        "DELETE FROM tournaments_resultrecord",
    ):
        with pytest.raises(DatabaseError, match="permission denied"), transaction.atomic():
            connection.cursor().execute(statement)
    assert ResultRecord.objects.get() == kept


# --- Who may see it ------------------------------------------------------------------------------


def read(tournament, gamer):
    client = GameClient(gamer.game).as_gamer(gamer)
    return client.get(f"/tournaments/{getattr(tournament, 'uid', tournament)}/_result")


def refusal(tournament, gamer) -> str:
    response = read(tournament, gamer)
    assert response.status_code == 404
    return str(error_body(response)["error"])


def test_any_gamer_of_the_game_may_work_it_out_again(now):
    tournament = play(now)

    response = read(tournament, player(tournament.game))

    assert response.status_code == 200
    body = response.json()
    assert set(body) == {"sha256", "record"}
    assert sha256(strict_json.canonical(body["record"])).hexdigest() == body["sha256"]
    assert results.recompute(body["record"], digest=body["sha256"]) == []


def test_before_the_end_and_after_a_cancellation_there_is_none(now):
    tournament = TournamentFactory.create(now=now)
    gamer = seat(tournament).gamer

    assert refusal(tournament, gamer) == "RESULT_NOT_FOUND"
    cancelling.cancel(uid=tournament.uid, now=now)
    assert refusal(tournament, gamer) == "RESULT_NOT_FOUND"


def test_result_of_another_game_is_not_there(now):
    tournament = play(now)
    stranger = player(TournamentFactory.create(now=now).game)

    for asked in (tournament, "no-id"):
        assert refusal(asked, stranger) == "TOURNAMENT_NOT_FOUND"


def test_command_says_right_or_what_differs(now):
    tournament = play(now)
    out, err = StringIO(), StringIO()

    call_command("verify_result", str(tournament.uid), stdout=out)
    Participation.objects.filter(tiebreak="ann").update(prize=33)
    with pytest.raises(CommandError, match="Differences: 1"):
        call_command("verify_result", str(tournament.uid), stderr=err)

    assert out.getvalue() == (f"Right: {tournament}, SHA-256 {results.of(tournament).sha256}\n")
    assert "the seats' prizes: recorded [32, 10], found [" in err.getvalue()
    with pytest.raises(CommandError, match="No such tournament"):
        call_command("verify_result", "no-id")
