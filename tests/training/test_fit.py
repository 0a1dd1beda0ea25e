"""Training: it learns, uses every row, keeps the best, refuses bad input, compiles once."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from battery.measure import randomised
from battery.registry import network
from flax import nnx

import flowjax_lite as fl
from flowjax_lite.core.mesh import Placement
from flowjax_lite.training import Progress
from flowjax_lite.training.epoch import advance
from flowjax_lite.training.rows import Divided, Rows
from flowjax_lite.training.sources import InMemory

SETTINGS = {"batch_size": 64, "max_epochs": 3, "progress": False, "learning_rate": 1e-2}


def rows(count: int = 200, dim: int = 2, seed: int = 0) -> np.ndarray:
    """Correlated, shifted rows."""
    z = np.random.default_rng(seed).standard_normal((count, dim))
    return (z @ (np.eye(dim) + 0.5) + 1.0).astype(np.float32)


def tiny(seed: int = 0, **settings) -> fl.Flow:
    """A flow that trains in no time."""
    return fl.flows.realnvp(dim=2, num_layers=2, hidden=(8,), rngs=nnx.Rngs(seed), **settings)


def same(a, b) -> bool:
    """Whether two pytrees hold equal arrays."""
    return all(jnp.array_equal(x, y) for x, y in zip(*map(jax.tree.leaves, (a, b)), strict=True))


@pytest.mark.smoke
@pytest.mark.parametrize("name", fl.flows.NAMED)
def test_every_named_flow_trains(name):
    """Catches a family whose gradient does not reach its parameters."""
    # Steps whose number is fixed compile far faster than adaptive ones, tried with their losses.
    few = {"method": "midpoint", "num_steps": 4} if name in ("ffjord", "rnode", "cnf") else {}
    settings = network(name, hidden=(8, 8)) | few
    flow = fl.flows.NAMED[name](dim=2, num_layers=2, rngs=nnx.Rngs(0), **settings)
    optimizer, x, losses = optax.adam(1e-2), jnp.asarray(rows()), []
    step = jax.jit(fl.make_train_step(fl.negative_log_likelihood, optimizer))
    state = fl.TrainState.create(flow, optimizer)
    for _ in range(10):
        state, loss = step(state, x)
        losses.append(float(loss))
    assert losses[-1] < losses[0] - 0.1


def test_the_best_parameters_are_returned_and_the_input_is_left_alone():
    """Catches returning the last parameters, and donating the caller's arrays."""
    # The held-out rows are far wider: the better the training rows fit, the worse they do.
    flow, x, held_out = tiny(), 0.05 * rows(), rows(seed=1)
    before = jax.tree.map(jnp.copy, flow)
    result = fl.fit(flow, x, key=jax.random.key(0), validation=held_out, **SETTINGS)
    assert same(flow, before)
    assert result.best_epoch < len(result.history["validation"]) - 1
    best = result.history["validation"][result.best_epoch]
    assert -float(result.flow.log_prob(held_out).mean()) == pytest.approx(best, rel=1e-4)


def test_a_second_fit_of_a_flow_built_anew_compiles_nothing(compiled: list[str]):
    """Catches arguments or graph definitions that differ from epoch to epoch, call to call.

    Also catches a first call in which small operations outside the three programs compile too.
    """
    flows, keys = [tiny(seed) for seed in (0, 1)], [jax.random.key(seed) for seed in (0, 1)]
    jax.clear_caches()
    compiled.clear()
    fl.fit(flows[0], rows(), key=keys[0], **SETTINGS)
    assert len(compiled) == 3
    fl.fit(flows[1], rows(seed=2), key=keys[1], **SETTINGS)
    assert len(compiled) == 3


