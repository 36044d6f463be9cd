"""What several test modules use; no test module imports another one."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
