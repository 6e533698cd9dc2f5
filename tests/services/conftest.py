import threading

import pytest


@pytest.fixture
def never() -> threading.Event:
    """A cancellation that does not come."""
    return threading.Event()
