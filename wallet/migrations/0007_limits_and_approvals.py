from pathlib import Path

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

import kgen.common.money

SQL = Path(__file__).parent / "sql"


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0002_limits_of_withdrawals"),
        ("wallet", "0006_chain_events_and_solvency"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="ApprovalRequest",
            fields=[
                (
                    "payout",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT,
                        primary_key=True,
                        related_name="approval_request",
                        serialize=False,
                        to="wallet.payout",
                    ),
                ),
                ("approvals_needed", models.PositiveSmallIntegerField()),
                ("reasons", models.TextField()),
                ("created_at", models.DateTimeField()),
            ],
            options={
                "verbose_name": "withdrawal for approval",
                "verbose_name_plural": "withdrawals for approval",
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("approvals_needed__in", [1, 2])),
                        name="approval_request_needs_one_or_two",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("reasons", ""), _negated=True),
                        name="approval_request_says_why",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Approval",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("reason", models.CharField(max_length=500)),
                ("created_at", models.DateTimeField()),
                (
                    "payout",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="approvals",
                        to="wallet.payout",
                    ),
                ),
                (
                    "staff",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="approvals",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        fields=("payout", "staff"), name="approval_once_by_each_of_the_staff"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("reason", ""), _negated=True), name="approval_says_why"
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="UnattendedDay",
            fields=[
                ("day", models.DateField(primary_key=True, serialize=False)),
                ("amount", kgen.common.money.AmountField()),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("amount__gt", 0)), name="unattended_day_positive"
                    )
                ],
            },
        ),
        migrations.AddIndex(
            model_name="payout",
            index=models.Index(
                condition=models.Q(("kind", "WITHDRAW")),
                fields=["wallet", "created_at"],
                name="payout_withdrawn_by_wallet",
            ),
        ),
        migrations.AddIndex(
            model_name="payout",
            index=models.Index(
                condition=models.Q(("kind", "WITHDRAW")),
                fields=["to_address", "created_at"],
                name="payout_withdrawn_to_address",
            ),
        ),
        migrations.RunSQL(
            (SQL / "approvals.sql").read_text(),
            "DROP TRIGGER payout_terms_are_written_once ON wallet_payout;"
            " DROP TRIGGER payout_is_asked_for ON wallet_payout;"
            " DROP TRIGGER payout_waits_for_approval ON wallet_payout;"
            " DROP FUNCTION payout_refuse_other_terms(), payout_refuse_unasked(),"
            " payout_refuse_unapproved();",
        ),
    ]
