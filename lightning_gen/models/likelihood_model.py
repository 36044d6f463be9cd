"""Base of models that are trained by maximum likelihood, or by a bound on it."""

from torch import Tensor, nn

from lightning_gen.errors import UserError
from lightning_gen.image_generator import ImageGenerator
from lightning_gen.losses.likelihoods import Likelihood


class LikelihoodModel(ImageGenerator):
    """Base of models whose networks predict the parameters of a `likelihood` of images."""

    def __init__(self, image_shape: tuple[int, ...], num_classes: int | None, *, likelihood: Likelihood, **training):
        super().__init__(image_shape, num_classes, **training)
        if not isinstance(likelihood, Likelihood):
            kind = type(likelihood).__name__
            raise UserError(
                f"model.likelihood: {kind} is no Likelihood; extend lightning_gen.losses.likelihoods.Likelihood"
            )
        self.likelihood = likelihood
        if isinstance(likelihood, nn.Module):  # with weights
            self.averaged_parts = (*self.averaged_parts, "likelihood")

    def to_support(self, images: Tensor) -> Tensor:
        """Images mapped to the support of the likelihood."""
        return self.likelihood.to_support(images)

    def parameters_shape(self, image_shape: tuple[int, ...]) -> tuple[int, int, int]:
        """Shape of the likelihood's parameters for images of `image_shape` `(C, H, W)`."""
        channels, height, width = image_shape
        return channels * self.likelihood.parameters_per_value, height, width
