"""A file is about one thing, and its name says which."""

import re

from tests.laws.sources import ROOT, sources

MOST_LINES = 400
EMPTY_WORDS = {"utils", "util", "helpers", "helper", "common", "manager", "managers", "base", "misc"}


def test_no_file_is_too_long() -> None:
    """A file that outgrows this is split by meaning."""
    long = {
        source.name: lines
        for folder in ("gateway", "tests")
        for source in sources(folder)
        if (lines := source.text.count("\n")) > MOST_LINES
    }
    assert long == {}


def test_no_module_is_named_for_nothing() -> None:
    """A module's name is never a word that would fit everything."""
    named = [
        source.name
        for folder in ("gateway", "tests")
        for source in sources(folder)
        if EMPTY_WORDS & set(re.split(r"[._]", source.name))
    ]
    assert named == []


def test_every_module_says_what_it_is() -> None:
    """A module begins with a sentence."""
    silent = [source.name for source in sources("gateway") if source.text.strip() and not source.text.startswith('"""')]
    assert silent == []


def test_the_top_level_is_what_it_is() -> None:
    """Nothing is kept at the top level that is not known there."""
    folders = {path.name for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith(".")}
    assert folders - {"gateway", "tests", "deploy", "dist", "build", "var", "var-demo"} == set()
