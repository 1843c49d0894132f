"""The wheel is the whole product, and nothing but."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.laws.sources import ROOT

BIN = Path(sys.executable).parent
NO_CODE = {".typed", ".toml", ".lua", ".html", ".css", ".js", ".svg"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel with the pinned backend, without asking anybody for anything."""
    made = tmp_path_factory.mktemp("wheel")
    _run(
        *(BIN / "uv", "build", "--wheel", "--quiet", "--offline", "--no-build-isolation"),
        *("--python", sys.executable, "--out-dir", made, ROOT),
    )
    (found,) = made.glob("*.whl")
    return found


def test_the_wheel_holds_every_file_of_the_package(wheel: Path) -> None:
    """Code, catalog, scripts, migrations and pages are all in it; tests and path files are not."""
    names = set(zipfile.ZipFile(wheel).namelist())
    package = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "gateway").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {Path(name).suffix for name in package} - {".py"} <= NO_CODE
    assert package <= names
    assert all(name in package or ".dist-info/" in name for name in names)
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)


def test_a_plain_install_works(wheel: Path, tmp_path: Path) -> None:
    """The wheel and the runtime lock, without tools of development, make a gateway that runs and migrates."""
    _run(BIN / "uv", "venv", "--quiet", "--python", sys.executable, tmp_path / "venv")
    install = (BIN / "uv", "pip", "install", "--quiet", "--python", tmp_path / "venv/bin/python")
    _run(*install, "--require-hashes", "--requirement", ROOT / "requirements.lock")
    _run(*install, "--no-deps", "--offline", wheel)
    gateway = tmp_path / "venv/bin/gateway"
    assert "serve" in _run(gateway, "--help")
    _run(gateway, "migrate", directory=tmp_path)
    assert (tmp_path / "var").is_dir()


def _run(*command: str | Path, directory: Path = ROOT) -> str:
    """Run a command away from the source tree's own package; return what it says."""
    environ = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    done = subprocess.run(command, cwd=directory, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
