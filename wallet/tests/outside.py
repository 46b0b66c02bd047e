"""KCash that moves on the chain beside the platform, as anybody can move it."""

from eth_account import Account

from wallet.tests.settling import Engine


class Outsider:
    """Somebody with KCash and a key of their own."""

    def __init__(self, engine: Engine) -> None:
        self.engine, self.account, self.nonce = engine, Account.create(), 0
        engine.bench.chain.rpc("anvil_setBalance", self.account.address, hex(10**24))
        transfer(engine, engine.bench.admin, self.account.address, 1_000_000)

    def sign(self, to: str, amount: int) -> bytes:
        """A transfer of KCash that may be sent as often as one likes: it is always the same one."""
        signed = self.account.sign_transaction(
            {
                "type": 2,
                "chainId": 31337,
                "nonce": self.nonce,
                "to": self.engine.bench.kcash.address,
                "value": 0,
                "data": transfer_call(self.engine, to, amount),
                "gas": 100_000,
                "maxFeePerGas": 10**12,
                "maxPriorityFeePerGas": 10**9,
            }
        )
        self.nonce += 1
        return bytes(signed.raw_transaction)

    def send(self, to: str, amount: int) -> None:
        self.engine.chain.send(self.sign(to, amount))
        self.engine.finalize()


def transfer_call(engine: Engine, to: str, amount: int) -> str:
    to = engine.bench.web3.to_checksum_address(to)
    return str(engine.bench.kcash.encode_abi("transfer", args=[to, amount]))


def transfer(engine: Engine, sender: str, to: str, amount: int) -> None:
    """Made final; whoever the sender is."""
    rpc = engine.bench.chain.rpc
    rpc("anvil_impersonateAccount", sender)
    rpc("anvil_setBalance", sender, hex(10**24))
    asked = {"from": sender, "to": engine.bench.kcash.address}
    rpc("eth_sendTransaction", {**asked, "data": transfer_call(engine, to, amount)})
    engine.finalize()
