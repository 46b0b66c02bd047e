import pytest

from wallet.settlement import networks
from wallet.settlement.chain import Fees
from wallet.settlement.repricing import GWEI, Price, first_price, raised_price

FEE_CAP = networks.of(31337).fee_cap


def test_the_first_price_survives_a_doubled_base_fee():
    assert first_price(Fees(base=30 * GWEI, tip=2 * GWEI)) == Price(62 * GWEI, 2 * GWEI)
    assert first_price(Fees(base=7, tip=0)) == Price(GWEI + 14, GWEI)
    assert first_price(Fees(base=FEE_CAP, tip=GWEI)).max_fee == FEE_CAP


@pytest.mark.parametrize("base", [0, 1 * GWEI, 500 * GWEI])
@pytest.mark.parametrize("last", [Price(1, 1), Price(9, 8), Price(100 * GWEI, 3 * GWEI)])
def test_a_raised_price_is_one_that_every_node_takes(base, last):
    raised = raised_price(Fees(base=base, tip=GWEI), last)

    # Nodes want a tenth more on both, rounded against us.
    assert raised.max_fee * 10 >= last.max_fee * 11
    assert raised.priority_fee * 10 >= last.priority_fee * 11
    assert raised.max_fee >= first_price(Fees(base=base, tip=GWEI)).max_fee


def test_a_raise_is_an_eighth_and_one_on_both_fees():
    raised = raised_price(Fees(base=0, tip=0), Price(100 * GWEI, 4 * GWEI))

    assert raised == Price(112_500_000_001, 4_500_000_001)
