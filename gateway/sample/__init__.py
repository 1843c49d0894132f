"""A sample of a frontend: a page without a build, and the few lines of backend that mint its client tokens."""

from gateway.sample.backend import backend

__all__ = ["backend"]