def test_numbers_of_a_schedule_compile_nothing(compiled: list[str]):
    """Catches a rate, a number of epochs or a patience that is a constant of the program."""
    build, x, held_out = tiny, rows(), rows(64, seed=1)
    common = {"key": 0, "batch_size": 64, "progress": False, "validation": held_out, "ema": 0.9}

    def train(**changed):
        settings = {"learning_rate": 1e-2, "warmup": 0.1, "clip": 5.0, "weight_decay": 0.1}
        settings |= {"rates": (("bijector", 0.5),)}
        given = {key: changed.pop(key) for key in settings if key in changed}
        return fl.fit(
            build(),
            x,
            optimizer=fl.AdamW(**settings | given),
            **common | {"max_epochs": 2, "patience": 5} | changed,
        ).history

    first = train()
    compiled.clear()
    other = {"learning_rate": 1e-3, "warmup": 0.5, "clip": 0.1, "weight_decay": 0.5}
    other |= {"rates": (("bijector", 0.1),), "max_epochs": 3, "patience": 1, "ema": 0.5}
    for name, value in other.items():
        history = train(**{name: value})
        assert name == "patience" or history != first, name  # the twin: it has an effect
    assert not compiled, compiled


def test_a_key_determines_the_result():
    """Catches hidden randomness."""
    first, second, third = (
        fl.fit(tiny(), rows(), key=jax.random.key(seed), **SETTINGS).flow for seed in (0, 0, 1)
    )
    assert same(first, second)
    assert not same(first, third)


@pytest.mark.parametrize(("num_rows", "batch_size"), [(10, 4), (8, 4), (9, 8), (5, 5), (101, 10)])
def test_batches_hold_every_row_once_and_are_balanced(num_rows, batch_size):
    """Catches a dropped or doubled ragged batch."""
    positions = np.arange(num_rows)
    data = Rows(positions[:, None], None, np.ones(num_rows), positions)
    source = InMemory(Divided(data, None), batch_size=batch_size, placement=Placement())
    window = source.window(0, 0)
    order = window.order(jax.random.key(0))
    batches = [window.rows_of(order, i, multiple=3) for i in range(source.num_steps)]
    taken = [np.asarray(batch.x[batch.weights > 0, 0]) for batch in batches]
    assert sorted(np.concatenate(taken)) == list(positions)
    assert {len(batch.x) % 3 for batch in batches} == {0}
    counts = [len(x) for x in taken]
    assert max(counts) <= batch_size
    assert np.ptp(counts) <= 1


@pytest.mark.parametrize(
    ("num_rows", "steps"), [(10, 1), (100, 7), (1000, 32), (4095, 32), (4096, 16), (10_000, 40)]
)
def test_few_rows_come_in_small_batches(num_rows, steps):
    """Catches a first fit of a small table that takes a step an epoch, and learns nothing."""
    positions = np.arange(num_rows)
    data = Rows(positions[:, None], None, np.ones(num_rows), positions)
    assert InMemory(Divided(data, None), batch_size=None, placement=Placement()).num_steps == steps


def test_epoch_losses_are_means_over_rows():
    """Catches a ragged batch that counts its padding: without training, losses are exact."""
    flow, x, held_out = tiny(), rows(101), rows(37, seed=1)
    result = fl.fit(
        flow,
        x,
        key=jax.random.key(0),
        validation=held_out,
        optimizer=optax.set_to_zero(),
        **SETTINGS | {"batch_size": 10, "max_epochs": 1, "learning_rate": None},
    )
    assert result.history["train"][0] == pytest.approx(-float(flow.log_prob(x).mean()), rel=1e-5)
    expected = -float(flow.log_prob(held_out).mean())
    assert result.history["validation"][0] == pytest.approx(expected, rel=1e-5)


