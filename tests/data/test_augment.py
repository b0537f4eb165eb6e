import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec
from scipy import stats

from attn_jax.data.augment import Augment, augment, box, example_keys, symmetric_beta
from attn_jax.errors import UserError

EVERYTHING = Augment(
    flip_lr=True, flip_ud=True, rotate=20, scale=0.2, shift=0.1, shear=10, crop=0.6, brightness=0.2, contrast=0.3,
    gamma=0.3, noise=0.05, cutout=0.3, mixup=0.4, cutmix=1.0,
)  # fmt: skip
KEY = jax.random.key(7)


@functools.partial(jax.jit, static_argnums=0)
def run(options, images, targets, indices, pairs=None, pair_targets=None):
    return augment(options, images, targets, example_keys(KEY, 5, indices), pairs, pair_targets)


def batch(count=8, space=(16, 16), channels=2, seed=0):
    rng = np.random.default_rng(seed)
    images = rng.random((count, *space, channels)).astype(np.float32)
    return images, np.eye(3, dtype=np.float32)[rng.integers(0, 3, count)]


def test_off_traces_nothing():
    images, targets = batch()
    keys = example_keys(KEY, 0, jnp.arange(8))
    jaxpr = jax.make_jaxpr(lambda i, t: augment(Augment(), i, t, keys))(images, targets)
    assert not jaxpr.eqns
    with_gamma = str(jax.make_jaxpr(lambda i, t: augment(Augment(gamma=0.1), i, t, keys))(images, targets))
    assert "gather" not in with_gamma and "erf_inv" not in with_gamma


def test_a_crop_of_everything_is_off():
    images, targets = batch()
    np.testing.assert_array_equal(run(Augment(crop=1.0), images, targets, jnp.arange(8))[0], images)


@pytest.mark.parametrize("space", [(9, 12), (5, 6, 7)])
def test_flips_equal_numpy_and_take_half_of_the_images(space):
    images, targets = batch(200, space)
    for options, axis in ((Augment(flip_lr=True), len(space)), (Augment(flip_ud=True), len(space) - 1)):
        got = np.asarray(run(options, images, targets, jnp.arange(200))[0])
        mirrored = np.flip(images, axis)
        flipped = np.array([np.array_equal(g, m) for g, m in zip(got, mirrored, strict=True)])
        np.testing.assert_array_equal(got[~flipped], images[~flipped])
        assert 0.38 < flipped.mean() < 0.62


def test_a_flip_inside_a_warp_is_the_same_flip():
    images, targets = batch(16)
    alone = run(Augment(flip_lr=True), images, targets, jnp.arange(16))[0]
    warped = run(Augment(flip_lr=True, scale=1e-7), images, targets, jnp.arange(16))[0]
    np.testing.assert_allclose(warped, alone, atol=1e-4)


def test_an_image_is_changed_alike_in_any_batch_and_on_any_number_of_devices():
    images, targets = batch(8, seed=1)
    pairs, pair_targets = images[::-1].copy(), targets[::-1].copy()
    whole = run(EVERYTHING, images, targets, jnp.arange(8), pairs, pair_targets)
    one = run(EVERYTHING, images[5:6], targets[5:6], jnp.array([5]), pairs[5:6], pair_targets[5:6])
    for got, expected in zip(one, whole, strict=True):
        np.testing.assert_allclose(got[0], expected[5], atol=2e-6)

    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    spread = NamedSharding(mesh, PartitionSpec("data"))
    arguments = jax.device_put((images, targets, jnp.arange(8), pairs, pair_targets), spread)
    compiled = run.lower(EVERYTHING, *arguments).compile()
    # Nothing crosses devices: every image is changed where it lies.
    assert not any(word in compiled.as_text() for word in ("all-gather", "all-reduce", "all-to-all"))
    for got, expected in zip(compiled(*arguments), whole, strict=True):
        np.testing.assert_allclose(got, expected, atol=2e-6)


def test_keys_differ_by_step_and_place_and_raw_keys_will_do():
    typed = jax.random.key_data(example_keys(KEY, 3, jnp.arange(4)))
    raw = example_keys(jax.random.key_data(KEY), 3, jnp.arange(4))
    np.testing.assert_array_equal(typed, raw)
    other = jax.random.key_data(example_keys(KEY, 4, jnp.arange(4)))
    assert len({tuple(row) for row in np.concatenate([typed, other]).tolist()}) == 8


