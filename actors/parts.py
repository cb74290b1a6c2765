"""The actors of one deployment: how each is started, found by its name, and ended."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from threading import Event
from typing import TypeVar

import ray
from pydantic_core import to_jsonable_python
from ray.actor import ActorHandle
from ray.exceptions import GetTimeoutError, RayActorError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from actors.calls import CALLS
from actors.camera import Camera
from actors.cluster import NAMESPACE
from actors.publisher import Publisher
from actors.recognizer import Recognizer
from actors.snapshot import Held, PartSnapshot, RecognizerLoad, Role
from pipeline.bundle import DEFAULT
from pipeline.config import Config, ModelConfig, RecognizerConfig, RedisConfig
from pipeline.cpus import usable_cpus
from pipeline.errors import ActionstreamError
from pipeline.events import Origin
from pipeline.settings import Settings

START_TIMEOUT_S = 120  # a recognizer imports torch and loads its weights: 10 s on a busy machine
HEED_S = 0.2  # how soon a start is given up that somebody stops
SPARE_CALLS = 4  # to a recognizer, beside those that every camera actor may have under way
ARCHIVE_BATCH_TIMEOUT_MS = 10.0  # a batch of 4 takes the CPU 0.6 of four windows one by one
ADOPT_S = 10.0  # how long actors that were left may take to say what they are
LOOK_TIMEOUT_S = 1.0  # for whoever shows how parts do: one that is busy is shown without its pid

T = TypeVar("T")


class Parts:
    """Starts actors, all of them detached and named ``<deployment>/<part>``."""

    def __init__(
        self, name: str, config: Config, settings: Settings, origin: Origin, *, callers: int
    ) -> None:
        """``callers``: the most camera actors that there will be."""
        self._name = name
        self._origin = origin
        self._config = config
        self._settings = settings
        self._callers = callers
        self.made_of = ""
        """Digest of all that the actors are made of; one that says another is no use to us."""
        self.recognizers = [self.name_of(f"recognizer-{n}") for n in range(config.recognizer.count)]

    def name_of(self, part: str) -> str:
        """Ray's name for an actor: ``camera-0``, ``recognizer-0``, ``publisher``."""
        return f"{self._name}/{part}"

    def start_recognizer(self, name: str, *, wait_for_company: bool) -> None:
        """One that Ray itself starts again when it dies."""
        kill(name)
        gpus = ray.cluster_resources().get("GPU", 0)
        wants_gpu = self._config.model.device != "cpu" and gpus >= 1
        ray.remote(Recognizer).options(
            name=name,
            namespace=NAMESPACE,
            lifetime="detached",
            num_cpus=0,
            num_gpus=1 / math.ceil(len(self.recognizers) / gpus) if wants_gpu else 0,
            max_restarts=-1,
            max_task_retries=-1,
            max_concurrency=CALLS * self._callers + SPARE_CALLS,
        ).remote(
            _found_anywhere(self._config.model),
            self._batching(wait_for_company),
            digest=self._origin.model_digest,
            made_of=self.made_of,
        )

    def await_recognizers(self, stop: Event) -> None:
        """Return when each has its weights, or ``stop`` is set.

        Raises:
            ActionstreamError: one can't do its work with this config.
        """
        for name in self.recognizers:
            ready = ray.get_actor(name, namespace=NAMESPACE).ready.remote()
            deadline_s = time.monotonic() + START_TIMEOUT_S
            try:
                while not stop.is_set():
                    done, _ = ray.wait([ready], timeout=HEED_S)
                    if done or time.monotonic() > deadline_s:
                        ray.get(ready, timeout=0)
                        break
            except (RayActorError, GetTimeoutError) as error:
                raise ActionstreamError(
                    f"the recognizer did not start: {_last_line(error)}"
                ) from None

    def start_publisher(self, redis: RedisConfig | None, *, keep: bool) -> ActorHandle[Publisher]:
        """The one publisher, on this machine: its outbox is in our state folder."""
        name = self.name_of("publisher")
        kill(name)
        # it runs in the environment in which Ray was started
        password = os.environ.get(redis.password_env or "") if redis else None
        here = NodeAffinitySchedulingStrategy(
            node_id=ray.get_runtime_context().get_node_id(), soft=False
        )
        return (
            ray.remote(Publisher)
            .options(
                name=name,
                namespace=NAMESPACE,
                lifetime="detached",
                num_cpus=0,
                scheduling_strategy=here,
            )
            .remote(
                self._settings.events,
                self._origin,
                redis,
                password=password,
                keep=keep,
                made_of=self.made_of,
            )
        )

    def start_camera(self, name: str) -> ActorHandle[Camera]:
        """One camera actor, without a stream yet."""
        kill(name)
        return (
            ray.remote(Camera)
            .options(name=name, namespace=NAMESPACE, lifetime="detached", num_cpus=0)
            .remote(
                self._settings,
                self._config.decode,
                self._config.recognizer.batch_size,
                self.name_of("publisher"),
                made_of=self.made_of,
            )
        )

    def adopt(self) -> set[str]:
        """Names of actors that a supervisor before us left at work; those of no use are ended."""
        names = [
            named["name"]
            for named in ray.util.list_named_actors(all_namespaces=True)
            if named["namespace"] == NAMESPACE and named["name"].startswith(f"{self._name}/")
        ]
        asked = {name: _asked_by_name(name, _made_of) for name in names}
        refs = [ref for ref in asked.values() if ref is not None]
        if refs:
            ray.wait(refs, num_returns=len(refs), timeout=ADOPT_S)
        ours = {name for name, ref in asked.items() if _answer(ref, str) == self.made_of}
        for name in set(names) - ours:
            kill(name)
        return ours

    def held(self, cameras: Sequence[str]) -> dict[str, list[Held]]:
        """What camera actors work on; one that doesn't say is left out."""
        asked = {name: find(name).held.remote() for name in cameras}
        if asked:
            ray.wait(list(asked.values()), num_returns=len(asked), timeout=ADOPT_S)
        said = {name: _answer(ref, list) for name, ref in asked.items()}
        return {name: held for name, held in said.items() if held is not None}

    def snapshot(self, cameras: Sequence[str]) -> list[PartSnapshot]:
        """Every process, asked side by side."""
        named: list[tuple[str, Role]] = [(name, "camera") for name in cameras]
        named += [(name, "recognizer") for name in self.recognizers]
        named += [(self.name_of("publisher"), "publisher")]
        asked = [(name, role, *_ask(name, role)) for name, role in named]
        refs = [ref for _, _, *refs in asked for ref in refs if ref is not None]
        ray.wait(refs, num_returns=len(refs), timeout=LOOK_TIMEOUT_S)
        return [
            PartSnapshot(
                name=name, role=role, pid=_answer(pid, int), load=_answer(load, RecognizerLoad)
            )
            for name, role, pid, load in asked
        ]

    def _batching(self, wait_for_company: bool) -> RecognizerConfig:
        config = self._config.recognizer
        changes: dict[str, object] = {}
        if config.batch_timeout_ms is None and wait_for_company:
            changes["batch_timeout_ms"] = ARCHIVE_BATCH_TIMEOUT_MS
        if config.workers is None and config.count > 1:
            changes["workers"] = max(1, usable_cpus() // (config.count * config.threads))
        return config.model_copy(update=changes)


def _found_anywhere(model: ModelConfig) -> ModelConfig:
    """The same for a process that runs in another folder."""
    named = {"path": model.path, "labels": model.labels}
    here = {
        name: str(Path(path).absolute())
        for name, path in named.items()
        if path is not None and path != DEFAULT
    }
    return model.model_copy(update=here)


def made_of(*what: object) -> str:
    """The same for equal configs and settings, of the same version; secrets count, unseen."""
    plain = [
        json.dumps(to_jsonable_python(one, fallback=_fallback), sort_keys=True) for one in what
    ]
    return sha256("\n".join([version("actionstream"), *plain]).encode()).hexdigest()


def _fallback(value: object) -> object:
    return repr(value)


def find(name: str) -> ActorHandle[object]:
    """An actor of ours. Raises ValueError: there is none of that name."""
    return ray.get_actor(name, namespace=NAMESPACE)


def _made_of(actor: object) -> str:
    return str(getattr(actor, "made_of", ""))


def _asked_by_name(name: str, question: Callable[[object], T]) -> ray.ObjectRef[T] | None:
    try:
        return find(name).__ray_call__.remote(question)
    except ValueError:
        return None


def _pid(_: object) -> int:
    return os.getpid()


def _ask(
    name: str, role: Role
) -> tuple[ray.ObjectRef[int] | None, ray.ObjectRef[RecognizerLoad] | None]:
    try:
        actor = ray.get_actor(name, namespace=NAMESPACE)
    except ValueError:
        return None, None
    pid = actor.__ray_call__.remote(_pid)
    return pid, actor.load.remote() if role == "recognizer" else None


def _answer(ref: ray.ObjectRef[T] | None, kind: type[T]) -> T | None:
    if ref is None:
        return None
    try:
        answer = ray.get(ref, timeout=0)
    except (RayError, GetTimeoutError):
        return None
    return answer if isinstance(answer, kind) else None


def kill(name: str) -> None:
    """End an actor by name, if there is one: ours, or one that a dead supervisor left."""
    with suppress(ValueError):
        ray.kill(ray.get_actor(name, namespace=NAMESPACE), no_restart=True)
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline_s:  # until the name is free
            ray.get_actor(name, namespace=NAMESPACE)
            time.sleep(0.01)


def _last_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
