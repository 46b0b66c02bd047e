"""The events that games send."""

from django.db import models


class GameEvent(models.Model):
    """One event as a game sent it.

    The key starts with the day of the event's own timestamp, so that the table can be cut into
    ranges of days: an equal event always falls into the same one.
    """

    pk = models.CompositePrimaryKey("event_day", "gamer_id", "body_hash")
    event_day = models.DateField()
    gamer = models.ForeignKey(
        "accounts.Gamer", on_delete=models.PROTECT, related_name="+", db_index=False
    )
    body_hash = models.BinaryField(max_length=32)
    occurred_at = models.DateTimeField()
    received_at = models.DateTimeField()
    # Looked up by the statement that inserts the row. A constraint would lock the tournament's row
    # for every event, and all events of a tournament meet there.
    tournament = models.ForeignKey(
        "tournaments.Tournament",
        null=True,
        on_delete=models.PROTECT,
        related_name="+",
        db_constraint=False,
        db_index=False,
    )
    metadata = models.JSONField()
    payload = models.JSONField()

    class Meta:
        # Staff look for the newest: of all, of a gamer, of a tournament.
        indexes = [
            models.Index(fields=["-received_at"], name="events_newest"),
            models.Index(fields=["gamer", "-received_at"], name="events_of_gamer"),
            models.Index(
                fields=["tournament", "-received_at"],
                name="events_of_tournament",
                condition=models.Q(tournament__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return f"event of gamer {self.gamer_id} at {self.occurred_at}"