def test_double_precision_sees_the_same_changes():
    images, targets = batch(8, seed=1)
    arrays = [images, targets, images[::-1].copy(), targets[::-1].copy()]
    single = run(EVERYTHING, *arrays[:2], jnp.arange(8), *arrays[2:])
    with jax.enable_x64(True):
        doubles = [np.float64(array) for array in arrays]
        double = run(EVERYTHING, *doubles[:2], jnp.arange(8, dtype=jnp.int32), *doubles[2:])
        assert double[0].dtype == double[1].dtype == jnp.float64
    for got, expected in zip(double, single, strict=True):
        np.testing.assert_allclose(got, expected, atol=1e-4)


def test_drawn_intensities_are_uniform_over_their_range():
    images = np.full((400, 2, 2, 1), 0.5, np.float32)
    targets, rows = np.zeros((400, 1), np.float32), jnp.arange(400)
    added = run(Augment(brightness=0.2), images, targets, rows)[0][:, 0, 0, 0] - 0.5
    assert stats.kstest(added, stats.uniform(-0.2, 0.4).cdf).pvalue > 0.01
    power = np.log(run(Augment(gamma=0.5), images, targets, rows)[0][:, 0, 0, 0]) / np.log(0.5)
    assert stats.kstest(np.log(power), stats.uniform(-np.log(1.5), 2 * np.log(1.5)).cdf).pvalue > 0.01
    images[:, 0] = 0.4
    images[:, 1] = 0.6
    stretched = run(Augment(contrast=0.5), images, targets, rows)[0]
    np.testing.assert_allclose(stretched.mean((1, 2, 3)), 0.5, atol=1e-6)
    factor = (stretched[:, 1, 0, 0] - stretched[:, 0, 0, 0]) / 0.2
    assert stats.kstest(np.log(factor), stats.uniform(-np.log(1.5), 2 * np.log(1.5)).cdf).pvalue > 0.01


def test_noise_is_normal_with_its_deviation():
    images = np.full((4, 32, 32, 1), 0.5, np.float32)
    change = run(Augment(noise=0.05), images, np.zeros((4, 1), np.float32), jnp.arange(4))[0] - 0.5
    assert stats.kstest(np.asarray(change).ravel(), stats.norm(0, 0.05).cdf).pvalue > 0.01


