"""Reserve a group of generations in one transaction: lock, look, decide, insert, hold."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from sqlalchemy import Connection, bindparam, insert, select, tuple_
from sqlalchemy.dialects import postgresql, sqlite

from gateway.database.prepared import ByKey, Many
from gateway.database.tables import balances, generations, tenants
from gateway.ledger.caps import Used, add_used, capped, read_used
from gateway.ledger.records import (
    PERIODS,
    WITHOUT_WORDS,
    Admission,
    Admitted,
    Capped,
    Duplicate,
    Period,
    Repeat,
    Reservation,
    window_starts,
)
from gateway.ledger.transitions import Balance, refusal
from gateway.money import Micros

Window = tuple[str, Period, str]
"""Scope, period and start: the primary key of `balances`."""

_RESERVED = (
    "id",
    "tenant_id",
    "key_id",
    "token_id",
    "images_asked",
    "end_user",
    "process_id",
    "request_id",
    "idempotency_key",
    "fingerprint",
    "state",
    "day",
    "model",
    "provider",
    "quote",
    "created_at",
    "ask",
    "announced",
)
_INSERT = Many(insert(generations), _RESERVED)
_LOCK = select(tenants.c.id).where(tenants.c.id.in_(bindparam("ids", expanding=True))).order_by(tenants.c.id)
_KEYED = select(generations.c.tenant_id, generations.c.idempotency_key, generations.c.id).where(
    tuple_(generations.c.tenant_id, generations.c.idempotency_key).in_(bindparam("keys", expanding=True))
)
_BALANCES = ByKey(select(balances), (balances.c.scope, balances.c.period, balances.c.start))


def _adding(statement: postgresql.Insert | sqlite.Insert) -> postgresql.Insert | sqlite.Insert:
    added = {name: balances.c[name] + statement.excluded[name] for name in ("spent", "held")}
    return statement.on_conflict_do_update(index_elements=["scope", "period", "start"], set_=added)


_ADD = Many(
    _adding(postgresql.insert(balances)),
    ("scope", "period", "start", "spent", "held"),
    sqlite=_adding(sqlite.insert(balances)),
)


def lock_tenants(connection: Connection, ids: Iterable[str]) -> None:
    """Serialize with the transactions of other processes, in id order so that no two can wait for each other.

    Once a transaction, for all its tenants, before `reserve`, `settle` or `remember`. SQLite needs nothing: BEGIN
    IMMEDIATE has locked the database.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(_LOCK.with_for_update(), {"ids": sorted(set(ids))})


def reserve(connection: Connection, process_id: str, asked: Sequence[Reservation]) -> list[Admission]:
    """Admit what fits, in the order it was asked; return one admission for each. The tenants are locked already."""
    owners = _owners(connection, asked)
    limited = {window for one in asked if one.budget.limits() for window in windows_of(one.tenant_id, one.day)}
    standing = read_balances(connection, limited)
    held: defaultdict[Window, Micros] = defaultdict(int)
    used = read_used(connection, [one.caps.token_id for one in asked if one.caps is not None])
    taken: dict[str, Used] = {}
    rows: list[dict[str, object]] = []
    admissions: list[Admission] = []
    for one in asked:
        owner = (one.tenant_id, one.idempotency_key)
        if one.idempotency_key is not None and owner in owners:
            admissions.append(Duplicate(owners[owner]))
            continue
        windows = windows_of(one.tenant_id, one.day)
        refused = refusal(one.budget, _balances(windows, standing, held), one.quote) or _capped(one, used)
        if refused is not None:
            admissions.append(refused)
            continue
        if one.caps is not None:
            more = Used(held=one.quote, images_held=one.images)
            used[one.caps.token_id] += more
            taken[one.caps.token_id] = taken.get(one.caps.token_id, Used()) + more
        for window in windows:
            held[window] += one.quote
        owners[owner] = one.id
        rows.append(_row(one, process_id))
        admissions.append(Admitted())
    if rows:
        _INSERT.run(connection, rows)
        add_to_balances(connection, {window: (0, micros) for window, micros in held.items()})
        add_used(connection, taken)
    return admissions


