"""Make the default model that comes along until there is a trained one.

python deploy/make_placeholder.py [FOOTAGE [OUT]]      see pipeline.model.placeholder
"""

import sys
from pathlib import Path
from threading import Event

from pipeline.config import Config
from pipeline.model import save_bundle
from pipeline.model.placeholder import make_placeholder, placeholder_spec
from pipeline.records import Window
from pipeline.run import settle
from pipeline.source import find_files
from pipeline.stream import windows
from pipeline.tally import Tally


def main(
    footage: str = ".footage/room.webm", out: str = "pipeline/model/default.safetensors"
) -> None:
    """Fit the classifier to every window of the demo's clip."""
    settings = settle(Config(), placeholder_spec())
    made = [
        item
        for source in find_files([footage])
        for item in windows(source, settings, tally=Tally(), stop=Event())
        if isinstance(item, Window)
    ]
    save_bundle(make_placeholder(made), out)
    print(f"{out}: fitted to {len(made)} windows, {Path(out).stat().st_size:,} bytes")


if __name__ == "__main__":
    main(*sys.argv[1:])
