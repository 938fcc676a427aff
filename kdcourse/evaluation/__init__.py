"""How good a model is, what it costs, and whether the difference between two is real."""

from kdcourse.evaluation.compare import (
    GapRecovered,
    Interval,
    gap_recovered,
    mcnemar,
    mean_interval,
    paired_difference,
    t_quantile,
    wilson_interval,
)
from kdcourse.evaluation.cost import Cost, CostRatio, compare_cost, cost, weight_bytes
from kdcourse.evaluation.members import MemberScores, average_members, member_scores
from kdcourse.evaluation.metrics import (
    Reliability,
    Scores,
    accuracy,
    agreement,
    confusion,
    evaluate,
    expected_calibration_error,
    kl_to_teacher,
    negative_log_likelihood,
    predict,
    reliability,
)
from kdcourse.evaluation.mistakes import confused_pairs, find_mistakes

__all__ = [
    "Cost",
    "CostRatio",
    "GapRecovered",
    "Interval",
    "MemberScores",
    "Reliability",
    "Scores",
    "accuracy",
    "agreement",
    "average_members",
    "compare_cost",
    "confused_pairs",
    "confusion",
    "cost",
    "evaluate",
    "expected_calibration_error",
    "find_mistakes",
    "gap_recovered",
    "kl_to_teacher",
    "mcnemar",
    "mean_interval",
    "member_scores",
    "negative_log_likelihood",
    "paired_difference",
    "predict",
    "reliability",
    "t_quantile",
    "weight_bytes",
    "wilson_interval",
]
