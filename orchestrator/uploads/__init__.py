"""The gate that every uploaded photo passes; only the bytes it returns go further."""

from orchestrator.uploads.gate import PROCESSES, Photo, PhotoGate, PhotoRejected

__all__ = ["PROCESSES", "Photo", "PhotoGate", "PhotoRejected"]
