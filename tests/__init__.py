"""The tests and what they share. The shared modules are told to pytest before anything imports them."""

import pytest

pytest.register_assert_rewrite("tests.engines", "tests.faults", "tests.region")
