"""SSIM and MS-SSIM of single images, https://doi.org/10.1109/TIP.2003.819861 and 10.1109/ACSSC.2003.1292216."""

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

MIN_SIZE = 6  # pixels; the 11-pixel window is padded by reflection
WINDOW = 11
WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # of the scales, finest first: the paper's table


def ssim(prediction: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """SSIM, and its contrast and structure term, each `(B,)`, of images `(B, C, H, W)` in [0, 1]."""
    from torchmetrics.functional.image import structural_similarity_index_measure

    similarity = structural_similarity_index_measure(
        prediction, target, data_range=1.0, reduction="none", return_contrast_sensitivity=True
    )
    return similarity[0].view(-1), similarity[1].view(-1)


def num_scales(height: int, width: int) -> int:
    """Number of scales, each half the size of the previous one, that are at least as large as the window; at most 5."""
    size = min(height, width)
    return sum(size // 2**scale >= WINDOW for scale in range(len(WEIGHTS)))


def ms_ssim(prediction: Tensor, target: Tensor, scales: int) -> Tensor:
    """MS-SSIM `(B,)` of images `(B, C, H, W)` in [0, 1], eq. 7: contrast and structure at all scales, luminance at the
    last; negative factors count as 0."""
    weights = torch.tensor(WEIGHTS[:scales], device=target.device)
    weights = weights / weights.sum() if scales < len(WEIGHTS) else weights  # all five add up to 1.0001
    factors = []
    for scale in range(scales):
        if scale:
            prediction, target = avg_pool2d(prediction, 2), avg_pool2d(target, 2)
        similarity, contrast = ssim(prediction, target)
        factors.append(similarity if scale == scales - 1 else contrast)
    return (torch.stack(factors).clamp(min=0) ** weights[:, None]).prod(0)
