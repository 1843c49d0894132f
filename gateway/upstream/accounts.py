"""The accounts upstream: which key is used next, and which is left alone for a while. Pure, with the time handed in.

Two reasons to leave an account alone. Its *breaker* opens after 10 calls in a row that made no connection or timed out;
then one call every 5 seconds probes it, until one is answered. It is *set aside* for a minute when its key is refused;
but the last account is never set aside, since a refusal it may get is better than a refusal it surely gets.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from math import inf

FAILURES_IN_A_ROW = 10
PROBE_AFTER = 5.0
SET_ASIDE = 60.0


@dataclass(frozen=True, slots=True)
class Account:
    """One key upstream. `label`, its place in the configuration, is its only public name."""

    label: str
    key: str = field(repr=False)


@dataclass(slots=True)
class _State:
    account: Account
    failures: int = 0
    open_until: float = -inf
    aside_until: float = -inf

    def ready(self, now: float) -> bool:
        return now >= self.aside_until and (self.failures < FAILURES_IN_A_ROW or now >= self.open_until)

    def out(self, now: float) -> bool:
        return now < self.aside_until or self.failures >= FAILURES_IN_A_ROW


class Accounts:
    """All accounts. `now` is a monotonic time in seconds everywhere."""

    def __init__(self, keys: Sequence[str]) -> None:
        """Name the keys "0", "1" and so on, in their order."""
        self._states = [_State(Account(str(index), key)) for index, key in enumerate(keys)]
        self._by_label = {state.account.label: state for state in self._states}
        self._next = 0

    def __iter__(self) -> Iterator[Account]:
        return iter([state.account for state in self._states])

    def pick(self, now: float, tried: Collection[str] = ()) -> Account | None:
        """Take the next account in turn, one not in `tried` if it can be had; None when all are left alone."""
        count = len(self._states)
        turn = [(self._next + step) % count for step in range(count)]
        ready = [index for index in turn if self._states[index].ready(now)]
        if not ready:
            return None
        index = next((index for index in ready if self._states[index].account.label not in tried), ready[0])
        self._next = (index + 1) % count
        state = self._states[index]
        if state.failures >= FAILURES_IN_A_ROW:
            state.open_until = now + PROBE_AFTER  # this call is the probe; the next may go after as long again
        return state.account

    def another(self, now: float, tried: Collection[str]) -> bool:
        """Say whether an account that was not tried could be picked."""
        return any(state.account.label not in tried and state.ready(now) for state in self._states)

    def answered(self, account: Account) -> None:
        """Close the breaker: whatever the answer was, it was one."""
        self._by_label[account.label].failures = 0

    def failed(self, account: Account, now: float) -> bool:
        """Count a call that made no connection or timed out; True when this opens the breaker."""
        state = self._by_label[account.label]
        state.failures += 1
        if state.failures < FAILURES_IN_A_ROW or now < state.open_until:
            return False
        # Only here, so that late failures of calls begun long before do not prolong a pause that runs already.
        state.open_until = now + PROBE_AFTER
        return state.failures == FAILURES_IN_A_ROW

    def set_aside(self, account: Account, now: float) -> bool:
        """Leave an account alone whose key was refused; False when it is the last, which stays in use."""
        if not self.another(now, (account.label,)):
            return False
        self._by_label[account.label].aside_until = now + SET_ASIDE
        return True

    def out(self, account: Account, now: float) -> bool:
        """Say whether an account is left alone now (`gateway_upstream_breaker_open`)."""
        return self._by_label[account.label].out(now)
