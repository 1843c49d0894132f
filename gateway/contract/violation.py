"""The one way to say that a request breaks the contract: upstream's own shape of message."""

from itertools import islice

_ECHOED_CHARACTERS = 64


class Violation(ValueError):
    """The request breaks the contract. `text` is the exact public message, one fault only.

    Where a parameter is at fault, `name` is its name and `rule` what it breaks: other interfaces have other names.
    """

    def __init__(self, text: str, name: str | None = None, rule: str = "") -> None:
        self.text = text
        self.name = name
        self.rule = rule
        super().__init__(text)


def parameter(name: str, rule: str) -> Violation:
    """Blame a parameter, in the shape of the documented `Invalid aspect_ratio parameter. Supported ratios: …`."""
    return Violation(f"Invalid {name} parameter. {rule}", name, rule)


def body(rule: str) -> Violation:
    """Blame the body as a whole."""
    return Violation(f"Invalid request body. {rule}")


def echo(name: str) -> str:
    """Return a caller's own word as it may be repeated to them: printable characters, at most 64 of them."""
    # Cut before filtering too: a name may be as long as the body, and all of it unprintable.
    return "".join(islice(filter(str.isprintable, name[: _ECHOED_CHARACTERS * 16]), _ECHOED_CHARACTERS))
