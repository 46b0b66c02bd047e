import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from kgen.local.servers import DataFolder


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """One that every user can pass through, unlike pytest's own."""
    folder = Path(tempfile.mkdtemp(prefix="kgen-tests-open-"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder)


def test_data_stay_where_their_server_can_reach_them(open_folder: Path) -> None:
    data = DataFolder(open_folder / "local" / "data")

    assert (data.path, data.moved) == (open_folder / "local" / "data", False)


@pytest.mark.skipif(os.geteuid() != 0, reason="others run the servers as themselves")
def test_data_of_a_closed_folder_go_elsewhere_and_are_found_again(open_folder: Path) -> None:
    closed, elsewhere = open_folder / "closed", open_folder / "elsewhere"
    closed.mkdir(mode=0o700)
    elsewhere.mkdir()

    first = DataFolder(closed / "data", elsewhere=elsewhere)
    second = DataFolder(closed / "data", elsewhere=elsewhere)

    assert first.path.parent == elsewhere
    assert (second.path, second.moved) == (first.path, True)
