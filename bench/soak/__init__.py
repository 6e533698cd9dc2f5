"""Nothing lost, nothing doubled: hours of load, a random fault every few seconds, a verdict each
round.
"""
