"""Convolutions of images: the values and derivatives of XLA's own, by other operations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array, lax
from jax.interpreters import ad

from flowjax_lite.numerics.convolution import _by_kernel, convolution

SIZES = [(3, 1, "SAME"), (3, 2, "SAME"), (4, 2, "SAME"), (3, 1, "VALID"), (2, 3, "VALID")]
# More channels go out than in; fewer, so that the gradient by the kernel shifts those that go out.
CASES = [(*case, (2, 3)) for case in SIZES] + [
    (*case, (3, 2)) for case in [*SIZES, (1, 1, "SAME"), (4, 1, "SAME")]
]


def reference(x: Array, kernel: Array, stride: int, padding: str) -> Array:
    """XLA's own operation, with its own derivatives."""
    layout = ("NHWC", "HWIO", "NHWC")
    strides = (stride, stride)
    return lax.conv_general_dilated(x[None], kernel, strides, padding, dimension_numbers=layout)[0]


@pytest.mark.parametrize(("size", "stride", "padding", "channels"), CASES)
def test_values_and_derivatives_are_those_of_xla(
    x64: None, size: int, stride: int, padding: str, channels: tuple[int, int]
):
    """Catches a shift by a pixel, a stride or a border that is treated in another way."""
    rng = np.random.default_rng(0)
    images, kernel = (
        jnp.asarray(rng.normal(size=shape))
        for shape in ((3, 5, 6, channels[0]), (size, size, *channels))
    )
    x_dot, kernel_dot = (jnp.asarray(rng.normal(size=a.shape)) for a in (images, kernel))

    def all_modes(conv):
        def loss(images: Array, kernel: Array) -> Array:
            y = jax.vmap(lambda x: conv(x, kernel, stride, padding))(images)
            return jnp.sum(jnp.sin(y))

        def gradient(images: Array, kernel: Array) -> tuple[Array, Array]:
            return jax.grad(loss, argnums=(0, 1))(images, kernel)

        inputs, tangents = (images, kernel), (x_dot, kernel_dot)
        by_row = jax.vmap(jax.grad(loss, argnums=1), in_axes=(0, None))(images[:, None], kernel)
        kernels = jnp.stack([kernel, kernel_dot], axis=1)
        ensemble = {
            f"an ensemble, images on {axis}": jax.vmap(jax.grad(loss, (0, 1)), (axis, 1))(
                x, kernels
            )
            for axis, x in ((None, images), (2, jnp.stack([images, x_dot], axis=2)))
        }
        return ensemble | {
            "forward": jax.jvp(loss, inputs, tangents),
            "reverse": gradient(*inputs),
            "gradients by row": by_row,
            "second order": jax.jvp(gradient, inputs, tangents),
            "reverse twice": jax.grad(lambda *inputs: jnp.sum(gradient(*inputs)[1] ** 2))(*inputs),
        }

    ours, expected = (jax.jit(all_modes, static_argnums=0)(f) for f in (convolution, reference))
    for mode, values in expected.items():
        for one, other in zip(jax.tree.leaves(ours[mode]), jax.tree.leaves(values), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-10, err_msg=mode)


@pytest.mark.parametrize(("compute_dtype", "digits"), [("tensorfloat32", 24), ("bfloat16", 8)])
def test_factors_are_rounded_and_sums_are_not(compute_dtype: str, digits: int):
    """Catches another precision than was asked for, in values or in gradients (here on CPU)."""
    rng = np.random.default_rng(0)
    x, kernel = (rng.normal(size=shape).astype(np.float32) for shape in ((8, 8, 50), (3, 3, 50, 4)))

    def values(x: Array, kernel: Array, compute_dtype: str) -> Array:
        return convolution(x, kernel, compute_dtype=compute_dtype)

    def gradients(x: Array, kernel: Array, compute_dtype: str) -> tuple[Array, ...]:
        y, back = jax.vjp(lambda *inputs: values(*inputs, compute_dtype), x, kernel)
        return back(jnp.cos(jnp.arange(y.size)).reshape(y.shape))

    for function in (values, gradients):
        ours, full = (
            np.concatenate([np.ravel(each) for each in jax.tree.leaves(function(x, kernel, kind))])
            for kind in (compute_dtype, "float32")
        )
        assert ours.dtype == np.float32
        error = np.linalg.norm(ours - full) / np.linalg.norm(full)
        assert error < 2.0**-digits
        assert (error > 2.0 ** -(digits + 3)) == (compute_dtype == "bfloat16")
    rounded = (np.asarray(jnp.asarray(m, jnp.bfloat16), np.float32) for m in (x, kernel))
    expected = reference(*(jnp.asarray(m) for m in rounded), 1, "SAME")
    np.testing.assert_allclose(values(x, kernel, "bfloat16"), expected, rtol=1e-4, atol=1e-4)


def test_a_shift_by_a_pixel_is_found(x64: None):
    """The twin: a border on another side gives another gradient by the kernel."""
    images, kernel = jnp.arange(36.0).reshape(1, 6, 6, 1), jnp.ones((3, 3, 1, 1))
    y_bar = jnp.sin(images)
    _, pull = jax.vjp(lambda kernel: reference(images[0], kernel, 1, "SAME"), kernel)

    def ours(pads: tuple[tuple[int, int], ...]) -> Array:
        options = {"stride": 1, "compute_dtype": "float32"}
        return _by_kernel(y_bar, images, ad.UndefinedPrimal(kernel.aval), pads=pads, **options)

    np.testing.assert_allclose(ours(((1, 1), (1, 1))), *pull(y_bar[0]), rtol=1e-12)
    assert np.abs(ours(((2, 0), (1, 1))) - pull(y_bar[0])[0]).max() > 1


def test_gradient_of_a_kernel_is_made_of_products(monkeypatch: pytest.MonkeyPatch):
    """Catches XLA's gradient by the kernel on CPU, or products elsewhere, without a wrong value."""

    def operations(backend: str) -> str:
        monkeypatch.setattr(jax, "default_backend", lambda: backend)
        by_kernel = jax.grad(lambda w, x: jnp.sum(jnp.sin(convolution(x, w, 1, "SAME"))))
        return str(jax.make_jaxpr(by_kernel)(jnp.ones((3, 3, 2, 4)), jnp.ones((7, 7, 2))))

    jax.clear_caches()
    assert operations("cpu").count("dot_general") == 3  # one for each row of the kernel
    jax.clear_caches()
    assert operations("gpu").count("dot_general") == 0
    jax.clear_caches()
