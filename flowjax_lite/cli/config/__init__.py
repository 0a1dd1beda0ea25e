"""What a run is made of: YAML files and options of the command line, read into dataclasses."""

from flowjax_lite.cli.config.file import EXAMPLES, all_options, dump, load
from flowjax_lite.cli.config.flow import BASES, FlowConfig, flow_options
from flowjax_lite.cli.config.schema import LOSSES, Config, DataConfig, TrainingConfig

__all__ = [
    "BASES",
    "EXAMPLES",
    "LOSSES",
    "Config",
    "DataConfig",
    "FlowConfig",
    "TrainingConfig",
    "all_options",
    "dump",
    "flow_options",
    "load",
]
