from pathlib import Path

import django.db.models.deletion
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
        migrations.RunSQL((SQL / "ledger.sql").read_text()),
        migrations.CreateModel(
            name="LedgerAccount",
            fields=[
                ("id", models.BigIntegerField(primary_key=True, serialize=False)),
                ("asset_id", models.SmallIntegerField()),
                (
                    "owner_kind",
                    models.TextField(
                        choices=[
                            ("SYSTEM", "System"),
                            ("WALLET", "Wallet"),
                            ("TOURNAMENT", "Tournament"),
                            ("GAME", "Game"),
                        ]
                    ),
                ),
                ("owner_id", models.BigIntegerField(null=True)),
                ("owner_uid", models.UUIDField(null=True)),
                (
                    "bucket",
                    models.TextField(
                        choices=[
                            ("bonus", "Bonus"),
                            ("bought", "Bought"),
                            ("earned", "Earned"),
                            ("claimable", "Claimable"),
                            ("hold", "Hold"),
                            ("onchain", "Onchain"),
                            ("pool", "Pool"),
                            ("developer_rake", "Developer Rake"),
                            ("mint", "Mint"),
                            ("treasury", "Treasury"),
                            ("platform_rake", "Platform Rake"),
                            ("kgen_out", "Kgen Out"),
                            ("chain_supply", "Chain Supply"),
                        ]
                    ),
                ),
                (
                    "mode",
                    models.TextField(choices=[("S", "Strict"), ("Q", "Queued"), ("N", "None")]),
                ),
                ("balance", kgen.common.money.AmountField(decimal_places=0, max_digits=78)),
                ("seq", models.BigIntegerField()),
            ],
            options={
                "db_table": '"ledger"."account"',
                "managed": False,
            },
        ),
        migrations.CreateModel(
            name="Transfer",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "posting_id",
                        "phase",
                        "leg",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("posting_id", models.UUIDField()),
                (
                    "phase",
                    models.SmallIntegerField(choices=[(0, "Post"), (1, "Resolve"), (2, "Confirm")]),
                ),
                ("leg", models.IntegerField()),
                (
                    "kind",
                    models.TextField(
                        choices=[
                            ("WELCOME_BONUS", "Welcome Bonus"),
                            ("ENTRY_FEE", "Entry Fee"),
                            ("REFUND", "Refund"),
                            ("SPONSOR", "Sponsor"),
                            ("PRIZE", "Prize"),
                            ("RAKE_PLATFORM", "Rake Platform"),
                            ("RAKE_DEVELOPER", "Rake Developer"),
                            ("REMAINDER", "Remainder"),
                            ("GRANT", "Grant"),
                            ("CLAIM", "Claim"),
                            ("HOLD", "Hold"),
                            ("SETTLE", "Settle"),
                            ("RELEASE", "Release"),
                            ("CONFIRM", "Confirm"),
                        ]
                    ),
                ),
                ("amount", kgen.common.money.AmountField(decimal_places=0, max_digits=78)),
                ("debit_seq", models.BigIntegerField(null=True)),
                ("credit_seq", models.BigIntegerField(null=True)),
                (
                    "debit_after",
                    kgen.common.money.AmountField(decimal_places=0, max_digits=78, null=True),
                ),
                (
                    "credit_after",
                    kgen.common.money.AmountField(decimal_places=0, max_digits=78, null=True),
                ),
                ("created_at", models.DateTimeField()),
            ],
            options={
                "db_table": '"ledger"."transfer"',
                "managed": False,
            },
        ),
        migrations.CreateModel(
            name="Payout",
            fields=[
                (
                    "uid",
                    models.UUIDField(
                        default=kgen.common.identifiers.uuid7,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("IN", "float wallet to custodial wallet"),
                            ("OUT", "custodial wallet to float wallet"),
                            ("WITHDRAW", "custodial wallet to KGeN wallet"),
                        ],
                        max_length=8,
                    ),
                ),
                ("seq", models.PositiveBigIntegerField()),
                ("from_address", models.CharField(max_length=42)),
                ("to_address", models.CharField(max_length=42)),
                ("amount", kgen.common.money.AmountField(decimal_places=0, max_digits=78)),
                ("settlement_address", models.CharField(blank=True, max_length=42, null=True)),
                (
                    "onchain_id",
                    models.CharField(blank=True, max_length=66, null=True, unique=True),
                ),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("AWAITING_APPROVAL", "Awaiting Approval"),
                            ("PENDING", "Pending"),
                            ("SUBMITTED", "Submitted"),
                            ("CONFIRMING", "Confirming"),
                            ("COMPLETED", "Completed"),
                            ("REVIEW", "Review"),
                            ("FAILED", "Failed"),
                            ("VOIDING", "Voiding"),
                            ("VOIDED", "Voided"),
                        ],
                        default="PENDING",
                        max_length=17,
                    ),
                ),
                ("tries", models.PositiveSmallIntegerField(default=0)),
                ("error", models.CharField(blank=True, max_length=200)),
                ("tx_hash", models.CharField(blank=True, max_length=66, null=True)),
                ("block_number", models.PositiveBigIntegerField(blank=True, null=True)),
                (
                    "gas_fee",
                    kgen.common.money.AmountField(
                        blank=True, decimal_places=0, max_digits=78, null=True
                    ),
                ),
                ("created_at", models.DateTimeField()),
                ("modified_at", models.DateTimeField()),
            ],
        ),
        migrations.CreateModel(
            name="Operator",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("address", models.CharField(max_length=42)),
                ("chain_id", models.PositiveBigIntegerField()),
                ("next_nonce", models.PositiveBigIntegerField()),
                ("is_paused", models.BooleanField(default=False)),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        fields=("address", "chain_id"), name="operator_once_per_chain"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("address__regex", "^0x[0-9a-f]{40}$")),
                        name="operator_address_well_formed",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Slot",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("nonce", models.PositiveBigIntegerField()),
                (
                    "action",
                    models.CharField(
                        choices=[("SETTLE", "Settle"), ("VOID", "Void"), ("PERMIT", "Permit")],
                        max_length=6,
                    ),
                ),
                ("settlement_address", models.CharField(max_length=42)),
                ("calldata", models.BinaryField()),
                ("gas", models.PositiveBigIntegerField()),
                (
                    "state",
                    models.CharField(
                        choices=[("OPEN", "Open"), ("FINAL", "Final"), ("DEAD", "Dead")],
                        default="OPEN",
                        max_length=5,
                    ),
                ),
                ("mined_block", models.PositiveBigIntegerField(blank=True, null=True)),
                ("created_at", models.DateTimeField()),
                ("closed_at", models.DateTimeField(blank=True, null=True)),
                (
                    "operator",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="slots",
                        to="wallet.operator",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Attempt",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("seq", models.PositiveSmallIntegerField()),
                ("tx_hash", models.CharField(max_length=66, unique=True)),
                ("raw", models.BinaryField()),
                ("max_fee", kgen.common.money.AmountField(decimal_places=0, max_digits=78)),
                ("priority_fee", kgen.common.money.AmountField(decimal_places=0, max_digits=78)),
                ("created_at", models.DateTimeField()),
                ("first_sent_at", models.DateTimeField(blank=True, null=True)),
                ("last_sent_at", models.DateTimeField(blank=True, null=True)),
                (
                    "slot",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="attempts",
                        to="wallet.slot",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="SlotItem",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("position", models.PositiveSmallIntegerField()),
                ("is_open", models.BooleanField(default=True)),
                (
                    "payout",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="slot_items",
                        to="wallet.payout",
                    ),
                ),
                (
                    "slot",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="items",
                        to="wallet.slot",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Wallet",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("hd_index", models.BigIntegerField(unique=True)),
                ("address", models.CharField(max_length=42, unique=True)),
                ("last_seq", models.BigIntegerField(default=0)),
                ("is_frozen", models.BooleanField(default=False)),
                (
                    "bonus_posting_id",
                    models.UUIDField(default=kgen.common.identifiers.uuid7, unique=True),
                ),
                ("created_at", models.DateTimeField()),
                ("modified_at", models.DateTimeField()),
                (
                    "gamer",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="wallet",
                        to="accounts.gamer",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Permit",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("settlement_address", models.CharField(max_length=42)),
                (
                    "state",
                    models.CharField(
                        choices=[("OPEN", "Open"), ("GRANTED", "Granted"), ("FAILED", "Failed")],
                        default="OPEN",
                        max_length=7,
                    ),
                ),
                (
                    "slot",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="permits",
                        to="wallet.slot",
                    ),
                ),
                (
                    "wallet",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="permits",
                        to="wallet.wallet",
                    ),
                ),
            ],
        ),
        migrations.AddField(
            model_name="payout",
            name="wallet",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="payouts",
                to="wallet.wallet",
            ),
        ),
        migrations.CreateModel(
            name="WalletTransaction",
            fields=[
                ("uid", models.UUIDField(primary_key=True, serialize=False)),
                ("seq", models.BigIntegerField()),
                (
                    "type",
                    models.CharField(
                        choices=[
                            ("JOIN", "Join"),
                            ("WELCOME_BONUS", "Welcome Bonus"),
                            ("REFUND", "Refund"),
                            ("REWARD_CLAIM", "Reward Claim"),
                            ("WITHDRAW", "Withdraw"),
                            ("REVERSAL", "Reversal"),
                            ("DEPOSIT", "Deposit"),
                            ("ADJUST", "Adjust"),
                        ],
                        max_length=16,
                    ),
                ),
                (
                    "direction",
                    models.CharField(
                        choices=[("CREDIT", "Credit"), ("DEBIT", "Debit")], max_length=6
                    ),
                ),
                ("amount", kgen.common.money.AmountField(decimal_places=0, max_digits=78)),
                ("counterparty", models.CharField(max_length=42)),
                ("name", models.CharField(max_length=64)),
                ("description", models.TextField()),
                (
                    "sync_status",
                    models.CharField(
                        choices=[
                            ("PENDING", "Pending"),
                            ("PROCESSING", "Processing"),
                            ("COMPLETED", "Completed"),
                            ("FAILED", "Failed"),
                        ],
                        default="PENDING",
                        max_length=10,
                    ),
                ),
                ("sync_error", models.TextField(null=True)),
                ("created_at", models.DateTimeField()),
                ("modified_at", models.DateTimeField()),
                (
                    "payout",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="transactions",
                        to="wallet.payout",
                    ),
                ),
                (
                    "reverses",
                    models.OneToOneField(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="reversed_by",
                        to="wallet.wallettransaction",
                    ),
                ),
                (
                    "wallet",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="transactions",
                        to="wallet.wallet",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="KgenWallet",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("hd_index", models.BigIntegerField(null=True, unique=True)),
                ("address", models.CharField(max_length=42, unique=True)),
                ("created_at", models.DateTimeField()),
                (
                    "account",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="wallet",
                        to="accounts.kgenaccount",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("address__regex", "^0x[0-9a-f]{40}$")),
                        name="kgen_wallet_address_is_lower_case_hex",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("hd_index__isnull", True),
                            models.Q(("hd_index__gte", 0), ("hd_index__lt", 2147483648)),
                            _connector="OR",
                        ),
                        name="kgen_wallet_hd_index_is_unhardened",
                    ),
                ],
            },
        ),
        migrations.AddIndex(
            model_name="slot",
            index=models.Index(
                condition=models.Q(("state", "OPEN")),
                fields=["operator", "nonce"],
                name="slot_open",
            ),
        ),
        migrations.AddConstraint(
            model_name="slot",
            constraint=models.UniqueConstraint(
                fields=("operator", "nonce"), name="slot_one_per_nonce"
            ),
        ),
        migrations.AddConstraint(
            model_name="slot",
            constraint=models.CheckConstraint(
                condition=models.Q(("action__in", ["SETTLE", "VOID", "PERMIT"])),
                name="slot_action_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="slot",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("closed_at__isnull", True), ("state", "OPEN")),
                    models.Q(("closed_at__isnull", False), ("state__in", ["FINAL", "DEAD"])),
                    _connector="OR",
                ),
                name="slot_closed_at_when_closed",
            ),
        ),
        migrations.AddConstraint(
            model_name="attempt",
            constraint=models.UniqueConstraint(fields=("slot", "seq"), name="attempt_seq_once"),
        ),
        migrations.AddConstraint(
            model_name="attempt",
            constraint=models.CheckConstraint(
                condition=models.Q(("tx_hash__regex", "^0x[0-9a-f]{64}$")),
                name="attempt_tx_hash_well_formed",
            ),
        ),
        migrations.AddConstraint(
            model_name="attempt",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("first_sent_at__isnull", True), ("last_sent_at__isnull", True)),
                    models.Q(("first_sent_at__isnull", False), ("last_sent_at__isnull", False)),
                    _connector="OR",
                ),
                name="attempt_sent_times_agree",
            ),
        ),
        migrations.AddConstraint(
            model_name="slotitem",
            constraint=models.UniqueConstraint(
                fields=("slot", "payout"), name="slot_item_payout_once"
            ),
        ),
        migrations.AddConstraint(
            model_name="slotitem",
            constraint=models.UniqueConstraint(
                fields=("slot", "position"), name="slot_item_position_once"
            ),
        ),
        migrations.AddConstraint(
            model_name="slotitem",
            constraint=models.UniqueConstraint(
                condition=models.Q(("is_open", True)),
                fields=("payout",),
                name="slot_item_one_open_per_payout",
            ),
        ),
        migrations.AddConstraint(
            model_name="wallet",
            constraint=models.CheckConstraint(
                condition=models.Q(("address__regex", "^0x[0-9a-f]{40}$")),
                name="wallet_address_is_lower_case_hex",
            ),
        ),
        migrations.AddConstraint(
            model_name="wallet",
            constraint=models.CheckConstraint(
                condition=models.Q(("hd_index__gte", 0), ("hd_index__lt", 2147483648)),
                name="wallet_hd_index_is_unhardened",
            ),
        ),
        migrations.AddConstraint(
            model_name="wallet",
            constraint=models.CheckConstraint(
                condition=models.Q(("last_seq__gte", 0)), name="wallet_last_seq_from_zero"
            ),
        ),
        migrations.AddConstraint(
            model_name="permit",
            constraint=models.UniqueConstraint(
                condition=models.Q(("state__in", ["OPEN", "GRANTED"])),
                fields=("wallet", "settlement_address"),
                name="permit_one_live_per_contract",
            ),
        ),
        migrations.AddConstraint(
            model_name="permit",
            constraint=models.CheckConstraint(
                condition=models.Q(("state__in", ["OPEN", "GRANTED", "FAILED"])),
                name="permit_state_known",
            ),
        ),
        migrations.AddIndex(
            model_name="payout",
            index=models.Index(
                condition=models.Q(("state", "PENDING")),
                fields=["created_at", "seq"],
                name="payout_pending",
            ),
        ),
        migrations.AddIndex(
            model_name="payout",
            index=models.Index(
                condition=models.Q(("state__in", ["COMPLETED", "VOIDED"]), _negated=True),
                fields=["wallet", "seq"],
                name="payout_open_by_wallet",
            ),
        ),
        migrations.AddConstraint(
            model_name="payout",
            constraint=models.UniqueConstraint(
                fields=("wallet", "seq"), name="payout_one_per_wallet_seq"
            ),
        ),
        migrations.AddConstraint(
            model_name="payout",
            constraint=models.CheckConstraint(
                condition=models.Q(("amount__gt", 0)), name="payout_amount_positive"
            ),
        ),
        migrations.AddConstraint(
            model_name="payout",
            constraint=models.CheckConstraint(
                condition=models.Q(("tries__lte", 10)), name="payout_tries_within_limit"
            ),
        ),
        migrations.AddConstraint(
            model_name="payout",
            constraint=models.CheckConstraint(
                condition=models.Q(("from_address", models.F("to_address")), _negated=True),
                name="payout_goes_elsewhere",
            ),
        ),
        migrations.AddConstraint(
            model_name="payout",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("from_address__regex", "^0x[0-9a-f]{40}$"),
                    ("to_address__regex", "^0x[0-9a-f]{40}$"),
                ),
                name="payout_addresses_well_formed",
            ),
        ),
        migrations.AddConstraint(
            model_name="payout",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("onchain_id__isnull", False),
                        ("onchain_id__regex", "^0x[0-9a-f]{64}$"),
                        ("settlement_address__isnull", False),
                        ("settlement_address__regex", "^0x[0-9a-f]{40}$"),
                    ),
                    models.Q(
                        ("onchain_id__isnull", True),
                        ("settlement_address__isnull", True),
                        ("state__in", ["AWAITING_APPROVAL", "PENDING"]),
                    ),
                    _connector="OR",
                ),
                name="payout_submitted_with_onchain_id",
            ),
        ),
        migrations.AddConstraint(
            model_name="payout",
            constraint=models.CheckConstraint(
                condition=models.Q(("kind__in", ["IN", "OUT", "WITHDRAW"])),
                name="payout_kind_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="payout",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    (
                        "state__in",
                        [
                            "AWAITING_APPROVAL",
                            "PENDING",
                            "SUBMITTED",
                            "CONFIRMING",
                            "COMPLETED",
                            "REVIEW",
                            "FAILED",
                            "VOIDING",
                            "VOIDED",
                        ],
                    )
                ),
                name="payout_state_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="payout",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("block_number__isnull", False),
                        ("gas_fee__isnull", False),
                        ("state", "COMPLETED"),
                        ("tx_hash__isnull", False),
                    ),
                    models.Q(
                        models.Q(("state", "COMPLETED"), _negated=True),
                        ("block_number__isnull", True),
                        ("gas_fee__isnull", True),
                        ("tx_hash__isnull", True),
                    ),
                    _connector="OR",
                ),
                name="payout_completed_on_chain",
            ),
        ),
        migrations.AddIndex(
            model_name="wallettransaction",
            index=models.Index(
                condition=models.Q(("sync_status", "COMPLETED"), _negated=True),
                fields=["wallet", "seq"],
                name="wallet_transaction_unsynced",
            ),
        ),
        migrations.AddConstraint(
            model_name="wallettransaction",
            constraint=models.UniqueConstraint(
                fields=("wallet", "seq"), name="wallet_transaction_seq"
            ),
        ),
        migrations.AddConstraint(
            model_name="wallettransaction",
            constraint=models.CheckConstraint(
                condition=models.Q(("seq__gte", 1)), name="wallet_transaction_seq_from_one"
            ),
        ),
        migrations.AddConstraint(
            model_name="wallettransaction",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("amount__gt", 0),
                    (
                        "amount__lt",
                        1000000000000000000000000000000000000000000000000000000000000000000000000000000,
                    ),
                ),
                name="wallet_transaction_amount_is_positive",
            ),
        ),
        migrations.AddConstraint(
            model_name="wallettransaction",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("direction", "CREDIT"),
                        ("type__in", ("WELCOME_BONUS", "REFUND", "REWARD_CLAIM", "DEPOSIT")),
                    ),
                    models.Q(("direction", "DEBIT"), ("type__in", ("JOIN", "WITHDRAW"))),
                    models.Q(
                        ("direction__in", ("CREDIT", "DEBIT")), ("type__in", ("REVERSAL", "ADJUST"))
                    ),
                    _connector="OR",
                ),
                name="wallet_transaction_direction_of_type",
            ),
        ),
        migrations.AddConstraint(
            model_name="wallettransaction",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("reverses__isnull", False), ("type__in", ("REFUND", "REVERSAL"))),
                    models.Q(
                        models.Q(("type__in", ("REFUND", "REVERSAL")), _negated=True),
                        ("reverses__isnull", True),
                    ),
                    _connector="OR",
                ),
                name="wallet_transaction_only_returns_reverse",
            ),
        ),
        migrations.AddConstraint(
            model_name="wallettransaction",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("sync_status__in", ("PENDING", "PROCESSING", "COMPLETED", "FAILED"))
                ),
                name="wallet_transaction_sync_status_is_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="wallettransaction",
            constraint=models.CheckConstraint(
                condition=models.Q(("counterparty__regex", "^0x[0-9a-f]{40}$")),
                name="wallet_transaction_counterparty_is_lower_case_hex",
            ),
        ),
        migrations.RunSQL((SQL / "wallet.sql").read_text()),
    ]
