"""The Ray that actors run on: a private one on this machine, or a cluster that is there already.

A Ray without a token runs anyone's code, so a local one gets a token of its own that only this
process and its children know; it listens on loopback and has no dashboard.
"""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import ray
import ray._private.worker
from ray._private import parameter, ray_constants, services, utils
from ray.exceptions import RayError

from pipeline.errors import ConfigError

NAMESPACE = "actionstream"
LOOPBACK = "127.0.0.1"
CONNECT_TIMEOUT_S = 5.0
STORE_BYTES = 1 << 30  # hundreds of windows; two per stream are on their way
SYSTEM = {
    # 8 windows of a small network travel inside the call: 0.8 of the CPU
    "max_direct_call_object_size": 2_000_000,
    # no list of all calls, which nobody reads: 0.8 of a call's CPU
    "task_events_report_interval_ms": 0,
    # Ray's is 15: whatever else runs here would come before cameras
    "worker_niceness": 0,
    # whoever took the machine's memory: Ray would end all actors, or have the kernel end them first
    "memory_monitor_refresh_ms": 0,
    "worker_oom_score_adjustment": 0,
    # its servers write statistics each minute, 100 MB a day in all; with -1 the GCS never rests
    "event_stats_print_interval_ms": 86_400_000,
}
"""Settings of a local Ray that differ from Ray's own."""
LOGS = {"RAY_ROTATION_MAX_BYTES": str(4 << 20), "RAY_ROTATION_BACKUP_COUNT": "1"}
"""Of each process of a local Ray: it may run for months."""


def run_name() -> str:
    """A name for the actors of one run, which nobody else on the cluster has."""
    return f"run-{secrets.token_hex(4)}"


@contextmanager
def cluster(address: str | None = None) -> Iterator[None]:
    """Connected to Ray within the context; a local Ray ends with it.

    Raises:
        ConfigError: there is no cluster at ``address``, or it wants another token.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Ray prints what its servers have to say to standard output, where our JSON lines go.
    ray._private.worker.print_to_stdstream = _unheard
    if address is None:
        _start_local()
        folder = ray._private.worker._global_node.get_session_dir_path()
    else:
        _join(address)
        folder = None
    try:
        yield
    finally:
        ray.shutdown()
        if folder is not None:  # a service that is started again and again would fill the disk
            shutil.rmtree(folder, ignore_errors=True)


def _unheard(*_: object, **__: object) -> None:
    """The supervisor says what matters."""


def _start_local() -> None:
    os.environ.pop("RAY_AUTH_MODE", None)  # unset, a new local cluster asks for a token
    os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    # glibc gives threads, which come and go with connections, up to eight heaps per core
    os.environ.setdefault("MALLOC_ARENA_MAX", "2")
    for name, value in LOGS.items():
        os.environ.setdefault(name, value)
    with _on_loopback(), _without_company(), _in_groups_of_their_own():
        ray.init(
            address="local",
            namespace=NAMESPACE,
            include_dashboard=False,
            _node_ip_address=LOOPBACK,
            object_store_memory=STORE_BYTES,
            _system_config=SYSTEM,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )


@contextmanager
def _on_loopback() -> Iterator[None]:
    """Ray's servers listen on loopback alone, within the context.

    Ray takes 127.0.0.1 for "the address that others reach" and listens on all interfaces, but not
    with clusters switched off, as it does itself on macOS.
    """
    before, ray_constants.ENABLE_RAY_CLUSTER = ray_constants.ENABLE_RAY_CLUSTER, False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before


@contextmanager
def _without_company() -> Iterator[None]:
    """Ray starts no autoscaler, no reader of logs and no API server, within the context.

    A machine of one has no use for these three processes, which take more than half the time of a
    start. Without an API server Ray goes on as if it could not have been started.
    """
    params, api_server = parameter.RayParams, services.start_api_server
    parameter.RayParams = partial(params, no_monitor=True, include_log_monitor=False)
    services.start_api_server = lambda *_, **__: (None, None)
    try:
        yield
    finally:
        parameter.RayParams, services.start_api_server = params, api_server


@contextmanager
def _in_groups_of_their_own() -> Iterator[None]:
    """What Ray starts is out of reach of signals for our process group, within the context.

    ``timeout`` sends SIGTERM to a whole group, and a terminal that closes SIGHUP: we end in order
    then, for which Ray has to live. It ends with us all the same where the kernel sees to it; where
    it doesn't, Ray has a process that ends its group.
    """
    if not utils.detect_fate_sharing_support():
        yield
        return
    start = services.ConsolePopen
    services.ConsolePopen = partial(start, process_group=0)
    try:
        yield
    finally:
        services.ConsolePopen = start


def _join(address: str) -> None:
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        if port.isdigit():  # Ray itself would try for minutes
            socket.create_connection((host, int(port)), timeout=CONNECT_TIMEOUT_S).close()
        ray.init(
            address=address,
            namespace=NAMESPACE,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    except (OSError, OverflowError, ValueError, RuntimeError, RayError) as error:
        raise ConfigError(
            f"can't join a Ray cluster at {address}: {type(error).__name__}; check the address, "
            "and that RAY_AUTH_TOKEN is the cluster's token"
        ) from None
