"""The signer: the one process that opens the seed behind gamers' wallets.

    python -m wallet.settlement.signer serve

It listens on a Unix socket and signs two typed messages, a permit in favour of our Settlement
contract and a payout; everything else it refuses. It knows neither Django nor the database, so what
reaches the seed is what is in this package: `serving` reads and checks, `keeper` derives and signs,
`sealing` keeps the seed on the disk. The adapters of a KMS beside them serve the operators too.
"""
