from collections.abc import Iterator
from datetime import datetime

import pytest
import time_machine
from django.utils import timezone

# The chain of the paper journey.
from wallet.tests.conftest import bench, deployed  # noqa: F401 - fixtures


@pytest.fixture
def now() -> Iterator[datetime]:
    """The moment at which the test takes place, on a clock that stands still."""
    moment = timezone.now().replace(microsecond=0)
    with time_machine.travel(moment, tick=False):
        yield moment
