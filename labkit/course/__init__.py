"""The student's side of the course: predictions, what was solved, and notebooks of their own."""

from labkit.course.prediction import Prediction, choice, number, order, predict
from labkit.course.progress import progress

__all__ = ["Prediction", "choice", "number", "order", "predict", "progress"]
