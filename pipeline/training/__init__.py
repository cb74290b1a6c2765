"""training: labelled clips in, weights and their accuracy out, for the networks of ``model``.

The rule that is easy to get wrong: whatever is random is a function of seed and place, so that a
run which goes on after a kill sees what it would have seen. See ``trainer``, ``data``, ``motions``.
"""
