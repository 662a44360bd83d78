"""What the command line can do, one file per group of commands. Each has `add(app)` and imports what is heavy when called.

Commands parse, call one function, print and exit: they hold no rules.
"""
