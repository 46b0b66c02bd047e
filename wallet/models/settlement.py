"""Payouts on their way to the chain, and the operator transactions that carry them."""

from typing import Final

from django.contrib.postgres.constraints import ExclusionConstraint
from django.contrib.postgres.fields import RangeOperators
from django.db import models
from django.db.models import F, Func, Q, Value

from kgen.common.identifiers import uuid7
from kgen.common.money import AmountField

HASH = r"^0x[0-9a-f]{64}$"
ADDRESS = r"^0x[0-9a-f]{40}$"

# A payout whose last permitted try failed waits for a person.
MAX_TRIES: Final = 10


class Payout(models.Model):
    """One payment on the chain, made at most once under its `onchain_id`."""

    class Kind(models.TextChoices):
        IN = "IN", "float wallet to custodial wallet"
        OUT = "OUT", "custodial wallet to float wallet"
        WITHDRAW = "WITHDRAW", "custodial wallet to KGeN wallet"

    class State(models.TextChoices):
        AWAITING_APPROVAL = "AWAITING_APPROVAL"
        PENDING = "PENDING"
        SUBMITTED = "SUBMITTED"
        CONFIRMING = "CONFIRMING"
        COMPLETED = "COMPLETED"
        REVIEW = "REVIEW"
        FAILED = "FAILED"
        VOIDING = "VOIDING"
        VOIDED = "VOIDED"

    uid = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    kind = models.CharField(max_length=8, choices=Kind.choices)
    wallet = models.ForeignKey("wallet.Wallet", on_delete=models.PROTECT, related_name="payouts")
    # The numbers of the first and the last wallet transaction that it covers: the payouts of a wallet
    # go out in this order.
    seq = models.PositiveBigIntegerField()
    last_seq = models.PositiveBigIntegerField()
    from_address = models.CharField(max_length=42)
    to_address = models.CharField(max_length=42)
    amount = AmountField()
    # The contract that it was first given to, and its id there: null until then, and kept ever after.
    settlement_address = models.CharField(max_length=42, null=True, blank=True)  # noqa: DJ001
    onchain_id = models.CharField(max_length=66, unique=True, null=True, blank=True)
    state = models.CharField(max_length=17, choices=State.choices, default=State.PENDING)
    tries = models.PositiveSmallIntegerField(default=0)
    # Not submitted before: it waits for the gamer's new address to age, or for what ailed it to mend.
    not_before = models.DateTimeField(null=True, blank=True)
    # Why the last try did not pay; empty when none failed.
    error = models.CharField(max_length=200, blank=True)
    # Null rather than empty: it is null together with the block and the fee.
    tx_hash = models.CharField(max_length=66, null=True, blank=True)  # noqa: DJ001
    block_number = models.PositiveBigIntegerField(null=True, blank=True)
    # Its share of what the chain transaction cost, in wei.
    gas_fee = AmountField(null=True, blank=True)
    created_at = models.DateTimeField()
    modified_at = models.DateTimeField()

    class Meta:
        constraints = [
            # A transaction is paid by one payout; once that is void for good, by another one.
            ExclusionConstraint(
                name="payout_ranges_never_overlap",
                expressions=[
                    ("wallet", RangeOperators.EQUAL),
                    (
                        Func(F("seq"), F("last_seq"), Value("[]"), function="int8range"),
                        RangeOperators.OVERLAPS,
                    ),
                ],
                condition=~Q(state="VOIDED"),
            ),
            models.CheckConstraint(
                condition=Q(last_seq=F("seq")) | (Q(last_seq__gt=F("seq")) & ~Q(kind="WITHDRAW")),
                name="payout_range_runs_forward",
            ),
            models.CheckConstraint(condition=Q(amount__gt=0), name="payout_amount_positive"),
            models.CheckConstraint(
                condition=Q(tries__lte=MAX_TRIES), name="payout_tries_within_limit"
            ),
            models.CheckConstraint(
                condition=~Q(from_address=F("to_address")), name="payout_goes_elsewhere"
            ),
            models.CheckConstraint(
                condition=Q(from_address__regex=ADDRESS, to_address__regex=ADDRESS),
                name="payout_addresses_well_formed",
            ),
            models.CheckConstraint(
                condition=Q(
                    settlement_address__isnull=False,
                    settlement_address__regex=ADDRESS,
                    onchain_id__isnull=False,
                    onchain_id__regex=HASH,
                )
                | Q(
                    settlement_address__isnull=True,
                    onchain_id__isnull=True,
                    state__in=["AWAITING_APPROVAL", "PENDING", "VOIDED"],
                ),
                name="payout_submitted_with_onchain_id",
            ),
            models.CheckConstraint(
                condition=Q(kind__in=["IN", "OUT", "WITHDRAW"]), name="payout_kind_known"
            ),
            models.CheckConstraint(
                condition=Q(
                    state__in=[
                        "AWAITING_APPROVAL",
                        "PENDING",
                        "SUBMITTED",
                        "CONFIRMING",
                        "COMPLETED",
                        "REVIEW",
                        "FAILED",
                        "VOIDING",
                        "VOIDED",
                    ]
                ),
                name="payout_state_known",
            ),
            # Paid means that one can say where; anything else has no place on the chain to name.
            models.CheckConstraint(
                condition=Q(
                    state="COMPLETED",
                    tx_hash__isnull=False,
                    block_number__isnull=False,
                    gas_fee__isnull=False,
                )
                | (
                    ~Q(state="COMPLETED")
                    & Q(tx_hash__isnull=True, block_number__isnull=True, gas_fee__isnull=True)
                ),
                name="payout_completed_on_chain",
            ),
        ]
        indexes = [
            models.Index(
                fields=["created_at", "seq"],
                condition=Q(state="PENDING"),
                name="payout_pending",
            ),
            models.Index(
                fields=["wallet", "seq"],
                condition=~Q(state__in=["COMPLETED", "VOIDED"]),
                name="payout_open_by_wallet",
            ),
            # How much went to whom within a day.
            models.Index(
                fields=["wallet", "created_at"],
                condition=Q(kind="WITHDRAW"),
                name="payout_withdrawn_by_wallet",
            ),
            models.Index(
                fields=["to_address", "created_at"],
                condition=Q(kind="WITHDRAW"),
                name="payout_withdrawn_to_address",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.amount} {self.state}"


class PayoutSwitch(models.Model):
    """The one switch of all payouts. Off, nothing new is submitted; what is under way goes on."""

    # There is one row, made by the migration.
    id = models.SmallIntegerField(primary_key=True, default=1, editable=False)
    is_paused = models.BooleanField(default=False)
    changed_by = models.CharField(max_length=150, blank=True)
    reason = models.CharField(max_length=500, blank=True)
    changed_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name = "payout switch"
        verbose_name_plural = "payout switch"
        constraints = [
            models.CheckConstraint(condition=Q(id=1), name="payout_switch_is_one"),
            models.CheckConstraint(
                condition=Q(is_paused=False)
                | (Q(changed_at__isnull=False) & ~Q(changed_by="") & ~Q(reason="")),
                name="payout_switch_paused_by_somebody_for_a_reason",
            ),
        ]

    def __str__(self) -> str:
        return "Payouts are paused" if self.is_paused else "Payouts are on"


class Operator(models.Model):
    """One lane: an address that sends transactions, and the next nonce it will use."""

    address = models.CharField(max_length=42)
    chain_id = models.PositiveBigIntegerField()
    next_nonce = models.PositiveBigIntegerField()
    # Paused, it submits nothing new; what it has under way goes on.
    is_paused = models.BooleanField(default=False)
    pause_reason = models.CharField(max_length=500, blank=True)
    paused_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        # Operators are a group of the staff.
        verbose_name = "lane"
        constraints = [
            models.UniqueConstraint(fields=["address", "chain_id"], name="operator_once_per_chain"),
            models.CheckConstraint(
                condition=Q(is_paused=False, pause_reason="", paused_at__isnull=True)
                | (Q(is_paused=True, paused_at__isnull=False) & ~Q(pause_reason="")),
                name="operator_paused_for_a_reason",
            ),
            models.CheckConstraint(
                condition=Q(address__regex=ADDRESS), name="operator_address_well_formed"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.address} on {self.chain_id}"


class Slot(models.Model):
    """One nonce of an operator and the one call that it carries, at whatever price."""

    class Action(models.TextChoices):
        SETTLE = "SETTLE"
        VOID = "VOID"
        PERMIT = "PERMIT"

    class State(models.TextChoices):
        OPEN = "OPEN"
        FINAL = "FINAL"
        # Another transaction took the nonce; nothing of this slot can ever be mined.
        DEAD = "DEAD"

    operator = models.ForeignKey(Operator, on_delete=models.PROTECT, related_name="slots")
    nonce = models.PositiveBigIntegerField()
    action = models.CharField(max_length=6, choices=Action.choices)
    settlement_address = models.CharField(max_length=42)
    calldata = models.BinaryField()
    gas = models.PositiveBigIntegerField()
    state = models.CharField(max_length=5, choices=State.choices, default=State.OPEN)
    # The block that holds it as last seen; empty while it waits, or again after a reorg.
    mined_block = models.PositiveBigIntegerField(null=True, blank=True)
    mined_hash = models.CharField(max_length=66, blank=True, default="", db_default="")
    created_at = models.DateTimeField()
    closed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["operator", "nonce"], name="slot_one_per_nonce"),
            models.CheckConstraint(
                condition=Q(action__in=["SETTLE", "VOID", "PERMIT"]), name="slot_action_known"
            ),
            models.CheckConstraint(
                condition=Q(state="OPEN", closed_at__isnull=True)
                | Q(state__in=["FINAL", "DEAD"], closed_at__isnull=False),
                name="slot_closed_at_when_closed",
            ),
        ]
        indexes = [
            models.Index(fields=["operator", "nonce"], condition=Q(state="OPEN"), name="slot_open"),
        ]

    def __str__(self) -> str:
        return f"{self.action} nonce {self.nonce} {self.state}"


