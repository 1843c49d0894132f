"""What each answer upstream may give is taken to mean."""

from decimal import Decimal

import orjson
import pytest

from gateway.upstream.answer import (
    AccountFault,
    Busy,
    Garbage,
    Generated,
    Reading,
    Refused,
    ServerFault,
    read_answer,
)
from tests.unit.upstream.scripted import LINK, SUCCESS

PNG1 = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


def read(body: object, status: int = 200, **headers: str) -> Reading:
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    return read_answer(status, {name.replace("_", "-"): value for name, value in headers.items()}, raw, ("sk-canary",))


def generated(body: object, status: int = 200) -> Generated:
    answer = read(body, status)
    assert isinstance(answer, Generated)
    return answer


@pytest.mark.parametrize("status", [200, 201, 400, 401, 429, 500, 503])
@pytest.mark.parametrize("code", [0, "0", 0.0])
def test_an_image_with_code_0_is_a_success(status: int, code: object) -> None:
    """The image exists and was probably billed, whatever the HTTP status says."""
    answer = generated({**SUCCESS, "code": code}, status)
    assert (answer.model, answer.provider, answer.cost) == ("flux-2-pro", "flux", Decimal("0.04"))
    assert [image.image for image in answer.images] == [LINK["image"]]
    assert answer.images_failed == 0


@pytest.mark.parametrize("code", [None, 200, "200"])
def test_an_image_beside_a_code_that_is_no_error_is_a_success(code: object) -> None:
    """A missing code, or 200 as other interfaces have it, does not lose a paid image."""
    assert len(generated({**SUCCESS, "code": code}).images) == 1


@pytest.mark.parametrize(
    ("item", "kind", "image", "media_type"),
    [
        (LINK, "url", LINK["image"], None),
        ({"url": "https://a.example/x"}, "url", "https://a.example/x", None),
        ("HTTPS://a.example/x", "url", "HTTPS://a.example/x", None),
        ({"type": "base64", "image": "https://a.example/x"}, "url", "https://a.example/x", None),
        ({"type": "base64", "image": PNG1, "mimeType": "image/png"}, "base64", PNG1, "image/png"),
        ({"b64_json": PNG1}, "base64", PNG1, None),
        ({"type": "url", "image": PNG1}, "base64", PNG1, None),
        ({"image": f"data:image/png;base64,{PNG1}"}, "base64", PNG1, "image/png"),
        ({"image": PNG1.rstrip("="), "mimeType": "text/html"}, "base64", PNG1, None),
        ({"image": f"{PNG1[:76]}\r\n{PNG1[76:]}\n"}, "base64", PNG1, None),
        ({"image": "-_-_"}, "base64", "+/+/", None),
    ],
)
def test_an_item_is_understood(item: object, kind: str, image: str, media_type: str | None) -> None:
    """An image by any of its names, typed or not, bare or not, single or in a list, is one."""
    for data in (item, [item]):
        (found,) = generated({"code": 0, "data": data}).images
        assert (found.kind, found.image, found.media_type) == (kind, image, media_type)


@pytest.mark.parametrize(
    "data", [None, [], {}, "", 7, [None], [{"image": None}], [{"image": ""}], ["ftp://a/b"], [{"image": "<html>"}]]
)
def test_a_success_without_an_image_keeps_its_cost(data: object) -> None:
    """Code 0 without a usable image was worked on: no image, but the cost."""
    answer = generated({**SUCCESS, "data": data})
    assert (answer.images, answer.cost) == ((), Decimal("0.04"))


def test_a_link_with_a_key_is_no_image() -> None:
    """A link that would give the key away is handed to nobody."""
    answer = generated({**SUCCESS, "data": ["https://a.example/?k=sk-canary", LINK]})
    assert ([image.image for image in answer.images], answer.images_failed) == ([LINK["image"]], 1)