def test_validation_is_exact_where_training_estimates():
    """Catches a best epoch that is chosen by chance: held-out losses that depend on the key."""
    options = {"dim": 2, "num_layers": 1, "hidden": (4,), "log_det": "series"}
    flow = randomised(fl.flows.residual(**options, rngs=nnx.Rngs(0)), scale=0.5)
    held_out, optimizer = rows(20, seed=1), optax.set_to_zero()
    first, second = (
        fl.fit(
            flow,
            rows(30),
            key=jax.random.key(seed),
            validation=held_out,
            optimizer=optimizer,
            **SETTINGS | {"batch_size": 30, "max_epochs": 2, "learning_rate": None},
        ).history
        for seed in (0, 1)
    )
    expected = -float(flow.log_prob(held_out).mean())
    for losses in (first["validation"], second["validation"]):
        assert losses == pytest.approx([expected, expected], rel=1e-5)
    assert len({*first["train"], *second["train"]}) == 4  # the twin: estimates differ


def test_weights_select_rows():
    """Catches ignored weights: rows of weight zero, far away, must have no influence."""
    x = rows(120)
    both = np.concatenate([x, x + 50.0])
    weights = np.concatenate([np.ones(120), np.zeros(120)])
    settings = {"key": jax.random.key(0), "validation": x, **SETTINGS, "max_epochs": 30}
    weighted = fl.fit(tiny(), both, weights=weights, **settings)
    unweighted = fl.fit(tiny(), both, **settings)
    assert weighted.history["validation"][-1] < unweighted.history["validation"][-1] - 0.1


@pytest.mark.parametrize("flow", ["couplings", "batch norm"])
def test_rows_without_weight_may_hold_anything(flow: str):
    """Catches a NaN of weight zero that reaches a gradient or a statistic: 0 · NaN is NaN.

    And a batch of such rows alone, which is no step, that counts as a failed one.
    """
    build = {
        "couplings": tiny,
        "batch norm": lambda: fl.Flow(
            fl.distributions.StandardNormal(2),
            fl.bijectors.Chain([fl.bijectors.Affine(2), fl.bijectors.BatchNorm(2)]),
        ),
    }[flow]
    x, weights = rows(), np.ones(200)
    x[7], weights[20:] = np.nan, 0.0
    weights[7] = 0.0
    settings = SETTINGS | {"validation": rows(50), "batch_size": 4, "checks": "off"}
    result = fl.fit(build(), x, key=0, weights=weights, **settings)
    assert sum(result.history["skipped"]) == 0
    assert np.isfinite(result.history["train"]).all()
    assert np.isfinite(result.history["gradient_norm"]).all()
    x[7] = 1.0
    other = fl.fit(build(), x, key=0, weights=weights, **settings)
    assert same(result.flow, other.flow)


def test_a_batch_without_weight_is_no_step():
    """Catches an optimizer, or a moving average, that goes on without a gradient."""
    optimizer = optax.adam(1e-2)
    step = jax.jit(fl.make_train_step(fl.negative_log_likelihood, optimizer))
    state, _ = step(fl.TrainState.create(tiny(), optimizer), rows(), None, np.ones(200))
    after, _ = step(state, rows(), None, np.zeros(200))
    assert same(after, state)
    assert not same(step(state, rows(), None, np.ones(200))[0], state)  # the twin


def test_rows_drawn_without_weight_are_told():
    """Catches a choice by the loss of no rows, which is NaN in every epoch."""
    weights = np.zeros(200)
    weights[0] = 1.0
    with pytest.raises(
        ValueError, match=r"have no weight, after validation=0\.1 of them were drawn"
    ):
        fl.fit(tiny(), rows(), key=0, weights=weights, **SETTINGS)


def test_a_condition_is_learned():
    """Catches a condition that is shuffled apart from its rows."""
    c = np.random.default_rng(0).standard_normal((400, 1)).astype(np.float32)
    x = 3 * c + 0.1 * rows(400)
    flow = tiny(condition_dim=1)
    result = fl.fit(flow, x, condition=c, key=jax.random.key(0), **SETTINGS | {"max_epochs": 60})
    shuffled = result.flow.log_prob(x, c[::-1]).mean()
    assert result.flow.log_prob(x, c).mean() > shuffled + 1.0


