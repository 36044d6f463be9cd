"""What is known of a run's `objective` before any training."""

import torch
from omegaconf import DictConfig

from lightning_gen.config.instantiation import build_data, build_model
from lightning_gen.evaluation.evaluator import build_extractors, build_metrics, score_directions
from lightning_gen.metrics.image_metric import Direction
from lightning_gen.trainer import processes_on_node
from lightning_gen.training.checks import check_before


def direction_of(config: DictConfig) -> Direction:
    """Whether a lower or a higher `objective` is better; UserError for one that the run's metrics don't give.

    Builds data, model and metrics, and so tells their mistakes as well.
    """
    torch.manual_seed(config.seed)
    data = build_data(config.data, processes_on_node(config.trainer))
    model = build_model(config.model, data.image_shape, data.num_classes)
    model.build_optimizers()
    metrics = build_metrics(config.metrics)
    extractors = build_extractors(config.extractor, metrics)
    check_before(config, model, data, metrics, extractors)
    return score_directions(model, data, metrics, extractors)[config.objective]
