import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("wallet", "0001_initial"),
    ]

    operations = [
        migrations.CreateModel(
            name="Deposit",
            fields=[
                (
                    "transaction",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT,
                        primary_key=True,
                        related_name="deposit",
                        serialize=False,
                        to="wallet.wallettransaction",
                    ),
                ),
                ("chain_id", models.PositiveBigIntegerField(null=True)),
                ("tx_hash", models.CharField(max_length=66, null=True)),
                ("log_index", models.PositiveIntegerField(null=True)),
                ("block_number", models.PositiveBigIntegerField(null=True)),
                ("purchase_reference", models.CharField(max_length=128, null=True, unique=True)),
                ("created_at", models.DateTimeField()),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        fields=("chain_id", "tx_hash", "log_index"), name="deposit_once_per_event"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(
                                ("block_number__isnull", False),
                                ("chain_id__isnull", False),
                                ("log_index__isnull", False),
                                ("purchase_reference__isnull", True),
                                ("tx_hash__isnull", False),
                                ("tx_hash__regex", "^0x[0-9a-f]{64}$"),
                            ),
                            models.Q(
                                ("block_number__isnull", True),
                                ("chain_id__isnull", True),
                                ("log_index__isnull", True),
                                ("purchase_reference__isnull", False),
                                ("tx_hash__isnull", True),
                            ),
                            _connector="OR",
                        ),
                        name="deposit_on_chain_or_bought",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("purchase_reference", ""), _negated=True),
                        name="deposit_purchase_reference_not_empty",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="PayoutSwitch",
            fields=[
                (
                    "id",
                    models.SmallIntegerField(
                        default=1, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("is_paused", models.BooleanField(default=False)),
                ("changed_by", models.CharField(blank=True, max_length=150)),
                ("reason", models.CharField(blank=True, max_length=500)),
                ("changed_at", models.DateTimeField(null=True)),
            ],
            options={
                "verbose_name": "payout switch",
                "verbose_name_plural": "payout switch",
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("id", 1)), name="payout_switch_is_one"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("is_paused", False),
                            models.Q(
                                ("changed_at__isnull", False),
                                models.Q(("changed_by", ""), _negated=True),
                                models.Q(("reason", ""), _negated=True),
                            ),
                            _connector="OR",
                        ),
                        name="payout_switch_paused_by_somebody_for_a_reason",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="ReconciliationRun",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "scope",
                    models.CharField(
                        choices=[
                            ("CHANGED", "what changed since the last clean run"),
                            ("FULL", "everything"),
                        ],
                        max_length=7,
                    ),
                ),
                ("started_at", models.DateTimeField()),
                ("finished_at", models.DateTimeField(null=True)),
                ("horizon", models.BigIntegerField()),
                ("rewritten_rows", models.BigIntegerField()),
                ("suspects", models.JSONField(default=list)),
                ("findings", models.JSONField(default=list)),
                ("problem", models.TextField(blank=True)),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("scope__in", ["CHANGED", "FULL"])),
                        name="reconciliation_run_scope_known",
                    )
                ],
            },
        ),
        migrations.RunSQL(
            "INSERT INTO wallet_payoutswitch (id, is_paused, changed_by, reason)"
            " VALUES (1, false, '', '')",
            migrations.RunSQL.noop,
        ),
    ]
