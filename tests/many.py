"""A ledger of a month of many generations, written by the database itself: a million take it half a minute."""

from sqlalchemy import Connection, text

FIRST, LAST = "2026-11-01", "2026-11-30"
MONTH_MS = 30 * 86_400_000
BEGINS = 1_793_462_400_000
"""When the month begins in Shanghai."""

TENANTS = 20

_ROWS = """
INSERT INTO generations (id, tenant_id, key_id, process_id, request_id, fingerprint, state, bill, day, model,
    answered_model, provider, account, quote, cost, images_generated, images_failed, created_at, settled_at, ask, reply,
    end_user)
WITH RECURSIVE numbers (i) AS (
    SELECT CAST(0 AS BIGINT) UNION ALL SELECT i + 1 FROM numbers WHERE i + 1 < CAST(:rows AS BIGINT)
),
moments (i, at) AS (
    SELECT i, CAST(:begins AS BIGINT) + i * (CAST(:month AS BIGINT) / CAST(:rows AS BIGINT)) FROM numbers
)
SELECT {id}, 'ten_' || (i % 20), 'key_' || (i % 40), 'proc_1', 'req_' || i, :digest,
    CASE WHEN i % 100 = 0 THEN 'unknown' WHEN i % 50 = 1 THEN 'released' ELSE 'settled' END,
    CASE WHEN i % 100 = 0 THEN 'unknown' WHEN i % 50 = 1 THEN 'free' ELSE 'exact' END,
    {day}, 'model-' || (i % 7), 'model-' || (i % 7), 'provider-' || (i % 3), '0', 40000,
    CASE WHEN i % 100 = 0 THEN NULL WHEN i % 50 = 1 THEN 0 ELSE 40000 END, 1, 0, at, at + 5000, :ask, :reply,
    CASE WHEN i % 5 = 0 THEN NULL ELSE 'user-' || (i * 7919 % 50000) END
FROM moments
"""
_SQLITE = {
    "id": "printf('gen_%012x%020x', at, i)",
    "day": "date(at / 1000 + 28800, 'unixepoch')",
}
_POSTGRESQL = {
    "id": "'gen_' || lpad(to_hex(at), 12, '0') || lpad(to_hex(i), 20, '0')",
    "day": "to_char(to_timestamp(at / 1000) AT TIME ZONE 'Asia/Shanghai', 'YYYY-MM-DD')",
}


def fill(connection: Connection, rows: int) -> None:
    """Write so many generations, evenly over the month, of 20 tenants, 7 models, 3 providers, 40 keys and many users.

    Of a hundred, one is unknown, two are released and the rest settled at 0.04 yuan. A row is as wide as in real life.
    """
    owners = [{"id": f"ten_{number}", "name": f"tenant-{number:02}"} for number in range(TENANTS)]
    connection.execute(text("INSERT INTO tenants (id, name, policy, created_at) VALUES (:id, :name, '{}', 0)"), owners)
    values: dict[str, object] = {"rows": rows, "begins": BEGINS, "month": MONTH_MS}
    values |= {"digest": "f" * 64, "ask": "a" * 200, "reply": "r" * 300}
    expressions = _POSTGRESQL if connection.dialect.name == "postgresql" else _SQLITE
    connection.execute(text(_ROWS.format(**expressions)), values)
