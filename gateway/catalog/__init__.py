"""The catalog: which models there are, what each accepts, and the most that an ask may cost.

A TOML file that is read again when it changes; the shipped one prices the documented models at their providers' list
prices. A model whose price is not known cannot be asked for.
"""

from gateway.catalog.catalog import Catalog
from gateway.catalog.load import CatalogFault, load, parse
from gateway.catalog.model import Model, ReplyForm
from gateway.catalog.price import FlatPrice, MegapixelPrice, Price
from gateway.catalog.watch import CatalogFile

__all__ = [
    "Catalog",
    "CatalogFault",
    "CatalogFile",
    "FlatPrice",
    "MegapixelPrice",
    "Model",
    "Price",
    "ReplyForm",
    "load",
    "parse",
]
