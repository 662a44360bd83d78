"""Server-sent events, read (HTML Living Standard §9.2): octets in, events out. Pure; who connects again is `client`.

Lines end at LF, CR or CRLF and nowhere else: a message may well hold the other characters that Python splits at.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

MAX_EVENT_BYTES = 4_000_000
"""The largest message makes an event of some 350 kB; what has not ended by then is no event of a hub."""
LINE_END = re.compile(rb"\r\n|\r|\n")


class NotEvents(Exception):
    """What comes is no stream of a hub."""


@dataclass(frozen=True, slots=True)
class Event:
    """`kind` is the field `event`, `message` if it was left out."""

    kind: str
    data: str
    id: str


@dataclass
class Reader:
    """What has come of one connection. `retry_seconds`: how long the server asks us to wait before the next one."""

    retry_seconds: float = 0.0
    _rest: bytes = b""
    _lines: list[bytes] = field(default_factory=list)
    _size: int = 0

    def feed(self, octets: bytes) -> list[Event]:
        """The events that these octets end. A comment (a heartbeat) ends none. Raises NotEvents."""
        whole = self._rest + octets
        held = b"\r" if whole.endswith(b"\r") else b""  # its LF may be on the way
        *lines, rest = LINE_END.split(whole[: len(whole) - len(held)])
        self._rest = rest + held
        events = []
        for line in lines:
            self._size += len(line)
            if line:
                self._lines.append(line)
            elif event := self._end():
                events.append(event)
        if self._size + len(self._rest) > MAX_EVENT_BYTES:
            raise NotEvents(f"an event of more than {MAX_EVENT_BYTES} bytes")
        return events

    def _end(self) -> Event | None:
        fields: dict[str, list[str]] = {}
        for line in self._lines:
            name, _, value = line.decode("utf-8", "replace").partition(":")
            fields.setdefault(name, []).append(value.removeprefix(" "))
        self._lines, self._size = [], 0
        if (retry := fields.get("retry", [""])[-1]).isdecimal() and len(retry) < 8:
            self.retry_seconds = int(retry) / 1000
        if "data" not in fields:
            return None
        return Event(fields.get("event", ["message"])[-1], "\n".join(fields["data"]), fields.get("id", [""])[-1])
