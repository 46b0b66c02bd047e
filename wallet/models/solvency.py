from django.db import models

from kgen.common.money import AmountField


class SolvencySample(models.Model):
    """What we owe, what we hold for it, and what waits, at one moment."""

    taken_at = models.DateTimeField()
    # The final block of what the chain says here.
    block_number = models.PositiveBigIntegerField()
    block_made_at = models.DateTimeField()
    # KCash in the float wallet, and what of it the contract may pay out.
    float_balance = AmountField()
    float_allowance = AmountField()
    # What is final in the gamers' custodial wallets.
    custodial = AmountField()
    # What gamers have, by bucket; and what is in the pools that they play for.
    bonus = AmountField()
    bought = AmountField()
    earned = AmountField()
    claimable = AmountField()
    hold = AmountField()
    pools = AmountField()
    # Payouts that no block has made final yet, by what they do to the float.
    queued = models.PositiveIntegerField()
    queued_in = AmountField()
    queued_out = AmountField()
    queued_withdrawals = AmountField()
    # Of what is to leave the float, what may have left it before the books say so.
    sent_in = AmountField()
    oldest_queued_at = models.DateTimeField(null=True)
    # Of the payouts that were made in the last 24 h, in wei.
    gas_spent = AmountField()
    # Of each lane: address, nonce on the chain, gas in wei.
    lanes = models.JSONField(default=list)

    class Meta:
        verbose_name = "solvency"
        verbose_name_plural = "solvency"
        indexes = [models.Index(fields=["taken_at"], name="solvency_sample_by_time")]

    def __str__(self) -> str:
        return f"solvency at {self.taken_at:%Y-%m-%d %H:%M:%S}"

    @property
    def owed(self) -> int:
        """To gamers: all that they have, and all that they can win."""
        return self.bonus + self.bought + self.earned + self.claimable + self.hold + self.pools

    @property
    def to_cover(self) -> int:
        """What the float has to pay for, because the custodial wallets do not hold it yet."""
        return max(0, self.owed - self.custodial)

    @property
    def payable(self) -> int:
        """What the contract can pay out of the float."""
        return min(self.float_balance, self.float_allowance)

    @property
    def shortfall(self) -> int:
        return max(0, self.to_cover - self.payable - self.sent_in)
