"""`make audit`: is any locked package known to be vulnerable?

pip-audit ends well over packages that nobody could tell it of, as behind a mirror of PyPI without
advisories. Here a package that was not looked up is a failure like a vulnerable one.
"""

import json
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

LOCKS = ("requirements.txt", "requirements-kms.txt", "requirements-dev.txt")


def locked(lines: Iterable[str]) -> set[str]:
    """The packages that lock files name for this machine."""
    pins = [Requirement(line) for line in lines if line.strip() and not line.startswith("#")]
    return {pin.name for pin in pins if pin.marker is None or pin.marker.evaluate()}


def problems(report: Mapping[str, Any], packages: set[str]) -> list[str]:
    """What a report of pip-audit says against us; a package that it leaves out speaks against us too."""
    found = [
        f"{package['name']} {package['version']}: {hole['id']},"
        f" mended in {', '.join(hole['fix_versions']) or 'no version'}"
        for package in report["dependencies"]
        for hole in package.get("vulns", ())
    ]
    audited = {package["name"] for package in report["dependencies"] if "vulns" in package}
    if unknown := sorted(packages - audited):
        found.append(f"{len(unknown)} of {len(packages)} not audited: {', '.join(unknown)}")
    return found


def main() -> int:
    ran = subprocess.run(
        [
            *(sys.executable, "-m", "pip_audit", "--format", "json", "--progress-spinner", "off"),
            *("--no-deps", "--disable-pip"),  # the locks name everything
            *(part for lock in LOCKS for part in ("--requirement", lock)),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        report = json.loads(ran.stdout)
    except ValueError:
        print(ran.stderr, file=sys.stderr)
        print("pip-audit gave no report.", file=sys.stderr)
        return 1
    packages = locked(line for lock in LOCKS for line in Path(lock).read_text().splitlines())
    found = problems(report, packages)
    for problem in found:
        print(problem, file=sys.stderr)
    print(f"{len(packages)} packages, {len(found)} problems")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
