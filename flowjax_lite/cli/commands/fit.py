"""`flowjax-lite fit`: train a flow, score it beside baselines, write a run directory."""

from typing import Any, Literal

import jax

import flowjax_lite as fl
from flowjax_lite.cli.config import Config, load
from flowjax_lite.cli.report import Score, score_table
from flowjax_lite.cli.run import directory, output
from flowjax_lite.cli.run.experiment import baseline_scores, load_data, prepare, train


def fit(
    config: str | Config,
    *,
    overwrite: bool = False,
    resume: bool = False,
    devices: Literal["all"] | None = None,
    coordinator: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
    **keys: Any,
) -> list[Score]:
    """Train the flow of a config and write a run directory.

    Args:
        config: A YAML file, or an example that the package brings, such as digits_maf.
        overwrite: Replace an earlier run of that name.
        resume: Go on with a run of that name that was interrupted, if there is one.
        devices: Divide each batch among all devices.
        coordinator: HOST:PORT, an address of the first of several processes, each started by
            this command, which divide each batch among all their devices. The first one writes.
            Under SLURM, Kubernetes, Open MPI or on Cloud TPUs, auto finds all three by itself.
        num_processes: How many processes there are.
        process_id: Which one this is, from 0.
        keys: Values in place of those of the file, by keys such as `training.seed`.

    Returns:
        The scores of the flow and of the baselines; in a process that does not write, of the
        flow alone.

    Raises:
        ValueError: The config does not fit the data, or the run exists; nothing was written.
        DivergedError: Training failed; the best model until then was written, if any was good.
        KeyboardInterrupt: Training was interrupted; the best model until then was written, and
            what is needed to go on.
    """
    if not isinstance(config, Config):
        config = load(config, keys)
    several = _join_processes(coordinator, num_processes, process_id)
    mesh = fl.all_devices() if several or devices else None
    # An interrupted run has written its best model, which gives way to that of the whole run.
    replaces = overwrite or (resume and config.progress_dir.exists())
    directory.check_target(config.run_dir, overwrite=replaces)
    experiment = prepare(config, load_data(config.data))
    print(experiment, flush=True)
    callbacks = output.callbacks(experiment)
    with directory.exclusive(config.run_dir, overwrite=replaces):
        checkpoint = directory.begin(config, overwrite=overwrite, resume=resume)
        print(f"Its progress is in {config.progress_dir}", flush=True)
        outcome = train(experiment, checkpoint=checkpoint, mesh=mesh, callbacks=callbacks)
        if jax.process_index() > 0:
            return [outcome.score]
        scores = [outcome.score, *baseline_scores(experiment.data, config.data["logit"])]
        output.write(outcome, scores)
    print(f"\n{score_table(scores)}")
    epochs = config.training["max_epochs"]
    ended = outcome.failure is None and not outcome.result.interrupted
    if ended and outcome.result.best_epoch == epochs - 1 > 0:
        print(
            f"\nThe last epoch was the best: it was still improving. Raise training.max_epochs "
            f"from {epochs}, for example with --training.max-epochs {2 * epochs}"
        )
    print(f"\nWrote {config.run_dir}")
    if outcome.failure:
        raise outcome.failure
    if outcome.result.interrupted:
        raise KeyboardInterrupt
    return scores


def _join_processes(coordinator: str | None, num: int | None, process: int | None) -> bool:
    """Join the processes of a run, if it has several, before JAX is used."""
    if coordinator == "auto":
        if num is not None or process is not None:
            raise ValueError(
                "--coordinator auto finds the number of processes and of this one: leave out "
                "--num-processes and --process-id"
            )
        _discover_processes()
        return True
    values = {"--coordinator": coordinator, "--num-processes": num, "--process-id": process}
    missing = [name for name, value in values.items() if value is None]
    if len(missing) == len(values):
        return False
    if coordinator is None or num is None or process is None:
        raise ValueError(
            f"a run of several processes needs {', '.join(values)} in each of them; "
            f"{missing[0]} is missing"
        )
    if not 0 <= process < num:
        raise ValueError(
            f"--process-id is {process}; expected a number from 0 to {num - 1}, another one in "
            f"each of the {num} processes"
        )
    jax.distributed.initialize(coordinator, num, process)
    return True


def _discover_processes() -> None:
    """Join the processes that a cluster manager has started, as JAX finds them."""
    try:
        jax.distributed.initialize()
    except ValueError as error:
        raise ValueError(
            "--coordinator auto found none of the cluster managers that JAX knows, such as SLURM "
            "(within srun): give --coordinator HOST:PORT, --num-processes and --process-id"
        ) from error
