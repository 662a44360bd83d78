"""What a valid message says: schemas, code lists, identifiers and cross-field rules, read once from `schemas/`.

Pure: bytes and values in, faults and attributes out. It reads the schemas folder when it is loaded and nothing
afterwards. It does not know who sent a message, who may see it, or when it is stored.
"""

from broker.language.codelists import Code, CodeList
from broker.language.kinds import Identifier, Kind, Language, Reading, load_language

__all__ = ["Code", "CodeList", "Identifier", "Kind", "Language", "Reading", "load_language"]
