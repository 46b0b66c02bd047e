import datetime
import uuid
from pathlib import Path

import django.db.models.deletion
import django.db.models.expressions
import django.db.models.functions.comparison
from django.db import migrations, models

import kgen.common.identifiers
import kgen.common.money

SQL = Path(__file__).parent / "sql"


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("accounts", "0001_initial"),
    ]

    operations = [
        migrations.CreateModel(
            name="Tournament",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("uid", models.UUIDField(default=uuid.uuid4, editable=False, unique=True)),
                (
                    "phase",
                    models.CharField(
                        choices=[
                            ("SETUP", "Setup"),
                            ("PREPARATION", "Preparation"),
                            ("PUBLISHED", "Published"),
                            ("COMPLETED", "Completed"),
                            ("CANCELLED", "Cancelled"),
                        ],
                        default="SETUP",
                        editable=False,
                        max_length=11,
                    ),
                ),
                ("title", models.CharField(max_length=200)),
                ("description", models.TextField(blank=True, null=True)),
                ("theme", models.CharField(blank=True, max_length=200, null=True)),
                ("entry_fee", kgen.common.money.AmountField(decimal_places=0, max_digits=78)),
                ("rake_percent", models.PositiveSmallIntegerField()),
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
                ("schedules_at", models.DateTimeField()),
                ("lobby_at", models.DateTimeField()),
                ("starts_at", models.DateTimeField()),
                ("locks_at", models.DateTimeField()),
                ("ends_at", models.DateTimeField()),
                (
                    "grace",
                    models.DurationField(
                        default=datetime.timedelta(seconds=60),
                        help_text="How long scores stamped before the end are taken.",
                    ),
                ),
                ("created_at", models.DateTimeField()),
                ("updated_at", models.DateTimeField()),
                ("settled_at", models.DateTimeField(editable=False, null=True)),
                (
                    "settled_pool",
                    kgen.common.money.AmountField(
                        decimal_places=0, editable=False, max_digits=78, null=True
                    ),
                ),
                ("rewarded_count", models.PositiveIntegerField(editable=False, null=True)),
                ("finish_posting_id", models.UUIDField(editable=False, null=True, unique=True)),
                ("cancelled_at", models.DateTimeField(editable=False, null=True)),
                ("refunded_at", models.DateTimeField(editable=False, null=True)),
                (
                    "game",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="tournaments",
                        to="accounts.game",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Participation",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "fee_posting_id",
                    models.UUIDField(
                        default=kgen.common.identifiers.uuid7, editable=False, unique=True
                    ),
                ),
                ("refund_posting_id", models.UUIDField(editable=False, null=True, unique=True)),
                ("joined_at", models.DateTimeField()),
                ("left_at", models.DateTimeField(null=True)),
                ("score", models.BigIntegerField(null=True)),
                ("reached_at", models.DateTimeField(null=True)),
                ("applied_hash", models.BinaryField(max_length=32, null=True)),
                ("tiebreak", models.TextField(db_collation="C", editable=False)),
                ("final_rank", models.PositiveIntegerField(null=True)),
                (
                    "prize",
                    kgen.common.money.AmountField(decimal_places=0, max_digits=78, null=True),
                ),
                (
                    "gamer",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="participations",
                        to="accounts.gamer",
                    ),
                ),
                (
                    "tournament",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="participations",
                        to="tournaments.tournament",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="GameEvent",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "event_day",
                        "gamer_id",
                        "body_hash",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("event_day", models.DateField()),
                ("body_hash", models.BinaryField(max_length=32)),
                ("occurred_at", models.DateTimeField()),
                ("received_at", models.DateTimeField()),
                ("metadata", models.JSONField()),
                ("payload", models.JSONField()),
                (
                    "gamer",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="accounts.gamer",
                    ),
                ),
                (
                    "tournament",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="tournaments.tournament",
                    ),
                ),
            ],
        ),
        migrations.AddIndex(
            model_name="tournament",
            index=models.Index(fields=["game", "phase", "ends_at"], name="tournaments_of_game"),
        ),
        migrations.AddIndex(
            model_name="tournament",
            index=models.Index(
                condition=models.Q(("phase", "PUBLISHED")),
                fields=["ends_at"],
                name="tournaments_to_close",
            ),
        ),
        migrations.AddIndex(
            model_name="tournament",
            index=models.Index(
                condition=models.Q(("phase", "CANCELLED"), ("refunded_at", None)),
                fields=["cancelled_at"],
                name="tournaments_to_refund",
            ),
        ),
        migrations.AddConstraint(
            model_name="tournament",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("schedules_at__lte", models.F("lobby_at")),
                    ("lobby_at__lte", models.F("starts_at")),
                    ("starts_at__lte", models.F("locks_at")),
                    ("locks_at__lte", models.F("ends_at")),
                ),
                name="tournament_times_in_order",
            ),
        ),
        migrations.AddConstraint(
            model_name="tournament",
            constraint=models.CheckConstraint(
                condition=models.Q(("grace__gte", datetime.timedelta(0))),
                name="tournament_grace_not_negative",
            ),
        ),
        migrations.AddConstraint(
            model_name="tournament",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("entry_fee__gte", 0),
                    ("entry_fee__lte", 9007199254740991),
                    ("rake_percent__lte", 100),
                    models.Q(
                        ("tournament_size", None), ("tournament_size__gte", 1), _connector="OR"
                    ),
                ),
                name="tournament_amounts",
            ),
        ),
        migrations.AddConstraint(
            model_name="tournament",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("cancelled_at", None),
                        ("phase", "COMPLETED"),
                        ("refunded_at", None),
                        ("rewarded_count__isnull", False),
                        ("settled_at__isnull", False),
                        ("settled_pool__gte", 0),
                        ("settled_pool__isnull", False),
                    ),
                    models.Q(
                        ("cancelled_at__isnull", False),
                        ("finish_posting_id", None),
                        ("phase", "CANCELLED"),
                        ("rewarded_count", None),
                        ("settled_at", None),
                        ("settled_pool", None),
                    ),
                    models.Q(
                        ("cancelled_at", None),
                        ("finish_posting_id", None),
                        ("phase__in", ["SETUP", "PREPARATION", "PUBLISHED"]),
                        ("refunded_at", None),
                        ("rewarded_count", None),
                        ("settled_at", None),
                        ("settled_pool", None),
                    ),
                    _connector="OR",
                ),
                name="tournament_settled_figures",
            ),
        ),
        migrations.AddIndex(
            model_name="participation",
            index=models.Index(
                models.F("tournament"),
                django.db.models.functions.comparison.Coalesce(
                    django.db.models.expressions.CombinedExpression(
                        models.F("score"), "*", models.Value(-1)
                    ),
                    9007199254740992,
                ),
                django.db.models.functions.comparison.Coalesce("reached_at", "joined_at"),
                models.F("joined_at"),
                models.F("tiebreak"),
                condition=models.Q(("left_at", None)),
                name="participation_board",
            ),
        ),
        migrations.AddIndex(
            model_name="participation",
            index=models.Index(
                condition=models.Q(("refund_posting_id", None)),
                fields=["tournament"],
                name="participation_stakes",
            ),
        ),
        migrations.AddIndex(
            model_name="participation",
            index=models.Index(fields=["gamer", "-joined_at"], name="participation_of_gamer"),
        ),
        migrations.AddConstraint(
            model_name="participation",
            constraint=models.UniqueConstraint(
                condition=models.Q(("left_at", None)),
                fields=("tournament", "gamer"),
                name="participation_one_seat",
            ),
        ),
        migrations.AddConstraint(
            model_name="participation",
            constraint=models.UniqueConstraint(
                fields=("tournament", "final_rank"), name="participation_one_rank"
            ),
        ),
        migrations.AddConstraint(
            model_name="participation",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("applied_hash", None), ("reached_at", None), ("score", None)),
                    models.Q(
                        ("applied_hash__isnull", False),
                        ("reached_at__isnull", False),
                        ("score__gte", 0),
                        ("score__lte", 9007199254740991),
                    ),
                    _connector="OR",
                ),
                name="participation_score_whole",
            ),
        ),
        migrations.AddConstraint(
            model_name="participation",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("final_rank", None), ("prize", None)),
                    models.Q(
                        ("final_rank__gte", 1),
                        ("left_at", None),
                        ("prize__gte", 0),
                        ("refund_posting_id", None),
                    ),
                    _connector="OR",
                ),
                name="participation_result_whole",
            ),
        ),
        migrations.RunSQL((SQL / "tournament.sql").read_text()),
    ]
