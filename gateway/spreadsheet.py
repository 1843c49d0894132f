"""Tables as spreadsheets read them: CSV by RFC 4180, in which no text is taken for a formula."""

import csv
import io
from collections.abc import Iterable, Sequence

_BEGINS_A_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def to_csv(columns: Sequence[str], rows: Iterable[Sequence[str | int | None]]) -> str:
    """Write a head line and one line a row; None is an empty field.

    Text that a spreadsheet would run begins with an apostrophe, as OWASP recommends
    (https://owasp.org/www-community/attacks/CSV_Injection).
    """
    written = io.StringIO(newline="")
    writer = csv.writer(written, lineterminator="\r\n")
    writer.writerow(columns)
    writer.writerows([_safe(cell) for cell in row] for row in rows)
    return written.getvalue()


def _safe(cell: str | int | None) -> str | int | None:
    if not isinstance(cell, str) or not cell.startswith(_BEGINS_A_FORMULA) or _is_number(cell):
        return cell
    return f"'{cell}"


def _is_number(text: str) -> bool:
    """Say whether it is an amount such as `-0.040000`, which a spreadsheet only reads."""
    whole, _, rest = text.removeprefix("-").partition(".")
    return text.isascii() and whole.isdigit() and (not rest or rest.isdigit())
