"""The float wallet runs low: somebody has to fill it up, which no program here can."""

import logging
from collections.abc import Sequence
from typing import Final

from django.conf import settings

from wallet.models import SolvencySample

logger = logging.getLogger(__name__)

LOW_PERCENT: Final = 30


def warnings(sample: SolvencySample) -> Sequence[str]:
    """What is wrong with the float, in words for staff; nothing if it is well."""
    found = []
    payable, low = sample.payable, settings.FLOAT_TARGET * LOW_PERCENT
    if payable * 100 < low:
        found.append(
            f"The float can pay {payable:,} KCash, less than {LOW_PERCENT} % of the"
            f" {settings.FLOAT_TARGET:,} that it should have."
        )
    # What was sent may have left the float already.
    to_pay = sample.queued_in - sample.sent_in
    if payable < to_pay:
        found.append(f"The float can pay {payable:,} KCash, and {to_pay:,} are to be paid now.")
    if found and sample.float_allowance < sample.float_balance:
        found.append(
            f"It holds {sample.float_balance:,}, but lets the contract spend no more than"
            f" {sample.float_allowance:,}."
        )
    return found


def sound(sample: SolvencySample) -> None:
    """Log as an error whatever is wrong, with each sample anew until somebody has mended it."""
    for warning in warnings(sample):
        logger.error("%s", warning)
