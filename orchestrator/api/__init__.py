"""The door for app developers: REST and WebSocket.

Controllers are thin; ``jobs.service`` holds the use cases.
"""
