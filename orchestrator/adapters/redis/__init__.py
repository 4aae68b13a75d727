"""Jobs on Redis Streams, API keys, styles, requests that are done once, rate limits, usage, what administrators see,
what is to be sent, and errands: the adapters of :class:`orchestrator.ports.JobStore`, KeyStore, StyleStore, OnceStore,
Rates, Usage, Oversight, EndpointStore, Outbox and Errands.

The queue is one stream with one consumer group. An entry stays in it for the whole life of its job and is deleted
when the job ends; the group's pending list names the worker that runs it. Every change is one Lua script, atomic and
idempotent.
Needs Redis ≥ 6.2 with ``appendonly yes``, ``appendfsync always`` and ``maxmemory-policy noeviction``.
"""

from orchestrator.adapters.redis.canary_store import RedisCanaryStore
from orchestrator.adapters.redis.connection import AccessDenied
from orchestrator.adapters.redis.endpoints import RedisEndpoints
from orchestrator.adapters.redis.errands import RedisErrands
from orchestrator.adapters.redis.key_store import RedisKeyStore, open_keys
from orchestrator.adapters.redis.once_store import RedisOnceStore
from orchestrator.adapters.redis.outbox import RedisOutbox
from orchestrator.adapters.redis.oversight import RedisOversight
from orchestrator.adapters.redis.rates import RedisRates
from orchestrator.adapters.redis.store import RedisJobStore
from orchestrator.adapters.redis.style_store import RedisStyleStore
from orchestrator.adapters.redis.usage import RedisUsage

__all__ = [
    "AccessDenied", "RedisCanaryStore", "RedisEndpoints", "RedisErrands", "RedisJobStore", "RedisKeyStore",
    "RedisOnceStore", "RedisOutbox", "RedisOversight", "RedisRates", "RedisStyleStore", "RedisUsage", "open_keys",
]  # fmt: skip
