"""Whatever happens to generations, in whatever order, the books are right."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cache

import hypothesis.strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
)
from sqlalchemy import Connection, create_engine, select
from sqlalchemy.pool import StaticPool

from gateway.database.migrate import upgrade
from gateway.database.tables import generations
from gateway.ledger.bill import FREE, Bill
from gateway.ledger.processes import GONE_AFTER_MS, give_up, heartbeat
from gateway.ledger.records import (
    Abandonment,
    Admitted,
    Budget,
    Duplicate,
    Exhausted,
    Period,
    Reservation,
    Settlement,
    window_starts,
)
from gateway.ledger.reserve import reserve
from gateway.ledger.settle import abandon, settle
from tests.books import MOMENT, add_tenant, reservation, standing, totals

LIMITS = Budget(day=100, month=150, total=250)
DAYS = ("2026-11-29", "2026-11-30", "2026-12-01")
QUOTES = st.integers(0, 60)
BILLS = st.one_of(
    st.builds(Bill, st.just("exact"), st.integers(0, 90)), st.builds(Bill, st.just("quoted"), QUOTES), st.just(FREE)
)


@dataclass(slots=True)
class Expected:
    """What the books ought to say of one generation."""

    asked: Reservation
    process: str
    state: str = "reserved"
    bill: Bill | None = None
    beyond: int = 0
    """By how much its bills passed what was held or billed before them: above the quote, or after a release."""

    def window(self, period: Period) -> tuple[str, str]:
        return period, window_starts(self.asked.day)[period]

    @property
    def spent(self) -> int:
        return 0 if self.bill is None else self.bill.cost

    @property
    def held(self) -> int:
        return self.asked.quote if self.bill is None else 0


@cache
def empty_books() -> bytes:
    """Return a migrated SQLite file: migrating anew for each example would be most of the time."""
    engine = create_engine("sqlite://", poolclass=StaticPool)
    with engine.begin() as sql:
        upgrade(sql)
    with closing(engine.raw_connection()) as connection:
        driver = connection.driver_connection
        assert isinstance(driver, sqlite3.Connection)
        content = driver.serialize()
    engine.dispose()
    return content


def connect() -> sqlite3.Connection:
    """Open a migrated database in memory."""
    connection = sqlite3.connect(":memory:")
    connection.deserialize(empty_books())
    return connection


class Books(RuleBasedStateMachine):
    """Two processes, one tenant, three days across the end of a month, on one SQLite."""

    known: Bundle[Expected] = Bundle("known")

    def __init__(self) -> None:
        super().__init__()
        self.engine = create_engine("sqlite://", poolclass=StaticPool, creator=connect)
        self.all: list[Expected] = []
        self.day = 0
        self.now = MOMENT
        with self.transaction() as sql:
            self.tenant = add_tenant(sql)

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        with self.engine.begin() as sql:
            yield sql

    @initialize()
    def begin(self) -> None:
        self.beat("one")
        self.beat("two")

    @rule(
        target=known,
        process=st.sampled_from(["one", "two"]),
        quotes=st.lists(QUOTES, min_size=1, max_size=4),
        key=st.none() | st.sampled_from("abc"),
    )
    def reserve(self, process: str, quotes: list[int], key: str | None) -> MultipleResults[Expected]:
        asked = [
            reservation(self.tenant, quote, budget=LIMITS, day=DAYS[self.day], idempotency_key=key) for quote in quotes
        ]
        owner = next((one.asked.id for one in self.all if key is not None and one.asked.idempotency_key == key), None)
        admitted = []
        with self.transaction() as sql:
            said = reserve(sql, process, asked)
        for one, admission in zip(asked, said, strict=True):
            if owner is not None:
                assert admission == Duplicate(owner)
            elif all(self.used(period) + one.quote <= limit for period, limit in LIMITS.limits().items()):
                assert admission == Admitted()
                admitted.append(Expected(one, process))
                self.all.append(admitted[-1])
                owner = None if key is None else one.id
            else:
                # What is spent, what is held and what is left are together the limit.
                assert isinstance(admission, Exhausted)
                used, limit = self.used(admission.period), LIMITS.limits()[admission.period]
                assert admission == Exhausted(admission.period, limit, max(0, limit - used))
                assert used + one.quote > limit
        return multiple(*admitted)

    @rule(ended=st.lists(known, max_size=4), bill=BILLS)
    def end(self, ended: list[Expected], bill: Bill) -> None:
        with self.transaction() as sql:
            said = settle(sql, [Settlement(one.asked.id, self.tenant, bill, self.now) for one in ended])
        for one, changed in zip(ended, said, strict=True):
            corrects = bill.kind == "exact" and one.bill is not None and one.bill.kind != "exact"
            assert changed == (one.bill is None or corrects)
            if changed:
                one.beyond += max(0, bill.cost - one.held - one.spent)
                one.bill = bill
                one.state = "released" if bill.kind == "free" else "settled"

    @rule(generation=known)
    def give_up(self, generation: Expected) -> None:
        with self.transaction() as sql:
            abandon(sql, [Abandonment(generation.asked.id, self.tenant, "silence")])
        if generation.state == "reserved":
            generation.state = "unknown"

    @rule(generation=consumes(known))
    def forget(self, generation: Expected) -> None:
        """Let one be, so that some are never settled."""

    @rule()
    def midnight(self) -> None:
        self.day = min(self.day + 1, len(DAYS) - 1)

    @rule(survivor=st.sampled_from(["one", "two"]))
    def crash(self, survivor: str) -> None:
        """The other process stops beating; it starts again under its name once it was noticed."""
        self.now += GONE_AFTER_MS + 1
        self.beat(survivor)
        for one in self.all:
            if one.process != survivor and one.state == "reserved":
                one.state = "unknown"
        self.beat("two" if survivor == "one" else "one")

    @invariant()
    def balances_are_the_sum_of_the_rows(self) -> None:
        with self.transaction() as sql:
            rows = {row.id: row for row in sql.execute(select(generations))}
            balances, summed = standing(sql, self.tenant), totals(sql, self.tenant)
        for one in self.all:
            assert rows[one.asked.id].state == one.state
            assert rows[one.asked.id].cost == (None if one.bill is None else one.bill.cost)
        wanted: dict[tuple[str, str], tuple[int, int]] = {}
        for one in self.all:
            for period in LIMITS.limits():
                spent, held = wanted.get(one.window(period), (0, 0))
                wanted[one.window(period)] = (spent + one.spent, held + one.held)
        # A window whose every amount was nothing has no row.
        assert {window: both for window, both in balances.items() if both != (0, 0)} == {
            window: both for window, both in wanted.items() if both != (0, 0)
        }
        assert summed == (sum(one.spent for one in self.all), sum(one.held for one in self.all))

    @invariant()
    def only_what_upstream_billed_beyond_its_hold_passes_a_limit(self) -> None:
        for period, limit in LIMITS.limits().items():
            assert self.used(period) <= limit + sum(one.beyond for one in self.all)

    def used(self, period: Period) -> int:
        """Return what today's window of this period has spent and holds."""
        start = window_starts(DAYS[self.day])[period]
        return sum(one.spent + one.held for one in self.all if one.window(period) == (period, start))

    def beat(self, process: str) -> None:
        with self.transaction() as sql:
            heartbeat(sql, process, self.now)
            give_up(sql, process, self.now, alone=False)

    def teardown(self) -> None:
        self.engine.dispose()


TestBooks = Books.TestCase
