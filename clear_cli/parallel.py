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


class Prefetch(Iterator[T]):
    """The same items, with the next one made in a thread while the current one is used: two alive at a time.

    The first one is begun at once. Use as a context manager, or close it: that waits for the item in the making.
    """

    _END = object()

    def __init__(self, items: Iterable[T]) -> None:
        self._items = iter(items)
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="read")
        self._pending = self._pool.submit(self._make)

    def _make(self) -> T | object:
        return next(self._items, self._END)

    def __next__(self) -> T:
        item = self._pending.result()
        if item is self._END:
            raise StopIteration
        self._pending = self._pool.submit(self._make)
        return cast("T", item)

    def __enter__(self) -> Prefetch[T]:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Make no further items, and let their maker clean up."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        getattr(self._items, "close", lambda: None)()


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
