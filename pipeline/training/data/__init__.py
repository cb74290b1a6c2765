"""data: a folder of labelled videos in, batches of clips out.

In: a ``DataConfig``. Out: a ``DataSet`` (which files, spans and labels), and ``Clips`` of it, which
give ``Batch``es for training and ``Views`` for tests.
The rule that is easy to get wrong: a flip changes labels ("left to right" in a mirror is "right to
left"), so it is the data set that says what a flip does to each label, and which it forbids.
Cost: see ``clips``. Files that can't be decoded are counted, listed and skipped, up to a set share.
"""

from pipeline.training.data.augment import AugmentSpec
from pipeline.training.data.clips import Batch, Clips, Views, default_short_side_px
from pipeline.training.data.config import DataConfig, Format, Sampling
from pipeline.training.data.examples import Broken, DataSet, Example
from pipeline.training.data.layouts import open_dataset
from pipeline.training.data.supply import Progress

__all__ = [
    "AugmentSpec",
    "Batch",
    "Broken",
    "Clips",
    "DataConfig",
    "DataSet",
    "Example",
    "Format",
    "Progress",
    "Sampling",
    "Views",
    "default_short_side_px",
    "open_dataset",
]
