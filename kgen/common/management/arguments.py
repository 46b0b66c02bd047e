"""Types for the arguments of management commands: what they refuse, they refuse in a sentence."""

from argparse import ArgumentTypeError
from collections.abc import Callable

from kgen.common.money import LARGEST_AMOUNT_IN_JSON


def whole(*, at_least: int, at_most: int = LARGEST_AMOUNT_IN_JSON) -> Callable[[str], int]:
    """A whole number within bounds."""

    def parse(text: str) -> int:
        if not text.isascii() or not text.isdigit():
            raise ArgumentTypeError(f"{text!r} is no whole number")
        number = int(text) if len(text) <= len(str(at_most)) else at_most + 1
        if not at_least <= number <= at_most:
            raise ArgumentTypeError(f"{text} is out of range, {at_least} to {at_most}")
        return number

    return parse


def text(*, at_most: int) -> Callable[[str], str]:
    """Printable text that says something, of a length that can be kept."""

    def parse(given: str) -> str:
        if not given.strip() or not given.isprintable() or len(given) > at_most:
            raise ArgumentTypeError(f"give 1 to {at_most} printable characters")
        return given

    return parse
