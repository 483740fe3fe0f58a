"""Reading ahead and writing behind: how decoding, arithmetic and encoding overlap.

Order is kept everywhere, so a result never depends on the number of threads.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from threading import Thread
from typing import ParamSpec, TypeVar, cast

T = TypeVar("T")
P = ParamSpec("P")


class Prefetch(Iterator[T]):
    """The same items, the next ones made in a thread while the current one is used.

    The first ones are begun at once. Use as a context manager, or close it: that waits for the item in the making.

    Args:
        items: What to make; one thread makes them all, in order.
        ahead: How many may be ready, or in the making, besides the current one.
    """

    _END = object()

    def __init__(self, items: Iterable[T], ahead: int = 3) -> None:
        self._items = iter(items)
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="read")
        self._pending = deque(self._pool.submit(self._make) for _ in range(ahead))

    def _make(self) -> T | object:
        return next(self._items, self._END)

    def __next__(self) -> T:
        item = self._pending.popleft().result()
        self._pending.append(self._pool.submit(self._make))
        if item is self._END:
            raise StopIteration
        return cast("T", item)

    def __enter__(self) -> Prefetch[T]:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Make no further items, and let their maker clean up."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        getattr(self._items, "close", lambda: None)()


def shared_out(pool: ThreadPoolExecutor, workers: int) -> Callable[[Callable[[T], None], Iterable[T]], Iterable[None]]:
    """A `map` that gives each worker its share of the items at once: handing over takes longer than a short task."""

    def spread(function: Callable[[T], None], items: Iterable[T]) -> Iterable[None]:
        def work(share: Sequence[T]) -> None:
            for item in share:
                function(item)

        waiting = list(items)
        return pool.map(work, [share for i in range(workers) if (share := waiting[i::workers])])

    return spread


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
def behind(function: Callable[P, None], waiting: int = 8) -> Generator[Callable[P, None]]:
    """Calls to `function` run in one thread, in order; leaving the context waits for the last.

    An error in the thread is raised by a later call, or on leaving.

    Args:
        function: What to call.
        waiting: Calls that may wait for their turn; a further one blocks.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="write") as pool:
        pending: deque[Future[None]] = deque()

        def call(*args: P.args, **kwargs: P.kwargs) -> None:
            while pending and (len(pending) > waiting or pending[0].done()):
                pending.popleft().result()
            pending.append(pool.submit(function, *args, **kwargs))

        try:
            yield call
            while pending:
                pending.popleft().result()
        finally:
            for call_ in pending:
                call_.cancel()
