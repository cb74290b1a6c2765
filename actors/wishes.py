"""Requests of the control socket, as calls of a deployment."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from actors.deployment import Deployment
from actors.snapshot import StreamSnapshot
from pipeline.errors import ConfigError
from pipeline.stream import CameraState


class Wishes:
    """What ``ControlServer`` hands requests to."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment

    def __call__(self, request: Mapping[str, object]) -> Mapping[str, object]:
        """The answer to one request.

        Raises:
            ConfigError: it can't be carried out, or isn't known.
        """
        if request.get("verb") == "cameras":
            return {"cameras": [_shown(one) for one in self._deployment.cameras()]}
        return {"said": self._said(request)}

    def _said(self, request: Mapping[str, object]) -> str:
        deployment = self._deployment
        match request:
            case {"verb": "attach", "camera": dict(camera)}:
                return deployment.attach(camera, _password(request))
            case {"verb": "detach", "name": str(name)}:
                return deployment.detach(name)
            case {"verb": "pause", "name": str(name)}:
                return deployment.pause(name)
            case {"verb": "resume", "name": str(name)}:
                return deployment.resume(name, _password(request))
            case {"verb": "reload", "config": str(path)}:
                return deployment.reload(Path(path))
        raise ConfigError("the deployment doesn't know this request; is it of another version?")


def _password(request: Mapping[str, object]) -> str | None:
    password = request.get("password")
    return password if isinstance(password, str) else None


def _shown(one: StreamSnapshot) -> dict[str, object]:
    tally = one.tally
    return {
        "name": one.stream_id,
        "state": one.state,
        "since": one.since_s,
        "detail": one.detail,
        "connections": tally.states[CameraState.CONNECTING.value],
        "sessions": tally.sessions,
        "pictures": tally.pictures,
        "windows": tally.windows,
        "events": tally.events,
    }
