"""How good is it: corpus metrics with signatures, and whether one system is better than another."""

from transduce.evaluation.compare import Comparison, Interval, compare
from transduce.evaluation.metrics import METRICS, MetricScore, evaluate, group_references, higher_is_better

__all__ = [
    "METRICS",
    "Comparison",
    "Interval",
    "MetricScore",
    "compare",
    "evaluate",
    "group_references",
    "higher_is_better",
]
