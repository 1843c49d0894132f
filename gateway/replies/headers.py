"""What a reply says about the cache: `Cache-Status` (RFC 9211) and `Age` (RFC 9111, section 5.1)."""

from typing import assert_never

from gateway.replies.directives import Decision, Forward, Hit, OnlyIfCached

_CACHE = "gateway"


def outcome_of(decision: Decision) -> str:
    """Say in a word what was decided: `hit`, or why not."""
    match decision:
        case Hit():
            return "hit"
        case Forward(why=why):
            return why
        case OnlyIfCached():
            return "only-if-cached"
        case _:
            assert_never(decision)


def cache_headers(decision: Decision, *, stored: bool = False, collapsed: bool = False) -> dict[str, str]:
    """Render what was decided and what came of it. No `key`: a fingerprint is nobody's business.

    `stored`: the reply made for this ask was kept. `collapsed`: it was made for another ask at the same time.
    """
    match decision:
        case Hit(age=age, left=left):
            return {"Cache-Status": f"{_CACHE}; hit; ttl={left}", "Age": str(age)}
        case Forward(why=why):
            outcome = [word for word, said in (("stored", stored), ("collapsed", collapsed)) if said]
            return {"Cache-Status": "; ".join([_CACHE, f"fwd={why}", *outcome])}
        case OnlyIfCached():
            return {"Cache-Status": f"{_CACHE}; detail=only-if-cached"}
        case _:
            assert_never(decision)