def test_failed_images_are_counted() -> None:
    """Items that are no image count as failed, and so do those that upstream counts."""
    usage = {"usage": {"images_failed": 1}}
    assert generated({**SUCCESS, **usage, "data": [LINK, None]}).images_failed == 1
    assert generated({**SUCCESS, "data": [LINK, None, {}]}).images_failed == 2
    assert generated({**SUCCESS, "usage": {"images_failed": 3}}).images_failed == 3
    assert generated({**SUCCESS, "usage": {"images_failed": 10**15}}).images_failed == 0


@pytest.mark.parametrize(
    ("cost", "yuan"),
    [
        (b"0.04", "0.04"),
        (b"1", "1"),
        (b"4e-2", "0.04"),
        (b'"0.04"', "0.04"),
        (b"-1", "-1"),
        (b"123456789", "123456789"),
        (b"0.1000000000000000055511151231257827", "0.1000000000000000055511151231257827"),
        (b"null", None),
        (b"true", None),
        (b'"free"', None),
        (b'"NaN"', None),
        (b"NaN", None),
        (b"Infinity", None),
        (b"1e999999", None),
        (b"[]", None),
    ],
)
def test_a_cost_is_an_exact_finite_number(cost: bytes, yuan: str | None) -> None:
    """A cost is read digit for digit; what is no finite number is none, and never loses the image."""
    answer = generated(b'{"code":0,"data":["https://a/b"],"usage":{"cost":' + cost + b"}}")
    assert answer.cost == (None if yuan is None else Decimal(yuan))


@pytest.mark.parametrize("usage", [None, [], "x", {}])
def test_usage_may_be_anything(usage: object) -> None:
    """Without a usage there is no cost."""
    assert generated({**SUCCESS, "usage": usage}).cost is None


def test_names_are_names_or_nothing() -> None:
    """Model and provider are short printable text, without keys, or None."""
    answer = generated({**SUCCESS, "model": "flux-2-pro-preview", "provider": ["x"]})
    assert (answer.model, answer.provider) == ("flux-2-pro-preview", None)
    answer = generated({**SUCCESS, "model": "x" * 200, "provider": "a\nb"})
    assert (answer.model, answer.provider) == (None, None)
    assert generated({**SUCCESS, "model": "sk-canary"}).model == "[removed]"


@pytest.mark.parametrize(
    ("status", "body", "text", "moderated"),
    [
        (200, {"code": -1, "msg": "Request Moderated"}, "Request Moderated", True),
        (200, {"code": -1, "msg": "内容审核未通过"}, "内容审核未通过", True),
        (400, {"code": -1, "msg": "Invalid width parameter"}, "Invalid width parameter", False),
        (200, {"code": 1001, "message": "no"}, "no", False),
        (200, {"code": 422, "msg": "no"}, "no", False),
        (200, {"code": "bad", "msg": "no"}, "no", False),
        (200, {"error": {"message": "no"}}, "no", False),
        (400, {"error": "no"}, "no", False),
        (404, {"detail": "no"}, "no", False),
        (422, {"detail": [{"loc": ["body"], "msg": "no"}]}, "no", False),
        (400, {"code": 0, "data": []}, "", False),
        (200, {"code": -1}, "", False),
        (413, b"<html>", "", False),
    ],
)
def test_a_refusal_of_this_request(status: int, body: object, text: str, moderated: bool) -> None:
    """A code that is not 0, or a 4xx, refuses the request in upstream's words, wherever they stand."""
    assert read(body, status) == Refused(text, moderated, None)


