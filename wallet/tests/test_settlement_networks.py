from datetime import UTC, datetime, timedelta

import pytest

from wallet.settlement import networks
from wallet.settlement.networks import UnknownNetwork

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_the_table_has_the_networks_that_we_settle_on():
    assert {network.chain_id: network.name for network in networks.NETWORKS.values()} == {
        137: "Polygon PoS",
        80002: "Polygon Amoy",
        56: "BNB Smart Chain",
        8217: "Kaia",
        31337: "development",
    }


def test_a_network_without_a_row_is_refused():
    with pytest.raises(UnknownNetwork, match="Chain 1 has no row"):
        networks.of(1)


@pytest.mark.parametrize("network", networks.NETWORKS.values(), ids=str)
def test_each_row_makes_sense(network):
    assert network.has_finalized_tag or network.depth > 0
    assert 0 <= network.tip_floor < network.fee_cap
    assert network.bump_after >= 3 * network.block_time
    assert network.is_mainnet == (network.chain_id in {137, 56, 8217})
    assert network.log_blocks > 0


def test_a_final_block_gets_stale_but_not_on_a_chain_that_may_be_idle():
    polygon, development = networks.of(137), networks.of(31337)
    old = NOW - timedelta(seconds=601)

    assert networks.is_stale(polygon, final_at=old, now=NOW)
    assert not networks.is_stale(polygon, final_at=old + timedelta(seconds=1), now=NOW)
    assert not networks.is_stale(development, final_at=NOW - timedelta(days=9), now=NOW)
