"""The words of the Makefile and the locks behind them."""

import re
import subprocess

from tests.laws.sources import ROOT

MAKEFILE = (ROOT / "Makefile").read_text()


def pins(*names: str) -> set[tuple[str, str]]:
    """Return what lock files pin."""
    text = "\n".join((ROOT / name).read_text() for name in names)
    return set(re.findall(r"^([A-Za-z0-9._-]+)==([^ ;]+)", text, re.MULTILINE))


def test_make_alone_lists_every_target() -> None:
    """Each target has a line of help."""
    targets = set(re.findall(r"^([a-z]+):", MAKEFILE, re.MULTILINE))
    listed = subprocess.run(["make", "--no-print-directory"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert set(re.findall(r"^  make ([a-z]+) +\S", listed.stdout, re.MULTILINE)) == targets
    assert {"demo", "test", "promises", "check", "bench", "lock", "format", "clean"} <= targets


def test_the_locks_agree() -> None:
    """A package is pinned to one version, whichever lock is installed, and nowhere without a hash."""
    locks = ("requirements.lock", "requirements-dev.lock", "deploy/uv.txt", "deploy/build.txt")
    every = pins(*locks)
    assert len(every) == len({name for name, _ in every})
    assert pins("requirements.lock") <= pins("requirements-dev.lock")
    for lock in locks:
        for one in re.split(r"\n(?=[A-Za-z0-9])", (ROOT / lock).read_text().strip()):
            assert "--hash=sha256:" in one, f"{lock}: {one.partition(' ')[0]}"


def test_the_build_backend_is_the_pinned_one() -> None:
    """What builds the wheel is what its lock says."""
    assert re.findall(r"hatchling==[0-9.]+", (ROOT / "pyproject.toml").read_text()) == [
        f"{name}=={version}" for name, version in pins("deploy/build.txt") if name == "hatchling"
    ]


def test_the_gate_is_make_test_and_nothing_else() -> None:
    """What runs in the gate is what a developer runs."""
    commands = [line for line in (ROOT / ".ci/run").read_text().splitlines() if line and not line.startswith("#")]
    assert commands == ["set -euo pipefail", 'cd "$(dirname "$0")/.."', "exec make test"]
