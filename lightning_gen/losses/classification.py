"""Losses of class logits `(B, K)` and labels `(B,)`, means over images.

The target of a class is 1 - s + s/K for the label and s/K for the others, with the label smoothing s of
https://arxiv.org/abs/1512.00567, section 7.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def cross_entropy(logits: Tensor, labels: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """-sum_k t_k log p_k in nats, with p = softmax(logits) and the target t."""
    return F.cross_entropy(logits, labels, label_smoothing=label_smoothing)


def squared_error(logits: Tensor, labels: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """sum_k (p_k - t_k)^2, the Brier score (1950): its gradient vanishes where p is 0 or 1, even if that is wrong."""
    classes = logits.shape[1]
    is_label = labels[:, None] == torch.arange(classes, device=labels.device)
    target = (1 - label_smoothing) * is_label + label_smoothing / classes
    return (logits.softmax(1) - target).square().sum(1).mean()
