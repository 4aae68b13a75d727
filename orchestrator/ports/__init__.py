"""The contracts between the services and what they run on, one file each. The adapters implement them."""

from orchestrator.ports.errors import (
    UNAVAILABLE,
    BadSignature,
    InferenceError,
    JobFinished,
    JobNotFound,
    KeyNotFound,
    LeaseLost,
    LinkExpired,
    ObjectExists,
    ObjectNotFound,
    ObjectTooLarge,
    PortError,
    QueueFull,
    QuotaExceeded,
    ReservationLost,
    Unavailable,
)
from orchestrator.ports.inference import Inference
from orchestrator.ports.jobs import PHOTO_ID_SECONDS, JobStore, Lease, QueueStats, Reservation
from orchestrator.ports.keys import KeyStore, Ticket
from orchestrator.ports.rates import RateLimit, Rates, RateState
from orchestrator.ports.storage import CACHE_CONTROL, SignedFiles, Storage, StorageStats, UploadLink
from orchestrator.ports.usage import Outbox, Outgoing, Receiver, Usage

__all__ = [
    "CACHE_CONTROL",
    "PHOTO_ID_SECONDS",
    "UNAVAILABLE",
    "BadSignature",
    "Inference",
    "InferenceError",
    "JobFinished",
    "JobNotFound",
    "JobStore",
    "KeyNotFound",
    "KeyStore",
    "Lease",
    "LeaseLost",
    "LinkExpired",
    "ObjectExists",
    "ObjectNotFound",
    "ObjectTooLarge",
    "Outbox",
    "Outgoing",
    "PortError",
    "QueueFull",
    "QueueStats",
    "QuotaExceeded",
    "RateLimit",
    "RateState",
    "Rates",
    "Receiver",
    "Reservation",
    "ReservationLost",
    "SignedFiles",
    "Storage",
    "StorageStats",
    "Ticket",
    "Unavailable",
    "UploadLink",
    "Usage",
]
