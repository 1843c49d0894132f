"""The clients that are built: none waits or retries on its own."""

import pytest
from redis.asyncio import Redis, RedisCluster

from gateway.redis_link import parse_address
from gateway.redis_link.address import open_client


@pytest.mark.parametrize(
    "url", ["redis://a", "rediss://a", "redis+sentinel://u:p@a,b/s?sentinel_password=q", "redis+cluster://a,b"]
)
def test_no_retry_of_the_library_is_left(url: str) -> None:
    """Every connection, to Sentinels too, gives up at once and within the time limits."""
    client, sentinel = open_client(parse_address(url))
    if isinstance(client, RedisCluster):
        assert client.retry.get_retries() == 0
        settings = [client.nodes_manager.connection_kwargs]
    else:
        clients: list[Redis] = [client, *([] if sentinel is None else sentinel.sentinels)]
        settings = [one.connection_pool.connection_kwargs for one in clients]
        assert all(each["retry"].get_retries() == 0 for each in settings)
    for each in settings:
        assert (each["socket_connect_timeout"], each["socket_timeout"]) == (0.25, 0.3)


def test_sentinels_have_their_own_login() -> None:
    """The password of the data servers is not shown to Sentinels, nor theirs to the data servers."""
    client, sentinel = open_client(parse_address("redis+sentinel://u:p@a,b/s?sentinel_password=q"))
    assert isinstance(client, Redis)
    assert sentinel is not None
    assert client.connection_pool.connection_kwargs["password"] == "p"
    assert [one.connection_pool.connection_kwargs.get("password") for one in sentinel.sentinels] == ["q", "q"]
