"""The ledger's tables, for reading alone: they are made, and written, by `migrations/sql/ledger.sql`.

The application's login may SELECT from them and EXECUTE the posting functions, nothing more.
"""

from django.db import models

from kgen.common.money import AmountField


class LedgerAccount(models.Model):
    """A place where value sits: one bucket of one owner."""

    class Owner(models.TextChoices):
        SYSTEM = "SYSTEM"
        WALLET = "WALLET"
        TOURNAMENT = "TOURNAMENT"
        GAME = "GAME"

    class Bucket(models.TextChoices):
        BONUS = "bonus"
        BOUGHT = "bought"
        EARNED = "earned"
        CLAIMABLE = "claimable"
        HOLD = "hold"
        ONCHAIN = "onchain"
        POOL = "pool"
        DEVELOPER_RAKE = "developer_rake"
        MINT = "mint"
        TREASURY = "treasury"
        PLATFORM_RAKE = "platform_rake"
        KGEN_OUT = "kgen_out"
        CHAIN_SUPPLY = "chain_supply"

    class Mode(models.TextChoices):
        STRICT = "S"
        QUEUED = "Q"
        NONE = "N"

    id = models.BigIntegerField(primary_key=True)
    asset_id = models.SmallIntegerField()
    owner_kind = models.TextField(choices=Owner)
    owner_id = models.BigIntegerField(null=True)
    owner_uid = models.UUIDField(null=True)
    bucket = models.TextField(choices=Bucket)
    mode = models.TextField(choices=Mode)
    balance = AmountField()
    seq = models.BigIntegerField()

    class Meta:
        managed = False
        db_table = '"ledger"."account"'

    def __str__(self) -> str:
        return f"{self.owner_kind} {self.owner_id or ''} {self.bucket}"


class Transfer(models.Model):
    """One movement from one account to another; a posting is one or more of them."""

    class Phase(models.IntegerChoices):
        POST = 0
        # Settle and release of a hold share this phase, so that a hold can never see both.
        RESOLVE = 1
        CONFIRM = 2

    class Kind(models.TextChoices):
        WELCOME_BONUS = "WELCOME_BONUS"
        DEPOSIT = "DEPOSIT"
        ENTRY_FEE = "ENTRY_FEE"
        REFUND = "REFUND"
        SPONSOR = "SPONSOR"
        SPONSOR_RETURN = "SPONSOR_RETURN"
        PRIZE = "PRIZE"
        RAKE_PLATFORM = "RAKE_PLATFORM"
        RAKE_DEVELOPER = "RAKE_DEVELOPER"
        REMAINDER = "REMAINDER"
        GRANT = "GRANT"
        CLAIM = "CLAIM"
        EXPIRY = "EXPIRY"
        HOLD = "HOLD"
        SETTLE = "SETTLE"
        RELEASE = "RELEASE"
        CONFIRM = "CONFIRM"
        ADJUST = "ADJUST"

    pk = models.CompositePrimaryKey("posting_id", "phase", "leg")
    posting_id = models.UUIDField()
    phase = models.SmallIntegerField(choices=Phase)
    leg = models.IntegerField()
    kind = models.TextField(choices=Kind)
    debit = models.ForeignKey(
        LedgerAccount, on_delete=models.DO_NOTHING, db_constraint=False, related_name="debits"
    )
    credit = models.ForeignKey(
        LedgerAccount, on_delete=models.DO_NOTHING, db_constraint=False, related_name="credits"
    )
    amount = AmountField()
    debit_seq = models.BigIntegerField(null=True)
    credit_seq = models.BigIntegerField(null=True)
    debit_after = AmountField(null=True)
    credit_after = AmountField(null=True)
    created_at = models.DateTimeField()

    class Meta:
        managed = False
        db_table = '"ledger"."transfer"'

    def __str__(self) -> str:
        return f"{self.kind} {self.amount}"


class DayDigest(models.Model):
    """What a day's transfers come to in one number, chained to the day before."""

    day = models.DateField(primary_key=True)
    row_count = models.BigIntegerField()
    sha256 = models.BinaryField(max_length=32)
    prev_sha256 = models.BinaryField(max_length=32)

    class Meta:
        managed = False
        db_table = '"ledger"."day_digest"'

    def __str__(self) -> str:
        return f"{self.day} {self.row_count} {bytes(self.sha256).hex()}"
