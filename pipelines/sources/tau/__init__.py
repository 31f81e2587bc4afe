"""tau-bench and tau2-bench: an agent with tools serves a customer that a model plays, each task several times.

``bench`` reads the results of the first, one file a run; ``tau2`` those of its successor, one file or folder a run.
"""
