"""Ensembles: each member is trained as if it were alone, and all of them make one density."""

from pathlib import Path

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from battery.measure import randomised
from flax import nnx
from helpers.grid import density_on_grid
from scipy.special import expit

import flowjax_lite as fl
from flowjax_lite.distributions import FlowMixture
from flowjax_lite.training import EnsembleResult, ensemble
from flowjax_lite.training.rows import folded_rows

KEY = jax.random.key(0)
SETTINGS = {"batch_size": 16, "max_epochs": 4, "progress": False, "learning_rate": 1e-2}


def rows(count: int = 101, seed: int = 0) -> np.ndarray:
    """Correlated, shifted rows, of which batches of 16 are ragged."""
    z = np.random.default_rng(seed).standard_normal((count, 3))
    return (z @ (np.eye(3) + 0.5) + 1.0).astype(np.float32)


def tiny(seed: int = 0) -> fl.Flow:
    """A small flow with a condition."""
    return fl.flows.realnvp(dim=2, condition_dim=1, num_layers=2, hidden=(8,), rngs=nnx.Rngs(seed))


def train(flows: list[fl.Flow], **changed) -> EnsembleResult:
    """On weighted rows with conditions, with rows held out that are given."""
    x, held_out = rows(), rows(40, seed=1)
    given = {"condition": x[:, 2:], "weights": np.linspace(0, 2, len(x))}
    given |= {"validation": (held_out[:, :2], held_out[:, 2:]), "key": KEY}
    fit = fl.fit_ensemble if isinstance(flows, list) else fl.fit
    return fit(flows, x[:, :2], **given | SETTINGS | changed)


def without_time(result: fl.FitResult) -> dict[str, tuple[float, ...]]:
    """What two equal runs share of their history."""
    return {name: values for name, values in result.history.items() if name != "seconds"}


