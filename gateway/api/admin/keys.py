"""`/admin/api/tenants/{name}/keys` and `/admin/api/keys/{id}`: the keys of a tenant, each shown once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from gateway import clock
from gateway.api.admin.exchange import Tell, answer, read_nothing, read_object, resource, text_of
from gateway.api.query import query_of, read_as
from gateway.clock import Calendar
from gateway.database.engine import Database
from gateway.moments import parse_end
from gateway.tenants.administration import Administration, Key, list_keys


@dataclass(frozen=True, slots=True)
class KeysResource:
    """Keys. A revocation takes effect within 5 s in every process, with Redis within 1 s."""

    database: Database
    administration: Callable[[], Administration]
    calendar: Calendar
    tell: Tell

    def routes(self) -> Sequence[BaseRoute]:
        """Return the routes."""
        return (
            resource("/tenants/{name}/keys", GET=self.list, POST=self.create),
            resource("/keys/{id}/rotate", POST=self.rotate),
            resource("/keys/{id}/revoke", POST=self.revoke),
        )

    async def list(self, request: Request) -> Response:
        """Answer `{"keys": […]}`, oldest first, without the keys themselves."""
        query_of(request)
        name = request.path_params["name"]
        keys = await self.database.read(lambda connection: list_keys(connection, name))
        return answer({"keys": [key.shown() for key in keys]})

    async def create(self, request: Request) -> Response:
        """Make a key of `{label, expires_at, requests_per_minute, images_per_minute}`, all optional; 201.

        `expires_at` is a moment, in GATEWAY_TIMEZONE unless it says otherwise, or a time from now such as `90d`. The
        answer has the key, once, as `key`.
        """
        options = await read_object(request)
        label = text_of(options, "label")
        now, zone = clock.now(), self.calendar.zone
        expires_at = read_as("expires_at", lambda text: parse_end(text, now, zone), text_of(options, "expires_at"))
        limits = {name: value for name, value in options.items() if name not in ("label", "expires_at")}
        name, admin = request.path_params["name"], self.administration()
        key, text = await self.database.write(
            lambda connection: admin.create_key(
                connection, name, label="" if label is None else label, expires_at=expires_at, options=limits
            )
        )
        return _new(key, text)

    async def rotate(self, request: Request) -> Response:
        """Make a successor with the same limits; 201. The old key works for another 24 h at most."""
        await read_nothing(request)
        key_id, admin = request.path_params["id"], self.administration()
        key, text = await self.database.write(lambda connection: admin.rotate_key(connection, key_id))
        await self.tell(key.tenant)
        return _new(key, text)

    async def revoke(self, request: Request) -> Response:
        """Refuse a key for good."""
        await read_nothing(request)
        key_id, admin = request.path_params["id"], self.administration()
        key = await self.database.write(lambda connection: admin.revoke_key(connection, key_id))
        await self.tell(key.tenant)
        return answer(key.shown())


def _new(key: Key, text: str) -> Response:
    return answer({**key.shown(), "key": text}, 201)
