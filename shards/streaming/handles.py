"""Things by number that are dear to make: open shards, tables of offsets."""

from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from threading import Lock
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Held(Generic[Value]):
    """Makes a value when first asked for it, and keeps it until all together weigh too much.

    Invariant: however many threads ask, a value is made once, and no thread waits for the making of another one. What
    was used longest ago goes first; who still uses it keeps it alive. A failure is not kept.
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
            self._fulfil(number, future)
        return future.result()

    def drop(self, unwanted: Callable[[Value], bool]) -> None:
        """Forget the values of which this holds."""
        with self._lock:
            made = [(number, self._held[number].result()) for number in self._weights]
            for number in [number for number, value in made if unwanted(value)]:
                self._forget(number)

    def _fulfil(self, number: int, future: Future[Value]) -> None:
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
                self._forget(next(each for each in self._held if each in self._weights))

    def _forget(self, number: int) -> None:
        del self._held[number]
        self._weight -= self._weights.pop(number)
