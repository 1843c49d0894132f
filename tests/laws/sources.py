"""The source as the laws read it."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Source:
    """A Python file: its dotted name, where it is, its text and its syntax tree."""

    name: str
    path: Path
    text: str
    tree: ast.Module

    def at(self, node: ast.AST) -> str:
        """Return where a node is, as an editor opens it: `gateway/money.py:12`."""
        return f"{self.path.relative_to(ROOT)}:{getattr(node, 'lineno', 1)}"

    def nested(self) -> Iterator[tuple[ast.AST, tuple[ast.AST, ...]]]:
        """Yield every node with the nodes around it, outermost first."""
        waiting: list[tuple[ast.AST, tuple[ast.AST, ...]]] = [(self.tree, ())]
        while waiting:
            node, around = waiting.pop()
            yield node, around
            waiting.extend((child, (*around, node)) for child in ast.iter_child_nodes(node))


@cache
def sources(folder: str) -> tuple[Source, ...]:
    """Read every Python file below `gateway` or `tests`."""
    return tuple(_read(path) for path in sorted((ROOT / folder).rglob("*.py")))


def called(node: ast.Call) -> str:
    """Return what a call names, as it is written: `asyncio.sleep`."""
    return ast.unparse(node.func)


def _read(path: Path) -> Source:
    parts = path.relative_to(ROOT).with_suffix("").parts
    text = path.read_text(encoding="utf-8")
    return Source(".".join(parts).removesuffix(".__init__"), path, text, ast.parse(text))
