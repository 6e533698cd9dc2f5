"""``make bench``: every benchmark, one after the other."""

import asyncio

from bench import pages

print(pages.__doc__)  # noqa: T201
print(asyncio.run(pages.main()).to_string())  # noqa: T201
