"""Big boards as sorted sets in Valkey: a rank, and the places around it, without counting.

A copy for readers. Nothing about money is decided by it, and PostgreSQL answers wherever it is
missing. Writers know nothing of it: a reader first asks PostgreSQL which seats have moved since the
snapshot that the copy stands for, and brings it up to the snapshot of this very question. So
nothing is lost with a process that dies, or while Valkey is away.

Every transaction notes its id in the seats that it moves (`moved_in`). All transactions below a
snapshot's xmin have ended, so a copy that is complete up to that xmin needs only the seats moved in
it or later. Each copy counts its changes: a question asked of PostgreSQL at count n is written at
count n alone, so the copy never goes back. Whoever comes too late asks once more; if by then two
others have written, the later of them has asked after this caller came, and what stands there is
new enough.
"""

import logging
from dataclasses import dataclass
from functools import cache
from typing import Any, Final
from uuid import UUID, uuid4

import redis
from django.conf import settings
from django.db import connection, transaction
from redis.backoff import NoBackoff
from redis.retry import Retry

from tournaments.models import Tournament
from tournaments.order import MEMBER, Seat, seat_of

logger = logging.getLogger(__name__)

# A board that takes longer to ask than PostgreSQL takes to count is no help.
_PATIENCE_S: Final = 0.25
# Of a copy that nobody reads.
_LIFE_S: Final = 3600
# A builder that has died is not waited for any longer than this.
_BUILDER_LIFE_S: Final = 60
_CHUNK: Final = 5000
# With more moved seats than this a copy is sooner made anew.
_MOST_MOVES: Final = 5000
_WANTED: Final = "boards:wanted"

# Every transaction below it has ended, and what it has done is in the snapshot.
_UPTO: Final = "pg_snapshot_xmin(pg_current_snapshot())::text"
_SERVER: Final = "extract(epoch FROM pg_postmaster_start_time())::text"

_MOVED: Final = f"""
SELECT now.upto, now.server, moved.gamer_id, moved.id, moved.is_held, moved.member
FROM (SELECT {_UPTO} AS upto, {_SERVER} AS server) AS now
LEFT JOIN LATERAL (
    SELECT
        seat.gamer_id, seat.id, seat.refund_posting_id IS NULL AS is_held,
        CASE WHEN seat.left_at IS NULL THEN {MEMBER} END AS member
    FROM tournaments_participation AS seat
    WHERE seat.tournament_id = %s AND seat.moved_in >= %s
    LIMIT {_MOST_MOVES + 1}
) AS moved ON TRUE
"""  # noqa: S608 - only constants are set in

_ALL: Final = f"""
SELECT
    seat.gamer_id, seat.id, seat.refund_posting_id IS NULL,
    CASE WHEN seat.left_at IS NULL THEN {MEMBER} END
FROM tournaments_participation AS seat
WHERE seat.tournament_id = %s
"""  # noqa: S608 - only constants are set in

# Of one board: what it stands for, members in order, gamer -> "seat:member", seats of held stakes.
_PARTS: Final = ("about", "order", "members", "stakes")

# Brings the copy up to what was asked and reads it, or says why it cannot: GONE, or AGAIN.
_READ: Final = """
local about, order, members, stakes = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local build, first, asked, upto, life = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local gamer, limit, offset, around = ARGV[6], tonumber(ARGV[7]), tonumber(ARGV[8]), ARGV[9]

local known = redis.call('HMGET', about, 'build', 'count', 'places', 'stakes')
if known[1] ~= build then return {'GONE'} end
if tonumber(known[3]) ~= redis.call('ZCARD', order)
    or tonumber(known[3]) ~= redis.call('HLEN', members)
    or tonumber(known[4]) ~= redis.call('SCARD', stakes) then
  redis.call('DEL', about, order, members, stakes)  -- a part of it was evicted
  return {'GONE'}
end

local count = tonumber(known[2])
if count == tonumber(asked) then
  for i = 10, #ARGV, 4 do
    local owner, seat, held, member = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
    redis.call(held == '1' and 'SADD' or 'SREM', stakes, seat)
    if member == '' then
      local old = redis.call('HGET', members, owner)
      -- Who has come back sits on another seat, and stays.
      if old and string.sub(old, 1, #seat + 1) == seat .. ':' then
        redis.call('ZREM', order, string.sub(old, #seat + 2))
        redis.call('HDEL', members, owner)
      end
    end
  end
  for i = 10, #ARGV, 4 do
    local owner, seat, member = ARGV[i], ARGV[i + 1], ARGV[i + 3]
    if member ~= '' then
      local old = redis.call('HGET', members, owner)
      if old then redis.call('ZREM', order, string.sub(old, string.find(old, ':', 1, true) + 1)) end
      redis.call('ZADD', order, 0, member)
      redis.call('HSET', members, owner, seat .. ':' .. member)
    end
  end
  redis.call('HSET', about, 'upto', upto)
  if #ARGV >= 10 then
    redis.call('HSET', about, 'count', count + 1,
      'places', redis.call('ZCARD', order), 'stakes', redis.call('SCARD', stakes))
  end
elseif count < tonumber(first) + 2 then
  return {'AGAIN'}
end
for _, part in ipairs(KEYS) do redis.call('EXPIRE', part, life) end

local total = redis.call('ZCARD', order)
local own, rank = redis.call('HGET', members, gamer), -1
if own then
  own = string.sub(own, string.find(own, ':', 1, true) + 1)
  rank = redis.call('ZRANK', order, own)
end
if around == '1' then
  offset = math.max(0, math.min(rank - math.floor(limit / 2), total - limit))
end
offset = math.min(offset, total)
local page = redis.call('ZRANGE', order, offset, offset + limit - 1)
return {'READ', total, redis.call('SCARD', stakes), rank, own or '', offset, page}
"""

