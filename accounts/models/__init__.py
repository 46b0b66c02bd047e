"""Who is playing, and from which game."""

from accounts.models.gamers import Gamer, KgenAccount
from accounts.models.games import HIGHEST_RATE, Game, GameSecret
from accounts.models.phones import OtpRequest, OtpSwitch, PhoneVerification
from accounts.models.sessions import Session, SessionToken

__all__ = [
    "HIGHEST_RATE",
    "Game",
    "GameSecret",
    "Gamer",
    "KgenAccount",
    "OtpRequest",
    "OtpSwitch",
    "PhoneVerification",
    "Session",
    "SessionToken",
]
