"""The commands of the runbook, as an operator would copy them."""

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.servers.gateway import Gateway

RUNBOOK = (Path(__file__).parents[2] / "deploy" / "RUNBOOK.md").read_text()


def do(heading: str, gateway: Gateway, *, step: int = 0, **variables: str | Path) -> str:
    """Run the commands of a step that stands under a heading of the runbook; return what they print."""
    section = RUNBOOK.split(f"\n### {heading}\n")[1].split("\n### ")[0]
    commands = re.findall(r"^```sh\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)[step]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands],
        env={**gateway.environment, "PATH": path, **{name: str(value) for name, value in variables.items()}},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
