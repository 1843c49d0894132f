"""A log that cannot be written: its disk is full."""

from pathlib import Path

from tests.servers.gateway import describe
from tests.servers.simulator import simulator


def test_a_full_log_costs_no_request(tmp_path: Path) -> None:
    """Where no line of the log can be written, images are generated, refusals explained, and the books right."""
    with simulator(tmp_path / "upstream") as upstream:
        one = describe(tmp_path / "gateway", upstream=upstream.url, keys=upstream.keys)
        one.log_path = Path("/dev/full")
        try:
            one.begin()
            key = one.tenant("team")
            assert one.post(key).status_code == 200
            assert one.post(key, prompt="[status=500]").json()["code"] == -1
            assert one.post(key, prompt="[close]").status_code == 502
            assert one.post("igw_sk_wrong").status_code == 401
            states = one.rows("SELECT state FROM generations ORDER BY id")
            assert [row["state"] for row in states] == ["settled", "released", "unknown"]
            assert one.stop() == 0
        finally:
            one.end()
