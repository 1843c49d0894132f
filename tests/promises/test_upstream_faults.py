"""Upstream's faults cost tenants neither money nor sight of whose key it was."""

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.servers.pair import pair

KEYS = ("first-upstream-key", "second-upstream-key", "third-upstream-key")


def test_a_busy_upstream_is_tried_again_and_paid_once(tmp_path: Path, count: Callable[[int, int], int]) -> None:
    """Upstream answers 429 twice and then well: the client sees one 200, the ledger one charge."""
    number = count(4, 20)
    with pair(tmp_path) as both, ThreadPoolExecutor(number) as pool:
        prompts = [f"patience {index} [times=2 status=429 retry-after=0]" for index in range(number)]
        answers = list(pool.map(both.post, prompts))
        (held, calls), bill = both.state()[1:], both.simulator.bill()
        print(
            f"{number} asks met 429 twice: {Counter(answer.status_code for answer in answers)}, {calls} calls,"
            f" {len(bill)} charges, ledger {both.settled()} = bill {both.simulator.bill_total()}"
        )
        assert {answer.status_code for answer in answers} == {200}
        assert (len(bill), calls, held) == (number, 3 * number, 0)
        assert both.settled() == both.simulator.bill_total()
        assert both.gateway.metric("gateway_upstream_attempts_total", result="busy") == 2 * number
        assert both.gateway.metric("gateway_upstream_attempts_total", result="generated") == number


def test_a_refused_account_is_set_aside_unseen(tmp_path: Path, count: Callable[[int, int], int]) -> None:
    """Of three accounts one is refused: tenants see 200 by the others; a metric and a log line tell the operator."""
    number = count(12, 100)
    with pair(tmp_path, keys=KEYS) as both, ThreadPoolExecutor(4) as pool:
        both.simulator.go_wrong({"match": {"account": 1}, "fault": {"key-error": True}})
        answers = list(pool.map(both.post, [f"picture {index}" for index in range(number)]))
        accounts = Counter(line.account for line in both.simulator.bill())
        refused = sum(call["account"] == "1" for call in both.simulator.calls())
        print(f"{number} asks, one account of three refused: {accounts} billed, {refused} calls to the refused one")
        assert {answer.status_code for answer in answers} == {200}
        assert accounts.keys() == {"0", "2"}
        assert 1 <= refused <= 4, "those that were on their way when it was first refused"
        assert [both.gateway.metric("gateway_upstream_breaker_open", account=one) for one in "012"] == [0, 1, 0]
        assert '"account":"1"' in both.gateway.log
        assert "upstream_account_refused" in both.gateway.log
        assert both.settled() == both.simulator.bill_total()
        assert both.gateway.held() == 0


def test_when_every_account_is_refused_no_tenant_learns_why(tmp_path: Path) -> None:
    """With no account left callers get 502 in the gateway's own words, free of charge."""
    with pair(tmp_path, keys=KEYS[:2]) as both:
        both.simulator.go_wrong({"match": {}, "fault": {"balance": True}})
        answers = [both.post() for _ in range(4)]
        print(f"every account refused: {Counter(answer.status_code for answer in answers)}")
        for answer in answers:
            text = "The image provider is not available to this gateway right now"
            assert (answer.status_code, answer.json()) == (502, {"code": -1, "msg": text})
        assert both.gateway.held() == 0
        assert both.settled() == both.simulator.bill_total() == 0
