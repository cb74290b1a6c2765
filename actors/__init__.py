"""The stages of ``pipeline`` as Ray actors; the only package that imports Ray."""
