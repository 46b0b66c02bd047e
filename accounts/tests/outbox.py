import json
import re
from pathlib import Path


def sent_to(outbox: Path) -> list[tuple[str, str]]:
    """Phone and code of every SMS in a development outbox, oldest first."""
    if not outbox.exists():
        return []
    sent = [json.loads(line) for line in outbox.read_text().splitlines()]
    return [(sms["phone"], _only_code(sms["text"])) for sms in sent]


def _only_code(text: str) -> str:
    codes: list[str] = re.findall(r"(?<!\d)\d{6}(?!\d)", text)
    assert len(codes) == 1
    return codes[0]
