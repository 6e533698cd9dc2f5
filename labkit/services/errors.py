"""What can go wrong around a service. Each message says what happened, and what to do next."""

from server.contract.errors import Explained


class ServiceError(Explained):
    """A service, or what it needs, is not as it should be. Its text is meant for the user."""


class NotReady(ServiceError):
    """A service was started and does not answer; the message ends with its log's tail."""


class PortTaken(NotReady):
    """Another program took the port between our look and the service's bind. Try another one."""


class MissingSoftware(ServiceError):
    """Something has to be installed that we may not install."""


class LabNotRunning(ServiceError):
    """There is no answer where the lab should be."""
