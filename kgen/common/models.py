from django.db import models


class KeptAnswer(models.Model):
    """The first good answer to a POST that carried an Idempotency-Key (API contract, section 0)."""

    # SHA-256 over client, gamer, path and key: who asked what under which name.
    scope = models.CharField(max_length=64, primary_key=True)
    request_hash = models.CharField(max_length=64)
    status = models.PositiveSmallIntegerField()
    body = models.BinaryField()
    created_at = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return self.scope
