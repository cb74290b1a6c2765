"""ablation: the paper's claims, each measured here and set beside what the paper says.

In: an ``AblationSpec``, a folder of motion clips, a folder for work in progress. Out: a section of
Markdown (see ``document``). The rule that is easy to get wrong: a comparison is fair only if both
sides differ in nothing but what is compared; so every run is one config with another network in it,
trained by the ``Trainer`` that users get.
Cost: nearly three hours on two cores; the quick form about 15 minutes. A run that is done isn't
done again, and one that was cut off goes on.
"""

from pipeline.training.ablation.spec import QUICK, STUDIES, AblationSpec, Study
from pipeline.training.ablation.study import Watcher, ablate

__all__ = ["QUICK", "STUDIES", "AblationSpec", "Study", "Watcher", "ablate"]
