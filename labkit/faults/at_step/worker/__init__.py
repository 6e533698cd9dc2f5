"""A server's worker that obeys orders: the one part of labkit that is made of the server's parts.

It runs as a process of its own, ``python -m labkit.faults.at_step.worker``. Nothing is wrong with
it: without an order it does what ``python -m server worker`` does.
"""