def assert_same(one: fl.FitResult, other: fl.FitResult):
    """Equal up to rounding."""
    for name, values in without_time(one).items():
        np.testing.assert_allclose(values, other.history[name], rtol=2e-4, err_msg=name)
    assert one.best_epoch == other.best_epoch
    chex.assert_trees_all_close(one.flow, other.flow, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("groups", [1, 2])
def test_members_are_what_they_would_be_alone(monkeypatch: pytest.MonkeyPatch, groups: int):
    """Catches members that share gradients, keys, rates or clipping; the last has another rate.

    Of two groups one has two members, the other one.
    """
    monkeypatch.setattr(ensemble, "num_groups", lambda num: groups)
    flows = [tiny(i) for i in range(3)]
    members = train(flows, rates=(1.0, 1.0, 0.1)).members
    for i, rate in enumerate((1e-2, 1e-2, 1e-3)):
        alone = train(tiny(i), key=jax.random.fold_in(KEY, i), learning_rate=rate)
        assert_same(members[i], alone)
    other = members[0].history["train"][-1]  # the twin
    assert members[1].history["train"][-1] != pytest.approx(other, rel=1e-3)


@pytest.mark.parametrize("groups", [1, 2])
def test_each_member_holds_out_a_part_of_its_own(monkeypatch: pytest.MonkeyPatch, groups: int):
    """Catches parts that overlap, rows held out that are trained on, and another member's rows."""
    monkeypatch.setattr(ensemble, "num_groups", lambda num: groups)
    flows = [tiny(seed) for seed in range(3)]
    x = rows()
    parts = folded_rows(
        flows[0], x[:, :2], x[:, 2:], np.linspace(0, 2, 101), num=3, key=KEY, checks="error"
    )
    held_out = np.concatenate([part.validation.positions for part in parts])
    assert len(set(held_out)) == len(held_out) == 99
    for part in parts:
        both = np.concatenate([part.training.positions, part.validation.positions])
        assert sorted(both) == list(range(101))
    result = train(flows, validation="folds")
    for i, part in enumerate(parts):
        alone = fl.fit(
            flows[i],
            part.training.x,
            condition=part.training.condition,
            weights=part.training.weights,
            validation=(part.validation.x, part.validation.condition),
            key=jax.random.fold_in(KEY, i),
            **SETTINGS,
        )
        assert alone.best_epoch == result.members[i].best_epoch
        chex.assert_trees_all_close(alone.flow, result.members[i].flow, rtol=1e-3, atol=1e-4)


def test_parts_that_cannot_be_held_out_are_told():
    """Catches one member whose part is all rows, and more members than rows."""
    with pytest.raises(ValueError, match=r"validation is 'fold'; expected .*'folds'"):
        train([tiny(), tiny(1)], validation="fold")
    with pytest.raises(ValueError, match="for each of 1 members"):
        train([tiny()], validation="folds")
    x = rows(3)
    with pytest.raises(ValueError, match="4 members, of 3 rows"):
        fl.fit_ensemble(
            [tiny(seed) for seed in range(4)],
            x[:, :2],
            condition=x[:, 2:],
            key=KEY,
            validation="folds",
            checks="off",
            **SETTINGS,
        )


def fails_where_wide(flow, x, condition=None, weights=None, key=None):
    """Likelihood, but NaN in training for a flow that is marked by its first parameter."""
    value = fl.negative_log_likelihood(flow, x, condition, weights)
    mark = jax.tree.leaves(nnx.state(flow, nnx.Param))[0].ravel()[0]
    return value if key is None else jnp.where(mark > 50, jnp.nan, value)


def marked(flow: fl.Flow) -> fl.Flow:
    """A flow that `fails_where_wide` refuses."""
    graphdef, params, rest = nnx.split(flow, nnx.Param, ...)
    leaves, structure = jax.tree.flatten(params)
    leaves[0] = leaves[0].at[(0,) * leaves[0].ndim].set(100.0)
    return nnx.merge(graphdef, jax.tree.unflatten(structure, leaves), rest)


def test_a_member_that_fails_leaves_the_others_alone():
    """Catches a NaN that spreads, and a run that waits for, or ends with, the worst member."""
    with pytest.warns(RuntimeWarning, match=r"not finite, for member 1 after 5 epochs"):
        result = train([tiny(0), marked(tiny(1)), tiny(2)], loss=fails_where_wide, max_epochs=8)
    assert result.members[1].history["skipped"] == (7,) * 5
    assert len(result.mixture) == 2
    for i in (0, 2):
        alone = train(tiny(i), key=jax.random.fold_in(KEY, i), max_epochs=8)
        assert_same(result.members[i], alone)
    with pytest.raises(fl.DivergedError, match="for member 0 after 5 epochs"):
        train([marked(tiny(0))], loss=fails_where_wide, max_epochs=8)


def fails_with(keys: jax.Array):
    """Likelihood, but NaN in the steps that have one of these keys."""
    data = jax.random.key_data(keys)

    def loss(flow, x, condition=None, weights=None, key=None):
        value = fl.negative_log_likelihood(flow, x, condition, weights)
        if key is None:
            return value
        return jnp.where((data == jax.random.key_data(key)[None]).all(1).any(), jnp.nan, value)

    return loss


def step_keys(member: int, epoch: int, steps: range) -> jax.Array:
    """The keys of the loss in some steps of a member."""
    key = jax.random.fold_in(jax.random.fold_in(KEY, member), epoch)
    return jax.vmap(lambda step: jax.random.fold_in(key, 1 + step))(jnp.array(steps))


@pytest.mark.parametrize("first", [2, 5])
def test_a_member_that_goes_back_does_as_it_would_alone(first: int):
    """Catches other members that go back too, and a model that is not that of its best epoch.

    Of 15 steps ten fail; from step 5 on, the tenth is also the last one of the epoch.
    """
    loss = fails_with(step_keys(1, 0, range(first, first + 10)))
    settings = {"loss": loss, "batch_size": 7, "max_epochs": 2}
    with pytest.warns(RuntimeWarning, match="10 steps of all members were skipped"):
        members = train([tiny(0), tiny(1)], **settings).members
    with pytest.warns(RuntimeWarning, match="the run went back 1 times"):
        alone = train(tiny(1), key=jax.random.fold_in(KEY, 1), **settings)
    assert_same(members[0], train(tiny(0), key=jax.random.fold_in(KEY, 0), **settings))
    assert_same(members[1], alone)
    assert alone.history["learning_rate"][1] < 0.1 * members[0].history["learning_rate"][0]
    held_out = rows(40, seed=1)
    for result in (*members, alone):
        value = fl.negative_log_likelihood(result.flow, held_out[:, :2], held_out[:, 2:])
        expected = result.history["validation"][result.best_epoch]
        assert value == pytest.approx(expected, rel=1e-5)


def test_each_member_has_its_own_patience():
    """Catches members that are trained on after their end, or all ended by the first."""
    settings = {"patience": 1, "max_epochs": 12, "rates": (3.0, 0.01), "learning_rate": 3e-2}
    fast, slow = train([tiny(0), tiny(0)], **settings).members
    assert len(fast.history["train"]) == fast.best_epoch + 2 < 12
    assert len(slow.history["train"]) == 12
    alone = train(
        tiny(0), key=jax.random.fold_in(KEY, 0), patience=1, max_epochs=12, learning_rate=9e-2
    )
    assert fast.best_epoch == alone.best_epoch


def test_a_second_ensemble_compiles_nothing(compiled: list[str]):
    """Catches settings or structures that differ from call to call."""
    train([tiny(0), tiny(1)], batch_size=17)
    assert compiled  # as no other test has this size
    flows, key = [tiny(2), tiny(3)], jax.random.key(1)
    compiled.clear()
    train(flows, key=key, batch_size=17)
    assert not compiled, compiled


def test_members_are_trained_in_the_precision_that_is_set(x64):
    """Catches threads, for which JAX has other settings than for the one that began the run."""
    x = rows()[:, :2].astype(np.float64)
    flows = [fl.flows.realnvp(dim=2, num_layers=1, hidden=(4,), rngs=nnx.Rngs(0))] * 2
    settings = SETTINGS | {"validation": x[:30]}
    members = fl.fit_ensemble(flows, x, key=KEY, **settings).members
    assert {leaf.dtype for leaf in jax.tree.leaves(nnx.state(members[1].flow, nnx.Param))} == {
        jnp.dtype("float64")
    }
    assert_same(members[1], fl.fit(flows[1], x, key=jax.random.fold_in(KEY, 1), **settings))


@pytest.mark.parametrize(
    ("backend", "num", "groups"), [("cpu", 1, 1), ("cpu", 9, 3), ("gpu", 9, 1)]
)
def test_a_cpu_divides_members_among_its_cores(
    monkeypatch: pytest.MonkeyPatch, backend: str, num: int, groups: int
):
    """Catches groups without members, and an accelerator that trains one after the other."""
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    monkeypatch.setattr("os.sched_getaffinity", lambda process: {0, 1, 5}, raising=False)
    assert ensemble.num_groups(num) == groups


def test_what_cannot_be_trained_together_is_told():
    """Catches an error deep inside of JAX."""
    wide = fl.flows.realnvp(dim=2, condition_dim=1, num_layers=2, hidden=(9,), rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match=r"flows\[1\] is not built as flows\[0\] is"):
        train([tiny(), wide])
    with pytest.raises(ValueError, match="flows is empty"):
        train([])
    with pytest.raises(ValueError, match=r"rates are .*; expected 2 positive numbers"):
        train([tiny(), tiny()], rates=(1.0, 0.0))


@pytest.fixture(scope="module")
def mixture() -> FlowMixture:
    """Of two flows that differ, without a condition."""
    flows = [fl.flows.maf(dim=2, num_layers=2, hidden=(8,), rngs=nnx.Rngs(i)) for i in range(2)]
    return FlowMixture(
        [randomised(f, scale=0.2 + 0.3 * i) for i, f in enumerate(flows)], weights=(1, 3)
    )


def test_the_mixture_is_the_sum_of_its_members(mixture: FlowMixture):
    """Catches weights that are not normalised, and a log of a mean that is a mean of logs."""
    x = jax.random.normal(KEY, (50, 2))
    parts = [np.asarray(mixture.member(i).log_prob(x), float) for i in range(2)]
    expected = np.log(0.25 * np.exp(parts[0]) + 0.75 * np.exp(parts[1]))
    np.testing.assert_allclose(mixture.log_prob(x), expected, rtol=1e-5)
    np.testing.assert_allclose(jax.jit(lambda m, x: m.log_prob(x))(mixture, x), expected, rtol=1e-5)
    one = mixture.log_prob(x[0])
    assert one.shape == ()
    assert one == pytest.approx(expected[0], rel=1e-5)


def test_the_density_of_the_mixture_integrates_to_one(mixture: FlowMixture):
    """Catches weights that do not add up to one; the twin is the members without weights."""
    ends = 15.0, 15.0
    assert density_on_grid(mixture, ends, 500).sum() == pytest.approx(1.0, abs=1e-3)
    unweighted = sum(density_on_grid(mixture.member(i), ends, 500).sum() for i in range(2))
    assert unweighted == pytest.approx(2.0, abs=2e-3)


def test_a_member_that_is_not_there_is_told(mixture: FlowMixture):
    """Catches the last member in its place, which is what an index of JAX gives."""
    assert mixture.member(-1).log_prob(jnp.zeros(2)) == mixture.member(1).log_prob(jnp.zeros(2))
    for i in (2, -3):
        with pytest.raises(IndexError, match=f"member {i} of 2; expected -2 to 1"):
            mixture.member(i)


def test_a_mixture_is_saved_whole(mixture: FlowMixture, tmp_path: Path):
    """Catches members that lose their recipe or bits on the way, and weights that are lost."""
    fl.save(tmp_path / "mixture.safetensors", mixture)
    loaded = fl.load(tmp_path / "mixture.safetensors")
    assert jax.tree.structure(loaded) == jax.tree.structure(mixture)
    for a, b in zip(*map(jax.tree.leaves, (mixture, loaded)), strict=True):
        np.testing.assert_array_equal(a, b)
    fl.save(tmp_path / "member.safetensors", mixture.member(1))
    member = fl.load(tmp_path / "member.safetensors")
    again = FlowMixture([mixture.member(0), member], weights=(1, 3))
    assert jax.tree.structure(again) == jax.tree.structure(mixture)


def test_samples_of_the_mixture_follow_its_density(mixture: FlowMixture):
    """Catches samples of one member alone, or chosen by other weights; the twin swaps them."""
    x, log_prob = mixture.sample_and_log_prob(KEY, (4000,))
    np.testing.assert_allclose(log_prob, mixture.log_prob(x), rtol=1e-5)
    first, second = (np.asarray(mixture.member(i).log_prob(x), float) for i in range(2))

    def z_score(weight: float) -> float:
        """Of the mean posterior of the first member, whose expectation is its weight."""
        posterior = expit(np.log(weight / (1 - weight)) + first - second)
        return float((posterior.mean() - weight) / (posterior.std() / np.sqrt(len(posterior))))

    assert abs(z_score(0.25)) < 4
    assert abs(z_score(0.75)) > 8


def test_samples_of_the_mixture_have_the_shapes_of_a_flow():
    """Catches leading axes of conditions that are lost."""
    mixture = FlowMixture([tiny(0), tiny(1)])
    condition = jnp.zeros((5, 1))
    assert mixture.sample(KEY, (3, 4), condition).shape == (3, 4, 5, 2)
    assert mixture.sample(KEY, (), condition[0]).shape == (2,)
    assert mixture.log_prob(jnp.zeros((3, 5, 2)), condition).shape == (3, 5)


def test_a_member_without_density_does_not_spoil_the_gradient():
    """Catches NaN where one member has no density, and NaN that leaves its row."""
    flow = fl.Flow(fl.distributions.Uniform(1), fl.bijectors.Shift(1))
    mixture = FlowMixture([flow, jax.tree.map(lambda shift: shift + 0.5, flow)])
    x = jnp.array([[0.25], [0.75], [1.25], [3.0], [jnp.nan]])
    log_prob = mixture.log_prob(x)
    np.testing.assert_allclose(jnp.exp(log_prob[:4]), [0.5, 1.0, 0.5, 0.0], rtol=1e-6)
    assert jnp.isnan(log_prob[4])
    gradient = jax.grad(lambda x: mixture.log_prob(x).sum())(x[:3])
    np.testing.assert_array_equal(gradient, 0.0)
