"""A real Valkey cluster on loopback: three nodes that share the slots, without replicas."""

import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis

from tests.support.valkey import BINARY

SLOTS = 16_384


class ValkeyCluster:
    """Nodes on ports of their own; they keep these and their data over kill and start."""

    def __init__(self, folder: Path, nodes: int = 3) -> None:
        self._folder = folder
        free = _free_ports(2 * nodes)
        self.ports = free[:nodes]
        # Those of the nodes' own talk; by default 10,000 above, which may be too high.
        self._buses = dict(zip(self.ports, free[nodes:], strict=True))
        self._replicas: list[int] = []
        self._processes: dict[int, subprocess.Popen[bytes]] = {}

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.ports[0]}/0"

    def start(self) -> None:
        for port in self.ports:
            self.start_node(port)
        share = SLOTS // len(self.ports)
        for place, port in enumerate(self.ports):
            last = SLOTS - 1 if port == self.ports[-1] else (place + 1) * share - 1
            with redis.Redis(port=port) as client:
                client.execute_command("CLUSTER ADDSLOTSRANGE", place * share, last)
                client.execute_command("CLUSTER SET-CONFIG-EPOCH", place + 1)
        with redis.Redis(port=self.ports[0]) as client:
            for port in self.ports[1:]:
                client.execute_command("CLUSTER MEET", "127.0.0.1", port, self._buses[port])
        self.wait_until_whole()

    def start_node(self, port: int) -> None:
        folder = self._folder / str(port)
        folder.mkdir(exist_ok=True)
        self._processes[port] = subprocess.Popen(
            [
                *(BINARY, "--port", str(port), "--bind", "127.0.0.1", "--dir", folder, "--save", ""),
                *(
                    "--cluster-enabled",
                    "yes",
                    "--cluster-port",
                    str(self._buses[port]),
                    "--cluster-node-timeout",
                    "2000",
                ),
                *("--appendonly", "yes", "--appendfsync", "always"),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._until(port, lambda client: client.ping())

    def add_replica(self, primary: int) -> None:
        """Starts a node that follows a primary, and waits until it has all that this has."""
        port, bus = _free_ports(2)
        self._buses[port] = bus
        self._replicas.append(port)
        self.start_node(port)
        with redis.Redis(port=primary) as client:
            client.config_set("repl-diskless-sync-delay", 0)
            primary_id = client.execute_command("CLUSTER MYID").decode()
            client.execute_command("CLUSTER MEET", "127.0.0.1", port, bus)
        self.wait_until_whole()
        with redis.Redis(port=port) as client:
            client.execute_command("CLUSTER REPLICATE", primary_id)
        self._until(port, lambda client: client.info("replication")["master_link_status"] == "up")

    def kill_node(self, port: int) -> None:
        """As if its machine had lost power."""
        process = self._processes.pop(port)
        process.send_signal(signal.SIGKILL)
        process.wait()

    def kill(self) -> None:
        for port in list(self._processes):
            self.kill_node(port)

    def flush(self) -> None:
        for port in self.ports:
            with redis.Redis(port=port) as client:
                client.flushall()

    def wait_until_whole(self) -> None:
        """Waits until every node knows that the cluster is up, and all nodes."""
        for port in self.ports:
            self._until(port, self._is_whole)

    def move_slot(self, slot: int, source: int, target: int) -> None:
        """Moves a slot with its keys from one node to another, as resharding does."""
        with redis.Redis(port=source) as old, redis.Redis(port=target) as new:
            new_id, old_id = (client.execute_command("CLUSTER MYID").decode() for client in (new, old))
            new.execute_command("CLUSTER SETSLOT", slot, "IMPORTING", old_id)
            old.execute_command("CLUSTER SETSLOT", slot, "MIGRATING", new_id)
            while keys := old.execute_command("CLUSTER GETKEYSINSLOT", slot, 100):
                old.execute_command("MIGRATE", "127.0.0.1", target, "", 0, 5000, "KEYS", *keys)
            for client in (new, old):
                client.execute_command("CLUSTER SETSLOT", slot, "NODE", new_id)

    def port_of(self, key: str) -> int:
        """Returns the port of the node that holds a key."""
        with redis.Redis(port=self.ports[0]) as client:
            slot = client.execute_command("CLUSTER KEYSLOT", key)
            ranges = client.execute_command("CLUSTER SLOTS")
        return next(int(primary[1]) for first, last, primary, *_ in ranges if first <= slot <= last)

    def _is_whole(self, client: redis.Redis) -> bool:
        information = client.execute_command("CLUSTER INFO")
        return information["cluster_state"] == "ok" and int(information["cluster_known_nodes"]) == len(self._buses)

    def _until(self, port: int, condition) -> None:
        ends = time.monotonic() + 20
        with redis.Redis(port=port, socket_timeout=2) as client:
            while True:
                try:
                    if condition(client):
                        return
                except redis.RedisError:
                    pass
                if time.monotonic() > ends:
                    message = f"the cluster's node on port {port} is not ready"
                    raise TimeoutError(message)
                time.sleep(0.02)


@contextmanager
def valkey_cluster() -> Iterator[ValkeyCluster]:
    """A running cluster."""
    folder = Path(tempfile.mkdtemp(prefix="caravan-cluster-"))
    cluster = ValkeyCluster(folder)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.kill()
        shutil.rmtree(folder, ignore_errors=True)


def _free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]
    finally:
        for probe in probes:
            probe.close()
