"""Amounts: whole units of KCash, as Python integers."""

from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeVar

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.expressions import Expression
from django.utils.functional import cached_property

# The largest integer that every JSON reader keeps exactly (2^53 - 1).
LARGEST_AMOUNT_IN_JSON = 2**53 - 1


_ST = TypeVar("_ST")
_GT = TypeVar("_GT")

# Django's fields take types from the checker alone.
if TYPE_CHECKING:

    class _DecimalField(models.DecimalField[_ST, _GT]):
        _pyi_private_set_type: int
        _pyi_private_get_type: int  # type: ignore[assignment]

else:

    class _DecimalField(models.DecimalField):
        def __class_getitem__(cls, _types: object) -> type:
            return cls


class AmountField(_DecimalField[_ST, _GT]):
    """A whole amount, held as NUMERIC(78,0) (any uint256 fits) and read as `int`.

    `Decimal` stays inside: its arithmetic rounds at 28 digits by default.
    """

    def __init__(self, *args: object, **kwargs: object) -> None:
        kwargs.setdefault("max_digits", 78)
        kwargs.setdefault("decimal_places", 0)
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]  # Django's own signature

    default_validators = [MinValueValidator(0), MaxValueValidator(10**78 - 1)]

    @cached_property
    def validators(self) -> list[Callable[..., Any]]:
        # DecimalField's own counts the digits of a Decimal; by now the amount is an `int`.
        return [*self.default_validators, *self._validators]  # type: ignore[attr-defined]

    def from_db_value(
        self,
        value: Decimal | None,
        expression: Expression,
        connection: BaseDatabaseWrapper,
    ) -> int | None:
        return None if value is None else int(value)

    def to_python(self, value: object) -> int | None:
        number = super().to_python(value)
        return None if number is None else int(number)
