"""The address guard: which URLs and addresses are refused, and that the address approved is the one connected to."""

import asyncio
from collections.abc import Sequence
from ipaddress import ip_address

import pytest

from gateway.contract import Address, is_public
from gateway.guard import AddressRefused, Guard, GuardedResolver, look_up, parse

MALFORMED = [
    "",
    "example.com/a.png",
    "//example.com/a.png",
    "ftp://example.com/a.png",
    "file:///etc/passwd",
    "data:image/png;base64,AAAA",
    "gopher://example.com/",
    "javascript:alert(1)",
    "https:example.com",
    "https:/example.com",
    "https:///a.png",
    "https://?a",
    "https://user@example.com/",
    "https://user:password@example.com/",
    "https://example.com@127.0.0.1/",
    "https://example.com\\@127.0.0.1/",
    "https://127.0.0.1\\.example.com/",
    "https:\\\\127.0.0.1\\a.png",
    "https://example.com /a.png",
    "https://example.com/a b.png",
    "https://example.com/a\nHost: internal",
    "https://example.com/a\r\nX-Forwarded-For: 127.0.0.1",
    "https://exa\tmple.com/",
    "https://example.com/\x00",
    " https://example.com/",
    "https://example.com:0/",
    "https://example.com:65536/",
    "https://example.com:99999/",
    "https://example.com:-1/",
    "https://example.com:8o8o/",
    "https://example.com:/",
    "https://exa%6dple.com/",
    "https://%31%32%37.0.0.1/",
    "https://１２７.０.０.１/",
    "https://127。0。0。1/",
    "https://ⓔxample.com/",
    "https://例子.com/",
    "https://127.1/",
    "https://127.0.1/",
    "https://2130706433/",
    "https://0x7f000001/",
    "https://0x7f.0.0.1/",
    "https://0177.0.0.1/",
    "https://017700000001/",
    "https://127.0.0.1./",
    "https://127.0.0.0x1/",
    "https://256.256.256.256/",
    "https://1.2.3.4.5/",
    "https://example.0x/",
    "https://[::1/",
    "https://::1/",
    "https://[::1]x/",
    "https://[fe80::1%25eth0]/",
    "https://[fe80::1%eth0]/",
    "https://[:::1]/",
    "https://[127.0.0.1]/",
    "https://[]/",
    "https://./",
    "https://../",
    "https://a..b/",
    "https://-example.com/",
    f"https://{'a' * 64}.com/",
    f"https://{'a.' * 130}com/",
    "https://example.com/" + "a" * 8192,
    "https://example.com/\udcff",
]

PRIVATE = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "100.64.0.1",
    "100.100.100.200",
    "127.0.0.1",
    "127.255.255.254",
    "169.254.169.254",
    "172.16.0.1",
    "192.0.0.8",
    "192.0.0.9",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::7f00:1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:8.8.8.8",
    "::ffff:0:127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::7f00:1",
    "100::1",
    "2001::1",
    "2001:0:7f00:1::",
    "2001:db8::1",
    "2001:10::1",
    "2002:7f00:1::1",
    "2002:a9fe:a9fe::1",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "1234::1",
    "4000::1",
    "ff02::1",
    "2606:4700::5efe:7f00:1",
    "2606:4700::200:5efe:169.254.169.254",
]

PUBLIC = ["1.1.1.1", "8.8.8.8", "223.5.5.5", "100.63.255.255", "172.32.0.1", "2606:4700::1111", "2400:3200::1"]


def answering(*answers: str) -> tuple[Guard, list[str]]:
    """Make a guard whose names lead to these addresses, and the list of names that it asked for."""
    asked: list[str] = []

    async def resolve(host: str, port: int) -> Sequence[Address]:
        asked.append(f"{host}:{port}")
        return [ip_address(answer) for answer in answers]

    return Guard(["trusted.example", "printer.local:8080", "[::1]:81", "10.0.0.9"], resolve), asked


@pytest.mark.parametrize("url", MALFORMED)
def test_refuses_unusual_urls(url: str) -> None:
    """What two parsers could read differently is not read at all."""
    with pytest.raises(AddressRefused) as caught:
        parse(url)
    assert "password" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "host", "port", "path"),
    [
        ("https://example.com", "example.com", 443, "/"),
        ("HTTPS://EXAMPLE.com:8443/A%2fb?x=%2B&y#frag", "example.com", 8443, "/A%2fb?x=%2B&y"),
        ("http://example.com?a=b", "example.com", 80, "/?a=b"),
        ("https://cdn_1.example.com./a.png", "cdn_1.example.com.", 443, "/a.png"),
        ("https://xn--fsqu00a.xn--0zwm56d/图片.png", "xn--fsqu00a.xn--0zwm56d", 443, "/%E5%9B%BE%E7%89%87.png"),
        ("https://[2606:4700:0::1111]/a", "2606:4700::1111", 443, "/a"),
        ("https://1.1.1.1/a?b#c?d", "1.1.1.1", 443, "/a?b"),
        ("https://example.com/a?sig=a%2Fb%3D~%7E", "example.com", 443, "/a?sig=a%2Fb%3D~%7E"),
        ("https://example.com/a@b:c", "example.com", 443, "/a@b:c"),
    ],
)
def test_reads_plain_urls(url: str, host: str, port: int, path: str) -> None:
    """A plain URL is taken apart, and what is sent is byte for byte what was signed."""
    target = parse(url)
    assert (target.host, target.port, target.path) == (host, port, path)
    assert target.url.raw_path_qs == path
    assert target.url.raw_host == host
    assert target.url.port == port


