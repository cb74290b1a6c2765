"""The Ray that actors run on: a private one on this machine, or a cluster that is there already.

A Ray without a token runs anyone's code, so a local one gets a token of its own that only this
process and its children know; it listens on loopback and has no dashboard.
"""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager

import ray

from pipeline.errors import ConfigError

NAMESPACE = "actionstream"
LOOPBACK = "127.0.0.1"


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
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # keep GPUs as they are
    if address is None:
        os.environ.pop("RAY_AUTH_MODE", None)  # unset, a new local cluster asks for a token
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    try:
        if address is None:
            ray.init(
                address="local",
                namespace=NAMESPACE,
                include_dashboard=False,
                _node_ip_address=LOOPBACK,
                log_to_driver=False,
                logging_level=logging.ERROR,
            )
        else:
            ray.init(
                address=address,
                namespace=NAMESPACE,
                log_to_driver=False,
                logging_level=logging.ERROR,
            )
    except (ConnectionError, ValueError, RuntimeError) as error:
        if address is None:
            raise
        raise ConfigError(
            f"can't join a Ray cluster at {address}: {type(error).__name__}; check the address, "
            "and that RAY_AUTH_TOKEN is the cluster's token"
        ) from None
    try:
        yield
    finally:
        ray.shutdown()
