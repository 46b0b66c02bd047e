"""The pages of tournaments in the console, one file a subject; importing them registers them."""

from tournaments.admin import acts, events, formats, reports, reviewing, seats, series, tournaments

__all__ = ["acts", "events", "formats", "reports", "reviewing", "seats", "series", "tournaments"]
