"""A cache of values that are expensive to create: open shards, tables of offsets."""

from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from threading import Lock
from typing import Generic, TypeVar

Value = TypeVar("Value")


class LazyCache(Generic[Value]):
    """An LRU cache by number: creates a value on first use, and evicts values while their total weight exceeds a limit.

    Invariant: a value is created once, however many threads request it, and no thread waits for the creation of another
    value. The least recently used value is evicted first; it stays alive while it is in use. Errors are not cached.
    """

    def __init__(self, make: Callable[[int], Value], weigh: Callable[[Value], int], limit: int) -> None:
        self._make = make
        self._weigh = weigh
        self._limit = limit
        self._held: OrderedDict[int, Future[Value]] = OrderedDict()
        self._weights: dict[int, int] = {}
        self._weight = 0
        self._lock = Lock()

    def __call__(self, number: int) -> Value:
        with self._lock:
            new = number not in self._held
            future = self._held.setdefault(number, Future())
            self._held.move_to_end(number)
        if new:
            self._create(number, future)
        return future.result()

    def drop(self, unwanted: Callable[[Value], bool]) -> None:
        """Evict the values for which `unwanted` is true."""
        with self._lock:
            cached = [(number, self._held[number].result()) for number in self._weights]
            for number in [number for number, value in cached if unwanted(value)]:
                self._evict(number)

    def _create(self, number: int, future: Future[Value]) -> None:
        try:
            value = self._make(number)
        except BaseException as error:
            with self._lock:
                del self._held[number]
            future.set_exception(error)
            return
        future.set_result(value)
        with self._lock:
            self._weights[number] = self._weigh(value)
            self._weight += self._weights[number]
            while self._weight > self._limit and len(self._weights) > 1:
                self._evict(next(each for each in self._held if each in self._weights))

    def _evict(self, number: int) -> None:
        del self._held[number]
        self._weight -= self._weights.pop(number)
