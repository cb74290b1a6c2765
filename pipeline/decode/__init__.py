"""decode: packets in, small pictures on the sample grid out.

In: a feed of packets. Out: ``Sample``s, and a ``SessionEnd`` wherever time breaks.
The rule that is easy to get wrong: presentation time alone decides which pictures are looked at,
so constant, variable and lying frame rates are sampled alike.
Cost: decoding, plus one scaled conversion per *sampled* picture; pictures between grid points are
decoded (others may depend on them) but not converted.
"""

from pipeline.decode.decoder import Decoder
from pipeline.decode.grid import Grid, Placement
from pipeline.decode.pictures import PacketFeed, PictureReader
from pipeline.decode.scale import Scaler
from pipeline.decode.timeline import Timeline

__all__ = [
    "Decoder",
    "Grid",
    "PacketFeed",
    "PictureReader",
    "Placement",
    "Scaler",
    "Timeline",
]
