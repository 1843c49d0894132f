"""Which account is used next, and which is left alone, by a clock that the test turns."""

from gateway.upstream.accounts import FAILURES_IN_A_ROW, PROBE_AFTER, SET_ASIDE, Account, Accounts


def labels(accounts: Accounts, now: float, count: int) -> list[str | None]:
    return [None if (account := accounts.pick(now)) is None else account.label for _ in range(count)]


def fail(accounts: Accounts, account: Account, now: float, times: int = FAILURES_IN_A_ROW) -> list[bool]:
    return [accounts.failed(account, now) for _ in range(times)]


def test_accounts_take_turns() -> None:
    """Every account is used as often as the others."""
    assert labels(Accounts(("a", "b", "c")), 0, 6) == ["0", "1", "2", "0", "1", "2"]


def test_an_untried_account_comes_first() -> None:
    """A repeat goes to an account that was not tried, as long as there is one."""
    accounts = Accounts(("a", "b"))
    assert accounts.another(0, ["0"])
    assert not accounts.another(0, ["0", "1"])
    assert [accounts.pick(0, tried) for tried in (["0"], ["1"], ["0", "1"])] == [
        Account("1", "b"),
        Account("0", "a"),
        Account("1", "b"),
    ]


def test_the_breaker_opens_at_the_tenth_failure_in_a_row() -> None:
    """Nine failures and an answer leave it closed; ten in a row open it, which is said once."""
    accounts = Accounts(("a",))
    (account,) = accounts
    fail(accounts, account, 0, FAILURES_IN_A_ROW - 1)
    accounts.answered(account)
    assert fail(accounts, account, 0) == [False] * (FAILURES_IN_A_ROW - 1) + [True]
    assert accounts.pick(0) is None
    assert accounts.out(account, 0)


def test_one_probe_every_five_seconds_until_an_answer() -> None:
    """An open breaker lets one call through each time, and closes with the first answer."""
    accounts = Accounts(("a",))
    (account,) = accounts
    fail(accounts, account, 0)
    assert labels(accounts, PROBE_AFTER - 0.01, 1) == [None]
    assert labels(accounts, PROBE_AFTER, 2) == ["0", None]
    assert fail(accounts, account, PROBE_AFTER, 1) == [False]
    assert labels(accounts, PROBE_AFTER * 2, 2) == ["0", None]
    accounts.answered(account)
    assert labels(accounts, PROBE_AFTER * 2, 2) == ["0", "0"]
    assert not accounts.out(account, PROBE_AFTER * 2)


def test_late_failures_do_not_prolong_the_pause() -> None:
    """Calls begun long ago that fail now leave the time of the next probe as it is."""
    accounts = Accounts(("a",))
    (account,) = accounts
    fail(accounts, account, 0)
    fail(accounts, account, PROBE_AFTER - 0.1, 50)
    assert labels(accounts, PROBE_AFTER, 1) == ["0"]


def test_a_refused_account_rests_for_a_minute() -> None:
    """The others carry on; after a minute it takes its turn again."""
    accounts = Accounts(("a", "b", "c"))
    first = next(iter(accounts))
    assert accounts.set_aside(first, 0)
    assert labels(accounts, 0, 3) == ["1", "2", "1"]
    assert accounts.out(first, 0)
    assert not accounts.out(first, SET_ASIDE)
    assert "0" in labels(accounts, SET_ASIDE, 3)


def test_the_last_account_is_never_set_aside() -> None:
    """When no other could be used, a refused account stays in use."""
    accounts = Accounts(("a", "b"))
    first, second = accounts
    assert accounts.set_aside(first, 0)
    assert not accounts.set_aside(second, 0)
    assert labels(accounts, 0, 2) == ["1", "1"]


def test_a_key_is_in_no_representation() -> None:
    """An account shows its label only."""
    accounts = Accounts(("canary",))
    assert "canary" not in repr((accounts, list(accounts), vars(accounts)))
