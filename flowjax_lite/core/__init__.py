"""What every room uses and is no mathematics: checks, recipes, pytrees, files, the mesh."""

from flowjax_lite.core.checks import default_dtype
from flowjax_lite.core.mesh import all_devices
from flowjax_lite.core.recipe import Recipe

__all__ = ["Recipe", "all_devices", "default_dtype"]
