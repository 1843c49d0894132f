"""Which asks are cached, and for how long."""

import pytest

from gateway.contract import GenerateAsk, Reference, ReferenceBytes, ReferenceLink
from gateway.replies import CacheMode, covers, lifetime

BYTES = ReferenceBytes("AAAA", "0" * 64, "image/png", 3, 1, 1)
LINK = ReferenceLink("https://example.com/cat.png", own=False)


def ask(seed: int | None, *references: Reference) -> GenerateAsk:
    """Make an ask with this seed and these references."""
    return GenerateAsk("m", "p", seed=seed, references=tuple(enumerate(references, 1)))


@pytest.mark.parametrize(
    ("mode", "asked", "covered"),
    [
        ("seeded", ask(42), True),
        ("seeded", ask(0), True),
        ("seeded", ask(None), False),
        ("seeded", ask(42, BYTES), True),
        ("seeded", ask(42, BYTES, LINK), False),
        ("all", ask(None), True),
        ("all", ask(None, LINK), True),
        ("off", ask(42), False),
    ],
)
def test_covers(mode: CacheMode, asked: GenerateAsk, covered: bool) -> None:
    """By default an ask is covered if it names a seed, even 0, and refers to nothing by URL."""
    assert covers(mode, asked) is covered


@pytest.mark.parametrize(
    ("ttl", "retention_days", "seconds"),
    [(None, None, 86400), (60, None, 60), (200_000, 1, 86400), (60, 30, 60), (None, 30, 86400), (10**6, None, 10**6)],
)
def test_lifetime(ttl: int | None, retention_days: int | None, seconds: int) -> None:
    """A reply lives for as long as the policy says, a day by default, and never longer than its images."""
    assert lifetime(ttl, retention_days) == seconds


def test_a_reply_that_came_late_in_its_retention_lives_no_longer() -> None:
    """What the generation took is not added to the retention of its images; a shorter policy is not shortened."""
    assert lifetime(200_000, 1, spent=299.5) == 86400 - 300
    assert lifetime(60, 1, spent=299.5) == 60
    assert lifetime(None, None, spent=299.5) == 86400
