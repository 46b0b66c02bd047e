from datetime import timedelta
from hashlib import sha256

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tournaments import scoring
from tournaments.scoring import effective_time
from tournaments.tests.factories import TournamentFactory, seat

pytestmark = pytest.mark.django_db

# Few enough moments and values that they meet: (seconds after the start, value).
events = st.tuples(st.integers(-2, 3), st.integers(0, 3))


@given(data=st.data(), sent=st.lists(events, min_size=1, max_size=6))
@settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_any_order_of_arrival_ends_in_the_same_score(now, data, sent):
    arrivals = data.draw(st.permutations(sent + sent))
    taken = seat(TournamentFactory.create(now=now))
    start = taken.tournament.starts_at

    for seconds, value in arrivals:
        with transaction.atomic():
            scoring.apply(
                gamer=taken.gamer,
                tournament_uid=taken.tournament.uid,
                value=value,
                stamped_at=start + timedelta(seconds=seconds),
                body_hash=hash_of(seconds, value),
                now=now,
            )

    taken.refresh_from_db()
    seconds, value, body_hash = max(
        (max(seconds, 0), value, hash_of(seconds, value)) for seconds, value in sent
    )
    assert (taken.reached_at, taken.score, bytes(taken.applied_hash or b"")) == (
        start + timedelta(seconds=seconds),
        value,
        body_hash,
    )


def hash_of(seconds: int, value: int) -> bytes:
    return sha256(f"{seconds} {value}".encode()).digest()


@pytest.mark.parametrize(
    ("stamped", "received", "expected"),
    [(-121, 10, -121), (-120, 10, 0), (-1, -1, 0), (0, 0, 0), (50, 20, 20), (20, 50, 20)],
)
def test_effective_time(now, stamped, received, expected):
    tournament = TournamentFactory.create(now=now)
    start = tournament.starts_at

    reached_at = effective_time(
        tournament,
        stamped_at=start + timedelta(seconds=stamped),
        received_at=start + timedelta(seconds=received),
    )

    assert reached_at == start + timedelta(seconds=expected)