def _capped(one: Reservation, used: Mapping[str, Used]) -> Capped | None:
    return None if one.caps is None else capped(one.caps, used.get(one.caps.token_id), one.quote, one.images)


def _balances(
    windows: Sequence[Window], standing: Mapping[Window, Balance], held: Mapping[Window, Micros]
) -> dict[Period, Balance]:
    """Return what stands in these windows, with what this group holds already; those without a limit were not read."""
    return {
        window[1]: Balance(standing[window].spent, standing[window].held + held.get(window, 0))
        for window in windows
        if window in standing
    }


def remember(connection: Connection, process_id: str, repeats: Sequence[Repeat]) -> None:
    """Write rows for repeats, settled and free; one whose idempotency key was taken meanwhile changes nothing.

    A repeat of what was erased meanwhile is erased too. The tenants are locked already.
    """
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    settled = {"state": "settled", "bill": "free", "quote": 0, "cost": 0, "images_generated": 0, "images_failed": 0}
    originals = select(generations.c.id).where(generations.c.id.in_({one.of for one in repeats if one.of is not None}))
    erased = set(connection.scalars(originals.where(generations.c.erase_asked_at.is_not(None))))
    rows = [
        _row(one.reservation, process_id)
        | settled
        | {"settled_at": one.reservation.created_at, "repeat_of": one.of}
        | (_words_gone(one) if one.of in erased else _words(one))
        for one in repeats
    ]
    connection.execute(dialect.insert(generations).on_conflict_do_nothing(), rows)


def _words(one: Repeat) -> dict[str, object]:
    return {"reply": one.reply, "error": one.error, "erase_asked_at": None, "erased_at": None}


def _words_gone(one: Repeat) -> dict[str, object]:
    moment = one.reservation.created_at
    return {
        "ask": WITHOUT_WORDS,
        "reply": None,
        "error": WITHOUT_WORDS,
        "erase_asked_at": moment,
        "erased_at": moment,
    }


def windows_of(scope: str, day: str) -> list[Window]:
    """Return the windows that a generation of that local day counts in."""
    starts = window_starts(day)
    return [(scope, period, starts[period]) for period in PERIODS]


def read_balances(connection: Connection, windows: Iterable[Window]) -> dict[Window, Balance]:
    """Read balances; a window without a row is empty."""
    wanted = sorted(windows)
    found = {window: Balance() for window in wanted}
    for scope, period, start, spent, held in _BALANCES.fetch(connection, wanted):
        found[scope, period, start] = Balance(spent, held)
    return found


def add_to_balances(connection: Connection, changes: dict[Window, tuple[Micros, Micros]]) -> None:
    """Add (spent, held) to each window, in one order everywhere."""
    rows = [
        {"scope": scope, "period": period, "start": start, "spent": spent, "held": held}
        for (scope, period, start), (spent, held) in sorted(changes.items())
        if spent or held
    ]
    _ADD.run(connection, rows)


def _owners(connection: Connection, asked: Sequence[Reservation]) -> dict[tuple[str, str | None], str]:
    keys = sorted({(one.tenant_id, one.idempotency_key) for one in asked if one.idempotency_key is not None})
    if not keys:
        return {}
    return {(row.tenant_id, row.idempotency_key): row.id for row in connection.execute(_KEYED, {"keys": keys})}


def _row(one: Reservation, process_id: str) -> dict[str, object]:
    return {
        "id": one.id,
        "tenant_id": one.tenant_id,
        "key_id": one.key_id,
        "token_id": None if one.caps is None else one.caps.token_id,
        "images_asked": one.images,
        "end_user": one.end_user,
        "process_id": process_id,
        "request_id": one.request_id,
        "idempotency_key": one.idempotency_key,
        "fingerprint": one.fingerprint,
        "state": "reserved",
        "day": one.day,
        "model": one.model,
        "provider": one.provider,
        "quote": one.quote,
        "created_at": one.created_at,
        "ask": one.ask,
        "announced": one.announced,
    }
