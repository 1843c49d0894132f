"""Origins, as browsers write them."""

import pytest

from gateway.contract.origin import InvalidOrigin, origin_of, read_origin


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("https://shop.example", "https://shop.example"),
        ("HTTPS://Shop.Example/", "https://shop.example"),
        ("https://shop.example:443", "https://shop.example"),
        ("http://shop.example:80", "http://shop.example"),
        ("http://localhost:3000", "http://localhost:3000"),
        ("https://shop.example:80", "https://shop.example:80"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://[0:0::1]:8080", "http://[::1]:8080"),
        ("https://xn--fiq228c.example", "https://xn--fiq228c.example"),
    ],
)
def test_an_origin_is_read_as_a_browser_writes_it(written: str, meant: str) -> None:
    """In lower case, without the scheme's own port, without a path; and what was read reads the same again."""
    assert read_origin(written) == meant == read_origin(meant)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "*",
        "null",
        "shop.example",
        "https://",
        "https://*.shop.example",
        "https://shop.example/app",
        "https://shop.example?x",
        "https://ann@shop.example",
        "https://shop.example:0",
        "https://shop.example:65536",
        "https://shop..example",
        "https://商店.example",
        "https://shop.example\n",
        "https://[::zz]",
        "ftp://shop.example",
        "file://",
        "https://" + "a" * 250,
    ],
)
def test_what_is_no_origin_is_refused(text: str) -> None:
    """Nothing stands for several origins, and nothing for an unknown one."""
    with pytest.raises(InvalidOrigin):
        read_origin(text)


def test_the_origin_of_a_url() -> None:
    """A URL's path plays no part."""
    assert origin_of("https://Gateway.example:443/images") == "https://gateway.example"
    assert origin_of("http://[::1]:8080") == "http://[::1]:8080"
