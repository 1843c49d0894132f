"""`/admin/api/…`: what operators do by the command line, over HTTP, by the same code and in the same words.

One token opens it; without one in the settings there is no such path. Lists are JSON objects, amounts are text in
yuan, moments are RFC 3339 in UTC; one that is sent without a zone is in GATEWAY_TIMEZONE. With SQL out of reach
everything here answers 503.
"""

from gateway.api.admin.routes import AdminRoute

__all__ = ["AdminRoute"]
