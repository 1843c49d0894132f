"""The RateLimit fields: https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/, hints, not promises."""

from collections.abc import Iterable

from gateway.limits.verdict import Standing, Verdict


def ratelimit_headers(verdicts: Iterable[Verdict]) -> dict[str, str]:
    """Render the verdicts on one request as `RateLimit-Policy` and `RateLimit`; nothing when nothing is limited.

    A later verdict on the same limit stands. Limits in shadow mode are not shown: they are not in force. With a
    refusal, only the limits that refuse tell a time (`t`), which Retry-After then never falls short of.
    """
    verdicts = tuple(verdicts)
    refused = not all(verdict.allowed for verdict in verdicts)
    standings = {standing.name: standing for verdict in verdicts for standing in verdict.standings}
    if not standings:
        return {}
    return {
        "RateLimit-Policy": ", ".join(_policy(standing) for standing in standings.values()),
        "RateLimit": ", ".join(_left(one, timed=one.violated or not refused) for one in standings.values()),
    }


def _policy(standing: Standing) -> str:
    if standing.window is None:
        return f'"{standing.name}";q={standing.quota};qu="concurrent-requests"'
    return f'"{standing.name}";q={standing.quota};w={standing.window}'


def _left(standing: Standing, *, timed: bool) -> str:
    text = f'"{standing.name}";r={standing.remaining}'
    return f"{text};t={standing.reset}" if timed and standing.reset is not None else text
