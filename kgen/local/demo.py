"""`make demo`: bots play one tournament through the public API, from first session to withdrawal.

The demo knows nothing of the platform's inside. It speaks HTTP as a game's server would, reads the
development SMS outbox in place of twenty phones, and at the end checks the money: against the
ledger's own audit and, by RPC, against the chain.
"""

import argparse
import json
import random
import re
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import phonenumbers
import requests
from rich.console import Console
from rich.live import Live
from rich.progress import track
from rich.table import Table
from urllib3.util.retry import Retry

from kgen.local import dotenv

ROOT = Path(__file__).resolve().parents[2]
LOCAL = ROOT / ".local"
ENTRY_FEE = 10
PLAY_SECONDS = 14
SYNC_PATIENCE_SECONDS = 60
BALANCE_OF = "0x70a08231"

console = Console()


class DemoFailed(Exception):
    """Something is not as the API promises."""


class GameServer:
    """A game's server: the client credentials and one keep-alive connection pool.

    A call that gets no answer, or a 503, is made again: each POST carries an Idempotency-Key, so
    that it acts once however often it is sent.
    """

    def __init__(self, settings: dict[str, str]) -> None:
        self._base = settings["BASE_URL"] + "/api/v1"
        self._http = requests.Session()
        again = Retry(total=8, backoff_factor=0.3, allowed_methods=None, status_forcelist=[503])
        self._http.mount(
            "http://", requests.adapters.HTTPAdapter(pool_maxsize=32, max_retries=again)
        )
        self._http.headers.update(
            {"x-clientID": settings["CLIENT_ID"], "x-clientSecret": settings["CLIENT_SECRET"]}
        )

    def call(
        self, method: str, path: str, *, token: str = "", body: dict[str, Any] | None = None
    ) -> Any:
        """Send one request and give the JSON of its 2xx answer; anything else ends the demo."""
        answer = self._http.request(
            method,
            f"{self._base}/{path}",
            params={"token": token} if token else None,
            json=body,
            headers={"Idempotency-Key": secrets.token_hex(16)} if method == "POST" else None,
            timeout=30,
        )
        if not answer.ok:
            raise DemoFailed(f"{method} {path} answered {answer.status_code}: {answer.text}")
        return answer.json()


@dataclass
class Bot:
    """One gamer and what the API has told about them."""

    gamer_id: str
    username: str
    phone: str
    skill: float
    token: str = ""
    wallet: str = ""
    score: int = 0
    claimed: int = 0
    withdrawn: int = 0
    withdrawal: str = ""
    kgen_wallet: str = ""
    tx_hash: str = ""
    problems: list[str] = field(default_factory=list)


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--bots", type=int, default=20, help="how many gamers play (default 20)")
    count = arguments.parse_args().bots
    if count < 2:
        arguments.error("a tournament needs at least two gamers")

    try:
        settings = read_settings()
        server = GameServer(settings)
        bots = make_bots(count)
        started = time.monotonic()
        play_journey(server, settings, bots)
        problems = [problem for bot in bots for problem in bot.problems]
    except (DemoFailed, requests.RequestException) as failure:
        console.print(f"[bold red]The demo failed:[/] {failure}")
        return 1
    for problem in problems:
        console.print(f"[bold red]Off:[/] {problem}")
    if not problems:
        console.print(
            f"[bold green]Every unit of KCash is accounted for.[/]"
            f" {time.monotonic() - started:.0f} seconds."
        )
    return 1 if problems else 0


def read_settings() -> dict[str, str]:
    path = LOCAL / "demo.env"
    if not path.exists():
        raise DemoFailed("no running platform found: start it with `make run` in another shell")
    return dotenv.read(path)


def make_bots(count: int) -> list[Bot]:
    run = secrets.token_hex(3)
    names = ["Swift", "Maya", "Rook", "Ember", "Kiran", "Jet", "Nova", "Tara", "Bolt", "Zed"]
    return [
        Bot(
            gamer_id=f"bot-{run}-{number:03}",
            username=f"{names[number % len(names)]}{number:02}",
            phone=unused_mobile_number(),
            skill=random.uniform(0.5, 2.0),
        )
        for number in range(count)
    ]


def unused_mobile_number() -> str:
    """A random Indian mobile number, so that no run meets the limits of an earlier one."""
    while True:
        digits = f"9{random.randrange(10**9):09}"
        number = phonenumbers.parse(digits, "IN")
        is_mobile = phonenumbers.number_type(number) == phonenumbers.PhoneNumberType.MOBILE
        if phonenumbers.is_valid_number(number) and is_mobile:
            return digits


