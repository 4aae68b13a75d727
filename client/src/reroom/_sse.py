"""Server-sent events, as the HTML standard defines them, without I/O."""

from __future__ import annotations

import msgspec


class ServerEvent(msgspec.Struct, frozen=True):
    """An event of a stream."""

    data: str
    event: str = "message"
    id: str = ""
    """The last id of the stream so far: where to resume."""


class Parser:
    """Is fed the lines of a stream, and gives its events."""

    def __init__(self) -> None:
        self.last_id = ""
        self.retry_ms: int | None = None
        """What the service asks to wait for before another connection."""
        self._data: list[str] = []
        self._event = ""

    def feed(self, line: str) -> ServerEvent | None:
        """Take a line without its end; the event that it completes, if any."""
        if not line:
            data, event = self._data, self._event
            self._data, self._event = [], ""
            return ServerEvent("\n".join(data), event or "message", self.last_id) if data else None
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match name:
            case "data":
                self._data.append(value)
            case "event":
                self._event = value
            case "id" if "\0" not in value:
                self.last_id = value
            case "retry" if value.isdecimal():
                self.retry_ms = int(value)
        return None
