"""Games, gamers and staff in the console."""

from accounts.admin import gamers, games, otp, staff, staff_acts

__all__ = ["gamers", "games", "otp", "staff", "staff_acts"]
