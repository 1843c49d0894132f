"""What becomes of an event after a try."""

import pytest

from gateway.webhooks.schedule import LONGEST_PAUSE_SECONDS, SCHEDULE, Again, Delivered, Failed, Tried, judge


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_2xx_alone_is_success(status: int) -> None:
    """Whatever the try was."""
    assert judge(Tried(status), 1) == judge(Tried(status), 10) == Delivered()


@pytest.mark.parametrize("status", [None, 100, 199, 301, 302, 307, 308, 400, 401, 404, 500, 503])
def test_anything_else_is_tried_again_on_the_published_schedule(status: int | None) -> None:
    """After 5 s, 5 m, 30 m, 2 h, 5 h, 10 h, 14 h, 20 h and 24 h; then it is given up."""
    verdicts = [judge(Tried(status), attempts) for attempts in range(1, 11)]
    waits = [5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400]
    assert verdicts == [*(Again(wait, 0) for wait in waits), Failed(gone=False)]
    assert len(SCHEDULE) == 10


def test_410_is_the_end() -> None:
    """The endpoint is gone: nothing is sent there any more."""
    assert judge(Tried(410), 1) == Failed(gone=True)


@pytest.mark.parametrize("status", [429, 502, 504])
def test_an_endpoint_that_has_too_much_is_left_in_peace(status: int) -> None:
    """For a minute, or for as long as it says; a longer step of the schedule counts."""
    assert judge(Tried(status), 1) == Again(60, 60)
    assert judge(Tried(status), 2) == Again(300, 60)
    assert judge(Tried(status, retry_after=7.0), 1) == Again(7, 7)
    assert judge(Tried(status, retry_after=400.0), 2) == Again(400, 400)


def test_retry_after_is_heard_up_to_a_day() -> None:
    """Of 503 as well; nobody can put the outbox off for ever."""
    assert judge(Tried(503, retry_after=30.0), 1) == Again(30, 30)
    assert judge(Tried(503, retry_after=1e9), 1) == Again(LONGEST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS)
