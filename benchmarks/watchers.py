"""Many watchers of one board, in a process of their own: tokens come in, a line each.

Until its input ends they read; then it says how many events each has had.
"""

import asyncio
import sys
from argparse import ArgumentParser
from functools import partial

from kgen.local.processes import LOOPBACK

CONNECTED = "connected"


class Watcher(asyncio.Protocol):
    def __init__(self, path: str) -> None:
        self.path = path
        self.events = 0
        self.is_lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(f"GET {self.path} HTTP/1.1\r\nHost: {LOOPBACK}\r\n\r\n".encode())

    def data_received(self, data: bytes) -> None:
        self.events += data.count(b"event: standings")

    def connection_lost(self, problem: Exception | None) -> None:
        self.is_lost = True


async def watch(port: int, uid: str) -> None:
    loop = asyncio.get_running_loop()
    watchers = []
    for token in iter(sys.stdin.readline, "\n"):
        path = f"/leaderboards/{uid}?token={token.strip()}"
        _, watcher = await loop.create_connection(partial(Watcher, path), LOOPBACK, port)
        watchers.append(watcher)
    while not all(watcher.events for watcher in watchers):
        await asyncio.sleep(0.05)
    print(CONNECTED, flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    lost = sum(watcher.is_lost for watcher in watchers)
    print(min(watcher.events for watcher in watchers), lost, flush=True)


if __name__ == "__main__":
    parser = ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("uid")
    given = parser.parse_args()
    asyncio.run(watch(given.port, given.uid))
