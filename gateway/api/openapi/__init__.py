"""`GET /openapi.json` and `/docs`: the whole interface, described. Tests hold it to the routes and their answers."""

from gateway.api.openapi.routes import OpenApiRoute, document

__all__ = ["OpenApiRoute", "document"]
