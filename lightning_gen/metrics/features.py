"""Features of a set of images, extracted once for all metrics that compare sets."""

from dataclasses import dataclass

from torch import Tensor

from lightning_gen.extractors.extractor import Extractor


@dataclass(frozen=True)
class Features:
    """Features `values` `(N, d)`, float32, and the images' labels `(N,)` or None, in the order of the images."""

    values: Tensor
    labels: Tensor | None
    extractor: Extractor

    def __len__(self) -> int:
        return len(self.values)

    def logits(self) -> Tensor:
        """Logits `(N, K)` of an extractor that classifies; TypeError for others."""
        logits = self.extractor.logits(self.values)
        if logits is None:
            raise TypeError(f"{self.extractor.name} has no logits")
        return logits

    def at(self, index: Tensor) -> "Features":
        """The features of the images at `index`."""
        labels = None if self.labels is None else self.labels[index]
        return Features(self.values[index], labels, self.extractor)
