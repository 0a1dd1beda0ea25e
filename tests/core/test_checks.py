"""Static checks: what passes, and what each error says."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flowjax_lite.core.checks import (
    as_key,
    check_batch,
    check_columns,
    check_condition,
    check_condition_batch,
    check_event,
    check_float,
    check_positive_int,
    merge_condition_shapes,
    suggest,
)

GOOD: dict[str, tuple[Callable[[], Any], tuple[int, ...]]] = {
    "list": (lambda: check_float([1.0, 2.0], "x"), (2,)),
    "numpy": (lambda: check_event(np.zeros(3), (3,), "x"), (3,)),
    "half": (lambda: check_event(jnp.zeros(3, jnp.bfloat16), (3,), "x"), (3,)),
    "one row": (lambda: check_batch(jnp.zeros(3), (3,), "x"), (3,)),
    "batch": (lambda: check_batch(jnp.zeros((5, 2, 3)), (3,), "x"), (5, 2, 3)),
    "no rows": (lambda: check_batch(jnp.zeros((0, 3)), (3,), "x"), (0, 3)),
    "scalar event": (lambda: check_batch(jnp.zeros(5), (), "x"), (5,)),
    "condition": (lambda: check_condition(jnp.zeros(2), (2,)), (2,)),
    "conditions": (lambda: check_condition_batch(jnp.zeros((5, 2)), (2,)), (5, 2)),
}


@pytest.mark.parametrize("case", GOOD)
def test_what_is_right_passes(case: str):
    """Catches a check that refuses good input, or changes its shape."""
    call, shape = GOOD[case]
    array = call()
    assert isinstance(array, jax.Array)
    assert array.shape == shape


def test_no_condition_is_none():
    """Catches a condition that appears from nowhere."""
    assert check_condition(None, None) is None
    assert check_condition_batch(None, None) is None


BAD: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "none": (lambda: check_float(None, "x"), TypeError, r"x is missing \(None\)"),
    "integers": (lambda: check_float([1, 2], "x"), TypeError, r"x has dtype int.*astype\(float\)"),
    "complex": (lambda: check_float(1j, "x"), TypeError, "x has dtype complex.*floating"),
    "bool": (lambda: check_float([True], "y"), TypeError, "y has dtype bool"),
    "event": (
        lambda: check_event(jnp.zeros(4), (3,), "y"),
        ValueError,
        r"y has shape \(4,\).*\(3,\).*vmap",
    ),
    "batch for an event": (
        lambda: check_event(jnp.zeros((2, 3)), (3,), "x"),
        ValueError,
        r"x has shape \(2, 3\).*\(3,\).*vmap",
    ),
    "batch": (
        lambda: check_batch(jnp.zeros((3, 4)), (3,), "x"),
        ValueError,
        r"x has shape \(3, 4\).*\(\.\.\., 3\).*dim",
    ),
    "too few axes": (
        lambda: check_batch(jnp.zeros(()), (3,), "x"),
        ValueError,
        r"x has shape \(\).*\(\.\.\., 3\)",
    ),
    "condition": (
        lambda: check_condition(jnp.zeros(3), (4,)),
        ValueError,
        r"condition has shape \(3,\).*expects \(4,\).*condition_dim",
    ),
    "conditions": (
        lambda: check_condition_batch(jnp.zeros((2, 3)), (4,)),
        ValueError,
        r"condition has shape \(2, 3\).*\(4,\).*condition_dim",
    ),
    "integer condition": (
        lambda: check_condition(jnp.zeros(4, int), (4,)),
        TypeError,
        "condition has dtype int",
    ),
    "no condition": (
        lambda: check_condition(None, (4,)),
        TypeError,
        r"condition is missing.*\(4,\).*condition_dim",
    ),
    "unwanted condition": (
        lambda: check_condition_batch(jnp.zeros(2), None),
        ValueError,
        "condition was given.*takes none.*condition_dim",
    ),
    "half a layer": (
        lambda: check_positive_int(2.0, "num_layers"),
        TypeError,
        "num_layers is 2.0; expected a whole number",
    ),
    "no layers": (
        lambda: check_positive_int(0, "num_layers"),
        ValueError,
        "num_layers is 0; expected.*at least 1",
    ),
    "no key": (lambda: as_key(None), TypeError, r"key is None; expected a random key, such as jax"),
    "half a seed": (lambda: as_key(0.5, "rngs"), TypeError, "rngs is 0.5; expected a random key"),
    "true seed": (lambda: as_key(True), TypeError, "key is True"),
    "seed that jax would cut": (lambda: as_key(2**32), ValueError, "4294967296; expected a seed"),
    "several keys": (
        lambda: as_key(jax.random.split(jax.random.key(0), 3)),
        ValueError,
        r"key holds \(3,\) keys; expected a single one",
    ),
    "truth": (lambda: check_positive_int(True, "dim"), TypeError, "dim is True"),
    "column": (
        lambda: check_columns((0, 3), 3, "keep"),
        ValueError,
        r"keep is \(0, 3\); expected each at most once.*\(0, 1, 2\)",
    ),
    "column twice": (lambda: check_columns([1, 1], 3, "keep"), ValueError, r"keep is \(1, 1\)"),
    "column from the end": (lambda: check_columns((-1,), 3, "keep"), ValueError, r"\(-1,\)"),
    "half a column": (lambda: check_columns((0.5,), 3, "keep"), ValueError, r"\(0.5,\)"),
    "true column": (lambda: check_columns((True,), 3, "keep"), ValueError, r"\(True,\)"),
    "parts": (
        lambda: merge_condition_shapes([(2,), None, (3,)]),
        ValueError,
        r"\[\(2,\), \(3,\)\].*same condition_dim",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_mistakes_are_named(case: str):
    """Catches an error that does not name the argument, what came and what to do."""
    call, error, message = BAD[case]
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize("seed", [7, np.int64(7), jax.random.key(7), jax.random.PRNGKey(7)])
def test_seeds_are_keys(seed: Any):
    """Catches a seed of another type that gives other numbers, or none."""
    bits = jax.random.key_data(as_key(seed))
    np.testing.assert_array_equal(bits, jax.random.key_data(jax.random.key(7)))
    assert as_key(seed).shape == ()


def test_keys_are_checked_where_they_are_traced():
    """Catches a check that looks at the values of a key."""
    bits = jax.jit(lambda key: jax.random.key_data(as_key(key)))(jax.random.key(7))
    np.testing.assert_array_equal(bits, jax.random.key_data(jax.random.key(7)))


def test_whole_numbers_of_numpy_are_taken():
    """Catches a numpy scalar that is refused, or passed on into a recipe."""
    assert type(check_positive_int(np.int64(3), "dim")) is int


def test_columns_are_a_tuple_in_their_order():
    """Catches columns that are sorted, or none that are refused."""
    assert check_columns([2, 0], 3, "keep") == (2, 0)
    assert check_columns((), 3, "keep") == ()


def test_merged_conditions():
    """Catches a composition that forgets the condition of one part."""
    assert merge_condition_shapes([None, (2,), (2,)]) == (2,)
    assert merge_condition_shapes([None, None]) is None
    assert merge_condition_shapes([]) is None


def test_suggestions():
    """Catches an empty question when nothing is near."""
    assert suggest("mons", ["moons", "rings"]) == " Did you mean moons?"
    assert suggest("qqq", ["moons", "rings"]) == ""
