from typing import Any

from kgen.common.tests.owner import owner_of_this_database

__all__ = ["move_to_the_past", "owner_of_this_database"]


def move_to_the_past(owner: Any, *, days: int = 0, hours: int = 0) -> None:
    """Make all transfers older than they are, past every guard, over the owner's connection."""
    with owner.cursor() as cursor:
        cursor.execute("ALTER TABLE ledger.transfer DISABLE TRIGGER USER")
        cursor.execute(
            "UPDATE ledger.transfer"
            " SET created_at = created_at - make_interval(days => %s, hours => %s)",
            [days, hours],
        )
        cursor.execute("ALTER TABLE ledger.transfer ENABLE TRIGGER USER")
