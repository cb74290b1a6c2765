"""Action recognition as a library: six stages, six nouns, no processes and no globals.

    source -> decode -> window -> model -> events -> sink

Where to begin: ``run`` joins the six and is what the actors do, in one process. ``stream`` is the
first three for one source, ``lane`` its bounded way through the network. Between stages travel the
frozen ``records``; what became of each picture and window is in a ``tally``; what a user may set
is in ``config``, what weights say of themselves in a ``bundle``, what the two come to is for
``settle`` to say; every error is drawn in ``errors``. At the other end, ``subscribe`` reads what
``sink`` wrote, and ``wire`` is what the two agree on; ``broker`` is how both reach a Redis.

Stages never import each other; Ray is imported by ``actors`` alone. Both are checked.
"""
