"""The door for app developers: REST and WebSocket.

Controllers are thin; ``orchestrator.services`` holds the use cases.
"""
