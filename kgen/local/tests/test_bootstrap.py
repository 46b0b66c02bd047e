import sys
from pathlib import Path

import pytest

from kgen.local import bootstrap


def test_an_old_python_is_told_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 9, 2))
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(SystemExit) as end:
        bootstrap.main(["requirements.txt"])

    assert str(end.value).startswith("\nKGeN needs Python 3.11 or newer, and ")
    assert "is 3.9. Install one" in str(end.value)


def test_nothing_is_installed_while_the_lock_is_the_same(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    installed: list[list[str]] = []
    monkeypatch.setattr(bootstrap, "ROOT", str(tmp_path))
    monkeypatch.setattr(bootstrap, "STAMP", str(tmp_path / "installed.json"))
    monkeypatch.setattr(bootstrap, "venv_works", lambda: True)
    monkeypatch.setattr(bootstrap, "install", installed.append)
    lock = tmp_path / "requirements.txt"
    lock.write_text("django==5.2.19\n")

    bootstrap.main(["requirements.txt"])
    bootstrap.main(["requirements.txt"])
    lock.write_text("django==5.2.20\n")
    bootstrap.main(["requirements.txt"])

    assert installed == [["requirements.txt"], ["requirements.txt"]]
