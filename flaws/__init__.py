"""Wrong servers, on purpose: composed from the parts of the right one, and never part of it.

Lessons start them to fail first; tests start them to prove that the checks catch each one.
"""