# Shows a finished copy to readers, unless another builder was first.
_SHOW: Final = """
local taken = redis.call('EXISTS', KEYS[1]) == 1
for i = 2, 4 do
  if not taken then
    redis.call('DEL', KEYS[i])
    if redis.call('EXISTS', KEYS[i + 4]) == 1 then redis.call('RENAME', KEYS[i + 4], KEYS[i]) end
    redis.call('EXPIRE', KEYS[i], ARGV[4])
  else
    redis.call('DEL', KEYS[i + 4])
  end
end
if not taken then
  redis.call('HSET', KEYS[1], 'build', ARGV[1], 'count', 0, 'upto', ARGV[2], 'server', ARGV[3],
    'places', redis.call('ZCARD', KEYS[2]), 'stakes', redis.call('SCARD', KEYS[4]))
  redis.call('EXPIRE', KEYS[1], ARGV[4])
end
return taken and 0 or 1
"""


@dataclass(frozen=True)
class Window:
    """A part of a board, all of one moment; places count from 0."""

    total: int
    stakes: int
    skipped: int
    seats: list[Seat]
    own_place: int | None
    own_seat: Seat | None


class _Valkey:
    def __init__(self, url: str) -> None:
        self.client: Any = redis.Redis.from_url(
            url,
            socket_timeout=_PATIENCE_S,
            socket_connect_timeout=_PATIENCE_S,
            # PostgreSQL answers in the meantime.
            retry=Retry(NoBackoff(), 0),
        )
        self.read = self.client.register_script(_READ)
        self.show = self.client.register_script(_SHOW)


@dataclass(frozen=True)
class Moves:
    """Seats that have moved, up to a snapshot of one run of the server: whose each is, which one,
    whether its stake is held, and its member of the order, None where it was left."""

    upto: str
    server: str
    rows: list[tuple[int, int, bool, memoryview | None]]

    @property
    def are_too_many(self) -> bool:
        """Whether the whole board is sooner read anew; then some of them are missing here."""
        return len(self.rows) > _MOST_MOVES


def moved_since(tournament_pk: int, upto: int) -> Moves:
    """What has moved since the snapshot `upto`, as it is now."""
    with connection.cursor() as cursor:
        cursor.execute(_MOVED, [tournament_pk, upto])
        rows = cursor.fetchall()
    return Moves(rows[0][0], rows[0][1], [row[2:] for row in rows if row[2] is not None])


def all_seats(tournament_pk: int, *, most: int) -> Moves:
    """Every seat; of a board with more than `most` one more than that."""
    with transaction.atomic(), connection.cursor() as cursor:
        # One snapshot for both statements.
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        cursor.execute(f"SELECT {_UPTO}, {_SERVER}")
        upto, server = cursor.fetchone()
        cursor.execute(f"{_ALL} LIMIT %s", [tournament_pk, most + 1])
        return Moves(upto, server, cursor.fetchall())


def read(
    *, tournament: Tournament, gamer_pk: int | None, limit: int, offset: int, around: bool
) -> Window | None:
    """The board as it is at this moment; None where PostgreSQL has to be asked instead."""
    # What a transaction of ours has not committed yet is nobody else's to read.
    if connection.in_atomic_block:
        return None
    try:
        return _read(tournament, gamer_pk, limit=limit, offset=offset, around=around)
    except redis.RedisError:
        logger.warning("Valkey does not answer: PostgreSQL counts the places of a big board")
        return None


