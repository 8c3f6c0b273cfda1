"""Whether the Ray that we are connected to still lives.

When its GCS or our node's raylet is gone, Ray lets calls hang, and then ends this process from C++ with a line of its
own or none. So both are looked after here, and the run ends before that, with an error for people.
"""

import errno
import socket
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

import ray

from ...shards.errors import SpatialdataError
from ..interrupts import give_up

EVERY_S: Final = 1.0
LOCAL_S: Final = 2.0
"""For which a Ray of our own may be away: nobody starts it again."""
CLUSTER_S: Final = 40.0
"""The same of a cluster, whose head may be started again; Ray itself gives up after 60 s."""


@contextmanager
def watched(patience_s: float) -> Generator[None]:
    """Inside, the work ends with SpatialdataError once GCS or raylet answer no more for `patience_s`."""
    addresses, ended = _addresses(), threading.Event()

    def look() -> None:
        seen = dict.fromkeys(addresses, time.monotonic())
        while not ended.wait(EVERY_S):
            for name, address in addresses.items():
                if _listens(address):
                    seen[name] = time.monotonic()
                elif time.monotonic() - seen[name] > patience_s and not ended.is_set():
                    give_up(
                        SpatialdataError(
                            f"Ray's {name} died under the run (is the memory full?): run the same command again, "
                            "what is finished is kept"
                        )
                    )
                    return

    thread = threading.Thread(target=look, name="ray-health", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _addresses() -> dict[str, tuple[str, int]]:
    """Of the cluster's GCS and of our node's raylet."""
    context = ray.get_runtime_context()
    host, _, port = context.gcs_address.rpartition(":")
    found = {"control service (GCS)": (host.strip("[]"), int(port))}
    for node in ray.nodes():
        if node["NodeID"] == context.get_node_id():
            found["raylet"] = (node["NodeManagerAddress"], int(node["NodeManagerPort"]))
    return found


def _listens(address: tuple[str, int]) -> bool:
    """Whether somebody takes connections there; what is wrong with our own end (no file left to open) says nothing."""
    try:
        socket.create_connection(address, timeout=EVERY_S).close()
    except OSError as error:
        gone = (errno.ECONNREFUSED, errno.ECONNRESET, errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENETUNREACH)
        return not isinstance(error, TimeoutError) and error.errno not in gone
    return True
