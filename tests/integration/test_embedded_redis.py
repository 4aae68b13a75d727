"""The embedded stack's Redis: its memory limit, and who may read what it writes."""

from __future__ import annotations

from pathlib import Path

import pytest
import redis

from stack.process import StackError
from stack.redis import MAXMEMORY, RedisServer, redis_part


def test_what_redis_may_use_comes_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(MAXMEMORY, "64mb")
    with RedisServer(tmp_path) as server, redis.from_url(server.url) as client:
        assert client.config_get("maxmemory") == {"maxmemory": "67108864"}
    monkeypatch.setenv(MAXMEMORY, "much")
    with pytest.raises(StackError, match="REROOM_REDIS_MAXMEMORY must be like 512mb"):
        redis_part(tmp_path, 1, password="x")


@pytest.mark.parametrize("older", [False, True])
def test_what_redis_writes_is_for_its_owner_alone(tmp_path: Path, older: bool) -> None:
    """It holds previews of pictures, and words. Older versions left the folder open."""
    folder = tmp_path / "redis"
    if older:
        folder.mkdir()
        folder.chmod(0o755)
    with RedisServer(folder) as server, redis.from_url(server.url) as client:
        client.set("preview", b"picture")
        assert list(folder.rglob("*.aof"))
        assert folder.stat().st_mode & 0o777 == 0o700
