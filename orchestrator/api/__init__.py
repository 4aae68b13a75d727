"""The REST and WebSocket API.

Controllers are thin; ``orchestrator.services`` holds the use cases.
"""
