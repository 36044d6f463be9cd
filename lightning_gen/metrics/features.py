"""Features of a set of images, extracted once and looked at by every metric that compares sets."""

from dataclasses import dataclass

from torch import Tensor

from lightning_gen.extractors.extractor import Extractor


@dataclass(frozen=True)
class Features:
    """`values` `(N, d)`, float32, and the images' labels `(N,)` where they have any, in the order of the images."""

    values: Tensor
    labels: Tensor | None
    extractor: Extractor

    def __len__(self) -> int:
        return len(self.values)

    def logits(self) -> Tensor:
        """Class scores `(N, K)` of an extractor that has them."""
        return self.extractor.logits(self.values)

    def at(self, index: Tensor) -> "Features":
        """Those of some of the images."""
        labels = None if self.labels is None else self.labels[index]
        return Features(self.values[index], labels, self.extractor)
