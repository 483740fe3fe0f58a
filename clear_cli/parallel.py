"""Reading ahead and writing behind: how decoding, arithmetic and encoding overlap.

Order is kept everywhere, so a result never depends on the number of threads.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from threading import Thread
from typing import ParamSpec, TypeVar, cast

T = TypeVar("T")
P = ParamSpec("P")


def prefetch(items: Iterable[T]) -> Generator[T]:
    """The same items, with the next one made in a thread while the current one is used: two alive at a time."""
    end = object()
    iterator: Iterator[T | object] = iter(items)
    with ThreadPoolExecutor(1, thread_name_prefix="read") as pool:
        pending = pool.submit(next, iterator, end)
        while (item := pending.result()) is not end:
            pending = pool.submit(next, iterator, end)
            yield cast("T", item)


def background(function: Callable[[], T]) -> Callable[[], T]:
    """Start a call in a thread that nobody has to wait for; the value waits for its result, or raises its error."""
    future: Future[T] = Future()

    def work() -> None:
        try:
            future.set_result(function())
        except BaseException as error:
            future.set_exception(error)

    Thread(target=work, name="background", daemon=True).start()
    return future.result


@contextmanager
def behind(function: Callable[P, None]) -> Generator[Callable[P, None]]:
    """Calls to `function` run in one thread, in order, at most one waiting; leaving the context waits for the last.

    An error in the thread is raised by the next call, or on leaving.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="write") as pool:
        pending: Future[None] | None = None

        def call(*args: P.args, **kwargs: P.kwargs) -> None:
            nonlocal pending
            if pending is not None:
                pending.result()
            pending = pool.submit(function, *args, **kwargs)

        yield call
        if pending is not None:
            pending.result()
