"""The image gateway. Importing this package, or any module of it, does nothing."""

__version__ = "0.1.0"
