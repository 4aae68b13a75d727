"""Contracts between the services and what they run on: one file each, and the adapters implement them."""

from orchestrator.ports.errors import (
    UNAVAILABLE,
    BadSignature,
    ClaimLost,
    InferenceError,
    JobFinished,
    JobNotFound,
    LeaseLost,
    LinkExpired,
    ObjectExists,
    ObjectNotFound,
    ObjectTooLarge,
    PortError,
    QueueFull,
    Unavailable,
)
from orchestrator.ports.inference import Inference
from orchestrator.ports.jobs import Claim, JobStore, Lease, QueueStats
from orchestrator.ports.storage import CACHE_CONTROL, SignedFiles, Storage, StorageStats, UploadLink

__all__ = [
    "CACHE_CONTROL",
    "UNAVAILABLE",
    "BadSignature",
    "Claim",
    "ClaimLost",
    "Inference",
    "InferenceError",
    "JobFinished",
    "JobNotFound",
    "JobStore",
    "Lease",
    "LeaseLost",
    "LinkExpired",
    "ObjectExists",
    "ObjectNotFound",
    "ObjectTooLarge",
    "PortError",
    "QueueFull",
    "QueueStats",
    "SignedFiles",
    "Storage",
    "StorageStats",
    "Unavailable",
    "UploadLink",
]
