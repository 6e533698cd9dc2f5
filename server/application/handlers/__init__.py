"""One short function for each action. They know neither RabbitMQ nor HTTP."""

from server.application.handlers import v1, v2
from server.application.handlers.action import Action

VERSIONS: dict[str, dict[str, Action]] = {
    "v1": {action.name: action for action in v1.ACTIONS},
    "v2": {action.name: action for action in v2.ACTIONS},
}
