"""motions: clips whose class no single frame gives away, made from pictures, in any number.

In: cut-outs with transparency, photographs, real videos. Out: a folder of small H.264 clips with
their labels (see ``make``). The rule that is easy to get wrong: training and test never share a
picture. Cost: about 15 ms of CPU per clip of 8 frames at 72 px.
"""

from pipeline.training.motions.classes import LABELS, LONG_RANGE, MIRROR, REVERSE
from pipeline.training.motions.make import BACKGROUNDS, MotionSpec, make_motions

__all__ = ["BACKGROUNDS", "LABELS", "LONG_RANGE", "MIRROR", "REVERSE", "MotionSpec", "make_motions"]
