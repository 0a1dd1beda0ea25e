"""What a run is made of: YAML files and options of the command line, as arguments of functions."""

from flowjax_lite.cli.config.schema import EXAMPLES, Config, all_options, dump, flow_options, load

__all__ = ["EXAMPLES", "Config", "all_options", "dump", "flow_options", "load"]