def play_journey(server: GameServer, settings: dict[str, str], bots: list[Bot]) -> None:
    """All of it, in the order in which a gamer meets it."""
    with ThreadPoolExecutor(max_workers=8) as pool:
        for_each(pool, bots, lambda bot: open_game(server, bot), "Opening the game")
        tournament = create_tournament(settings)
        wait_for_status(server, bots[0], tournament, "STARTED")
        for_each(pool, bots, lambda bot: join(server, bot, tournament), "Paying the entry fee")
        play(pool, server, bots, tournament)
        wait_for_status(server, bots[0], tournament, "COMPLETED")
        for_each(pool, bots, lambda bot: claim(server, bot), "Claiming prizes")
        minimum = server.call("GET", "wallet/lazyChain/balance", token=bots[0].token)
        winners = [bot for bot in bots if bot.claimed >= minimum["minWalletBalToWithdraw"]]
        for_each(pool, winners, lambda bot: link_phone(server, bot), "Linking phones by OTP")
        for_each(pool, winners, lambda bot: withdraw(server, bot), "Withdrawing")
        for_each(pool, winners, lambda bot: await_chain(server, bot), "Settling on the chain")
    show_results(bots)
    check_chain(settings, winners)
    check_ledger(tournament)


def for_each(
    pool: ThreadPoolExecutor, bots: list[Bot], step: Callable[[Bot], None], label: str
) -> None:
    """Do one step for every bot, in parallel, behind a progress bar."""
    results: Iterator[None] = pool.map(step, bots)
    steps: Iterable[None] = track(
        results, description=f"{label:<24}", total=len(bots), console=console
    )
    for _ in steps:
        pass


def open_game(server: GameServer, bot: Bot) -> None:
    session = server.call(
        "POST", "session", body={"gamer_id": bot.gamer_id, "username": bot.username}
    )
    bot.token = session["token"]
    bot.wallet = session["wallet_address"]


def create_tournament(settings: dict[str, str]) -> str:
    times = ["--lobby", "+0s", "--starts", "+1s", "--grace", "2s"]
    times += ["--locks", f"+{PLAY_SECONDS - 2}s", "--ends", f"+{PLAY_SECONDS}s"]
    title = ["--title", "Demo Cup", "--buy-in", str(ENTRY_FEE)]
    return manage("create_tournament", "--client", settings["CLIENT_ID"], *title, *times)


