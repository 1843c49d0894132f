"""Redis URLs, taken apart."""

import pytest

from gateway.errors import Misconfigured
from gateway.redis_link import Address, parse_address


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://cache", Address("single", (("cache", 6379),))),
        ("redis://cache:6380/3", Address("single", (("cache", 6380),), database=3)),
        ("rediss://[::1]:6380", Address("single", (("::1", 6380),), tls=True)),
        ("redis://:p%40ss@cache", Address("single", (("cache", 6379),), password="p@ss")),
        (
            "redis+sentinel://team:secret@a:1,b,c:3/images/2",
            Address(
                "sentinel",
                (("a", 1), ("b", 26379), ("c", 3)),
                service="images",
                database=2,
                username="team",
                password="secret",
            ),
        ),
        ("redis+cluster://a:1,b:2", Address("cluster", (("a", 1), ("b", 2)))),
        (
            "rediss+cluster://a?ssl_ca_certs=/ca.pem",
            Address("cluster", (("a", 6379),), tls=True, options=(("ssl_ca_certs", "/ca.pem"),)),
        ),
    ],
)
def test_url_is_read(url: str, address: Address) -> None:
    """Each kind of URL says where Redis is and how to log in."""
    assert parse_address(url) == address


@pytest.mark.parametrize(
    "url",
    [
        "http://cache",
        "redis://",
        "redis://cache:0",
        "redis://cache:70000",
        "redis://[::1",
        "redis://a,b",
        "redis://cache/first",
        "redis://cache/1/2",
        "redis://cache?socket_timeout=60",
        "redis+sentinel://a:1,b:2",
        "redis+cluster://a:1/2",
        "redis+cluster://a:1?sentinel_password=x",
    ],
)
def test_faulty_url_is_refused(url: str) -> None:
    """What cannot be meant is refused."""
    with pytest.raises(Misconfigured):
        parse_address(url)


def test_faults_and_repr_hide_the_password() -> None:
    """Neither the refusal of a URL nor what is printed of an address holds a password."""
    with pytest.raises(Misconfigured) as refusal:
        parse_address("redis://me:hunter2@a,b/x?y=hunter2")
    assert len(refusal.value.faults) == 3
    address = parse_address("redis+sentinel://me:hunter2@a/images?sentinel_password=hunter2")
    assert "hunter2" not in f"{refusal.value} {refusal.value.faults} {address!r}"
