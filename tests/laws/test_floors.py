"""Imports point down, so that each part can be read, tested and replaced without those above it."""

import ast
from collections.abc import Iterator

from tests.laws.sources import Source, sources

FLOORS = (
    {
        "contract",
        "money",
        "errors",
        "clock",
        "ids",
        "inflate",
        "pieces",
        "metrics",
        "logs",
        "aside",
        "spans",
        "spreadsheet",
        "trace_context",
    },
    {"database", "redis_link", "guard", "moments"},
    {"tenants", "catalog", "limits", "replies", "upstream", "images", "ledger", "webhooks"},
    {"flow"},
    {"simulator", "api", "sample"},
    {
        "__main__",
        "cli",
        "app",
        "settings",
        "setting_types",
        "server",
        "parent",
        "life",
        "data_dir",
        "hidden",
        "protocol",
        "stall",
        "traces",
        "worker_metrics",
    },
)
"""The parts of each floor, the lowest first. On the top floor, where the whole is put together, parts meet."""

TOP = len(FLOORS) - 1
FLOOR = {part: floor for floor, parts in enumerate(FLOORS) for part in parts}


def part_of(name: str) -> str:
    """Return the part that a module belongs to: `ledger` of `gateway.ledger.settle`."""
    return name.split(".")[1] if "." in name else ""


def imports(source: Source) -> Iterator[tuple[ast.AST, str]]:
    """Yield every module of the package that a file imports, wherever in the file."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            yield from ((node, alias.name) for alias in node.names if part_of(alias.name) in FLOOR)
        elif isinstance(node, ast.ImportFrom) and node.module == "gateway":
            yield from ((node, f"gateway.{alias.name}") for alias in node.names if alias.name in FLOOR)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("gateway."):
            yield node, str(node.module)


def test_every_part_has_a_floor() -> None:
    """A new part is given its place on purpose."""
    parts = {part_of(source.name) for source in sources("gateway")} - {""}
    assert parts - FLOOR.keys() == set()


def test_imports_point_down() -> None:
    """A module imports from floors below its own and from its own part, and nothing else of the package."""
    broken = []
    for source in sources("gateway"):
        own = part_of(source.name)
        for node, name in imports(source):
            other = part_of(name)
            allowed = other == own or FLOOR[other] < FLOOR.get(own, 0) or FLOOR.get(own) == FLOOR[other] == TOP
            if not allowed:
                broken.append(f"{source.at(node)}: {source.name} imports {name}")
    assert broken == []


def test_imports_are_absolute() -> None:
    """What is imported is named in full."""
    relative = [
        source.at(node)
        for source in sources("gateway")
        for node in ast.walk(source.tree)
        if isinstance(node, ast.ImportFrom) and node.level
    ]
    assert relative == []
