"""How the hub fares when its tables have grown: a world that fills them, what the hub does there, and what it costs.

`python -m tests.growth` measures (docs/growth.md has its figures); tests/contracts/test_growth.py asserts plans, not times.
"""
