"""The ledger of a gateway that has ended, read from its SQLite file, and what must be true of it whatever the load."""

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from gateway.data_dir import DATABASE
from gateway.money import Micros
from tests.bench.nginx import COST_MICROS


@dataclass(frozen=True, slots=True)
class Ledger:
    """How many generations ended how, what they cost, and what the windows of the budget say."""

    settled: int
    unsettled: int
    cost: Micros
    held: Micros
    spent: tuple[Micros, ...]
    """By day, by month, in total."""

    def faults(self, worked: int, answered: int) -> tuple[str, ...]:
        """Say what is wrong, given how many generations upstream worked on and how many the callers saw succeed."""
        rules = (
            (self.settled == worked, f"{self.settled} generations settled, {worked} made by upstream"),
            (self.settled >= answered, f"{self.settled} generations settled, {answered} answered"),
            (self.unsettled == 0, f"{self.unsettled} generations not settled"),
            (self.cost == self.settled * COST_MICROS, f"{self.settled} generations settled at {self.cost} micro-yuan"),
            (self.held == 0, f"{self.held} micro-yuan still held"),
            (set(self.spent) <= {self.cost}, f"budgets spent {self.spent}, the ledger {self.cost} micro-yuan"),
        )
        return tuple(text for good, text in rules if not good)


def read(data: Path) -> Ledger:
    """Read the ledger in a gateway's data directory."""
    with closing(sqlite3.connect(data / DATABASE)) as connection:
        states = connection.execute("SELECT state, count(*), coalesce(sum(cost), 0) FROM generations GROUP BY state")
        found = {state: (count, cost) for state, count, cost in states}
        settled, cost = found.pop("settled", (0, 0))
        windows = connection.execute("SELECT sum(spent), sum(held) FROM balances GROUP BY period").fetchall()
    return Ledger(
        settled=settled,
        unsettled=sum(count for count, _ in found.values()),
        cost=cost,
        held=sum(held for _, held in windows),
        spent=tuple(spent for spent, _ in windows),
    )
