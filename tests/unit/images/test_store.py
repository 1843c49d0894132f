"""Names of images, and the way from a setting to a store."""

from pathlib import Path

import pytest

from gateway.images import stores
from gateway.images.inspect import MediaType
from gateway.images.local import LocalStore
from gateway.images.objects import ObjectStore
from gateway.images.store import image_name, parse_name
from gateway.images.stores import open_store


@pytest.mark.parametrize(
    ("media_type", "extension"), [("image/png", "png"), ("image/jpeg", "jpg"), ("image/webp", "webp")]
)
def test_names_tell_their_type(media_type: MediaType, extension: str) -> None:
    """A new name says its type, is its own ETag, and is never made twice."""
    names = {image_name(media_type) for _ in range(1000)}
    assert len(names) == 1000
    for name in names:
        parsed = parse_name(name)
        assert parsed is not None
        assert (parsed.text, parsed.media_type, parsed.etag) == (name, media_type, f'"{name}"')
        assert parsed.shard == name.removesuffix(f".{extension}")[-2:]


def test_names_spread() -> None:
    """Names made in one moment spread over the directories."""
    assert len({name[-6:-4] for name in (image_name("image/png") for _ in range(5000))}) == 256


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a.png",
        "a" * 19 + ".png",
        "a" * 41 + ".png",
        "a" * 26,
        "a" * 26 + ".gif",
        "a" * 26 + ".PNG",
        "A" * 26 + ".png",
        "a" * 26 + ".png\n",
        "a" * 26 + ".png.part",
        "é" * 26 + ".png",
        "٣" * 26 + ".png",
        "a" * 20 + "/" + "a" * 5 + ".png",
        "../" + "a" * 26 + ".png",
    ],
)
def test_other_texts_are_no_names(text: str) -> None:
    """Only the one pattern is a name."""
    assert parse_name(text) is None


@pytest.mark.parametrize(
    "url",
    [
        "",
        "none",
        "/srv/images",
        "file://host/srv",
        "file:srv",
        "file:///srv?x",
        "s3://",
        "s3:///x",
        "s3://b?x=y",
        "http://b/x",
        "ftp://b",
        "gs:b",
    ],
)
def test_refuses_urls_of_no_store(url: str) -> None:
    """A URL that names no store is told with its form, before anything is contacted."""
    with pytest.raises(ValueError, match=r"named|refused"):
        open_store(url, {})


def test_opens_each_kind() -> None:
    """Each scheme names its store; nothing is made or contacted, and no credential shows."""
    environ = {
        "AWS_ACCESS_KEY_ID": "id",
        "AWS_SECRET_ACCESS_KEY": "canary-secret",
        "AWS_REGION": "eu-west-1",
        "AWS_PROFILE": "ignored",
        "AZURE_STORAGE_ACCOUNT_NAME": "account",
        "AZURE_STORAGE_ACCOUNT_KEY": "Y2FuYXJ5LXNlY3JldA==",
        "GOOGLE_SKIP_SIGNATURE": "true",
    }
    directory = Path("/nonexistent/with space")
    assert isinstance(open_store(directory.as_uri(), environ), LocalStore)
    assert not directory.exists()
    for url in ("s3://bucket/a/b", "gs://bucket", "az://container/a"):
        store = open_store(url, environ)
        assert isinstance(store, ObjectStore)
        assert "secret" not in repr(store)


def refusal(url: str, environ: dict[str, str]) -> str:
    """Return what is said when these settings are refused; nothing if they are not."""
    try:
        open_store(url, environ)
    except ValueError as refused:
        return str(refused)
    return ""


@pytest.mark.parametrize(
    ("url", "environ"),
    [
        ("az://b", {"AZURE_STORAGE_ACCOUNT_NAME": "account", "AZURE_STORAGE_ACCOUNT_KEY": "canary not base64"}),
        ("az://b", {"AZURE_STORAGE_ACCOUNT_NAME": "account", "AZURE_STORAGE_SAS_TOKEN": "canary"}),
        ("gs://b", {"GOOGLE_SERVICE_ACCOUNT_KEY": '"canary"'}),
        ("gs://b", {"GOOGLE_SERVICE_ACCOUNT_KEY": '{"private_key": "canary"'}),
        ("s3://b", {"AWS_SECRET_ACCESS_KEY": "canary"}),
    ],
)
def test_bad_settings_of_a_cloud_are_told_at_once(url: str, environ: dict[str, str]) -> None:
    """A setting that the library cannot read is refused at once, in words that do not quote it."""
    said = refusal(url, environ)
    assert "refused" in said
    assert "canary" not in said


@pytest.mark.parametrize("scheme", ["s3", "gs", "az"])
def test_every_variable_is_known_to_the_library(scheme: str) -> None:
    """No variable that is handed on is one that the library has never heard of, which would refuse a good setup."""
    said = [
        refusal(f"{scheme}://bucket", {"AZURE_STORAGE_ACCOUNT_NAME": "account", name: "true"})
        for name in stores._VARIABLES[scheme]
    ]
    assert not [text for text in said if "is not valid for store" in text]
