"""What a policy says is what was meant, or it is refused."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.tenants.policy import (
    IMAGE_FORMATS,
    LARGEST_COUNT,
    InvalidPolicy,
    KeyPolicy,
    Policy,
    change,
    change_key,
    key_policy_from_text,
    policy_from_text,
    show,
    to_text,
)

MODELS = frozenset({"flux-2-pro", "gemini"})
COUNTS = st.none() | st.integers(1, LARGEST_COUNT)
POLICIES = st.builds(
    Policy,
    requests_per_minute=COUNTS,
    images_per_minute=COUNTS,
    burst=COUNTS,
    concurrency=COUNTS,
    budget_day=COUNTS,
    budget_month=COUNTS,
    budget_total=COUNTS,
    models=st.none() | st.lists(st.sampled_from(sorted(MODELS)), min_size=1, unique=True).map(tuple),
    image_format=st.sampled_from(IMAGE_FORMATS),
    keep_prompts=st.booleans(),
    log_prompts=st.booleans(),
    link_ttl=COUNTS,
    max_body_mb=st.none() | st.integers(1, 1024),
    shadow=st.booleans(),
)

REFUSED: dict[str, tuple[Any, ...]] = {
    "burst": (LARGEST_COUNT + 1, 0, -1, "0", "-1", "1.5", 1.5, True, " 1", "１", "1e3", 10**10, [1], {}),
    "budget_day": (5, 1.5, "0", "0.00", "-1", "1e3", "0.0000001", True, ["1"], {}),
    "models": ("dall-e", ["gemini", 5], {"gemini": 1}, 5, [], "gemini,"),
    "image_format": (None, "", "URL", "png", 1, []),
    "shadow": (None, "", "maybe", 1, 0, "true", [], {}),
    "max_body_mb": (1025,),
    "budget_week": ("1",),
    "": ("1",),
}


@given(POLICIES)
def test_a_policy_survives_its_row(policy: Policy) -> None:
    """What is stored is read back as it was."""
    assert policy_from_text(to_text(policy)) == policy


@given(POLICIES)
def test_what_is_shown_may_be_given_back(policy: Policy) -> None:
    """The API's answer, sent back as a change, changes nothing."""
    shown = {name: list(value) if isinstance(value, tuple) else value for name, value in show(policy).items()}
    assert change(policy, shown, MODELS) == policy
    assert change(Policy(), shown, MODELS) == policy


def test_defaults_are_not_stored() -> None:
    """A row says only what was chosen, so that a later default reaches it; what it does not know is left out."""
    assert to_text(Policy()) == "{}"
    assert to_text(Policy(burst=3)) == '{"burst":3}'
    assert policy_from_text('{"burst":3,"of_a_later_version":1}') == Policy(burst=3)
    assert key_policy_from_text('{"requests_per_minute":3,"burst":1}') == KeyPolicy(requests_per_minute=3)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"burst": "5"}, Policy(burst=5)),
        ({"burst": 5}, Policy(burst=5)),
        ({"budget_day": "0.000001"}, Policy(budget_day=1)),
        ({"budget_month": "12.5"}, Policy(budget_month=12_500_000)),
        ({"models": "gemini, flux-2-pro,gemini"}, Policy(models=("gemini", "flux-2-pro"))),
        ({"models": ["gemini"]}, Policy(models=("gemini",))),
        ({"shadow": "yes", "keep_prompts": "no"}, Policy(shadow=True, keep_prompts=False)),
        ({"shadow": True, "keep_prompts": False}, Policy(shadow=True, keep_prompts=False)),
        ({"image_format": "base64"}, Policy(image_format="base64")),
    ],
)
def test_options_are_read_as_text_and_as_json(given: dict[str, Any], expected: Policy) -> None:
    """The command line and the API mean the same."""
    assert change(Policy(), given, MODELS) == expected


@pytest.mark.parametrize("nothing", [None, ""])
@pytest.mark.parametrize("option", ["burst", "budget_day", "models", "link_ttl", "max_body_mb"])
def test_a_limit_can_be_taken_away(option: str, nothing: str | None) -> None:
    """Nothing is no limit; everything else stays."""
    policy = Policy(burst=1, budget_day=1, models=("gemini",), link_ttl=1, max_body_mb=1, concurrency=7)
    without: dict[str, Any] = {option: None}
    assert change(policy, {option: nothing}, MODELS) == replace(policy, **without)


@pytest.mark.parametrize(("option", "value"), [(option, value) for option, all_ in REFUSED.items() for value in all_])
def test_what_is_no_value_is_refused_by_name(option: str, value: Any) -> None:
    """A refusal names the option, and never ends in another error."""
    with pytest.raises(InvalidPolicy, match=f"^{option}: "):
        change(Policy(), {option: value}, MODELS)


@pytest.mark.parametrize("value", ["-1", "1000000001", "much"])
def test_an_amount_that_is_offered_can_be_had(value: str) -> None:
    """The rule that a refusal states leaves out 0, since that is refused too."""
    with pytest.raises(InvalidPolicy, match="must be an amount of yuan more than 0 and at most 1000000000, with"):
        change(Policy(), {"budget_day": value}, MODELS)


def test_a_key_has_limits_of_its_own_and_no_others() -> None:
    """Rates, but no budget and no models."""
    assert change_key(KeyPolicy(), {"images_per_minute": "3"}) == KeyPolicy(images_per_minute=3)
    with pytest.raises(InvalidPolicy, match="budget_day: is no option of a key"):
        change_key(KeyPolicy(), {"budget_day": "3"})