def manage(*arguments: str) -> str:
    """Run a management command and give the last line that it prints."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "manage.py"), *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise DemoFailed(f"{arguments[0]} failed: {(done.stderr or done.stdout).strip()}")
    return done.stdout.strip().splitlines()[-1]


def wait_for_status(server: GameServer, bot: Bot, tournament: str, status: str) -> None:
    deadline = time.monotonic() + 60
    with console.status(f"Waiting for the tournament to be {status}"):
        while time.monotonic() < deadline:
            seen = server.call("GET", f"tournaments/{tournament}", token=bot.token)
            if seen["tournament_status"] == status:
                return
            time.sleep(0.25)
    raise DemoFailed(f"the tournament is {seen['tournament_status']}, not {status}, after 60 s")


def join(server: GameServer, bot: Bot, tournament: str) -> None:
    server.call(
        "POST", f"tournaments/{tournament}/_join", token=bot.token, body={"joiningStake": ENTRY_FEE}
    )


def play(pool: ThreadPoolExecutor, server: GameServer, bots: list[Bot], tournament: str) -> None:
    """Post scores until the tournament ends, with the leaderboard in view."""
    watcher = bots[0]
    ends_at = time.monotonic() + PLAY_SECONDS
    with Live(console=console, refresh_per_second=8) as screen:
        while time.monotonic() < ends_at:
            tournament_now = server.call("GET", f"tournaments/{tournament}", token=watcher.token)
            if tournament_now["tournament_status"] not in {"STARTED", "LOCKED"}:
                break
            if not scoring_is_open(tournament_now):
                break
            list(pool.map(lambda bot: score(server, bot, tournament), bots))
            board = server.call(
                "GET", f"leaderboards/_byTournament/{tournament}", token=watcher.token
            )
            screen.update(leaderboard_table(board, bots))
            time.sleep(0.3)
    console.print()


def scoring_is_open(tournament: dict[str, Any]) -> bool:
    """Stop a second early: a score stamped after the end is refused, as it should be."""
    ends_at = time.strptime(tournament["ends_at_timestamp"][:19], "%Y-%m-%dT%H:%M:%S")
    return time.gmtime(time.time() + 1.5) < ends_at


def score(server: GameServer, bot: Bot, tournament: str) -> None:
    if random.random() < 0.35:
        return
    bot.score += int(random.expovariate(1) * 10 * bot.skill) + 1
    event = {
        "timestamp": time.time_ns() // 1_000_000,
        "metadata": {"playerId": bot.gamer_id, "tournamentId": tournament},
        "payload": {"score": {"value": bot.score}},
    }
    server.call("POST", "eventing", token=bot.token, body=event)


def leaderboard_table(board: dict[str, Any], bots: list[Bot]) -> Table:
    best = max((row["score"] for row in board["leaderboard"]), default=0) or 1
    table = Table(title=f"Demo Cup · pool {board['price_pool']} KCash", title_justify="left")
    table.add_column("#", justify="right")
    table.add_column("Gamer")
    table.add_column("Score", justify="right")
    table.add_column("", width=30)
    for row in board["leaderboard"][:10]:
        bar = "█" * round(30 * row["score"] / best)
        table.add_row(str(row["rank"]), row["username"], f"{row['score']:,}", f"[cyan]{bar}[/]")
    if len(bots) > 10:
        table.caption = f"and {len(bots) - 10} more"
    return table


def claim(server: GameServer, bot: Bot) -> None:
    bot.claimed = server.call("POST", "rewards/_claim", token=bot.token)["claimed_amount"]


def link_phone(server: GameServer, bot: Bot) -> None:
    phone = {"phone_number": bot.phone, "countryCode": "+91"}
    asked = server.call("POST", "verification/otp/_request", token=bot.token, body=phone)
    proof = {**phone, "authCode": asked["authCode"], "otp": read_code(bot.phone)}
    server.call("POST", "verification/otp/_verify", token=bot.token, body=proof)


def read_code(phone: str) -> str:
    """The newest code that the development outbox holds for a phone."""
    messages = [json.loads(line) for line in (LOCAL / "sms.jsonl").read_text().splitlines()]
    texts = [message["text"] for message in messages if message["phone"] == f"+91{phone}"]
    if not texts:
        raise DemoFailed(f"no SMS for +91{phone} in the outbox")
    return str(re.findall(r"\d{6}", texts[-1])[0])


def withdraw(server: GameServer, bot: Bot) -> None:
    done = server.call("POST", "wallet/_withdraw", token=bot.token)
    bot.withdrawn = done["earnedBalance"]
    bot.withdrawal = done["transaction_uid"]
    bot.kgen_wallet = done["userKGeNWalletAddr"]


def await_chain(server: GameServer, bot: Bot) -> None:
    """Wait until every transaction of the bot's wallet is final on the chain."""
    deadline = time.monotonic() + SYNC_PATIENCE_SECONDS
    while time.monotonic() < deadline:
        page = server.call("GET", f"wallet/lazyChain/transactions/{bot.wallet}", token=bot.token)
        rows = page["fromTransactions"] + page["toTransactions"]
        if all(row["sync_status"] == "COMPLETED" for row in rows):
            bot.tx_hash = next(row["tx_hash"] for row in rows if row["uid"] == bot.withdrawal)
            return
        time.sleep(0.5)
    bot.problems.append(f"{bot.username}: not settled after {SYNC_PATIENCE_SECONDS} s")


def show_results(bots: list[Bot]) -> None:
    table = Table(title="Who won, claimed, withdrew", title_justify="left")
    for name in ("Gamer", "Score", "Claimed", "Withdrawn"):
        table.add_column(name, justify="left" if name == "Gamer" else "right")
    table.add_column("Transaction on the chain")
    for bot in sorted(bots, key=lambda bot: (-bot.claimed, -bot.score)):
        table.add_row(
            bot.username,
            f"{bot.score:,}",
            str(bot.claimed or "-"),
            str(bot.withdrawn or "-"),
            f"{bot.tx_hash[:10]}…{bot.tx_hash[-6:]}" if bot.tx_hash else "",
        )
    console.print(table)


def check_chain(settings: dict[str, str], winners: list[Bot]) -> None:
    """Read each KGeN wallet's KCash from the chain; it must be what the API said was withdrawn."""
    for bot in winners:
        data = BALANCE_OF + bot.kgen_wallet.removeprefix("0x").rjust(64, "0")
        call = {"to": settings["KCASH_ADDRESS"], "data": data}
        on_chain = int(rpc(settings, "eth_call", call, "latest"), 16)
        if on_chain != bot.withdrawn:
            bot.problems.append(
                f"{bot.username} withdrew {bot.withdrawn}, the chain holds {on_chain}"
            )
    total = sum(bot.withdrawn for bot in winners)
    console.print(f"On the chain: {total} KCash in {len(winners)} KGeN wallets, read by RPC.")


def rpc(settings: dict[str, str], method: str, *parameters: object) -> str:
    request: Any = {"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters}
    answer = requests.post(settings["CHAIN_RPC_URL"], json=request, timeout=10).json()
    if "error" in answer:
        raise DemoFailed(f"{method} on the chain: {answer['error']}")
    return str(answer["result"])


def check_ledger(tournament: str) -> None:
    """Let the platform audit the tournament: stakes = prizes + rake + remainder, ledger sum 0."""
    books = manage("audit_ledger", "--tournament", tournament)
    console.print(f"Ledger: {books}", soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
