"""Every way in which a request is refused before the application sees it, as problem documents."""

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match

from server.application.handlers import VERSIONS
from server.contract.envelope import Reply, invalid_data
from server.contract.errors import ApiError, Malformed, UnknownAction, UnsupportedVersion
from server.transports.http.call import admit
from server.transports.http.problem import problem


async def refused(http: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)  # noqa: S101  (it is registered for these)
    http.state.record.outcome = error.code
    return problem(Reply.refusal(error), http.url.path)


async def invalid(http: Request, error: Exception) -> Response:
    """What is wrong with path, query or body, by field, in the words that RabbitMQ's side has."""
    assert isinstance(error, RequestValidationError)  # noqa: S101
    errors = error.errors()
    if any(each["loc"] == ("body",) and each["type"] == "missing" for each in errors):
        return await refused(http, Malformed("There is no body: send a JSON object."))
    try:
        admit(http.app.state.dispatcher, http)
    except ApiError as refusal:
        return await refused(http, refusal)
    return await refused(http, invalid_data((each["loc"][1:], each["msg"]) for each in errors))


async def no_route(http: Request, error: Exception) -> Response:
    """Starlette's own errors: nothing at this path, not with this method, not this content."""
    assert isinstance(error, HTTPException)  # noqa: S101
    if isinstance(error.__cause__, ApiError):  # FastAPI wraps what reading the body raises
        return await refused(http, error.__cause__)
    refusal = _in_our_words(error, http.url.path)
    http.state.record.outcome = refusal.code
    headers = {"Allow": _methods(http)} if error.status_code == 405 else error.headers
    return problem(Reply.refusal(refusal), http.url.path, status=error.status_code, headers=headers)


def _in_our_words(error: HTTPException, path: str) -> ApiError:
    version, _, rest = path[1:200].partition("/")
    if error.status_code == 405:
        return UnknownAction("This path does not take this method; `Allow` says which it takes.")
    if error.status_code != 404:
        return Malformed(error.detail)
    if rest and version not in VERSIONS:
        return UnsupportedVersion(
            f"There is no version {version!r}. Choose one of: {', '.join(VERSIONS)}.",
            {"versions": list(VERSIONS)},
        )
    return UnknownAction(f"There is nothing at {path[:200]}; /docs shows what there is.")


def _methods(http: Request) -> str:
    """All that this path takes: Starlette names only those of the first route that fits."""
    here = [route for route in http.app.routes if route.matches(http.scope)[0] is not Match.NONE]
    return ", ".join(sorted({method for route in here for method in getattr(route, "methods", ())}))
