"""Which asks a tenant's policy lets be answered from what was generated before, and for how long: pure."""

import math
from typing import Literal, TypeAlias, assert_never

from gateway.contract import GenerateAsk, ReferenceLink

CacheMode: TypeAlias = Literal["seeded", "all", "off"]
"""A tenant's policy. `seeded`: asks that name a seed and refer to no image by URL."""

DEFAULT_LIFETIME = 24 * 3600
_DAY = 24 * 3600


def covers(mode: CacheMode, ask: GenerateAsk) -> bool:
    """Whether the policy covers an ask.

    Without a seed a new picture is expected. What a URL leads to may change while its text stays, so it is only taken
    for the same picture by a tenant who says so (`all`); a link of this gateway always names the same picture. An ask
    that is not covered neither leads nor follows.
    """
    match mode:
        case "off":
            return False
        case "all":
            return True
        case "seeded":
            linked = any(isinstance(one, ReferenceLink) and not one.own for _, one in ask.references)
            return ask.seed is not None and not linked
        case _:
            assert_never(mode)


def lifetime(ttl: int | None, retention_days: int | None, *, spent: float = 0.0) -> int:
    """Return for how many seconds a reply is kept: the policy's, or a day; never longer than its images are.

    `spent` is how many seconds of their retention are over when it is stored.
    """
    wanted = DEFAULT_LIFETIME if ttl is None else ttl
    return wanted if retention_days is None else min(wanted, retention_days * _DAY - math.ceil(spent))
