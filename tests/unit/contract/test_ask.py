"""The ask itself: what goes on the wire, what a fingerprint is taken of, and what is never printed."""

import dataclasses
from itertools import combinations

import pytest

from gateway.contract import GenerateAsk, ReferenceBytes
from tests.unit.contract.samples import OWN_LINKS, PNG1, F, G, ask

KEPT = ReferenceBytes(base64=PNG1, sha256="0" * 64, media_type="image/png", size=70, width=1, height=1)


def test_an_ask_is_frozen() -> None:
    """Nobody changes an ask on its way."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        ask(F).prompt = "q"  # type: ignore[misc]  # -- the assignment that must fail


def test_the_wire_is_in_the_documents_order() -> None:
    """Members go upstream in the order of the document, whatever the caller's was."""
    given = ask({}, seed=1, input_image_2=PNG1, aspect_ratio="1:1", prompt="p", model="flux-2-pro", input_image=PNG1)
    assert list(given.wire()) == ["model", "prompt", "aspect_ratio", "input_image", "input_image_2", "seed"]


def test_no_two_asks_share_canonical_bytes() -> None:
    """Asks that differ in anything, also in a documented default left out, differ in their canonical bytes."""
    asks = [
        ask(F),
        ask(G),
        ask(F, prompt="q"),
        ask(F, prompt="P"),
        ask(F, prompt='p","seed":1'),
        ask(F, aspect_ratio="1:1"),
        ask(F, safety_tolerance=2),
        ask(F, output_format="jpeg"),
        ask(F, seed=0),
        ask(F, seed=1),
        ask(F, width=64),
        ask(F, height=64),
        ask(F, input_image=PNG1),
        ask(F, input_image_2=PNG1),
        ask(F, input_image="https://example.com/a.png"),
        ask(F, input_image="https://example.com/b.png"),
    ]
    for one, other in combinations(asks, 2):
        assert one.canonical() != other.canonical()


def test_the_same_ask_has_the_same_canonical_bytes() -> None:
    """Order, escapes and nulls make no other ask, and the bytes say their version."""
    assert ask({}, prompt="p", seed=None, model="flux-2-pro").canonical() == ask(F).canonical()
    assert ask(F).canonical() == b'ask/1\n{"model":"flux-2-pro","prompt":"p"}'


def test_a_kept_image_takes_the_place_of_its_link() -> None:
    """A link of this gateway is replaced by the bytes it names, in its slot, and counts by its bytes from then on."""
    linked = ask(F, input_image=PNG1, input_image_4=OWN_LINKS + "a.png")
    replaced = linked.with_reference(4, KEPT)
    assert replaced.wire() == {**F, "input_image": PNG1, "input_image_4": PNG1}
    assert b"sha256:" + b"0" * 64 in replaced.canonical()
    assert linked.wire()["input_image_4"] == OWN_LINKS + "a.png"
    with pytest.raises(KeyError):
        linked.with_reference(2, KEPT)


def test_a_picture_is_not_printed() -> None:
    """The repr of an ask leaves out the pictures' data, which is megabytes long."""
    assert PNG1[:20] not in repr(ask(F, input_image=PNG1))
    assert PNG1[:20] not in repr(GenerateAsk("m", "p", references=((1, KEPT),)))
