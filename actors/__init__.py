"""The stages of ``pipeline`` as Ray processes; the only package that imports Ray.

    camera (source + decode + window, several streams) -> recognizer (model, batched over streams)
           `------------------ answers, in order ---------------> publisher (events + sink)

The supervisor starts them, watches them, restarts what died, and drains them. Actors are plain
classes: ``ray.remote`` is applied where they are started, in ``supervisor``.
"""
