"""What can go wrong: every failure that is expected, with its status, its public text and its metric outcome.

Raise one of these anywhere; `api/errors.py` alone turns it into an answer. The public text is all a caller sees;
`detail` goes to the log only. Anything else that reaches the edge is a bug and answers 500.
"""

from collections.abc import Mapping
from typing import ClassVar


class GatewayError(Exception):
    """A failure with an answer. `text` is public; `detail` is private; `retry_after` is in whole seconds."""

    status: ClassVar[int]
    outcome: ClassVar[str]
    public: ClassVar[str]
    final: ClassVar[bool] = False
    """Whether trying the same again is useless or harmful; the reply then carries `x-should-retry: false`."""

    def __init__(
        self,
        text: str | None = None,
        *,
        detail: str | None = None,
        retry_after: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.text = self.public if text is None else text
        self.detail = detail
        self.retry_after = retry_after
        self.headers = {} if headers is None else dict(headers)
        super().__init__(self.text if detail is None else f"{self.text} ({detail})")


class InvalidRequest(GatewayError):
    """A parameter or the body breaks the contract; `parameter` is the name of the one at fault, where it is told."""

    status, outcome = 400, "invalid"
    public = "Invalid request"

    def __init__(self, text: str | None = None, *, parameter: str | None = None, detail: str | None = None) -> None:
        self.parameter = parameter
        super().__init__(text, detail=detail)


class RefusedByUpstream(GatewayError):
    """Upstream looked at the request and refused it: a safety refusal or a parameter it does not take."""

    status, outcome = 400, "refused"
    public = "The request was refused by the image provider"


class Unauthorized(GatewayError):
    """The key is missing, malformed, unknown, expired or revoked, or its tenant is disabled: one text for all."""

    status, outcome = 401, "unauthorized"
    public = "API key is invalid or expired"


class OverBudget(GatewayError):
    """The most this ask may cost does not fit into the tenant's budget."""

    status, outcome, final = 402, "over_budget", True
    public = "Budget exhausted"


class Forbidden(GatewayError):
    """The key is good, but may not do this."""

    status, outcome = 403, "forbidden"
    public = "Not allowed"


class NotFound(GatewayError):
    """There is no such thing, or it is somebody else's."""

    status, outcome = 404, "invalid"
    public = "Not found"


class MethodNotAllowed(GatewayError):
    """The path exists, the method does not."""

    status, outcome = 405, "invalid"
    public = "Method not allowed"


class BodyTimeout(GatewayError):
    """The body did not arrive in time."""

    status, outcome = 408, "invalid"
    public = "Request body was not received in time"


class StillRunning(GatewayError):
    """The same idempotency key is being worked on."""

    status, outcome, final = 409, "conflict", True
    public = "A request with this Idempotency-Key is still running"


class NotOver(GatewayError):
    """The generation still runs; always with `retry_after`."""

    status, outcome = 409, "conflict"
    public = "The generation is still running"


class NameTaken(GatewayError):
    """A tenant of that name exists."""

    status, outcome = 409, "conflict"
    public = "The name is taken"


class Gone(GatewayError):
    """It was erased; what it cost is all that is left of it."""

    status, outcome, final = 410, "invalid", True
    public = "The generation was erased; a new one would be paid anew"


class BodyTooLarge(GatewayError):
    """The body exceeds the caller's cap; the rest of it is not read."""

    status, outcome = 413, "invalid"
    public = "Request body is too large"


class UnsupportedMediaType(GatewayError):
    """The body is not plain application/json."""

    status, outcome = 415, "invalid"
    public = "Invalid Content-Type header. Supported type: application/json"


class RangeNotSatisfiable(GatewayError):
    """No byte of the image lies in the range asked for (RFC 9110, 15.5.17)."""

    status, outcome = 416, "invalid"
    public = "Range not satisfiable"


class KeyReused(GatewayError):
    """The idempotency key belongs to another body."""

    status, outcome = 422, "conflict"
    public = "The Idempotency-Key was used with another request body"


class RateLimited(GatewayError):
    """A rate or the concurrency of the tenant or key is used up; always with `retry_after`."""

    status, outcome = 429, "rate_limited"
    public = "Rate limit exceeded"


class UpstreamFailed(GatewayError):
    """Upstream answered nonsense, failed, or gave no usable image."""

    status, outcome = 502, "upstream_error"
    public = "The image provider failed to answer properly"


class UpstreamLost(UpstreamFailed):
    """The answer was lost after the request was sent: it may have been billed, so it is not tried again."""

    final = True
    public = "The connection to the image provider was lost; the outcome is unknown"


class Unavailable(GatewayError):
    """The gateway cannot take a generation right now; always with `retry_after`."""

    status, outcome = 503, "unavailable"
    public = "Temporarily unavailable"


class UpstreamBusy(Unavailable):
    """Upstream was busy or out of reach on every attempt; nothing was billed."""

    outcome = "upstream_error"
    public = "The image provider is busy"


class LedgerUnavailable(Unavailable):
    """SQL is out of reach, so a generation could not be accounted for and is not started."""

    public = "The ledger is temporarily unavailable"
    perhaps_done: bool = False
    """Whether the transaction may have been committed all the same: what failed was its last word."""


class UpstreamUnreached(GatewayError):
    """No connection to upstream was made in time; nothing was sent or billed."""

    status, outcome = 504, "timeout"
    public = "The image provider could not be reached in time"


class NotCached(GatewayError):
    """The caller will have a stored reply or none (RFC 9111, 5.2.1.7), and there is none."""

    status, outcome = 504, "unavailable"
    public = "No stored reply, and the request asks for nothing else"


class UpstreamSilent(GatewayError):
    """Upstream did not answer before the deadline; the outcome is unknown."""

    status, outcome, final = 504, "timeout", True
    public = "The image provider did not answer in time; the outcome is unknown"


class Misconfigured(Exception):
    """The configuration cannot work. `faults` are complete sentences, all of them, for the operator."""

    def __init__(self, faults: list[str]) -> None:
        self.faults = faults
        super().__init__("\n".join(faults))
