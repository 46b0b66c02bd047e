import django.db.models.deletion
from django.contrib.postgres.constraints import ExclusionConstraint
from django.contrib.postgres.operations import BtreeGistExtension
from django.db import migrations, models
from django.db.models import F, Func, Q, Value


class Migration(migrations.Migration):
    dependencies = [
        ("wallet", "0004_days_and_post1"),
    ]

    operations = [
        BtreeGistExtension(),
        # A lane that is paused says why.
        migrations.AddField(
            model_name="operator",
            name="pause_reason",
            field=models.CharField(blank=True, max_length=500),
        ),
        migrations.AddField(
            model_name="operator",
            name="paused_at",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.RunSQL(
            "UPDATE wallet_operator SET pause_reason = 'paused earlier', paused_at = now()"
            " WHERE is_paused",
            migrations.RunSQL.noop,
        ),
        migrations.AddConstraint(
            model_name="operator",
            constraint=models.CheckConstraint(
                condition=Q(is_paused=False, pause_reason="", paused_at__isnull=True)
                | (Q(is_paused=True, paused_at__isnull=False) & ~Q(pause_reason="")),
                name="operator_paused_for_a_reason",
            ),
        ),
        # A payout covers a range of its wallet's transactions; so far each covered one.
        migrations.AddField(
            model_name="payout",
            name="not_before",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="payout",
            name="last_seq",
            field=models.PositiveBigIntegerField(null=True),
        ),
        migrations.RunSQL("UPDATE wallet_payout SET last_seq = seq", migrations.RunSQL.noop),
        migrations.AlterField(
            model_name="payout",
            name="last_seq",
            field=models.PositiveBigIntegerField(),
        ),
        migrations.RemoveConstraint(model_name="payout", name="payout_one_per_wallet_seq"),
        migrations.AddConstraint(
            model_name="payout",
            constraint=ExclusionConstraint(
                name="payout_ranges_never_overlap",
                expressions=[
                    ("wallet", "="),
                    (Func(F("seq"), F("last_seq"), Value("[]"), function="int8range"), "&&"),
                ],
                condition=~Q(state="VOIDED"),
            ),
        ),
        migrations.AddConstraint(
            model_name="payout",
            constraint=models.CheckConstraint(
                condition=Q(last_seq=F("seq")) | (Q(last_seq__gt=F("seq")) & ~Q(kind="WITHDRAW")),
                name="payout_range_runs_forward",
            ),
        ),
        # What was never submitted is void without a word from the chain.
        migrations.RemoveConstraint(model_name="payout", name="payout_submitted_with_onchain_id"),
        migrations.AddConstraint(
            model_name="payout",
            constraint=models.CheckConstraint(
                condition=Q(
                    settlement_address__isnull=False,
                    settlement_address__regex=r"^0x[0-9a-f]{40}$",
                    onchain_id__isnull=False,
                    onchain_id__regex=r"^0x[0-9a-f]{64}$",
                )
                | Q(
                    settlement_address__isnull=True,
                    onchain_id__isnull=True,
                    state__in=["AWAITING_APPROVAL", "PENDING", "VOIDED"],
                ),
                name="payout_submitted_with_onchain_id",
            ),
        ),
        # A wallet is in one open slot at a time.
        migrations.AddField(
            model_name="slotitem",
            name="wallet",
            field=models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="wallet.wallet",
            ),
        ),
        migrations.RunSQL(
            "UPDATE wallet_slotitem AS item SET wallet_id = payout.wallet_id"
            "  FROM wallet_payout AS payout WHERE payout.uid = item.payout_id;"
            # Or the table could not be altered with these checks outstanding.
            "SET CONSTRAINTS ALL IMMEDIATE",
            migrations.RunSQL.noop,
        ),
        migrations.AlterField(
            model_name="slotitem",
            name="wallet",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="+", to="wallet.wallet"
            ),
        ),
        migrations.AddConstraint(
            model_name="slotitem",
            constraint=ExclusionConstraint(
                name="slot_item_one_open_slot_per_wallet",
                expressions=[("wallet", "="), ("slot", "<>")],
                condition=Q(is_open=True),
            ),
        ),
    ]
