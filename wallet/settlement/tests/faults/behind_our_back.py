"""What others do on the chain, while the lane's own blocks are made by hand."""

from web3 import Web3

from wallet.tests.chain import Bench, new_address
from wallet.tests.settling import Engine


def at_once(engine: Engine) -> Bench:
    """What others do is mined as it comes."""
    engine.bench.chain.rpc("evm_setAutomine", True)
    return engine.bench


def step_by_step(engine: Engine) -> None:
    engine.bench.chain.rpc("evm_setAutomine", False)


def move_kcash(engine: Engine, payer: str, payee: str, amount: int) -> None:
    bench = engine.bench
    bench.chain.rpc("anvil_impersonateAccount", payer)
    bench.chain.rpc("anvil_setBalance", payer, hex(10**20))
    data = bench.kcash.encode_abi("transfer", args=[Web3.to_checksum_address(payee), amount])
    bench.chain.rpc("eth_sendTransaction", {"from": payer, "to": bench.kcash.address, "data": data})
    engine.mine()


def other_operator(engine: Engine) -> str:
    """Somebody else who may call the contract, so that the lane's nonces stay its own."""
    bench, other = at_once(engine), Web3.to_checksum_address(new_address())
    bench.call(bench.admin, "grantRole", bench.settlement.functions.OPERATOR().call(), other)
    step_by_step(engine)
    return other
