"""The contract of `POST /images/generate`: what a request may say, and the exact words in which it is refused.

Strict in what it accepts: a body becomes a frozen `GenerateAsk`, or a `Violation` whose text is public. The document
is that of the API this gateway mirrors, https://api.atalk-ai.com/api-docs/api/image-generation.
"""

from gateway.contract.addresses import Address, is_public, is_reachable, read_host
from gateway.contract.ask import (
    FIELDS,
    MAX_REFERENCES,
    OPTIONS,
    REFERENCE_FIELDS,
    GenerateAsk,
    ModelRules,
    Reference,
    ReferenceBytes,
    ReferenceLink,
)
from gateway.contract.body import is_crowded, read_members
from gateway.contract.headers import bearer, is_plain_json, retry_after
from gateway.contract.numbers import read_integer
from gateway.contract.picture import Header, MediaType, read_header
from gateway.contract.read import ASPECT_RATIOS, OUTPUT_FORMATS, SAFETY_TOLERANCES, SEEDS, ask_of, read_ask
from gateway.contract.references import MAX_REFERENCE_BYTES, reference_of, too_large
from gateway.contract.violation import Violation, echo, parameter

__all__ = [
    "ASPECT_RATIOS",
    "FIELDS",
    "MAX_REFERENCES",
    "MAX_REFERENCE_BYTES",
    "OPTIONS",
    "OUTPUT_FORMATS",
    "REFERENCE_FIELDS",
    "SAFETY_TOLERANCES",
    "SEEDS",
    "Address",
    "GenerateAsk",
    "Header",
    "MediaType",
    "ModelRules",
    "Reference",
    "ReferenceBytes",
    "ReferenceLink",
    "Violation",
    "ask_of",
    "bearer",
    "echo",
    "is_crowded",
    "is_plain_json",
    "is_public",
    "is_reachable",
    "parameter",
    "read_ask",
    "read_header",
    "read_host",
    "read_integer",
    "read_members",
    "reference_of",
    "retry_after",
    "too_large",
]
