"""Action recognition as a library: six stages, six nouns, no processes and no globals."""
