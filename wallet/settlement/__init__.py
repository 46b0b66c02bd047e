"""From the ledger to the chain, one step a file, in the order in which they run.

`batching` makes payouts of wallet transactions, `submitting` puts them into a slot with nonce and
signed bytes, `broadcasting` sends what is stored, `confirming` reads what became of it, `repricing`
raises the fee of what is stuck; `lane` runs them all once.
"""
