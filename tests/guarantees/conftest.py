from tests.guarantees.sick_queues import own as own
from tests.guarantees.sick_queues import wired as wired
