"""The archive of a spreadsheet, read within bounds: a ZIP archive is anybody's, and says itself how large its parts are.

openpyxl reads sheets and shared strings piece by piece, and every other part whole. What is read whole must be small, and
of what comes piece by piece no row and no text may be endless: each is in memory until it ends.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import IO, Any

from adapters.tables.table import TableRefused

MAX_UNPACKED_BYTES = 2_000_000_000
MAX_PACKING = 200
"""Unpacked octets for one packed, over the whole archive: a spreadsheet has ten or twenty."""
MAX_SHARED_STRINGS_BYTES = 200_000_000
"""They are held in memory while the sheet is read."""
MAX_WHOLE_BYTES = 16_000_000
"""Of a part that is read whole, and of a row or a text; in memory it is many times larger."""
ENDS = (b"row>", b"si>")


class Archive(zipfile.ZipFile):
    """A spreadsheet's parts. Raises TableRefused for one that is too large to be read, here and while it is read."""

    def __init__(self, path: Path) -> None:
        try:
            super().__init__(path)
        except (zipfile.BadZipFile, ValueError, NotImplementedError):
            raise TableRefused(detail=f"{path} is not an XLSX file: save it as “Excel workbook (.xlsx)”.") from None
        self._path = path
        unpacked, packed = (
            sum(getattr(one, f"{name}_size") for one in self.infolist()) for name in ("file", "compress")
        )
        if unpacked > MAX_UNPACKED_BYTES or unpacked > MAX_PACKING * max(packed, 10_000):
            self.close()
            raise TableRefused(detail=f"{path} unpacks to {unpacked} bytes: no table is read from such an archive.")

    def open(self, name: str | zipfile.ZipInfo, *how: Any, **more: Any) -> Any:
        size = self.getinfo(name).file_size if isinstance(name, str) else name.file_size
        return _Part(super().open(name, *how, **more), size, self._path)

    def check_shared_strings(self, name: str) -> None:
        if self.getinfo(name).file_size > MAX_SHARED_STRINGS_BYTES:
            raise TableRefused(
                detail=f"{self._path} holds too many different texts for a spreadsheet: save it as CSV and load that."
            )


class _Part:
    """What ZipFile.open gives, with bounds."""

    def __init__(self, part: IO[bytes], size: int, path: Path) -> None:
        self._part, self._size, self._path = part, size, path
        self._endless = 0

    def read(self, size: int = -1) -> bytes:
        if size < 0:
            self._bounded(self._size)
            return self._part.read()
        piece = self._part.read(size)
        self._endless = 0 if any(end in piece for end in ENDS) else self._endless + len(piece)
        self._bounded(self._endless)
        return piece

    def _bounded(self, octets: int) -> None:
        if octets > MAX_WHOLE_BYTES:
            raise TableRefused(
                detail=f"{self._path} has a row or a part of more than {MAX_WHOLE_BYTES} bytes: save it as CSV and load that."
            )

    def close(self) -> None:
        self._part.close()

    def __enter__(self) -> _Part:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
