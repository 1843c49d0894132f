"""Which fault a call meets: rules of a file, read again when it changes, or the markers of its prompt.

The file is a JSON list; the first rule that fits decides, and then the prompt's markers are not looked at:

    [{"match": {"account": 0}, "fault": {"status": 429, "retry-after": 2}},
     {"match": {"model": "flux-2-pro", "prompt_contains": "cat", "nth": 3}, "times": 1, "fault": {"cut": true}}]

`match` may name `model`, `prompt_contains`, `account` and `nth` (only the n-th call that the rest of the rule fits,
counted from 1); an empty match fits every call. `times` bounds how often the rule applies. A value of `true` is
for faults that take none. The counts begin anew when the file changes.
"""

import hashlib
import json
import logging
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.simulator.asked import Asked
from gateway.simulator.faults import NO_FAULT, Fault, InvalidFault, fault_of, in_prompt

_PROMPTS_COUNTED = 100_000
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Rule:
    match: Mapping[str, Any]
    fault: Fault
    times: int | None
    fitted: int = 0
    applied: int = 0

    def take(self, asked: Asked, account: str) -> bool:
        """Whether the rule applies to this call; counts it."""
        wanted = self.match
        if (
            wanted.get("model", asked.model) != asked.model
            or str(wanted.get("account", account)) != account
            or wanted.get("prompt_contains", "") not in asked.prompt
        ):
            return False
        self.fitted += 1
        if wanted.get("nth", self.fitted) != self.fitted or (self.times is not None and self.applied >= self.times):
            return False
        self.applied += 1
        return True


class Faults:
    """Decides the fault of each call, and counts those that apply only a few times."""

    def __init__(self, path: Path | None) -> None:
        """Read the rules, if there are any.

        Raises InvalidFault for a file that cannot be followed.
        """
        self._path = path
        self._version: tuple[int, int] | None = None
        self._rules: list[_Rule] = []
        self._calls: OrderedDict[bytes, int] = OrderedDict()
        if path is not None:
            self._version = _version(path)
            self._rules = _read(path)

    def of(self, asked: Asked, account: str) -> Fault:
        """Return the fault that this call meets.

        Raises InvalidFault for a marker that cannot be followed.
        """
        self._reread()
        for rule in self._rules:
            if rule.take(asked, account):
                return rule.fault
        fault = in_prompt(asked.prompt)
        return NO_FAULT if fault.times is not None and self._call_number(asked.prompt) > fault.times else fault

    def _call_number(self, prompt: str) -> int:
        digest = hashlib.sha256(prompt.encode()).digest()
        number = self._calls[digest] = self._calls.pop(digest, 0) + 1
        if len(self._calls) > _PROMPTS_COUNTED:
            self._calls.popitem(last=False)
        return number

    def _reread(self) -> None:
        """Take the file's new version, if there is one; a faulty one (perhaps half written) is reported and left."""
        if self._path is None or (version := _version(self._path)) == self._version:
            return
        self._version = version
        try:
            self._rules = _read(self._path)
        except InvalidFault as failure:
            _log.warning("The fault rules stay as they are: %s", failure)


def _version(path: Path) -> tuple[int, int] | None:
    try:
        state = path.stat()
    except FileNotFoundError:
        return None
    return state.st_mtime_ns, state.st_size


def _read(path: Path) -> list[_Rule]:
    """Read the file; none, or an empty one, has no rules."""
    try:
        text = path.read_text("utf-8")
        rules = json.loads(text) if text.strip() else []
    except FileNotFoundError:
        return []
    except ValueError as failure:
        raise InvalidFault(f"{path} is no JSON: {failure}") from failure
    if not isinstance(rules, list):
        raise InvalidFault(f"{path} must hold a list of rules")
    return [_rule(number, rule) for number, rule in enumerate(rules)]


def _rule(number: int, written: Any) -> _Rule:
    if not isinstance(written, dict) or not written.keys() <= {"match", "times", "fault"} or "fault" not in written:
        raise InvalidFault(f"rule {number}: must be an object of match, times and fault")
    match, times, fault = written.get("match", {}), written.get("times"), written["fault"]
    if not isinstance(match, dict) or not match.keys() <= {"model", "prompt_contains", "account", "nth"}:
        raise InvalidFault(f"rule {number}: match may name model, prompt_contains, account and nth")
    if not isinstance(match.get("prompt_contains", ""), str):
        raise InvalidFault(f"rule {number}: prompt_contains must be a text")
    if times is not None and (not isinstance(times, int) or times < 0):
        raise InvalidFault(f"rule {number}: times must be a whole number or null")
    if not isinstance(fault, dict) or "times" in fault:
        raise InvalidFault(f"rule {number}: fault must be an object of faults; times stands beside it")
    try:
        return _Rule(match, fault_of({name: _text(name, value) for name, value in fault.items()}), times)
    except InvalidFault as failure:
        raise InvalidFault(f"rule {number}: {failure}") from failure


def _text(name: str, value: Any) -> str | None:
    """Write a value as a marker would; `cost` is JSON there, so it is JSON here."""
    if name == "cost":
        return json.dumps(value)
    return None if value is True else str(value)
