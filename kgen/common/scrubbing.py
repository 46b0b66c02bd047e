"""What must not be written down is taken out of it: of every log, and of what an error says.

Two ways, as each finds what the other cannot. What stands under a name that speaks of a secret goes,
whatever it looks like; and out of any text goes what looks like a secret, a phone or an e-mail.
Where in doubt it goes. Only the standard library is needed, so that the signer can use it too.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final
from urllib.parse import unquote, urlsplit

HIDDEN: Final = "[hidden]"

# More of a text, or deeper into a value, is not looked at, and not written either.
LONGEST_TEXT: Final = 32_000
DEEPEST: Final = 8
# What is shorter is a word or a number of ours.
_SHORTEST: Final = 6

# Parts of names, written without separators and in lower case.
_TELLING: Final = (
    "token",
    "secret",
    "otp",
    "passw",
    "passphrase",
    "authorization",
    "authcode",
    "cookie",
    "phone",
    "mobile",
    "email",
    "apikey",
    "jwt",
    "credential",
    "seed",
    "mnemonic",
    "signature",
)
# Whole names, which as a part would be in too many others.
_TELLING_ALONE: Final = frozenset({"code", "codes", "pin", "sms", "text"})
_TELLING_ENDS: Final = ("key", "keys")

_HEX: Final = "0-9A-Fa-f"
# A bare number is no phone within something hexadecimal, nor as the end of a UUID.
_BEFORE_DIGITS: Final = rf"(?<![{_HEX}])(?<![{_HEX}]{{4}}-)(?<!\d\.)"
_NAMES: Final = (
    r"token|secret|otp|passw|passphrase|authorization|auth_?code|phone|mobile|e-?mail"
    r"|private[_-]?key|api[_-]?key|jwt|credential|mnemonic"
)


@dataclass(frozen=True, slots=True)
class _Rule:
    """What to put in place of what; looked for only where one of `words`, or `shape`, is found."""

    words: tuple[str, ...]  # in lower case
    shape: re.Pattern[str] | None
    pattern: re.Pattern[str]
    replacement: str

    def apply(self, text: str, lower: str) -> str:
        if self.shape is not None:
            may_match = self.shape.search(text) is not None
        else:
            may_match = any(word in lower for word in self.words)
        return self.pattern.sub(self.replacement, text) if may_match else text


def _rule(
    pattern: str, replacement: str = HIDDEN, *, words: str = "", shape: str | None = None
) -> _Rule:
    return _Rule(
        words=tuple(words.split()),
        shape=re.compile(shape) if shape else None,
        pattern=re.compile(pattern),
        replacement=replacement,
    )


_RULES: Final = (
    # What PostgreSQL says of the row that it refused.
    _rule(r"(DETAIL:\s{1,9})[^\n]*", rf"\1{HIDDEN}", words="detail:"),
    # Name and password in an address; the key of a node's provider, which is a part of a path.
    _rule(r"(://)\S{1,300}@(?=[\w\[])", rf"\1{HIDDEN}@", words="://"),
    _rule(r"(/v\d{1,3}/)[\w-]{20,}", rf"\1{HIDDEN}", words="/v"),
    _rule(r"(?i)((?:set-)?cookie[\"']?\s{0,3}[:=]\s{0,3})[^\n]+", rf"\1{HIDDEN}", words="cookie"),
    _rule(r"(?i)\b(bearer|basic)\s{1,3}[\w.~+/=-]{6,}", rf"\1 {HIDDEN}", words="bearer basic"),
    # name=value, name: value, 'name': 'value', also with quotes that are escaped.
    _rule(
        rf"(?i)((?:{_NAMES})[\w-]{{0,40}}(?:\\?[\"'])?\s{{0,3}}[=:]\s{{0,3}})"
        r"(?:\\\"[^\"]*\"?|\"(?:[^\"\\]|\\.)*\"?|b?'(?:[^'\\]|\\.)*'?|[^\s\"'&,;}\])]+)",
        rf"\1{HIDDEN}",
        words=(
            "token secret otp passw passphrase authorization auth_code authcode phone mobile mail"
            " key jwt credential mnemonic"
        ),
    ),
    # Keys of 32 bytes after a word that says so, and seeds of 64 bytes anywhere.
    _rule(
        r"(?i)((?:key|seed|secret|priv)\w{0,10}\W{0,4}(?:(?:is|was)\W{1,3})?(?:0x)?)"
        rf"[{_HEX}]{{64}}(?![{_HEX}])",
        rf"\1{HIDDEN}",
        words="key seed secret priv",
    ),
    _rule(rf"(?<![{_HEX}])[{_HEX}]{{128}}(?![{_HEX}])", shape=rf"[{_HEX}]{{128}}"),
    # Tokens (48 characters), clients' secrets (43) and all that is as long and as random.
    _rule(r"(?<![\w-])(?=[\w-]{0,400}?[A-Z])(?=[\w-]{0,400}?[a-z])[\w-]{43,}", shape=r"[\w-]{43}"),
    _rule(
        r"[^\s@<>()\[\]{}\"'=,;:/%\\]{1,64}(?:@|%40)[^\s@<>()\[\]{}\"'=,;:/%\\]{1,190}\.\w+",
        words="@ %40",
    ),
    # Phones: with the plus; ten digits and more; and as people in the countries served write them.
    _rule(r"(?:\+|%2[Bb])[ ]?\(?\d(?:[ ().-]{0,2}\d){6,14}", words="+ %2b"),
    _rule(rf"{_BEFORE_DIGITS}\d{{10,13}}(?![{_HEX}]|[ ](?:wei|KCash)\b)", shape=r"\d{10}"),
    _rule(
        rf"{_BEFORE_DIGITS}(?:\(?\d{{3}}\)?[ .-]{{1,2}}\d{{3}}[ .-]\d{{4}}|\d{{5}}[ -]\d{{5}}"
        r"|\d{4}[ -]\d{3}[ -]\d{3})(?!\d)",
        shape=r"\d{3}\)?[ .-]",
    ),
    # One-time codes, as our texts and others' say them.
    _rule(r"(?i)(?<!\d)\d{4,8}(?=\s{1,3}is\s{1,3}your)", words="your"),
    _rule(
        r"(?i)(\b(?:code|otp|pin|passcode|password)\b[^\d\n]{0,20})\d{4,8}(?!\d)",
        rf"\1{HIDDEN}",
        words="code otp pin passw",
    ),
)


def scrub(value: object, *, depth: int = 0) -> object:
    """The value without anything secret or personal, as plain values that JSON can hold.

    A number is kept unless its name tells of a secret.
    """
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return scrub_text(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return scrub_text(bytes(value).decode(errors="replace"))
    if depth >= DEEPEST:
        return HIDDEN
    if isinstance(value, Mapping):
        return {
            scrub_text(str(name)): HIDDEN if tells(str(name)) else scrub(inner, depth=depth + 1)
            for name, inner in value.items()
        }
    if isinstance(value, list | tuple | set | frozenset):
        return [scrub(inner, depth=depth + 1) for inner in value]
    try:
        return scrub_text(str(value))
    except Exception:  # noqa: BLE001 - what cannot say what it is, is not worth an error
        return f"[{type(value).__name__}]"


def scrub_text(text: str) -> str:
    """The text without anything secret or personal."""
    if len(text) < _SHORTEST:
        return text
    left_out = len(text) - LONGEST_TEXT
    if left_out > 0:
        # Half a secret at the cut would look like none.
        text = re.sub(r"\S{0,2000}\Z", "", text[:LONGEST_TEXT])
    for secret in _secrets:
        if secret in text:
            text = text.replace(secret, HIDDEN)
    lower = text.lower()
    for rule in _RULES:
        text = rule.apply(text, lower)
    return f"{text} … {left_out} characters left out" if left_out > 0 else text


@lru_cache(maxsize=1_000)
def tells(name: str) -> bool:
    """Whether a name says that what it names is secret or personal."""
    plain = re.sub(r"[\W_]", "", name).lower()
    return (
        plain in _TELLING_ALONE
        or plain.endswith(_TELLING_ENDS)
        or any(part in plain for part in _TELLING)
    )


def hide_secrets_of(environment: Mapping[str, str]) -> None:
    """From now on hide these settings' secrets, to the letter, wherever they turn up."""
    global _secrets
    found = {secret for name, value in environment.items() for secret in _secrets_in(name, value)}
    # The longest first: one may be a part of another.
    _secrets = tuple(sorted((one for one in found if len(one) >= 8), key=len, reverse=True))


def _secrets_in(name: str, value: str) -> Iterator[str]:
    if re.search(r"(SECRET|KEY|KEYS|SEED|PASSWORD|TOKEN|PASSPHRASE)$", name):
        for part in re.split(r"[,\s]+", value):
            # `keystore:<file>` and the like name a place; `id:base64` holds a key.
            yield from (part, part.rpartition(":")[2].removeprefix("0x"))
    elif "://" in value:
        try:
            password = urlsplit(value).password
        except ValueError:
            return
        if password:
            yield from (password, unquote(password))


_secrets: tuple[str, ...] = ()
