import datetime

import django.core.validators
import django.db.models.deletion
from django.db import migrations, models

import kgen.common.money


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0003_rake_of_games"),
        ("tournaments", "0005_events_looked_up"),
    ]

    operations = [
        migrations.AddField(
            model_name="tournament",
            name="made_for",
            field=models.DateTimeField(editable=False, null=True),
        ),
        migrations.AddField(
            model_name="tournament",
            name="publishes_itself",
            field=models.BooleanField(db_default=False, default=False, editable=False),
        ),
        migrations.CreateModel(
            name="Series",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("title", models.CharField(max_length=200)),
                ("description", models.TextField(blank=True, null=True)),
                ("theme", models.CharField(blank=True, max_length=200, null=True)),
                ("entry_fee", kgen.common.money.AmountField(decimal_places=0, max_digits=78)),
                (
                    "tournament_size",
                    models.PositiveIntegerField(
                        blank=True, help_text="Seats in all; empty means no limit.", null=True
                    ),
                ),
                (
                    "min_registration_start_limit",
                    models.PositiveIntegerField(
                        default=2,
                        help_text="With fewer entrants when it locks, it is cancelled and refunded.",
                    ),
                ),
                (
                    "score_rule",
                    models.CharField(
                        choices=[("LATEST", "Latest"), ("BEST", "Best"), ("SUM", "Sum")],
                        db_default="LATEST",
                        default="LATEST",
                        max_length=6,
                    ),
                ),
                (
                    "sort",
                    models.CharField(
                        choices=[("HIGH", "High"), ("LOW", "Low")],
                        db_default="HIGH",
                        default="HIGH",
                        max_length=4,
                    ),
                ),
                ("event_ceiling", models.PositiveBigIntegerField(blank=True, null=True)),
                ("minute_ceiling", models.PositiveBigIntegerField(blank=True, null=True)),
                (
                    "prize_structure",
                    models.CharField(
                        choices=[("BANDS", "Bands"), ("FIXED", "Fixed"), ("SHARES", "Shares")],
                        db_default="BANDS",
                        default="BANDS",
                        max_length=6,
                    ),
                ),
                ("prize_table", models.JSONField(blank=True, db_default=[], default=list)),
                (
                    "sponsor_contribution",
                    kgen.common.money.AmountField(
                        db_default=0, decimal_places=0, default=0, max_digits=78
                    ),
                ),
                (
                    "grace",
                    models.DurationField(
                        default=datetime.timedelta(seconds=60),
                        help_text="How long scores stamped before the end are taken.",
                    ),
                ),
                ("rule", models.CharField(max_length=500)),
                ("time_zone", models.CharField(max_length=64)),
                ("first_date", models.DateField()),
                ("start_time", models.TimeField()),
                (
                    "length_minutes",
                    models.PositiveIntegerField(
                        default=1440,
                        validators=[
                            django.core.validators.MinValueValidator(1),
                            django.core.validators.MaxValueValidator(527040),
                        ],
                    ),
                ),
                (
                    "shown_minutes",
                    models.PositiveIntegerField(
                        default=3, validators=[django.core.validators.MaxValueValidator(527040)]
                    ),
                ),
                (
                    "lobby_minutes",
                    models.PositiveIntegerField(
                        default=1, validators=[django.core.validators.MaxValueValidator(527040)]
                    ),
                ),
                (
                    "lock_minutes",
                    models.PositiveIntegerField(
                        default=2, validators=[django.core.validators.MaxValueValidator(527040)]
                    ),
                ),
                (
                    "horizon_days",
                    models.PositiveSmallIntegerField(
                        default=7,
                        validators=[
                            django.core.validators.MinValueValidator(1),
                            django.core.validators.MaxValueValidator(60),
                        ],
                    ),
                ),
                ("publishes", models.BooleanField(default=True)),
                ("is_active", models.BooleanField(default=True, editable=False)),
                ("made_through", models.DateTimeField(editable=False, null=True)),
                ("next_at", models.DateTimeField(editable=False, null=True)),
                ("made_count", models.PositiveIntegerField(default=0, editable=False)),
                ("problem", models.TextField(default="", editable=False)),
                ("created_at", models.DateTimeField(editable=False)),
                ("updated_at", models.DateTimeField(editable=False)),
                (
                    "game",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="series",
                        to="accounts.game",
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "series",
            },
        ),
        migrations.AddField(
            model_name="tournament",
            name="series",
            field=models.ForeignKey(
                db_index=False,
                editable=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="tournaments",
                to="tournaments.series",
            ),
        ),
        migrations.AddConstraint(
            model_name="tournament",
            constraint=models.UniqueConstraint(
                fields=("series", "made_for"), name="tournament_once_a_date_of_its_series"
            ),
        ),
        migrations.AddConstraint(
            model_name="tournament",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("made_for", None), ("publishes_itself", False), ("series", None)),
                    models.Q(("made_for__isnull", False), ("series__isnull", False)),
                    _connector="OR",
                ),
                name="tournament_made_for_a_date",
            ),
        ),
        migrations.AddConstraint(
            model_name="series",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("entry_fee__gte", 0),
                    ("entry_fee__lte", 9007199254740991),
                    ("sponsor_contribution__gte", 0),
                    ("sponsor_contribution__lte", 9007199254740991),
                    models.Q(
                        ("tournament_size", None), ("tournament_size__gte", 1), _connector="OR"
                    ),
                ),
                name="series_amounts",
            ),
        ),
        migrations.AddConstraint(
            model_name="series",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("length_minutes__gte", 1),
                    ("length_minutes__lte", 527040),
                    ("lock_minutes__lte", models.F("length_minutes")),
                    ("lobby_minutes__lte", models.F("shown_minutes")),
                    ("shown_minutes__lte", 527040),
                    ("horizon_days__gte", 1),
                    ("horizon_days__lte", 60),
                    ("grace__gte", datetime.timedelta(0)),
                ),
                name="series_times",
            ),
        ),
    ]
