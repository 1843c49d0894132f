"""A report over HTTP: the question is the query's, the answer JSON or CSV, in pages."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import orjson
from starlette.requests import Request
from starlette.responses import Response

from gateway import clock
from gateway.api.query import limit_of, query_of, read_as
from gateway.clock import Calendar
from gateway.errors import InvalidRequest
from gateway.ledger.report import Grouping, Question, Reports, columns_of, month_so_far
from gateway.moments import parse_day, require_order
from gateway.spreadsheet import to_csv

ROWS = 10_000
"""The most rows of one answer. Of a larger report the header Link names the rest (RFC 8288, `rel="next"`)."""

FORMATS = ("json", "csv")


def question_of(request: Request, calendar: Calendar, groupings: Sequence[Grouping], *others: str) -> Question:
    """Read `?by=&from=&to=&limit=&after=&format=`: this month by model, if they are not given. Raises InvalidRequest.

    Days are those of GATEWAY_TIMEZONE, both included. `others` are parameters that the route reads itself.
    """
    query = query_of(request, "from", "to", "by", *others, "format", "limit", "after")
    if query.get("format", FORMATS[0]) not in FORMATS:
        raise InvalidRequest(f"format: must be one of {', '.join(FORMATS)}")
    month_first, today = month_so_far(calendar.day(clock.now()))
    first, last = read_as("from", parse_day, query.get("from")), read_as("to", parse_day, query.get("to"))
    first, last = month_first if first is None else first, today if last is None else last
    read_as("to", partial(require_order, first), last)
    return Question(
        by=_grouping(query.get("by", "model"), groupings),
        first=first,
        last=last,
        after=request.query_params.get("after"),  # an empty one too: it is the name of whom no end user was named for
        limit=limit_of(query.get("limit"), ROWS),
    )


async def report(request: Request, reports: Reports, question: Question) -> Response:
    """Answer `{"rows": […]}`, or the same as CSV. Raises LedgerUnavailable."""
    most = ROWS if question.limit is None else question.limit
    rows = await reports.spend(replace(question, limit=most + 1))
    headers = {"Cache-Control": "private, no-store"}
    if len(rows) > most:
        following = request.url.include_query_params(after=rows[most - 1].name or "")
        headers["Link"] = f'<{following.path}?{following.query}>; rel="next"'
    shown = [row.shown() for row in rows[:most]]
    if request.query_params.get("format") != "csv":
        return Response(orjson.dumps({"rows": shown}), media_type="application/json", headers=headers)
    name = f"{request.url.path.rpartition('/')[2]}-{question.first}-{question.last}.csv"
    headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return Response(
        to_csv(columns_of(question.by), [list(row.values()) for row in shown]), media_type="text/csv", headers=headers
    )


def _grouping(text: str, groupings: Sequence[Grouping]) -> Grouping:
    for grouping in groupings:
        if text == grouping:
            return grouping
    raise InvalidRequest(f"by: must be one of {', '.join(groupings)}")