@pytest.mark.parametrize("validation", [20, np.int64(20), 0.1, np.float32(0.1), jnp.asarray(0.1)])
def test_rows_held_out_by_their_number(validation):
    """Catches a number of rows taken for a fraction, or for rows, and numbers of numpy refused."""
    settings = SETTINGS | {"batch_size": np.int64(64), "max_epochs": np.int32(1)}
    few = fl.fit(tiny(), rows(), key=0, validation=validation, **settings)
    expected = fl.fit(tiny(), rows(), key=0, validation=0.1, **settings)
    assert same(few.flow, expected.flow)
    other = fl.fit(tiny(), rows(), key=0, validation=40, **settings)
    assert not same(few.flow, other.flow)


def test_few_rows_train_together():
    """Catches a default batch that is larger than the data, and refuses them."""
    result = fl.fit(tiny(), rows(20), key=0, max_epochs=5, learning_rate=1e-2, progress=False)
    assert result.history["train"][-1] < result.history["train"][0]
    assert np.isfinite(result.history["validation"]).all()


def test_a_base_alone_is_trained():
    """Catches a mixture that would have to be wrapped by hand."""
    base = fl.distributions.GaussianMixture(2, num_components=2, rngs=nnx.Rngs(0))
    result = fl.fit(base, rows(), key=0, **SETTINGS | {"max_epochs": 20})
    assert isinstance(result.flow, fl.Flow)
    assert result.history["validation"][-1] < result.history["validation"][0] - 0.05


def test_images_train():
    """Catches a flow of images that is refused its rows, or that gets them flat."""
    shape = (2, 2, 3)
    rng = np.random.default_rng(0)
    x = (1 + 2 * rng.standard_normal((200, *shape))).astype(np.float32)
    layers = fl.bijectors.Channelwise(fl.bijectors.Affine(3), shape[:2])
    flow = fl.Flow(fl.distributions.StandardNormal(shape), layers)
    result = fl.fit(flow, x, key=0, learning_rate=0.01, max_epochs=20, progress=False)
    assert result.history["validation"][-1] < result.history["validation"][0] - 1.0
    with pytest.raises(ValueError, match=r"expects \(rows, 2, 2, 3\)"):
        fl.fit(flow, x.reshape(200, 2, 6), key=0, progress=False)


def test_patience_stops_early():
    """Catches a patience that never triggers."""
    result = fl.fit(
        tiny(),
        rows(),
        key=jax.random.key(0),
        optimizer=optax.set_to_zero(),
        patience=2,
        **SETTINGS | {"max_epochs": 20, "learning_rate": None},
    )
    assert len(result.history["train"]) == 3


def with_cell(value: float) -> np.ndarray:
    """Rows with one bad cell."""
    x = rows()
    x[7, 1] = value
    return x


