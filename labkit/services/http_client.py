"""HTTP to the services of a lab: never through a proxy, and TLS only where the address asks."""

import ssl
from functools import cache
from typing import Any
from urllib.parse import urlsplit

import httpx


def http_client(url: str, **options: Any) -> httpx.AsyncClient:
    """A client for the service at ``url``; ``options`` are those of ``httpx.AsyncClient``.

    It follows no redirect, so where ``url`` needs no certificates they are not loaded: that takes
    40 ms, many times what is asked. ``HTTP_PROXY`` is common in schools, and a proxy is no place
    for the operator's password.
    """
    is_tls = urlsplit(url).scheme == "https"
    return httpx.AsyncClient(trust_env=False, verify=_trusted() if is_tls else False, **options)


@cache
def _trusted() -> ssl.SSLContext:
    return httpx.create_ssl_context(trust_env=False)