@pytest.mark.parametrize("address", PRIVATE)
def test_knows_private_addresses(address: str) -> None:
    """Addresses that are not public, or carry another address within, are refused: as literals and as answers."""
    assert not is_public(ip_address(address))
    guard, _ = answering(address)
    with pytest.raises(AddressRefused):
        asyncio.run(guard.approve("rebound.example", 443))
    if "%" not in address:
        with pytest.raises(AddressRefused):
            guard.target(f"https://[{address}]/" if ":" in address else f"https://{address}/")


@pytest.mark.parametrize("address", PUBLIC)
def test_knows_public_addresses(address: str) -> None:
    """Public unicast addresses pass, as literals and as answers."""
    guard, _ = answering(address)
    assert asyncio.run(guard.approve("images.example", 443)) == [ip_address(address)]
    guard.target(f"https://[{address}]/" if ":" in address else f"https://{address}/")


def test_one_bad_answer_spoils_all() -> None:
    """A name with a public and a private address is refused: the client may choose either."""
    guard, _ = answering("8.8.8.8", "127.0.0.1")
    with pytest.raises(AddressRefused):
        asyncio.run(guard.approve("images.example", 443))


def test_a_name_without_address_is_an_ordinary_failure() -> None:
    """No answer is an OSError, as from the system's resolver, and not a refusal."""
    guard, _ = answering()
    with pytest.raises(OSError, match="no address"):
        asyncio.run(guard.approve("images.example", 443))


def test_asks_once() -> None:
    """A name is resolved once an approval, and what is connected to is what was approved."""
    guard, asked = answering("8.8.8.8", "2606:4700::1111")
    found = asyncio.run(GuardedResolver(guard).resolve("images.example", 443))
    assert asked == ["images.example:443"]
    assert [(answer["host"], answer["port"], answer["hostname"]) for answer in found] == [
        ("8.8.8.8", 443, "images.example"),
        ("2606:4700::1111", 443, "images.example"),
    ]


def test_rebinding_gets_nowhere() -> None:
    """A name that answers publicly at first and privately later is refused 1,000 times out of 1,000."""
    turns = 0

    async def rebinding(_host: str, _port: int) -> Sequence[Address]:
        nonlocal turns
        turns += 1
        return [ip_address("8.8.8.8" if turns % 2 else "127.0.0.1")]

    async def story() -> int:
        private = 0
        resolver = GuardedResolver(Guard([], rebinding))
        for _ in range(1000):
            assert [answer["host"] for answer in await resolver.resolve("rebind.example", 443)] == ["8.8.8.8"]
            try:
                private += len(await resolver.resolve("rebind.example", 443))
            except AddressRefused:
                continue
        return private

    assert asyncio.run(story()) == 0
    assert turns == 2000


def test_exceptions_are_by_host_and_port() -> None:
    """A listed host may be private and plain http, on its port if one is listed; nothing else becomes so."""
    guard, _ = answering("127.0.0.1")
    for url in (
        "http://trusted.example/a",
        "http://TRUSTED.example:9/a",
        "http://printer.local:8080/a",
        "http://[0:0::1]:81/",
        "http://10.0.0.9:1234/",
    ):
        target = guard.target(url)
        assert not guard.https_required(target.host, target.port)
        assert asyncio.run(guard.approve(target.host, target.port))
    for url in (
        "http://a.trusted.example/",
        "http://trusted.example.evil/",
        "http://printer.local/",
        "http://[::1]/",
        "http://10.0.0.8/",
        "https://10.0.0.8/",
        "http://images.example/",
    ):
        with pytest.raises(AddressRefused):
            guard.target(url)
    for host, port in (("printer.local", 8081), ("localhost", 81), ("a.trusted.example", 443)):
        with pytest.raises(AddressRefused):
            asyncio.run(guard.approve(host, port))


@pytest.mark.parametrize(
    "entry", ["", "http://a", "a/b", "a/", "a:b", "a:0", "a:", "10.0.0.0/8", "a b", "u@a", "*", "a?b"]
)
def test_exceptions_have_one_form(entry: str) -> None:
    """An exception that is no host or host:port is a mistake that is told."""
    with pytest.raises(ValueError, match="not a host or host:port"):
        Guard([entry])


def test_asks_the_system() -> None:
    """By default the system's resolver is asked; `localhost` and its like are refused for what they lead to."""
    assert all(address.is_loopback for address in asyncio.run(look_up("localhost", 80)))
    with pytest.raises(AddressRefused):
        asyncio.run(Guard().approve("localhost", 443))
