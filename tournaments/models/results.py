"""What is kept of a tournament's end."""

from django.db import models

from tournaments.models.tournaments import Tournament


class ResultRecord(models.Model):
    """All that the prizes of a settled tournament follow from (`tournaments.results`)."""

    tournament = models.OneToOneField(
        Tournament, on_delete=models.PROTECT, related_name="result_record"
    )
    canonical = models.TextField()
    sha256 = models.CharField(max_length=64)
    created_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"result {self.sha256[:12]} of {self.tournament}"
