"""Amounts: whole units of KCash, as Python integers."""

from decimal import Decimal
from typing import TYPE_CHECKING

from django.core.validators import MinValueValidator
from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.expressions import Expression

# The largest integer that every JSON reader keeps exactly (2^53 - 1).
LARGEST_AMOUNT_IN_JSON = 2**53 - 1


# Django's fields can be given types for the checker alone.
if TYPE_CHECKING:
    WholeNumberField = models.DecimalField[int, int]
else:
    WholeNumberField = models.DecimalField


class AmountField(WholeNumberField):
    """A whole amount, held as NUMERIC(78,0) (any uint256 fits) and read as `int`.

    `Decimal` stays inside: its arithmetic rounds at 28 digits by default.
    """

    def __init__(self, *args: object, **kwargs: object) -> None:
        kwargs.setdefault("max_digits", 78)
        kwargs.setdefault("decimal_places", 0)
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]  # Django's own signature

    default_validators = [MinValueValidator(0)]

    def from_db_value(
        self,
        value: Decimal | None,
        expression: Expression,
        connection: BaseDatabaseWrapper,
    ) -> int | None:
        return None if value is None else int(value)

    def to_python(self, value: object) -> int | None:  # type: ignore[override]
        number = super().to_python(value)
        return None if number is None else int(number)
