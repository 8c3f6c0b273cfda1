"""Health check of the connected Ray.

When its GCS or this node's raylet is gone, Ray's calls hang, and then Ray ends this process from C++ with a line of its
own or none. So this module checks both, and the run ends earlier, with an error message.
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
"""Seconds that a local Ray may be unreachable: nothing restarts it."""
CLUSTER_S: Final = 40.0
"""Seconds that a cluster may be unreachable: its head may be restarted. Ray itself gives up after 60 s."""


@contextmanager
def watched(patience_s: float) -> Generator[None]:
    """End the work inside with SpatialdataError if the GCS or raylet does not answer for `patience_s` seconds."""
    addresses, ended = _addresses(), threading.Event()

    def check() -> None:
        seen = dict.fromkeys(addresses, time.monotonic())
        while not ended.wait(EVERY_S):
            for name, address in addresses.items():
                if _listens(address):
                    seen[name] = time.monotonic()
                elif time.monotonic() - seen[name] > patience_s and not ended.is_set():
                    give_up(
                        SpatialdataError(
                            f"Ray's {name} died during the run (is the memory full?): rerun the command, finished "
                            "units are kept"
                        )
                    )
                    return

    thread = threading.Thread(target=check, name="ray-health", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _addresses() -> dict[str, tuple[str, int]]:
    """Addresses of the cluster's GCS and of this node's raylet."""
    context = ray.get_runtime_context()
    host, _, port = context.gcs_address.rpartition(":")
    found = {"control service (GCS)": (host.strip("[]"), int(port))}
    for node in ray.nodes():
        if node["NodeID"] == context.get_node_id():
            found["raylet"] = (node["NodeManagerAddress"], int(node["NodeManagerPort"]))
    return found


def _listens(address: tuple[str, int]) -> bool:
    """Whether the address accepts connections. Errors on this side (no file handles left) do not count as gone."""
    try:
        socket.create_connection(address, timeout=EVERY_S).close()
    except OSError as error:
        gone = (errno.ECONNREFUSED, errno.ECONNRESET, errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENETUNREACH)
        return not isinstance(error, TimeoutError) and error.errno not in gone
    return True