BAD = {
    "wrong dim": (rows(dim=3), {}, ValueError, r"expects \(rows, 2\)"),
    "integers": (np.arange(200).reshape(100, 2), {}, TypeError, "dequantize_integers"),
    "complex": (rows() + 1j, {}, TypeError, "complex"),
    "empty": (np.zeros((0, 2)), {}, ValueError, "row"),
    "one axis": (np.zeros(5), {}, ValueError, "data"),
    "NaN": (with_cell(np.nan), {}, ValueError, "row 7"),
    "inf": (with_cell(np.inf), {}, ValueError, "row 7"),
    "constant": (np.ones((100, 2)) * [1, 2], {}, ValueError, "same value"),
    "duplicated": (rows()[:, [0, 0]], {}, ValueError, "duplicated column"),
    "more to validate on than there are": (
        rows(),
        {"validation": 200},
        ValueError,
        "validation=200 of 200 rows leaves 200 to validate on and 0 to train on",
    ),
    "no flow": (rows(), {"flow": 3}, TypeError, "flow is a int; expected a Flow"),
    "superfluous condition": (rows(), {"condition": rows()}, ValueError, "takes none"),
    "short weights": (rows(), {"weights": np.ones(3)}, ValueError, "weights has 3 rows"),
    "negative weight": (rows(), {"weights": -np.ones(200)}, ValueError, r"weights\[0\]"),
    "zero weights": (rows(), {"weights": np.zeros(200)}, ValueError, "all zero"),
    "bad fraction": (rows(), {"validation": 1.5}, ValueError, "validation is 1.5"),
    "bad validation": (rows(), {"validation": rows(dim=3)}, ValueError, "validation has shape"),
    "bad rate": (rows(), {"learning_rate": 0.0}, ValueError, "learning_rate is 0.0"),
    "bad epochs": (rows(), {"max_epochs": 0}, ValueError, "max_epochs is 0"),
    "bad batch": (rows(), {"batch_size": 2.5}, TypeError, "batch_size is 2.5"),
    "bad ema": (rows(), {"ema": 1.0}, ValueError, "ema is 1.0"),
    "no key": (rows(), {"key": None}, TypeError, "key is None; expected a random key"),
    "bad loss": (rows(), {"loss": "nll"}, TypeError, "loss is 'nll'.*negative_log_likelihood"),
    "bad optimizer": (rows(), {"optimizer": "adam"}, TypeError, r"optimizer is 'adam'.*fl.AdamW"),
    "bad mesh": (rows(), {"mesh": 3}, TypeError, r"mesh is 3; expected .*all_devices\(\)"),
    "two rates": (rows(), {"optimizer": optax.sgd(1e-2)}, ValueError, "given beside an optimizer"),
    "huge weights": (rows(), {"weights": np.full(200, 1e38)}, ValueError, "add up to 2e"),
    "bad patience": (rows(), {"patience": 0}, ValueError, "patience is 0"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_before_compilation(case):
    """Catches an error that comes late, or without naming the argument and the fix."""
    data, settings, error, message = BAD[case]
    programs = advance._cache_size()
    with pytest.raises(error, match=message):
        fl.fit(**{"flow": tiny(), "data": data, "key": jax.random.key(0)} | SETTINGS | settings)
    assert advance._cache_size() == programs


def test_data_are_checked_as_the_flow_sees_them():
    """Catches a float64 cell that overflows in float32, and few validation rows refused."""
    x = rows().astype(np.float64)
    fl.fit(tiny(), x, key=jax.random.key(0), validation=x[:1], **SETTINGS | {"max_epochs": 1})
    x[5, 0] = 1e39
    with pytest.raises(ValueError, match="row 5"):
        fl.fit(tiny(), x, key=jax.random.key(0), **SETTINGS)


def test_checks_are_a_choice():
    """Catches a policy that does not reach data, conditions and validation rows alike."""
    settings = SETTINGS | {"key": jax.random.key(0), "max_epochs": 1}
    flow, x, c = tiny(condition_dim=1), rows(), rows(dim=1, seed=1)
    x[:, 1], c[3, 0] = 2 * x[:, 0], 1e6
    held_out = rows(20), rows(20, dim=1)
    held_out[0][4, 1] = 1e5
    with pytest.raises(ValueError, match=r"column 1 = 2 \* column 0"):
        fl.fit(flow, x, condition=c, **settings)
    with pytest.warns(fl.data.DataWarning) as caught:
        fl.fit(flow, x, condition=c, validation=held_out, checks="warn", **settings)
    assert [str(warning.message).split()[0] for warning in caught] == [
        "data",
        "condition",
        "validation",
    ]
    fl.fit(flow, x, condition=c, validation=held_out, checks="off", **settings)
    with pytest.raises(ValueError, match="checks is 'on'"):
        fl.fit(flow, x, condition=c, checks="on", **settings)


def test_data_far_from_unit_scale_are_told_to_flows_without_a_data_map():
    """Catches an alarm about units that a data_map, a base or a first layer takes care of."""
    x = 1e5 * rows()
    settings = SETTINGS | {"key": jax.random.key(0), "max_epochs": 1}
    with pytest.warns(fl.data.DataWarning, match=r"2 columns \(0: .*data_map="):
        fl.fit(tiny(), x, **settings)
    fl.fit(tiny(data_map=fl.bijectors.Standardize.from_data(x)), x, **settings)
    glow = fl.flows.glow_1d(dim=2, num_layers=1, hidden=(4,), rngs=nnx.Rngs(0))
    fl.fit(fl.initialize(glow, x), x, **settings)


def test_the_moving_average_is_validated_and_returned():
    """Catches an average of other parameters, of wrong weights, or of constants and counts."""
    flow, seen = tiny(data_map=fl.bijectors.Standardize.from_data(rows())), []
    settings = {"key": jax.random.key(0), "validation": rows(50, seed=1), **SETTINGS}
    settings |= {"batch_size": 200, "optimizer": optax.adam(1e-2), "max_epochs": 4}
    del settings["learning_rate"]
    options = {"callbacks": [lambda now: seen.append(jax.tree.map(np.array, now.flow))]}
    fl.fit(flow, rows(), **settings, **options)
    result = fl.fit(flow, rows(), ema=0.25, **settings)
    expected = jax.tree.map(np.array, flow)
    for step, new in enumerate(seen):
        decay = min(0.25, (1 + step) / (10 + step))
        expected = jax.tree.map(lambda a, b, d=decay: d * a + (1 - d) * b, expected, new)
    assert result.best_epoch == 3
    chex.assert_trees_all_close(result.flow, expected, rtol=1e-5, atol=1e-6)
    best = result.history["validation"][-1]
    held_out = -float(result.flow.log_prob(settings["validation"]).mean())
    assert held_out == pytest.approx(best, rel=1e-5)


def test_callbacks_see_each_epoch_and_change_nothing():
    """Catches a model that is not that of the epoch, and a look at it that changes training."""
    seen = []

    def look(progress: Progress) -> None:
        held_out = -float(progress.flow.log_prob(rows(50, seed=1)).mean())
        seen.append((progress.epoch, held_out, progress.best_epoch, len(progress.history["train"])))

    settings = {"key": jax.random.key(0), "validation": rows(50, seed=1), **SETTINGS}
    result = fl.fit(tiny(), rows(), callbacks=[look], **settings)
    assert [line[0] for line in seen] == [0, 1, 2]
    assert [line[1] for line in seen] == pytest.approx(result.history["validation"], rel=1e-5)
    assert [line[3] for line in seen] == [1, 2, 3]
    assert seen[-1][2] == result.best_epoch
    assert same(result.flow, fl.fit(tiny(), rows(), **settings).flow)


def test_a_callback_ends_a_run(tmp_path):
    """Catches a run that goes on, or that goes on when it is read again."""
    settings = {"key": jax.random.key(0), **SETTINGS, "max_epochs": 9}
    settings["checkpoint"] = fl.Checkpoint(tmp_path, resume=True)
    settings["callbacks"] = [lambda progress: progress.history["gradient_norm"][-1] < 9e9]
    for _ in range(2):
        assert len(fl.fit(tiny(), rows(), **settings).history["train"]) == 1


def test_conditions_are_checked():
    """Catches a missing, misshapen or misaligned condition."""
    flow, x = tiny(condition_dim=1), rows()
    for condition, error, message in [
        (None, TypeError, "condition is missing"),
        (rows(), ValueError, r"condition has shape \(2,\); this flow expects \(1,\)"),
        (rows(50)[:, :1], ValueError, "condition has 50 rows and data 200"),
    ]:
        with pytest.raises(error, match=message):
            fl.fit(flow, x, condition=condition, key=jax.random.key(0), **SETTINGS)
