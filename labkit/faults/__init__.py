"""Failure injection: real signals, real cut connections, real broken messages; always undone.

``lab.faults`` is a ``labkit.faults.faults.Faults``. This package loads nothing by itself, since
the workers that obey a plan import ``labkit.faults.at_step.plan`` too.
"""
