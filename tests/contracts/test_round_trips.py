"""What one message, alone, asks of the ledger: a round trip is a tenth of a millisecond of the hub's processor, and as much
waiting."""

from __future__ import annotations

from typing import Any

from sqlalchemy import event

from tests.region import Region, to

MOST = {
    "postgresql": 10,  # registry's lock; head's; is it known?; four tables; sequences; head; NOTIFY
    "sqlite": 9,  # BEGIN IMMEDIATE in place of the two that only PostgreSQL needs
}


async def test_a_message_that_comes_alone_costs_so_many_statements(here: Region) -> None:
    """However many queues it enters."""
    await here.enrol("CL", "PE", "AR", "BR")
    await here.send("CL", "first", to("PE", "AR", "BR"))
    engine = here.hub.ledger.writing.sync_engine
    asked: list[str] = []

    def executed(_c: Any, _cursor: Any, sql: str, *_: Any) -> None:
        asked.append(sql)

    event.listen(engine, "before_cursor_execute", executed)
    await here.send("CL", "alone", to("PE"))
    one, asked[:] = asked[:], []
    await here.send("CL", "to-all", to("PE", "AR", "BR"))
    event.remove(engine, "before_cursor_execute", executed)

    assert len(one) <= MOST[engine.dialect.name], one
    assert asked == one
