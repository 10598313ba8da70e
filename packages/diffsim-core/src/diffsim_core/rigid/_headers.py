"""Where the engine's headers are."""

from pathlib import Path

SOURCE = Path(__file__).with_name("_source")