def want(tournament: Tournament) -> None:
    """Ask for a copy of a board that has none; `build_wanted` makes it."""
    try:
        _valkey(settings.REDIS_URL).client.sadd(_WANTED, str(tournament.uid))
    except redis.RedisError:
        logger.warning("Valkey does not answer: no copy of a big board is made")


def build_wanted() -> int:
    """Make the copies that were asked for, each by one builder; return how many."""
    client, built = _valkey(settings.REDIS_URL).client, 0
    for name in client.smembers(_WANTED):
        uid = UUID(name.decode())
        if client.set(_builder(uid), "1", nx=True, ex=_BUILDER_LIFE_S):
            if not client.exists(_keys(f"{{{uid}}}")[0]):
                built += build(uid=uid)
            client.srem(_WANTED, name)
            client.delete(_builder(uid))
    return built


def build(*, uid: UUID) -> bool:
    """Copy a whole board; whether readers were shown this copy, and no other was there before."""
    valkey, build = _valkey(settings.REDIS_URL), uuid4().hex
    unfinished = _keys(f"{{{uid}}}:{build}")
    with transaction.atomic(), connection.cursor() as cursor:
        # One snapshot for all that follows.
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        tournament = Tournament.objects.get(uid=uid)
        cursor.execute(f"SELECT {_UPTO}, {_SERVER}")
        upto, server = cursor.fetchone()
        with connection.connection.cursor(name="seats") as seats:
            seats.itersize = _CHUNK
            seats.execute(_ALL, [tournament.pk])
            while rows := seats.fetchmany(_CHUNK):
                _copy(valkey, unfinished, rows)
                valkey.client.expire(_builder(uid), _BUILDER_LIFE_S)
    return bool(
        valkey.show(keys=[*_keys(f"{{{uid}}}"), *unfinished], args=[build, upto, server, _LIFE_S])
    )


def forget(uid: UUID) -> None:
    """Drop the copy; the next reader asks for another."""
    _valkey(settings.REDIS_URL).client.delete(*_keys(f"{{{uid}}}"))


def _read(
    tournament: Tournament, gamer_pk: int | None, *, limit: int, offset: int, around: bool
) -> Window | None:
    valkey, keys = _valkey(settings.REDIS_URL), _keys(f"{{{tournament.uid}}}")
    came = None
    while True:
        known = valkey.client.hmget(keys[0], "build", "count", "upto", "server")
        build, count, known_upto, known_server = known
        came = came or (build, count)
        if build is None or build != came[0]:
            return None
        moves = moved_since(tournament.pk, int(known_upto))
        # After a restart the server may stand at an earlier moment than the copy.
        if moves.server != known_server.decode() or moves.are_too_many:
            forget(tournament.uid)
            return None
        moved = [word for move in moves.rows for word in _words(*move)]
        asked = [gamer_pk or "", limit, offset, int(around)]
        answer = valkey.read(keys=keys, args=[*came, count, moves.upto, _LIFE_S, *asked, *moved])
        if answer[0] == b"GONE":
            return None
        if answer[0] == b"READ":
            return _window(*answer[1:])


def _words(
    gamer_pk: int, seat_pk: int, is_held: bool, member: memoryview | None
) -> tuple[int, int, int, bytes]:
    return gamer_pk, seat_pk, int(is_held), bytes(member or b"")


def _copy(valkey: _Valkey, keys: list[str], rows: list[Any]) -> None:
    _, order, members, stakes = keys
    words = [_words(*row) for row in rows]
    seated = [(gamer, seat, member) for gamer, seat, _, member in words if member]
    held = [seat for _, seat, is_held, _ in words if is_held]
    pipeline = valkey.client.pipeline(transaction=False)
    if seated:
        pipeline.zadd(order, {member: 0 for _, _, member in seated})
        pipeline.hset(
            members, mapping={gamer: b"%d:%b" % (seat, member) for gamer, seat, member in seated}
        )
    if held:
        pipeline.sadd(stakes, *held)
    for part in keys:
        pipeline.expire(part, _BUILDER_LIFE_S)
    pipeline.execute()


def _window(
    total: int, stakes: int, own_place: int, own: bytes, skipped: int, page: list[bytes]
) -> Window:
    return Window(
        total=total,
        stakes=stakes,
        skipped=skipped,
        seats=[seat_of(member) for member in page],
        own_place=None if own_place < 0 else own_place,
        own_seat=seat_of(own) if own else None,
    )


@cache
def _valkey(url: str) -> _Valkey:
    return _Valkey(url)


def _keys(board: str) -> list[str]:
    # In braces, so that a cluster keeps the parts of a board together.
    return [f"board:{board}:{part}" for part in _PARTS]


def _builder(uid: UUID) -> str:
    return f"board:{{{uid}}}:builder"
