import django.db.models.deletion
import django.db.models.expressions
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0002_limits_of_withdrawals"),
        ("rewards", "0003_expiry"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="BulkGrant",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "source",
                    models.CharField(
                        choices=[
                            ("TOURNAMENT", "Tournament"),
                            ("PROMOTION", "Promotion"),
                            ("ACHIEVEMENT", "Achievement"),
                        ],
                        max_length=20,
                    ),
                ),
                ("reason", models.CharField(max_length=500)),
                ("content", models.BinaryField()),
                ("digest", models.CharField(max_length=64)),
                ("rows", models.PositiveIntegerField()),
                ("uploaded_at", models.DateTimeField()),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("CHECKED", "waits to be confirmed"),
                            ("CONFIRMED", "being granted"),
                            ("DONE", "done"),
                        ],
                        default="CHECKED",
                        max_length=9,
                    ),
                ),
                ("skips_refused", models.BooleanField(default=False)),
                ("confirmed_at", models.DateTimeField(null=True)),
                ("position", models.PositiveIntegerField(default=0)),
                ("granted", models.PositiveIntegerField(default=0)),
                ("already_granted", models.PositiveIntegerField(default=0)),
                ("refused", models.PositiveIntegerField(default=0)),
                ("done_at", models.DateTimeField(null=True)),
                (
                    "confirmed_by",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "game",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="accounts.game",
                    ),
                ),
                (
                    "uploaded_by",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(
                        condition=models.Q(("state", "CONFIRMED")),
                        fields=["id"],
                        name="bulk_grants_under_way",
                    )
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("source", "TOURNAMENT"), _negated=True),
                        name="bulk_grant_not_of_tournament",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            (
                                "position",
                                django.db.models.expressions.CombinedExpression(
                                    django.db.models.expressions.CombinedExpression(
                                        models.F("granted"), "+", models.F("already_granted")
                                    ),
                                    "+",
                                    models.F("refused"),
                                ),
                            ),
                            ("position__lte", models.F("rows")),
                        ),
                        name="bulk_grant_counts_every_row",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(
                                ("confirmed_at", None),
                                ("confirmed_by", None),
                                ("done_at", None),
                                ("position", 0),
                                ("state", "CHECKED"),
                            ),
                            models.Q(
                                ("confirmed_at__isnull", False),
                                ("confirmed_by__isnull", False),
                                ("done_at", None),
                                ("state", "CONFIRMED"),
                            ),
                            models.Q(
                                ("confirmed_at__isnull", False),
                                ("confirmed_by__isnull", False),
                                ("done_at__isnull", False),
                                ("position", models.F("rows")),
                                ("state", "DONE"),
                            ),
                            _connector="OR",
                        ),
                        name="bulk_grant_state_whole",
                    ),
                ],
            },
        ),
        migrations.RunSQL(
            "ALTER TABLE rewards_bulkgrant ADD CONSTRAINT bulk_grant_digest_is_of_its_content"
            " CHECK (digest = encode(sha256(content), 'hex'))",
            migrations.RunSQL.noop,
        ),
    ]