def test_a_cost_inside_an_error_is_told() -> None:
    """An error that was billed carries its cost."""
    for body in ({"code": -1, "usage": {"cost": 0.02}}, {"code": -1, "cost": "0.02"}):
        assert read(body) == Refused("", moderated=False, cost=Decimal("0.02"))
    answer = read({"code": 500, "usage": {"cost": 0.02}})
    assert isinstance(answer, ServerFault)
    assert answer.cost == Decimal("0.02")


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, {"code": -1, "msg": "API key is invalid or expired"}),
        (400, {"code": -1, "msg": "Incorrect API key provided"}),
        (200, {"code": -1, "msg": "余额不足"}),
        (200, {"code": -1, "msg": "您的账户余额不足,请充值"}),
        (200, {"code": 500, "msg": "积分不足"}),
        (200, {"code": -1, "msg": "API Key已过期"}),
        (200, {"code": -1, "msg": "无效的令牌"}),
        (429, {"error": {"message": "You exceeded your current quota", "code": "insufficient_quota"}}),
        (200, {"code": -1, "msg": "Insufficient account balance"}),
        (200, {"code": 402, "msg": "pay"}),
        (401, b""),
        (402, {}),
        (403, b"<html>"),
    ],
)
def test_trouble_with_the_account(status: int, body: object) -> None:
    """A bad key or an empty balance, by status, code or words, is the account's fault."""
    assert isinstance(read(body, status), AccountFault)


@pytest.mark.parametrize(
    "text", ["Invalid model parameter", "The prompt speaks of a key and a balance", "Rate quota per minute", "安全"]
)
def test_other_words_are_no_trouble_with_the_account(text: str) -> None:
    """Words that merely resemble it leave the account alone."""
    assert isinstance(read({"code": -1, "msg": text}), Refused)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, {"code": 429, "msg": "slow down"}),
        (200, {"code": "503", "message": "busy"}),
        (429, {"code": -1, "msg": "slow down"}),
        (503, b"<html>"),
        (400, {"code": 429}),
    ],
)
def test_busy(status: int, body: object) -> None:
    """429 and 503, by HTTP or by code, are no work done."""
    assert read(body, status) == Busy(None, None)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry_after": "7"}, 7.0),
        ({"retry_after": " 0.5 "}, 0.5),
        ({"retry_after": "soon"}, None),
        ({"retry_after": "-1"}, None),
        ({"retry_after": "Sun, 06 Nov 1994 08:49:47 GMT", "date": "Sun, 06 Nov 1994 08:49:37 GMT"}, 10.0),
        ({"retry_after": "Sun, 06 Nov 1994 08:49:27 GMT", "date": "Sun, 06 Nov 1994 08:49:37 GMT"}, 0.0),
        ({"retry_after": "Sun, 06 Nov 1994 08:49:37 GMT"}, None),
    ],
)
def test_retry_after_is_heard(headers: dict[str, str], seconds: float | None) -> None:
    """Retry-After is seconds, or a date against the answer's own Date; else it is not heard."""
    assert read({}, 429, **headers) == Busy(seconds, None)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, {"code": -1, "msg": "x"}),
        (502, b"<html>"),
        (200, {"code": 500, "msg": "x"}),
        (200, {"code": "504"}),
        (500, {"code": 0, "data": []}),
        (404, b"<html>"),
        (405, {"detail": "Method Not Allowed"}),
    ],
)
def test_a_fault_of_the_server(status: int, body: object) -> None:
    """Any other 5xx, and an error page that is not the API's own, is upstream's fault and not the caller's."""
    assert isinstance(read(body, status), ServerFault)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b""),
        (200, b"<html>"),
        (200, b"[]"),
        (200, b"null"),
        (200, b'{"code":0,"data":[{"image":"http'),
        (200, b'{"a":' * 20_000 + b"1" + b"}" * 20_000),
        (200, b'{"code":0,"data":["\xff\xfe"]}'),
        (200, {}),
        (200, {"msg": "queued"}),
        (204, b""),
        (302, {"code": 0, "data": [LINK]}),
    ],
)
def test_garbage(status: int, body: object) -> None:
    """What says neither success nor failure is unknown, and none of it is repeated."""
    answer = read(body, status)
    assert isinstance(answer, Garbage)
    assert "http" not in answer.detail


def test_a_message_is_cleaned_and_cut() -> None:
    """Upstream's text is shown without keys, URLs and control characters, and to 300 characters."""
    text = "no\x00 sk-canary Bearer abc https://a.example/x?k=1 \u202e" + "y" * 500
    answer = read({"code": -1, "msg": text})
    assert isinstance(answer, Refused)
    assert answer.text.startswith("no [removed] [removed] [removed] y")
    assert len(answer.text) == 300
