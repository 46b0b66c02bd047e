from pathlib import Path

import django.db.models.deletion
from django.db import migrations, models

SQL = Path(__file__).parent / "sql"


class Migration(migrations.Migration):
    dependencies = [
        ("tournaments", "0003_moves"),
    ]

    operations = [
        migrations.CreateModel(
            name="Setback",
            fields=[
                (
                    "tournament",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="setback",
                        serialize=False,
                        to="tournaments.tournament",
                    ),
                ),
                ("problem", models.TextField()),
                ("tries", models.PositiveIntegerField()),
                ("since", models.DateTimeField()),
                ("last_at", models.DateTimeField()),
                ("next_try_at", models.DateTimeField()),
            ],
        ),
        migrations.AddField(
            model_name="tournament",
            name="planned_ends_at",
            field=models.DateTimeField(editable=False, null=True),
        ),
        migrations.AddField(
            model_name="tournament",
            name="planned_locks_at",
            field=models.DateTimeField(editable=False, null=True),
        ),
        # The way back leaves the stricter guard, which asks for none of these columns.
        migrations.RunSQL((SQL / "lifecycle.sql").read_text(), migrations.RunSQL.noop),
    ]
