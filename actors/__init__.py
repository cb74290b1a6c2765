"""The stages of ``pipeline`` as Ray processes; the only package that imports Ray.

    camera (source + decode + window, several streams) -> recognizer (model, batched over streams)
           `------------------ answers, in order ---------------> publisher (events + sink)

The supervisor starts them, watches them, restarts what died, and drains them. What people want of
it comes over a socket (``control``) to the ``deployment``, which notes it on disk. Actors are plain
classes: ``ray.remote`` is applied where they are started, in ``parts``.
"""
