from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("rewards", "0002_references_of_a_game"),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name="reward",
            name="reward_of_tournament_whole",
        ),
        migrations.RemoveConstraint(
            model_name="reward",
            name="reward_claim_whole",
        ),
        migrations.AddField(
            model_name="reward",
            name="expiry_posting_id",
            field=models.UUIDField(editable=False, null=True, unique=True),
        ),
        migrations.AlterField(
            model_name="reward",
            name="status",
            field=models.CharField(
                choices=[
                    ("UNCLAIMED", "Unclaimed"),
                    ("CLAIMED_SUCCESSFULLY", "Claimed Successfully"),
                    ("EXPIRED", "Expired"),
                ],
                default="UNCLAIMED",
                max_length=20,
            ),
        ),
        migrations.AddIndex(
            model_name="reward",
            index=models.Index(
                condition=models.Q(("expires_at__isnull", False), ("status", "UNCLAIMED")),
                fields=["expires_at"],
                name="rewards_to_expire",
            ),
        ),
        migrations.AddConstraint(
            model_name="reward",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("expires_at", None),
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
        ),
        migrations.AddConstraint(
            model_name="reward",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("claim_posting_id", None),
                        ("claimed_at", None),
                        ("expiry_posting_id", None),
                        ("status", "UNCLAIMED"),
                    ),
                    models.Q(
                        ("claim_posting_id__isnull", False),
                        ("claimed_at__isnull", False),
                        ("expiry_posting_id", None),
                        ("status", "CLAIMED_SUCCESSFULLY"),
                        models.Q(
                            ("expires_at", None),
                            ("expires_at__gt", models.F("claimed_at")),
                            _connector="OR",
                        ),
                    ),
                    models.Q(
                        ("claim_posting_id", None),
                        ("claimed_at", None),
                        ("expires_at__lte", models.F("updated_at")),
                        ("expiry_posting_id__isnull", False),
                        ("status", "EXPIRED"),
                    ),
                    _connector="OR",
                ),
                name="reward_ends_once",
            ),
        ),
    ]
