"""Which fields of a message are secrets, and so are never logged, stored or shown."""

TOKEN_FIELD = "auth_token"  # noqa: S105  (the name of the field)
"""In ``data``: a token, for a request without ``auth``."""

SECRET_FIELDS = frozenset({"auth", TOKEN_FIELD, "password", "token"})
"""Names of members that hold a secret, wherever they stand."""
