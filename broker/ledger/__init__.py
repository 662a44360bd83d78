"""The ledger: everything that is committed. SQLite or PostgreSQL, the same statements on both.

Functions take the connection first and never commit; `Ledger.accepting`, `.changing` and `.reading` do, in one place.
"""

from broker.ledger.core import Ledger, open_ledger
from broker.ledger.wakes import touch

__all__ = ["Ledger", "open_ledger", "touch"]
