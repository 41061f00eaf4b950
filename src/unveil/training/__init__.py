"""Training: recipes, batches, the loop and its checkpoints, rounds of EM."""

from unveil.training.checkpoint import latest_checkpoint, load_checkpoint, load_weights, save_checkpoint, save_weights
from unveil.training.em import draw_training_set, exposures_of_rounds
from unveil.training.ema import averaged
from unveil.training.inflation import fit_to_images, read_inflation
from unveil.training.interrupt import Interrupted
from unveil.training.learn import learn
from unveil.training.logs import MetricsLog, read_metrics
from unveil.training.loop import learning_rate, train
from unveil.training.recipes import RECIPES, make_loss
from unveil.training.setup import build_estimator
from unveil.training.stages import Stages

__all__ = [
    "RECIPES", "Interrupted", "MetricsLog", "Stages", "averaged", "build_estimator", "draw_training_set",
    "exposures_of_rounds", "fit_to_images", "latest_checkpoint", "learn", "learning_rate", "load_checkpoint",
    "load_weights", "make_loss", "read_inflation", "read_metrics", "save_checkpoint", "save_weights", "train",
]  # fmt: skip
