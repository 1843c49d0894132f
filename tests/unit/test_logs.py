"""No line of the log shows a secret, whoever wrote it and however it is written there."""

import subprocess
import sys

import pytest

SECRETS = ("sk-canary-5be07a1c9f77", 'pass"word\\with/all', "käse-und-brot-42", "canary")
TENANT_KEY = "igw_sk_7Qm2Zx9Lk4Vb8Nc1Ws6Ed3Rf5Tg0Yh7Uj2Ik4Ol6Pa8Sd1Fg3"
SAY = """
import logging, sys
import structlog
from urllib.parse import quote
from gateway.logs import configure

log_format, key, *secrets = sys.argv[1:]
configure("debug", log_format, secrets)
log, library = structlog.get_logger("ours"), logging.getLogger("a.library")
for secret in (*secrets, key):
    log.info("said", text=f"<{secret}>", url=f"postgresql://u:{quote(secret, safe='')}@host/", inner={"key": [secret]})
    library.warning("a library says %s", secret)
    try:
        raise ValueError(secret)
    except ValueError:
        log.exception("failed")
        library.exception("failed")
"""


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_no_line_shows_a_secret(log_format: str) -> None:
    """Ours or a library's, in a value, a URL or a traceback, as JSON or as text; words shorter than a secret stay."""
    done = subprocess.run(
        [sys.executable, "-c", SAY, log_format, TENANT_KEY, *SECRETS], capture_output=True, text=True, check=True
    )
    said = done.stderr
    assert "Traceback" in said
    for secret in ("canary-5be07a1c9f77", "word", "brot-42", TENANT_KEY[7:30]):
        assert secret not in said.replace("a library", "")
    assert said.count("[removed]") >= 5 * 4
    assert "<canary>" in said
