"""Evidence: error without a reference, distortion against one, calibration of samples."""

from unveil.evaluation.calibration import posterior_variance, spread_over_error
from unveil.evaluation.distortion import mean_square_error, psnr, ssim
from unveil.evaluation.evaluate import (
    WITHOUT_REFERENCE,
    Evaluation,
    Metrics,
    at_once,
    counted,
    draw_samples,
    evaluate,
    mean_metrics,
)
from unveil.evaluation.reference import check_reference, order_by_name, pair_by_name, reference_contradiction
from unveil.evaluation.reference_free import estimate_error, estimate_hidden_error
from unveil.evaluation.residual_fit import model_fit, residual_fit

__all__ = [
    "WITHOUT_REFERENCE", "Evaluation", "Metrics", "at_once", "check_reference", "counted", "draw_samples",
    "estimate_error", "estimate_hidden_error", "evaluate", "mean_metrics", "mean_square_error", "model_fit",
    "order_by_name", "pair_by_name", "posterior_variance", "psnr", "reference_contradiction", "residual_fit",
    "spread_over_error", "ssim",
]  # fmt: skip
