"""Every fault by its name, with what it holds while it lasts: no two faults handle the same thing at once.

A fault does its damage, lets it last about `world.pace` seconds, and mends it. What it cannot do on this machine it
says in a sentence (`NotHere`), and is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from random import Random
from typing import Any

from tests.torture.faults.clocks import jump_clock
from tests.torture.faults.disk import disk_alarm, disk_full
from tests.torture.faults.everything import restart_all
from tests.torture.faults.network import cut, delay, half_close, hang
from tests.torture.faults.processes import kill_gateway, kill_postgres, kill_rabbit_node, kill_relay, stop_politely
from tests.torture.faults.queues import delete_queue, fill_queue, memory_alarm, stop_queue
from tests.torture.world import World

Fault = Callable[[World, Random], Coroutine[Any, Any, None]]

FAULTS: dict[str, tuple[Fault, tuple[str, ...]]] = {
    "kill_gateway": (kill_gateway, ("gateways",)),
    "kill_relay": (kill_relay, ("relays",)),
    "kill_rabbit_node": (kill_rabbit_node, ("rabbit",)),
    "kill_postgres": (kill_postgres, ("postgres",)),
    "stop_politely": (stop_politely, ("gateways", "relays")),
    "cut": (cut, ("network",)),
    "delay": (delay, ("network",)),
    "half_close": (half_close, ("network",)),
    "hang": (hang, ("network",)),
    "disk_full": (disk_full, ("postgres",)),
    "disk_alarm": (disk_alarm, ("rabbit",)),
    "memory_alarm": (memory_alarm, ("rabbit",)),
    "delete_queue": (delete_queue, ("queues",)),
    "fill_queue": (fill_queue, ("queues",)),
    "stop_queue": (stop_queue, ("queues", "rabbit")),
    "jump_clock": (jump_clock, ("clock",)),
    "restart_all": (restart_all, ()),
}
"""name -> (the fault, the components it holds). `restart_all` takes whatever is free: the rest stays in its state."""
