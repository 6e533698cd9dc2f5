"""``lab.board()``: queues, their depths and rates, workers and dead letters, as they are now."""

from labkit.board.board import Board

__all__ = ["Board"]
