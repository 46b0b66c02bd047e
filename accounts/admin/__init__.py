"""Games, gamers and staff in the console."""

from accounts.admin import gamers, games, staff, staff_acts

__all__ = ["gamers", "games", "staff", "staff_acts"]
