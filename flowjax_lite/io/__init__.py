"""Saving and loading models."""

from flowjax_lite.io.serialization import load, save

__all__ = ["load", "save"]
