from pathlib import Path

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

import kgen.common.money

SQL = Path(__file__).parent / "sql" / "corrections_and_freezes.sql"

# What was frozen so far stays frozen until it is lifted. The foreign keys are checked at once, since
# the tables are altered next.
KEEP_FREEZES = """
INSERT INTO wallet_walletfreeze (wallet_id, reason, frozen_by, frozen_at, lifted_by, lift_reason)
SELECT id, 'frozen before reasons were kept', 'unknown', now(), '', ''
  FROM wallet_wallet
 WHERE is_frozen;
UPDATE wallet_wallet SET freeze_id = kept.id
  FROM wallet_walletfreeze AS kept
 WHERE kept.wallet_id = wallet_wallet.id;
SET CONSTRAINTS ALL IMMEDIATE;
SET CONSTRAINTS ALL DEFERRED;
"""


class Migration(migrations.Migration):
    dependencies = [
        ("wallet", "0002_deposits_and_reconciliation"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="WalletFreeze",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("reason", models.CharField(max_length=500)),
                ("frozen_by", models.CharField(max_length=150)),
                ("frozen_at", models.DateTimeField()),
                ("expires_at", models.DateTimeField(null=True)),
                ("lifted_by", models.CharField(blank=True, max_length=150)),
                ("lifted_at", models.DateTimeField(null=True)),
                ("lift_reason", models.CharField(blank=True, max_length=500)),
                (
                    "wallet",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="freezes",
                        to="wallet.wallet",
                    ),
                ),
            ],
        ),
        migrations.AddField(
            model_name="wallet",
            name="freeze",
            field=models.ForeignKey(
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="wallet.walletfreeze",
            ),
        ),
        migrations.RunSQL(KEEP_FREEZES),
        migrations.RemoveField(
            model_name="wallet",
            name="is_frozen",
        ),
        migrations.CreateModel(
            name="Correction",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "bucket",
                    models.CharField(
                        choices=[("bonus", "bonus"), ("bought", "bought"), ("earned", "earned")],
                        max_length=6,
                    ),
                ),
                (
                    "direction",
                    models.CharField(choices=[("CREDIT", "give"), ("DEBIT", "take")], max_length=6),
                ),
                ("amount", kgen.common.money.AmountField(decimal_places=0, max_digits=78)),
                ("reason", models.CharField(max_length=500)),
                ("asked_at", models.DateTimeField()),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("ASKED", "waits for a second person"),
                            ("APPROVED", "approved"),
                            ("REJECTED", "rejected"),
                        ],
                        default="ASKED",
                        max_length=8,
                    ),
                ),
                ("decided_at", models.DateTimeField(null=True)),
                ("decision_reason", models.CharField(blank=True, max_length=500)),
                (
                    "asked_by",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="corrections_asked",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "decided_by",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="corrections_decided",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "transaction",
                    models.OneToOneField(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="correction",
                        to="wallet.wallettransaction",
                    ),
                ),
                (
                    "wallet",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="corrections",
                        to="wallet.wallet",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("bucket__in", ("bonus", "bought", "earned"))),
                        name="correction_bucket_is_spendable",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("direction__in", ("CREDIT", "DEBIT"))),
                        name="correction_direction_is_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("amount__gt", 0), ("amount__lt", 10**78)),
                        name="correction_amount_is_positive",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("reason__regex", "\\S")), name="correction_has_a_reason"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("decided_by__isnull", True),
                            models.Q(("decided_by", models.F("asked_by")), _negated=True),
                            _connector="OR",
                        ),
                        name="correction_is_decided_by_another",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(
                                ("decided_at__isnull", True),
                                ("decided_by__isnull", True),
                                ("decision_reason", ""),
                                ("state", "ASKED"),
                                ("transaction__isnull", True),
                            ),
                            models.Q(
                                ("decided_at__isnull", False),
                                ("decided_by__isnull", False),
                                ("decision_reason__regex", "\\S"),
                                ("state", "APPROVED"),
                                ("transaction__isnull", False),
                            ),
                            models.Q(
                                ("decided_at__isnull", False),
                                ("decided_by__isnull", False),
                                ("decision_reason__regex", "\\S"),
                                ("state", "REJECTED"),
                                ("transaction__isnull", True),
                            ),
                            _connector="OR",
                        ),
                        name="correction_state_agrees",
                    ),
                ],
            },
        ),
        migrations.AddConstraint(
            model_name="walletfreeze",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("reason__regex", "\\S"), models.Q(("frozen_by", ""), _negated=True)
                ),
                name="wallet_freeze_by_somebody_for_a_reason",
            ),
        ),
        migrations.AddConstraint(
            model_name="walletfreeze",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("expires_at__isnull", True),
                    ("expires_at__gt", models.F("frozen_at")),
                    _connector="OR",
                ),
                name="wallet_freeze_expires_later",
            ),
        ),
        migrations.AddConstraint(
            model_name="walletfreeze",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("lift_reason", ""), ("lifted_at__isnull", True), ("lifted_by", "")),
                    models.Q(
                        ("lift_reason__regex", "\\S"),
                        ("lifted_at__isnull", False),
                        models.Q(("lifted_by", ""), _negated=True),
                        ("lifted_at__gte", models.F("frozen_at")),
                        models.Q(
                            ("expires_at__isnull", True),
                            ("lifted_at__lt", models.F("expires_at")),
                            _connector="OR",
                        ),
                    ),
                    _connector="OR",
                ),
                name="wallet_freeze_lifted_by_somebody_for_a_reason",
            ),
        ),
        migrations.RunSQL(SQL.read_text()),
    ]
