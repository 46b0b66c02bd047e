"""What gamers may claim and have claimed, in the console."""

from rewards.admin import bulk_grants, rewards

__all__ = ["bulk_grants", "rewards"]