@pytest.mark.parametrize("space", [(33, 33), (17, 17, 17)])
def test_warps_stay_within_their_ranges(space):
    """Ramps along each axis show which source point every output pixel took."""
    n, size = len(space), space[0]
    ramps = np.stack(np.meshgrid(*[np.linspace(-1, 1, size)] * n, indexing="ij"), -1).astype(np.float32)
    images, targets = np.repeat(ramps[None], 64, 0), np.zeros((64, 1), np.float32)
    middle = (slice(None), *[size // 2] * n)

    def linear(options):
        got = np.asarray(run(options, images, targets, jnp.arange(64))[0])
        steps = []
        for axis in range(n):
            ahead = list(middle)
            ahead[1 + axis] += 1
            steps.append((got[tuple(ahead)] - got[middle]) * (size - 1) / 2)
        return np.stack(steps, -1), got[middle]

    turn, still = linear(Augment(rotate=30))
    np.testing.assert_allclose(turn @ turn.transpose(0, 2, 1), np.broadcast_to(np.eye(n), turn.shape), atol=1e-4)
    np.testing.assert_allclose(still, 0, atol=1e-5)
    angle = np.degrees(np.arccos(np.clip((np.trace(turn, axis1=1, axis2=2) - (n - 2)) / 2, -1, 1)))
    assert angle.max() <= 30.1 and stats.kstest(angle, stats.uniform(0, 30).cdf).pvalue > 0.01

    zoom = linear(Augment(scale=0.25))[0]
    factor = 1 / zoom[:, 0, 0]
    np.testing.assert_allclose(zoom, np.eye(n) / factor[:, None, None], atol=1e-4)
    assert factor.min() >= 0.799 and factor.max() <= 1.251 and factor.std() > 0.08

    sheared = linear(Augment(shear=20))[0]
    np.testing.assert_allclose(np.linalg.det(sheared), 1, atol=1e-4)
    slopes = np.degrees(np.arctan(sheared[:, 1, 0]))
    assert abs(slopes).max() <= 20.1 and slopes.std() > 8

    moved = linear(Augment(shift=0.1))[1] / 2 * (size - 1) / size
    assert abs(moved).max() <= 0.1001 and moved.std() > 0.04

    cropped, at = linear(Augment(crop=0.5))
    kept = np.linalg.det(cropped)
    assert 0.499 <= kept.min() and kept.max() <= 1 and kept.std() > 0.1
    reach = abs(at) / 2 * (size - 1) / size + kept[:, None] ** (1 / n) / 2
    assert reach.max() <= 0.5 + 1e-4, "a crop reaches over the border"


def test_cutout_fills_one_box_with_the_mean():
    images, targets = batch(32, (20, 20), 1, seed=3)
    got = np.asarray(run(Augment(cutout=0.5), images, targets, jnp.arange(32))[0])
    for before, after in zip(images[..., 0], got[..., 0], strict=True):
        rows, columns = np.nonzero(before != after)
        hole = after[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        np.testing.assert_allclose(hole, before.mean(), rtol=1e-5)
        assert 5 <= min(hole.shape) and max(hole.shape) <= 10 and len(rows) == hole.size


def test_box_counts_its_own_pixels():
    for centre, fraction in [((0.0, 0.99), 0.4), ((0.5, 0.5), 1.0), ((0.3, 0.7), 0.0), ((0.2, 0.4), 0.33)]:
        inside, pixels = box((10, 14), jnp.array(centre), fraction)
        assert int(inside.sum()) == int(pixels)
    assert int(box((10, 14), jnp.array([0.5, 0.5]), 1.0)[1]) == 140


def test_mixup_weighs_target_and_image_alike():
    images, targets = np.zeros((64, 4, 4, 1), np.float32), np.tile(np.float32([1, 0]), (64, 1))
    got, mixed = run(Augment(mixup=0.4), images, targets, jnp.arange(64), images + 1, targets[:, ::-1])
    np.testing.assert_allclose(mixed.sum(1), 1, atol=1e-6)
    np.testing.assert_allclose(got, np.broadcast_to(mixed[:, 1, None, None, None], got.shape), atol=1e-6)
    assert stats.kstest(mixed[:, 0], stats.beta(0.4, 0.4).cdf).pvalue > 0.01


@pytest.mark.parametrize("space", [(12, 20), (6, 8, 10)])
def test_cutmix_weight_is_the_area_kept_exactly(space):
    images, targets = np.zeros((64, *space, 1), np.float32), np.tile(np.float32([1, 0]), (64, 1))
    got, mixed = run(Augment(cutmix=1.0), images, targets, jnp.arange(64), images + 1, targets[:, ::-1])
    kept = (np.asarray(got) == 0).sum(tuple(range(1, got.ndim)))
    np.testing.assert_allclose(mixed[:, 0], kept / np.prod(space), rtol=3e-7)
    assert set(np.unique(got)) == {0.0, 1.0} and len(np.unique(mixed[:, 0])) > 20


def test_with_both_a_coin_chooses_per_image_and_unknown_labels_stay_unknown():
    images, targets = np.zeros((100, 8, 8, 1), np.float32), np.tile(np.float32([1, np.nan]), (100, 1))
    options = Augment(mixup=1.0, cutmix=1.0)
    got, mixed = run(options, images, targets, jnp.arange(100), images + 1, np.zeros_like(targets))
    blended = np.array([np.ptp(image) == 0 and 0 < image.max() < 1 for image in np.asarray(got)])
    assert 35 < blended.sum() < 65
    np.testing.assert_allclose(mixed[:, 0], 1 - np.asarray(got).mean((1, 2, 3)), atol=1e-6)
    assert np.isnan(mixed[:, 1]).all()
    with pytest.raises(ValueError, match="pair_images"):
        augment(options, images, targets, example_keys(KEY, 0, jnp.arange(100)))


@pytest.mark.parametrize("alpha", [0.05, 0.2, 1.0, 8.0])
def test_symmetric_beta_is_beta(alpha):
    draws = jax.vmap(symmetric_beta, (0, None))(jax.random.split(KEY, 4000), alpha)
    assert np.isfinite(draws).all()
    # Single precision has no numbers next to 1 for the smallest alpha: compare on the lower half, by symmetry.
    lower = np.minimum(draws, 1 - draws)
    expected = stats.beta(alpha, alpha)
    for at in (1e-3, 0.05, 0.2, 0.4):
        assert np.mean(lower <= at) == pytest.approx(2 * expected.cdf(at), abs=0.03)
    assert np.mean(draws) == pytest.approx(0.5, abs=0.03)


def test_config_is_checked_by_name():
    assert Augment.from_config({"rotate": 10, "flip_lr": True}) == Augment(flip_lr=True, rotate=10)
    assert hash(Augment()) == hash(Augment(rotate=0.0))
    for wrong in ({"rotate": -5}, {"crop": 1.5}, {"mixup": float("nan")}, {"noise": "much"}, {"flip_lr": 1}):
        with pytest.raises(UserError, match=f"augment.{next(iter(wrong))}"):
            Augment.from_config(wrong)
    with pytest.raises(UserError, match="augment.rotat is unknown.*rotate"):
        Augment.from_config({"rotat": 5})
