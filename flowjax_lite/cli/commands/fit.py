"""`flowjax-lite fit`: train a flow, score it beside three baselines, write a run directory."""

from argparse import SUPPRESS, ArgumentParser, Namespace
from typing import Any

import jax
from jax.sharding import Mesh

import flowjax_lite as fl
from flowjax_lite.cli import config as configs
from flowjax_lite.cli.config import Config
from flowjax_lite.cli.config.options import REQUIRED, Option
from flowjax_lite.cli.errors import CommandError
from flowjax_lite.cli.report import score as report
from flowjax_lite.cli.report.score import Score
from flowjax_lite.cli.run import directory, progress, results
from flowjax_lite.cli.run.experiment import baseline_scores, describe, load_data, prepare, train

PURPOSE = "train the flow of a config and write a run directory"
_GROUPS = {
    "": "the run",
    "data": "data",
    "flow": "flow; options left out have the defaults of the family",
    "training": "training",
}


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of the command to its parser."""
    parser.add_argument(
        "config",
        metavar="CONFIG",
        help="a YAML file, or an example that the package brings, such as digits_maf",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier result")
    parser.add_argument(
        "--resume", action="store_true", help="go on with a run that was interrupted, if any"
    )
    parser.add_argument("--devices", choices=["all"], help="divide each batch among all devices")
    parser.add_argument(
        "--coordinator",
        metavar="HOST:PORT",
        help="an address of the first of several processes, each started by this command, which "
        "divide each batch among all their devices",
    )
    parser.add_argument("--num-processes", type=int, metavar="N", help="how many there are")
    parser.add_argument("--process-id", type=int, metavar="I", help="which one this is, from 0")
    parser.usage = "%(prog)s CONFIG [--overwrite] [--resume] [...] [--KEY VALUE ...]"
    parser.epilog = "The options with a value are the keys of a config, and replace what it says."
    groups = {name: parser.add_argument_group(title) for name, title in _GROUPS.items()}
    for key, option in configs.all_options().items():
        flag = f"--{key.replace('_', '-')}"
        settings: dict[str, Any] = {"dest": key, "default": SUPPRESS, "help": _help(option)}
        if option.is_list:
            settings["nargs"] = "+"
        elif option.kinds == (bool,):
            settings |= {"nargs": "?", "const": "true"}
        metavar = "CHOICE" if option.choices else option.kinds_in_words
        groups[key.rpartition(".")[0]].add_argument(flag, metavar=metavar, **settings)


def _help(option: Option) -> str:
    """Return the meaning of an option, its choices and its default."""
    words = [option.meaning]
    if option.choices:
        words.append(f"One of {', '.join(option.choices)}.")
    if option.default is not REQUIRED and option.default is not None:
        default = option.default
        text = " ".join(map(str, default)) if isinstance(default, tuple) else str(default)
        words.append(f"Default: {text}.")
    return " ".join(words).replace("%", "%%")


def run(arguments: Namespace) -> list[Score]:
    """Run the command."""
    given = vars(arguments)
    overrides = {key: given[key] for key in configs.all_options() if key in given}
    config = configs.load(
        arguments.config,
        {key: [words] if isinstance(words, str) else words for key, words in overrides.items()},
    )
    several = _join_processes(arguments)
    mesh = fl.all_devices() if several or arguments.devices else None
    return fit(config, overwrite=arguments.overwrite, resume=arguments.resume, mesh=mesh)


def _join_processes(arguments: Namespace) -> bool:
    """Join the processes of a run, if it has several, before JAX is used."""
    values = {
        "--coordinator": arguments.coordinator,
        "--num-processes": arguments.num_processes,
        "--process-id": arguments.process_id,
    }
    missing = [name for name, value in values.items() if value is None]
    if len(missing) == len(values):
        return False
    if missing:
        raise CommandError(
            f"a run of several processes needs {', '.join(values)} in each of them; "
            f"{missing[0]} is missing"
        )
    if not 0 <= arguments.process_id < arguments.num_processes:
        raise CommandError(
            f"--process-id is {arguments.process_id}; expected a number from 0 to "
            f"{arguments.num_processes - 1}, another one in each of the {arguments.num_processes} "
            "processes"
        )
    jax.distributed.initialize(*values.values())
    return True


def fit(
    config: Config, *, overwrite: bool = False, resume: bool = False, mesh: Mesh | None = None
) -> list[Score]:
    """Train one config, print its table and write its run directory.

    Args:
        config: The config.
        overwrite: Whether an earlier run of that name may be replaced.
        resume: Whether to go on with a run of that name that was interrupted, if there is one.
        mesh: The devices that divide each batch. Of several processes the first one writes.

    Returns:
        The scores of the flow and of the baselines; in a process that does not write, of the
        flow alone.

    Raises:
        ValueError: The config does not fit the data, or the run exists; nothing was written.
        DivergedError: Training failed; the best model until then was written, if any was good.
    """
    directory.check_target(config.run_dir, overwrite=overwrite)
    experiment = prepare(config, load_data(config.data))
    print(describe(experiment), flush=True)
    callbacks = progress.callbacks(experiment)
    with directory.exclusive(config.run_dir, overwrite=overwrite):
        checkpoint = directory.begin(config, overwrite=overwrite, resume=resume)
        print(f"Its progress is in {config.progress_dir}", flush=True)
        outcome = train(experiment, checkpoint=checkpoint, mesh=mesh, callbacks=callbacks)
        if jax.process_index() > 0:
            return [outcome.score]
        scores = [outcome.score, *baseline_scores(experiment.data, logit=config.data.logit)]
        results.write(outcome, scores)
    print(f"\n{report.score_table(scores)}")
    if outcome.still_improving:
        print(
            f"\nThe last epoch was the best: it was still improving. Raise training.max_epochs "
            f"from {config.training.max_epochs}, for example with --training.max-epochs "
            f"{2 * config.training.max_epochs}"
        )
    print(f"\nWrote {config.run_dir}")
    if outcome.failure:
        raise outcome.failure
    return scores
