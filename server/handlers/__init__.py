"""One short function for each action. They know neither RabbitMQ nor HTTP."""

from server.handlers import v1
from server.handlers.action import Action

ACTIONS: dict[tuple[str, str], Action] = {
    (version, action.name): action
    for version, actions in {"v1": v1.ACTIONS}.items()
    for action in actions
}

VERSIONS: list[str] = sorted({version for version, _ in ACTIONS})
