"""Looking models up: by name and alias, and by the day."""

from datetime import date

from gateway.catalog import parse

CATALOG = parse(
    b"""
    [models.now]
    provider = "p"
    accepts = ["seed"]
    aliases = ["latest", "now-2"]
    price = { image = "1", currency = "CNY" }
    [models.ending]
    provider = "p"
    accepts = []
    aliases = ["old"]
    retired_on = 2026-10-02
    price = { image = "1", currency = "CNY" }
    [models.off]
    provider = "p"
    accepts = []
    enabled = false
    price = { image = "1", currency = "CNY" }
    """,
    "c.toml",
)
BEFORE, AFTER = date(2026, 10, 1), date(2026, 10, 2)


def test_find_by_name_and_alias() -> None:
    """A model is found by its name and its aliases, offered or not, and by nothing else."""
    assert CATALOG.find("latest") is CATALOG.find("now") is CATALOG.models[0]
    assert CATALOG.find("off") is CATALOG.models[2]
    assert CATALOG.find("Now") is None


def test_offered_names() -> None:
    """A model is offered until the day of its retirement, unless it is switched off; names come without aliases."""
    assert CATALOG.names(BEFORE) == ("now", "ending")
    assert CATALOG.names(AFTER) == ("now",)


def test_rules_by_every_name() -> None:
    """Each name and alias on offer has its model's rules, and the answer is kept for the day."""
    assert set(CATALOG.rules(BEFORE)) == {"now", "latest", "now-2", "ending", "old"}
    assert set(CATALOG.rules(AFTER)) == {"now", "latest", "now-2"}
    assert CATALOG.rules(AFTER)["latest"].name == "now"
    assert CATALOG.rules(AFTER) is CATALOG.rules(AFTER)
    assert "old" in CATALOG.rules(BEFORE)
