"""How fast, beside a floor: `python -m tests.bench` (see `__main__`)."""
