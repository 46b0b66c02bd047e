from wallet import reconciliation


def assert_sound() -> None:
    """The books of the ledger are right, whatever the domain's rows say."""
    assert {
        audit.__name__: audit()
        for audit in (
            reconciliation.sums_that_are_not_zero,
            reconciliation.overdrawn_accounts,
            reconciliation.broken_chains,
            reconciliation.balances_that_differ_from_transfers,
            reconciliation.waiting_credits_without_transfer,
            reconciliation.transfers_between_strangers,
        )
    } == {
        "sums_that_are_not_zero": [],
        "overdrawn_accounts": [],
        "broken_chains": [],
        "balances_that_differ_from_transfers": [],
        "waiting_credits_without_transfer": [],
        "transfers_between_strangers": [],
    }
