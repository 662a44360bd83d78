"""File names: from addresses, and from the names that other people gave. No path is made of anything else.

Two addresses never share a name, not even where upper and lower case are one; nothing begins with a dot; no name ends
like one that the agent gives to what it puts beside a file.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable
from datetime import UTC, datetime

ADDRESS = re.compile(r"(hub|[A-Z][A-Z0-9-]{0,31}):([A-Za-z0-9._-]{1,64})")
_PLAIN = re.compile(r"[A-Z][A-Z0-9-]*_[A-Z0-9_-]+")
_OURS = re.compile(r"\.(receipt|sent|problem|delivery|part)$", re.IGNORECASE)
MAX_STEM_BYTES = 200
"""With a moment and `.problem.json` behind it a name stays within the 255 bytes of a file system."""


def name_of(address: str) -> str | None:
    """`ORIGINATOR_ID`; with lower case or a dot in it, also `~` and eight hex digits of the address's SHA-256.

    None if it is no address. The id alone could be `x.delivery`, or differ from another one in case only.
    """
    found = ADDRESS.fullmatch(address)
    if found is None:
        return None
    name = f"{found[1]}_{found[2]}"
    return name if _PLAIN.fullmatch(name) else f"{name}~{hashlib.sha256(address.encode()).hexdigest()[:8]}"


def stem_of(name: str) -> str:
    """The stem of somebody's file name, in printable UTF-8 of at most MAX_STEM_BYTES.

    What is no UTF-8 falls away; a dot that comes to stand first by that would put the file out of everybody's sight.
    """
    stem = os.fsencode(name.rpartition(".")[0])[:MAX_STEM_BYTES].decode("utf-8", "ignore")
    stem = "".join(c if c.isprintable() else "_" for c in stem)
    return _OURS.sub(r"_\1", f"_{stem[1:]}" if stem.startswith(".") else stem) or "_"


def free(stem: str, now: datetime, is_taken: Callable[[str], bool]) -> str:
    """`stem`, or with the present moment behind it if that name is given away already."""
    if not is_taken(stem):
        return stem
    moment = int(now.timestamp() * 1000)
    while is_taken(found := f"{stem}~{_text(moment)}"):
        moment += 1
    return found


def _text(milliseconds: int) -> str:
    """20261119T221000123Z: no colon, which Windows forbids."""
    whole, rest = divmod(milliseconds, 1000)
    return f"{datetime.fromtimestamp(whole, UTC):%Y%m%dT%H%M%S}{rest:03}Z"
