"""An `evidence` record with all of its parts."""

EVIDENCE = {
    "not_valid": [],
    "error": {
        "images": [
            {"name": "cells & more", "error": 1e-3, "se": 1e-5, "psnr": 30.0, "low": 29.5, "high": 30.5},
            {"name": "b", "error": 1e-3, "se": 1e-5, "psnr": 30.0, "low": 29.4, "high": None},
        ],
        "mean": {"psnr": 30.0, "low": 29.71, "high": 30.29, "images": 2, "next_low": 28.4, "next_high": 31.6},
    },
    "conformal": {
        "images": 40, "bounds": [{"level": 0.5, "rmse": 0.03, "psnr": 30.4}, {"level": 0.9, "rmse": 0.04, "psnr": 27.9}]
    },
    "pixels": {"levels": [0.5, 0.8, 0.9, 0.95], "half_width": [0.02, 0.04, 0.05, 0.06], "coverage_reference": None},
    "calibration": {
        "exposure": 0.5, "images": ["b"], "samples": 8, "levels": [0.5, 0.8, 0.9, 0.95],
        "coverage": [0.44, 0.71, 0.82, 0.89], "coverage_se": [0.01, 0.01, 0.01, None],
        "histogram": [0.1] * 10, "histogram_se": [0.01] * 10, "p_value": 0.3,
        "spread_over_error": 0.71, "spread_over_error_se": 0.02,
        "by_brightness": [
            {"brightness": 0.2, "spread": 0.02, "error": 0.025, "ratio": 0.64, "se": 0.02},
            {"brightness": 0.5, "spread": 0.03, "error": None, "ratio": None, "se": None},
            {"brightness": 0.8, "spread": 0.04, "error": 0.045, "ratio": 0.79, "se": 0.02},
        ],
        "shown": {
            "spread_over_error": 0.6, "spread_over_error_se": 0.04,
            "by_brightness": [
                {"brightness": 0.2, "spread": 0.02, "error": 0.025, "ratio": 0.64, "se": 0.02},
                {"brightness": 0.8, "spread": 0.04, "error": 0.045, "ratio": 0.79, "se": 0.02},
            ],
        },
        "verdict": "too sure", "reason": "80% intervals hold 71%",
    },
    "calibration_reference": None,
    "resolution": {
        "frequency": [0.1, 0.2, 0.3, 0.4, 0.5], "raw": [0.9, 0.6, 0.3, 0.1, 0.0], "halves": [0.99, 0.9, 0.6, 0.3, 0.1],
        "to_truth": [0.99, 0.95, 0.8, 0.5, None], "reference": None, "half_bit": [0.5, 0.4, 0.35, 0.3, 0.28],
        "pixels": {"raw_half_bit": 3.4, "halves_half_bit": 2.5, "to_truth_half": 2.4, "raw_seventh": None},
        "pixel_size": 0.25, "unit": "µm",
    },
    "flux": {
        "slope": 0.9987, "se": 0.0007, "offset": 0.1, "offset_se": 0.2, "block": 16, "points": [[0.1, 0.11], [0.5, 0.5]]
    },
    "averages": {
        "k": [1, 2, 4], "exact": [3.01, 1.76, 0.97], "cost": [2.6, 1.5, 0.8], "cost_se": [0.1, 0.05, 0.02],
        "cost_reference": [2.7, 1.5, 0.9], "images": 1
    },
    "components": {"b": {"shares": [0.3, 0.2]}},
}  # fmt: skip
