"""Doubles that fail before their effect, or after it, wherever our own code waits for somebody else.

`Faults` counts the calls inside a watched function and fails one of them by its number. `Everywhere` knows every await
point of the functions it is given, from their source, fails them one by one, and says which no fault has struck.
"""

from __future__ import annotations

import ast
import contextlib
import inspect
import itertools
import sys
import textwrap
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from types import CodeType, FrameType, ModuleType
from typing import Any, ClassVar

import pytest
from sqlalchemy.exc import OperationalError

from broker.errors import LedgerAway
from broker.ledger import Ledger

watched: ContextVar[bool] = ContextVar("watched", default=False)


@dataclass
class Faults:
    """Counts the calls that are awaited, and fails one of them."""

    at: int = 0
    """Which call fails, from 1; 0: none."""
    after: bool = False
    """After its effect: the caller does not learn that it happened."""
    seen: list[str] = field(default_factory=list)

    @contextlib.contextmanager
    def around(self, name: str, error: Callable[[str], Exception]) -> Iterator[None]:
        if not watched.get():
            yield
            return
        self.seen.append(name)
        mine = len(self.seen) == self.at
        if mine and not self.after:
            raise error(f"before {name}")
        yield
        if mine:
            raise error(f"after {name}")


def away(why: str) -> LedgerAway:
    return LedgerAway(detail=why)


def broken(why: str) -> OperationalError:
    """What a statement says whose connection has gone."""
    return OperationalError(why, None, Exception(why))


class FaultyLedger(Ledger):
    """The ledger, whose transactions may fail to begin, or to answer after the commit."""

    faults: ClassVar[Any]
    """`Faults` or `Everywhere`."""

    @asynccontextmanager
    async def accepting(self) -> AsyncIterator[Any]:
        with FaultyLedger.faults.around("commit", away):
            async with super().accepting() as c:
                yield c

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Any]:
        with FaultyLedger.faults.around("read", away):
            async with super().reading() as c:
                yield c


def fail_at(
    patch: pytest.MonkeyPatch, owner: Any, method: str, name: str, error: Callable[[str], Exception] = ConnectionError
) -> None:
    original = getattr(owner, method)

    async def wrapped(*args: Any, **options: Any) -> Any:
        with FaultyLedger.faults.around(name, error):
            return await original(*args, **options)

    patch.setattr(owner, method, wrapped)


def watch(patch: pytest.MonkeyPatch, owner: Any, method: str) -> None:
    """Faults strike inside this function, and what it starts."""
    original = getattr(owner, method)

    async def wrapped(*args: Any, **options: Any) -> Any:
        mark = watched.set(True)
        try:
            return await original(*args, **options)
        finally:
            watched.reset(mark)

    patch.setattr(owner, method, wrapped)


def places(calls: list[str]) -> list[tuple[int, bool]]:
    return [(at, after) for at in range(1, len(calls) + 1) for after in (False, True)]


@dataclass(frozen=True, slots=True)
class Point:
    """An `await`, or the head of an `async with`."""

    function: str
    first: tuple[int, int]
    """Line and column, as `last`, which is behind it."""
    last: tuple[int, int]
    text: str

    def __str__(self) -> str:
        return f"{self.function}:{self.first[0]} {self.text}"


def points(function: Any) -> tuple[CodeType, list[Point]]:
    """The await points of a coroutine function, not of those that it defines."""
    code: CodeType = inspect.unwrap(getattr(function, "__func__", function)).__code__
    source = inspect.getsource(code)
    tree = ast.parse(textwrap.dedent(source)).body[0]
    ast.increment_lineno(tree, code.co_firstlineno - 1)
    margin = len(source) - len(source.lstrip())
    found: list[Point] = []

    def add(at: ast.stmt | ast.expr, what: str, until: ast.stmt | None = None) -> None:
        end = (until.lineno, until.col_offset) if until else (at.end_lineno or 0, at.end_col_offset or 0)
        first, last = (at.lineno, at.col_offset + margin), (end[0], end[1] + margin)
        found.append(Point(code.co_qualname, first, last, what))

    def walk(node: ast.AST, inside: ast.expr | None) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
                continue
            if isinstance(child, ast.Await):
                add(inside or child, ast.unparse(child.value))
            if isinstance(child, ast.AsyncWith):
                items = [ast.unparse(item.context_expr) for item in child.items]
                add(child, ", ".join(one for one in items if not one.startswith("asyncio.timeout(")), child.body[0])
            walk(child, inside or (child if isinstance(child, ast.ListComp) else None))  # a function of its own

    walk(tree, None)
    return code, sorted(
        (one for one in found if one.text), key=lambda p: (p.last[0] - p.first[0], p.last[1] - p.first[1])
    )  # the inner ones first


def coroutines(*modules: ModuleType) -> Iterator[Any]:
    """The coroutine functions, async generators and context managers that these modules themselves define."""
    for module in modules:
        classes = (c for _, c in inspect.getmembers(module, inspect.isclass) if c.__module__ == module.__name__)
        for owner in (module, *classes):
            for one in vars(owner).values():
                found = inspect.unwrap(one) if callable(one) else None
                if getattr(found, "__module__", "") != module.__name__:
                    continue
                if inspect.iscoroutinefunction(found) or inspect.isasyncgenfunction(found):
                    yield found


class Everywhere:
    """Fails one await point of the functions, at the first call of somebody else's that is waited for there: at the point
    itself, or through our own functions."""

    def __init__(self, functions: Iterable[Any], *, watched_only: bool = False) -> None:
        """`watched_only`: what is called outside a watched function (`watch`), by a test say, never fails."""
        self._watched_only = watched_only
        self._points = dict(points(function) for function in functions)
        self.seen: dict[Point, None] = {}
        """Where somebody else was waited for, in order."""
        self.struck: dict[bool, set[Point]] = {False: set(), True: set()}
        """Through which a fault has passed, before its effect and after it."""
        self.at: Point | None = None
        """What fails next; None again once it has."""
        self.after = False

    def unstruck(self) -> list[str]:
        """Await points through which no fault has passed, on one side or both."""
        everyone = {point for found in self._points.values() for point in found}
        return sorted(f"{p.function}: {p.text}" for p in everyone - (self.struck[False] & self.struck[True]))

    @contextlib.contextmanager
    def around(self, name: str, error: Callable[[str], Exception]) -> Iterator[None]:
        path = [] if self._watched_only and not watched.get() else list(self._path())
        self.seen.update(dict.fromkeys(path))
        mine = self.at in path
        if mine:
            self.at = None
            self.struck[self.after].update(path)
        if mine and not self.after:
            raise error(f"before {name}")
        yield
        if mine:
            raise error(f"after {name}")

    def _path(self) -> Iterator[Point]:
        """The await points at which this call is waited for, the innermost first."""
        frame: FrameType | None = sys._getframe(2)
        while frame is not None:
            if found := self._points.get(frame.f_code):
                line, _, column, _ = next(itertools.islice(frame.f_code.co_positions(), frame.f_lasti // 2, None))
                here = (line or 0, column or 0)
                yield from itertools.islice((point for point in found if point.first <= here < point.last), 1)
            frame = frame.f_back
