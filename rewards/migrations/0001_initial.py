import django.db.models.deletion
from django.db import migrations, models

import kgen.common.identifiers
import kgen.common.money


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("accounts", "0001_initial"),
    ]

    operations = [
        migrations.CreateModel(
            name="Reward",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "uid",
                    models.UUIDField(
                        default=kgen.common.identifiers.uuid7, editable=False, unique=True
                    ),
                ),
                ("amount", kgen.common.money.AmountField(decimal_places=0, max_digits=78)),
                (
                    "source",
                    models.CharField(
                        choices=[("TOURNAMENT", "Tournament"), ("PROMOTION", "Promotion")],
                        max_length=20,
                    ),
                ),
                ("reference", models.CharField(max_length=128)),
                ("tournament_uid", models.UUIDField(null=True)),
                ("tournament_title", models.CharField(max_length=200, null=True)),
                ("rank", models.PositiveIntegerField(null=True)),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("UNCLAIMED", "Unclaimed"),
                            ("CLAIMED_SUCCESSFULLY", "Claimed Successfully"),
                        ],
                        default="UNCLAIMED",
                        max_length=20,
                    ),
                ),
                ("grant_posting_id", models.UUIDField(editable=False, null=True, unique=True)),
                ("claim_posting_id", models.UUIDField(editable=False, null=True, unique=True)),
                ("claimed_at", models.DateTimeField(null=True)),
                ("expires_at", models.DateTimeField(null=True)),
                ("created_at", models.DateTimeField()),
                ("updated_at", models.DateTimeField()),
                (
                    "gamer",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="rewards",
                        to="accounts.gamer",
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(
                        condition=models.Q(("status", "UNCLAIMED")),
                        fields=["gamer"],
                        name="rewards_to_claim",
                    )
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("source", "reference"), name="reward_granted_once"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("amount__gt", 0)), name="reward_amount_positive"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(
                                ("grant_posting_id", None),
                                ("rank__gte", 1),
                                ("source", "TOURNAMENT"),
                                ("tournament_title__isnull", False),
                                ("tournament_uid__isnull", False),
                            ),
                            models.Q(
                                models.Q(("source", "TOURNAMENT"), _negated=True),
                                ("grant_posting_id__isnull", False),
                                ("rank", None),
                                ("tournament_title", None),
                                ("tournament_uid", None),
                            ),
                            _connector="OR",
                        ),
                        name="reward_of_tournament_whole",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(
                                ("claim_posting_id", None),
                                ("claimed_at", None),
                                ("status", "UNCLAIMED"),
                            ),
                            models.Q(
                                ("claim_posting_id__isnull", False),
                                ("claimed_at__isnull", False),
                                ("status", "CLAIMED_SUCCESSFULLY"),
                            ),
                            _connector="OR",
                        ),
                        name="reward_claim_whole",
                    ),
                ],
            },
        ),
    ]
