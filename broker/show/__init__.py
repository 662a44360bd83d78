"""A message to read: as a page of text, or as one page of HTML to print and pass on.

Its TLP marking stands on top and bottom, words come from the schemas, nothing is left out. The schemas are those of
this installation; a kind that it does not know is shown by its member names. Nothing is verified here.
"""

from broker.show.html import document
from broker.show.payload import read_payload
from broker.show.text import page

__all__ = ["document", "page", "read_payload"]
