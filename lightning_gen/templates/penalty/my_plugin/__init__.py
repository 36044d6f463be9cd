"""Drift of the discriminator's logits, https://arxiv.org/abs/1710.10196, section A.1."""

from torch import Tensor

from lightning_gen.losses.penalties import Penalty, Players, Round


class MyOption(Penalty):
    """The squared logit of real images: a Wasserstein loss alone leaves the level of the logits free."""

    player = "discriminator"  # whose loss it is added to
    double_backward = False  # it takes no gradients of its own

    def forward(self, players: Players, round: Round) -> Tensor:
        """The unweighted value, a scalar."""
        return round.logits("real").square().mean()
