"""Which generations of this process are in progress, and in which places."""

from collections.abc import Iterable, Mapping


class Holdings:
    """Places held by this process, by the key of the limit they count against."""

    def __init__(self) -> None:
        self._by_id: dict[str, frozenset[str]] = {}
        self._by_key: dict[str, set[str]] = {}

    def add(self, id: str, keys: Iterable[str]) -> None:  # noqa: A002 -- the word of the house
        """Hold a place against each of these keys."""
        held = frozenset(keys)
        if not held:
            return
        self._by_id[id] = held
        for key in held:
            self._by_key.setdefault(key, set()).add(id)

    def remove(self, id: str) -> frozenset[str]:  # noqa: A002 -- the word of the house
        """Give up the places of an id and return their keys; none if it held none."""
        keys = self._by_id.pop(id, frozenset())
        for key in keys:
            ids = self._by_key[key]
            ids.discard(id)
            if not ids:
                del self._by_key[key]
        return keys

    def count(self, key: str) -> int:
        """Return how many places are held against a key."""
        return len(self._by_key.get(key, ()))

    def holds(self, id: str, key: str) -> bool:  # noqa: A002 -- the word of the house
        """Whether the id holds a place against the key."""
        return key in self._by_id.get(id, ())

    def all(self) -> Mapping[str, frozenset[str]]:
        """Return a copy of all places: the ids by key."""
        return {key: frozenset(ids) for key, ids in self._by_key.items()}
