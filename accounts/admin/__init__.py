"""Games, gamers and staff in the console."""

from accounts.admin import gamers, games, staff

__all__ = ["gamers", "games", "staff"]