class SlotItem(models.Model):
    """A payout inside a slot, in the order in which the contract pays."""

    slot = models.ForeignKey(Slot, on_delete=models.PROTECT, related_name="items")
    payout = models.ForeignKey(Payout, on_delete=models.PROTECT, related_name="slot_items")
    # The payout's, here so that the database can see to it that no two slots carry one wallet.
    wallet = models.ForeignKey("wallet.Wallet", on_delete=models.PROTECT, related_name="+")
    position = models.PositiveSmallIntegerField()
    is_open = models.BooleanField(default=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["slot", "payout"], name="slot_item_payout_once"),
            models.UniqueConstraint(fields=["slot", "position"], name="slot_item_position_once"),
            models.UniqueConstraint(
                fields=["payout"],
                condition=Q(is_open=True),
                name="slot_item_one_open_per_payout",
            ),
            # Side by side, two lanes could overtake each other.
            ExclusionConstraint(
                name="slot_item_one_open_slot_per_wallet",
                expressions=[
                    ("wallet", RangeOperators.EQUAL),
                    ("slot", RangeOperators.NOT_EQUAL),
                ],
                condition=Q(is_open=True),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.payout_id} in slot {self.slot_id}"


class Permit(models.Model):
    """A custodial wallet's one permission for the Settlement contract to move its KCash."""

    class State(models.TextChoices):
        OPEN = "OPEN"
        GRANTED = "GRANTED"
        FAILED = "FAILED"

    wallet = models.ForeignKey("wallet.Wallet", on_delete=models.PROTECT, related_name="permits")
    settlement_address = models.CharField(max_length=42)
    slot = models.ForeignKey(Slot, on_delete=models.PROTECT, related_name="permits")
    state = models.CharField(max_length=7, choices=State.choices, default=State.OPEN)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["wallet", "settlement_address"],
                condition=Q(state__in=["OPEN", "GRANTED"]),
                name="permit_one_live_per_contract",
            ),
            models.CheckConstraint(
                condition=Q(state__in=["OPEN", "GRANTED", "FAILED"]), name="permit_state_known"
            ),
        ]

    def __str__(self) -> str:
        return f"permit of wallet {self.wallet_id} {self.state}"


class Attempt(models.Model):
    """A slot's call signed at one price. Stored before it is sent, and kept for ever."""

    slot = models.ForeignKey(Slot, on_delete=models.PROTECT, related_name="attempts")
    seq = models.PositiveSmallIntegerField()
    tx_hash = models.CharField(max_length=66, unique=True)
    raw = models.BinaryField()
    max_fee = AmountField()
    priority_fee = AmountField()
    created_at = models.DateTimeField()
    first_sent_at = models.DateTimeField(null=True, blank=True)
    last_sent_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["slot", "seq"], name="attempt_seq_once"),
            models.CheckConstraint(
                condition=Q(tx_hash__regex=HASH), name="attempt_tx_hash_well_formed"
            ),
            models.CheckConstraint(
                condition=Q(first_sent_at__isnull=True, last_sent_at__isnull=True)
                | Q(first_sent_at__isnull=False, last_sent_at__isnull=False),
                name="attempt_sent_times_agree",
            ),
        ]

    def __str__(self) -> str:
        return f"attempt {self.seq} {self.tx_hash}"
