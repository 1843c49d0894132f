"""Signed links of kept images."""

import string
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.images.links import LinkInvalid, LinkKeys, Links
from gateway.images.store import image_name

NOW = 1_800_000_000_123
HOUR = 3600_000
NAME = "01jd2abcdefghjkmnpqrstvwxy.png"
URL_SAFE = string.ascii_letters + string.digits + "-_"


def links(*secrets: bytes) -> Links:
    return Links("https://images.example/gw/", secrets or (b"secret",), 24 * 3600)


def parts(url: str) -> tuple[str, str, str]:
    """Take name, expiry and signature out of a link."""
    split = urlsplit(url)
    query = parse_qs(split.query)
    return split.path.rpartition("/")[2], query["e"][0], query["s"][0]


def test_makes_links_that_work() -> None:
    """A link lies under the public URL, and works from now on for at least its lifetime and at most an hour more."""
    made = links().make(NAME, NOW, 600)
    assert made.startswith(f"https://images.example/gw/images/{NAME}?e=")
    links().check(*parts(made), NOW)
    links().check(*parts(made), NOW + 600_000 - 1)
    with pytest.raises(LinkInvalid, match="expired"):
        links().check(*parts(made), NOW + 600_000 + HOUR)


def test_may_work_for_ever() -> None:
    """A link without an end works in a hundred years, and is no licence to choose another end, or to leave it out."""
    name, expiry, signature = parts(links().make(NAME, NOW, "none"))
    assert expiry == "never"
    assert links().check(name, expiry, signature, NOW + 100 * 365 * 24 * HOUR) == 365 * 24 * 3600
    for other in ("", "1", "9" * 12, "NEVER", "never\n", None):
        with pytest.raises(LinkInvalid):
            links().check(name, other, signature, NOW)
    mortal = parts(links().make(NAME, NOW, 600))[2]
    with pytest.raises(LinkInvalid):
        links().check(name, "never", mortal, NOW)


@given(st.integers(0, 4_000_000_000_000), st.integers(0, 400 * 86400))
def test_lives_as_long_as_it_was_promised(now: int, ttl: int) -> None:
    """Whatever the moment and lifetime, the expiry is the full hour at or after the lifetime's end."""
    expiry = int(parts(links().make(NAME, now, ttl))[1]) * 1000
    assert expiry % HOUR == 0
    assert 0 <= expiry - (now + ttl * 1000) < HOUR


def test_is_the_same_within_the_hour() -> None:
    """Replies within an hour carry the same URL, so that browsers' caches are hit; None is the default lifetime."""
    full_hour = NOW // HOUR * HOUR
    assert len({links().make(NAME, full_hour + ms) for ms in (1, 60_000, HOUR)}) == 1
    assert links().make(NAME, NOW) == links().make(NAME, NOW, 24 * 3600)


def test_refuses_every_altered_link() -> None:
    """Not one of the links that differ from a good one in a single character works."""
    name, expiry, signature = parts(links().make(NAME, NOW))
    good = links()
    refused = 0
    for field, alphabet in ((0, string.ascii_lowercase + string.digits), (1, string.digits), (2, URL_SAFE)):
        whole = [name, expiry, signature]
        for at in range(len(whole[field])):
            for character in alphabet:
                altered = list(whole)
                altered[field] = whole[field][:at] + character + whole[field][at + 1 :]
                if altered != whole:
                    with pytest.raises(LinkInvalid):
                        good.check(altered[0], altered[1], altered[2], NOW)
                    refused += 1
    assert refused > 3000


@pytest.mark.parametrize(
    ("expiry", "signature"),
    [
        (None, None),
        (None, "x"),
        ("1", None),
        ("", ""),
        ("-1", "x"),
        ("1e9", "x"),
        ("٣", "x"),
        ("1" * 5000, "x"),
        ("9", "é"),
        ("9", "\udcff"),
    ],
)
def test_refuses_nonsense(expiry: str | None, signature: str | None) -> None:
    """Parameters that are missing or nonsense are an invalid link, never another failure."""
    with pytest.raises(LinkInvalid):
        links().check(NAME, expiry, signature, NOW)
    with pytest.raises(LinkInvalid):
        links().check("\udcff", "1800000000", "x" * 43, NOW)


def test_rotates_secrets() -> None:
    """Links of an older secret work while it is listed; new ones are made with the newest."""
    old = parts(links(b"old").make(NAME, NOW))
    links(b"new", b"old").check(*old, NOW)
    with pytest.raises(LinkInvalid, match="not signed"):
        links(b"new").check(*old, NOW)
    assert links(b"new", b"old").make(NAME, NOW) == links(b"new").make(NAME, NOW)


@pytest.mark.parametrize("secrets", [[], [b""], [b"good", b""]])
def test_needs_secrets(secrets: list[bytes]) -> None:
    """No secret, or an empty one among good ones, is refused: anybody can sign with an empty key."""
    with pytest.raises(ValueError, match="secret"):
        Links("https://images.example", secrets, 60)


def test_knows_its_own() -> None:
    """A working link of this gateway gives its name away; altered, expired, foreign and nameless ones do not."""
    ours = links()
    made = ours.make(NAME, NOW, 3600)
    assert ours.name_in(made, NOW) == NAME
    assert ours.name_in(made + "#fragment", NOW) == NAME
    assert ours.name_in(made + "&x=1", NOW) == NAME
    assert ours.name_in(made, NOW + 3 * HOUR) is None
    assert ours.name_in(made[:-1], NOW) is None
    assert ours.name_in(made.replace("images.example", "images.example.evil"), NOW) is None
    assert ours.name_in(f"{ours.prefix}{NAME}", NOW) is None
    assert ours.name_in(ours.make("../../etc/passwd", NOW), NOW) is None
    assert ours.name_in("https://images.example/gw/other", NOW) is None
    assert all(
        ours.name_in(ours.make(name, NOW), NOW) == name for name in [image_name("image/webp") for _ in range(100)]
    )


def test_keeps_its_keys_to_itself() -> None:
    """Neither the secret nor a key made of it is in what a traceback may print."""
    keys = LinkKeys.derive([b"very-secret"])
    assert "very-secret" not in repr(keys) + repr(links(b"very-secret"))
    assert repr(keys) == "LinkKeys()"
