"""What the chain says that it did: how far it was read, its events, and reorgs past finality."""

from django.db import models
from django.db.models import Q

from kgen.common.money import AmountField
from wallet.models.settlement import ADDRESS, HASH, Operator, Payout, Slot


class ChainCursor(models.Model):
    """How far the events of one Settlement contract, and of KCash beside it, have been read."""

    chain_id = models.PositiveBigIntegerField()
    settlement_address = models.CharField(max_length=42)
    # The first block that was not read yet.
    next_block = models.PositiveBigIntegerField()
    # How often it had to go back, because final blocks were replaced by others.
    rewinds = models.PositiveIntegerField(default=0)
    read_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["chain_id", "settlement_address"], name="chain_cursor_one_per_contract"
            ),
            models.CheckConstraint(
                condition=Q(settlement_address__regex=ADDRESS),
                name="chain_cursor_address_well_formed",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.settlement_address} before block {self.next_block}"


class ChainBlock(models.Model):
    """The hash of a block at which reading stopped once: another one there later tells of a reorg."""

    cursor = models.ForeignKey(ChainCursor, on_delete=models.PROTECT, related_name="blocks")
    number = models.PositiveBigIntegerField()
    hash = models.CharField(max_length=66)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["cursor", "number"], name="chain_block_once"),
            models.CheckConstraint(
                condition=Q(hash__regex=HASH), name="chain_block_hash_well_formed"
            ),
        ]

    def __str__(self) -> str:
        return f"block {self.number}"


class ChainEvent(models.Model):
    """One event of a final block that concerns our contract or one of our addresses."""

    class Meaning(models.TextChoices):
        UNREAD = "UNREAD", "not looked at yet"
        PAYOUT = "PAYOUT", "payout of ours"
        DEPOSIT = "DEPOSIT", "deposit from outside"
        FLOAT = "FLOAT", "put into the float"
        UNKNOWN = "UNKNOWN", "ordered by nobody"

    chain_id = models.PositiveBigIntegerField()
    block_number = models.PositiveBigIntegerField()
    block_hash = models.CharField(max_length=66)
    tx_hash = models.CharField(max_length=66)
    log_index = models.PositiveIntegerField()
    name = models.CharField(max_length=8)
    # The contract that told it; null for KCash itself, whose events all contracts share.
    settlement_address = models.CharField(max_length=42, null=True)  # noqa: DJ001 - see above
    onchain_id = models.CharField(max_length=66, null=True)  # noqa: DJ001 - a Transfer has none
    # Null where the event has none, and together.
    from_address = models.CharField(max_length=42, null=True)  # noqa: DJ001
    to_address = models.CharField(max_length=42, null=True)  # noqa: DJ001
    amount = AmountField(null=True)
    meaning = models.CharField(max_length=7, choices=Meaning, default=Meaning.UNREAD)
    read_at = models.DateTimeField()
    # A reorg has replaced its block; if it is in another one now, that is a row of its own.
    dropped_at = models.DateTimeField(null=True)
    # A person's word about an unknown one: from then on it is no finding any more.
    explanation = models.CharField(max_length=500, blank=True)
    explained_by = models.CharField(max_length=150, blank=True)
    explained_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["chain_id", "tx_hash", "log_index", "block_hash"],
                name="chain_event_once_per_block",
            ),
            models.CheckConstraint(
                condition=Q(name__in=["Settled", "Skipped", "Failed", "Voided", "Transfer"]),
                name="chain_event_name_known",
            ),
            models.CheckConstraint(
                condition=Q(meaning__in=["UNREAD", "PAYOUT", "DEPOSIT", "FLOAT", "UNKNOWN"]),
                name="chain_event_meaning_known",
            ),
            models.CheckConstraint(
                condition=Q(name="Transfer", onchain_id__isnull=True)
                | (~Q(name="Transfer") & Q(onchain_id__isnull=False)),
                name="chain_event_settlement_names_a_payout",
            ),
            models.CheckConstraint(
                condition=Q(explained_at__isnull=True, explanation="", explained_by="")
                | (
                    Q(explained_at__isnull=False, meaning="UNKNOWN")
                    & ~Q(explanation="")
                    & ~Q(explained_by="")
                ),
                name="chain_event_explained_by_somebody",
            ),
        ]
        indexes = [
            models.Index(fields=["onchain_id"], name="chain_event_of_payout"),
            models.Index(
                fields=["id"],
                condition=Q(meaning__in=["UNREAD", "UNKNOWN"], dropped_at__isnull=True),
                name="chain_event_to_look_at",
            ),
            models.Index(fields=["block_number", "log_index"], name="chain_event_in_order"),
        ]

    def __str__(self) -> str:
        return f"{self.name} in block {self.block_number}"


class Reorg(models.Model):
    """Final slots of a lane that the chain has forgotten. Nothing is sent again before somebody has
    confirmed that it was a reorg.
    """

    operator = models.ForeignKey(Operator, on_delete=models.PROTECT, related_name="reorgs")
    found_at = models.DateTimeField()
    confirmed_at = models.DateTimeField(null=True)
    confirmed_by = models.CharField(max_length=150, blank=True)
    reason = models.CharField(max_length=500, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["operator"],
                condition=Q(confirmed_at__isnull=True),
                name="reorg_one_unconfirmed_per_lane",
            ),
            models.CheckConstraint(
                condition=Q(confirmed_at__isnull=True, confirmed_by="", reason="")
                | (Q(confirmed_at__isnull=False) & ~Q(confirmed_by="") & ~Q(reason="")),
                name="reorg_confirmed_by_somebody_for_a_reason",
            ),
        ]

    def __str__(self) -> str:
        return f"reorg of {self.found_at:%Y-%m-%d %H:%M:%S}"


class LostSlot(models.Model):
    """A slot that was final, and is not on the chain any more."""

    reorg = models.ForeignKey(Reorg, on_delete=models.PROTECT, related_name="lost_slots")
    slot = models.ForeignKey(Slot, on_delete=models.PROTECT, related_name="+")
    reopened_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["reorg", "slot"], name="lost_slot_once_per_reorg"),
        ]

    def __str__(self) -> str:
        return f"slot {self.slot_id}"


class LostPayout(models.Model):
    """A payout that was paid in a lost slot: it is paid again by the same bytes, under the same id."""

    lost_slot = models.ForeignKey(LostSlot, on_delete=models.PROTECT, related_name="lost_payouts")
    payout = models.ForeignKey(Payout, on_delete=models.PROTECT, related_name="+")
    # Where it was paid.
    tx_hash = models.CharField(max_length=66)
    block_number = models.PositiveBigIntegerField()
    reopened_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["lost_slot", "payout"], name="lost_payout_once"),
        ]

    def __str__(self) -> str:
        return f"payout {self.payout_id}"
