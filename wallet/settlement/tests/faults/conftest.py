from collections.abc import Iterator

import pytest

from wallet.settlement.tests.faults.herd import Herd
from wallet.settlement.tests.faults.rig import Rig
from wallet.tests.chain import Bench
from wallet.tests.conftest import bench, deployed, engine, owner

__all__ = ["bench", "deployed", "engine", "owner"]


@pytest.fixture(scope="session")
def herd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Herd]:
    """Where worker processes come from."""
    herd = Herd(tmp_path_factory.mktemp("herd") / "workers.log")
    yield herd
    herd.close()


@pytest.fixture
def rig(committed_database, bench: Bench, herd: Herd) -> Iterator[Rig]:
    rig = Rig(bench, herd)
    yield rig
    rig.close()
