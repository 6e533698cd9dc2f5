"""Sets of moments, each a list of closed intervals in order: when something may have been so."""

Interval = tuple[float, float]
Moments = list[Interval]

NEVER: Moments = []


def both(one: Moments, other: Moments) -> Moments:
    """When the one and the other may have been so."""
    found: Moments = []
    i = j = 0
    while i < len(one) and j < len(other):
        start, end = max(one[i][0], other[j][0]), min(one[i][1], other[j][1])
        if start <= end:
            found.append((start, end))
        if one[i][1] < other[j][1]:
            i += 1
        else:
            j += 1
    return found


def either(many: Moments) -> Moments:
    """When at least one of these intervals may have been so."""
    found: Moments = []
    for start, end in sorted(many):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((start, end))
    return found
