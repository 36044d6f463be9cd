"""`trainer.accelerator=pretended trainer.strategy=pretended`: whole runs on the pretended device.

Importing this module adds both to Lightning's registries; runs must be within the context of `PretendedDevice`.
"""

from typing import Any

import torch
from lightning.pytorch.accelerators import Accelerator, AcceleratorRegistry
from lightning.pytorch.plugins import MixedPrecision
from lightning.pytorch.strategies import SingleDeviceStrategy, StrategyRegistry

from lightning_gen.testing import pretended_autocast
from lightning_gen.testing.pretended_device import PretendedDevice

NAME = "pretended"
OVERRIDES = (f"trainer.accelerator={NAME}", f"trainer.strategy={NAME}")


class PretendedAccelerator(Accelerator):
    """One device, always there."""

    def setup_device(self, device: torch.device) -> None:
        """Nothing to set up."""

    def teardown(self) -> None:
        """Nothing to release."""

    @staticmethod
    def parse_devices(devices: Any) -> list[int]:
        return [0]

    @staticmethod
    def get_parallel_devices(devices: Any) -> list[torch.device]:
        return [PretendedDevice.device]

    @staticmethod
    def auto_device_count() -> int:
        return 1

    @staticmethod
    def is_available() -> bool:
        return True

    @staticmethod
    def name() -> str:
        return NAME

    def get_device_stats(self, device: Any) -> dict[str, Any]:
        return {}


class PretendedStrategy(SingleDeviceStrategy):
    """Puts the model on the device, and mixed precision into the lists of CUDA's autocast."""

    def __init__(self, **settings: Any):
        super().__init__(device=PretendedDevice.device, accelerator=PretendedAccelerator(), **settings)

    def setup_environment(self) -> None:
        if isinstance(self.precision_plugin, MixedPrecision):
            self.precision_plugin.device = pretended_autocast.DEVICE_TYPE
        super().setup_environment()


AcceleratorRegistry.register(NAME, PretendedAccelerator)
StrategyRegistry.register(NAME, PretendedStrategy)
