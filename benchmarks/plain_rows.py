"""The same promises as the ledger's, kept by Django's ORM: what the ledger is measured against."""

from typing import ClassVar
from uuid import UUID

from django.db import models, transaction

TABLES = """
CREATE TABLE plain_account (id bigint PRIMARY KEY, balance numeric(78, 0) NOT NULL, seq bigint NOT NULL);
CREATE TABLE plain_transfer (
    posting_id uuid PRIMARY KEY, kind text NOT NULL, debit_id bigint NOT NULL,
    credit_id bigint NOT NULL, amount numeric(78, 0) NOT NULL, debit_seq bigint NOT NULL,
    credit_seq bigint NOT NULL, debit_after numeric(78, 0) NOT NULL,
    credit_after numeric(78, 0) NOT NULL, created_at timestamptz NOT NULL DEFAULT now());
CREATE UNIQUE INDEX ON plain_transfer (debit_id, debit_seq);
CREATE UNIQUE INDEX ON plain_transfer (credit_id, credit_seq);
GRANT SELECT, INSERT, UPDATE ON plain_account, plain_transfer TO {application};
INSERT INTO plain_account SELECT id, 1000000000, 0 FROM generate_series(1, {accounts}) AS id;
"""


class PlainAccount(models.Model):
    id = models.BigIntegerField(primary_key=True)
    balance = models.DecimalField(max_digits=78, decimal_places=0)
    seq = models.BigIntegerField()

    objects: ClassVar[models.Manager["PlainAccount"]] = models.Manager()

    class Meta:
        app_label = "wallet"
        managed = False
        db_table = "plain_account"

    def __str__(self) -> str:
        return str(self.pk)


class PlainTransfer(models.Model):
    posting_id = models.UUIDField(primary_key=True)
    kind = models.TextField()
    debit_id = models.BigIntegerField()
    credit_id = models.BigIntegerField()
    amount = models.DecimalField(max_digits=78, decimal_places=0)
    debit_seq = models.BigIntegerField()
    credit_seq = models.BigIntegerField()
    debit_after = models.DecimalField(max_digits=78, decimal_places=0)
    credit_after = models.DecimalField(max_digits=78, decimal_places=0)

    objects: ClassVar[models.Manager["PlainTransfer"]] = models.Manager()

    class Meta:
        app_label = "wallet"
        managed = False
        db_table = "plain_transfer"

    def __str__(self) -> str:
        return str(self.pk)


@transaction.atomic
def post(*, posting_id: UUID, debit: int, credit: int, amount: int) -> bool:
    """Once per posting id, no overdraft, numbered, with the balances after it."""
    accounts = {
        account.pk: account
        for account in PlainAccount.objects.select_for_update()
        .filter(pk__in=(debit, credit))
        .order_by("pk")
    }
    if PlainTransfer.objects.filter(posting_id=posting_id).exists():
        return False
    payer, taker = accounts[debit], accounts[credit]
    if payer.balance < amount:
        raise ValueError("not enough")
    payer.balance -= amount
    taker.balance += amount
    for account in (payer, taker):
        account.seq += 1
        account.save(update_fields=["balance", "seq"])
    PlainTransfer.objects.create(
        posting_id=posting_id,
        kind="GRANT",
        debit_id=debit,
        credit_id=credit,
        amount=amount,
        debit_seq=payer.seq,
        credit_seq=taker.seq,
        debit_after=payer.balance,
        credit_after=taker.balance,
    )
    return True
