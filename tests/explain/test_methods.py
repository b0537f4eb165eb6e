"""What holds for every method: a flat volume is its slice, images do not see each other, mistakes have one line."""

import functools
import inspect

import jax
import numpy as np
import pytest

from attn_jax.errors import UserError
from attn_jax.explain.methods import METHODS, saliency

# Those that the toy network has; test_own_attention.py is on a mechanism's maps.
OF_THE_TOY = [method for method in METHODS if method != "attention"]
FEW = {
    "smooth_grad": {"key": jax.random.key(1), "samples": 3},
    "integrated_gradients": {"steps": 4},
    "occlusion": {"patch": 4, "stride": 3},
    "rise": {"key": jax.random.key(2), "samples": 5},
}


@pytest.fixture(scope="session")
def maps_2d(toys):
    """A method's maps of the toy network in 2-D."""
    return functools.cache(lambda method: np.asarray(saliency(*toys[2], method, **FEW.get(method, {}))))


@pytest.mark.parametrize("method", OF_THE_TOY)
def test_a_volume_of_one_slice_has_the_maps_of_the_slice(toys, maps_2d, method):
    case = toys[2]
    params = {"head": case.variables["params"]["head"]}
    for block in ("block1", "block2"):
        kernel = np.array(toys[3].variables["params"][block]["conv"]["kernel"])
        kernel[1] = case.variables["params"][block]["conv"]["kernel"]
        params[block] = {"conv": {"kernel": kernel, "bias": case.variables["params"][block]["conv"]["bias"]}}
    volumes = case.images[:, None]
    maps = saliency(case.model, {"params": params}, volumes, case.targets, method, **FEW.get(method, {}))
    assert maps.shape[:2] == (len(volumes), 1)
    known = maps_2d(method)
    np.testing.assert_allclose(maps[:, 0], known, rtol=1e-4, atol=1e-5 * np.abs(known).max())


@pytest.mark.parametrize("method", OF_THE_TOY)
def test_the_map_of_an_image_does_not_depend_on_the_batch(toys, maps_2d, method):
    case = toys[2]
    alone = saliency(case.model, case.variables, case.images[1:2], case.targets[1:2], method, **FEW.get(method, {}))
    known = maps_2d(method)
    np.testing.assert_allclose(alone[0], known[1], rtol=1e-4, atol=1e-5 * np.abs(known[1]).max())


def test_a_layer_may_be_named(toys):
    assert saliency(*toys[2], "layer_cam", "block2").shape == (3, 3, 3)


def test_mistakes_have_one_line(toys):
    case = toys[2]
    with pytest.raises(UserError, match="method 'gradcam' is unknown. Did you mean 'grad_cam'"):
        saliency(*case, "gradcam")
    with pytest.raises(UserError, match="'rise' explains the image itself; leave out layer='block1'"):
        saliency(*case, "rise", "block1")
    with pytest.raises(UserError, match="'occlusion' takes no 'patches'. Did you mean 'patch'"):
        saliency(*case, "occlusion", patches=4)
    with pytest.raises(UserError, match="'smooth_grad' draws at random; give key="):
        saliency(*case, "smooth_grad")
    with pytest.raises(UserError, match="layer 'blok1' is not in the network. Did you mean 'block1'"):
        saliency(*case, "score_cam", "blok1")
    with pytest.raises(UserError, match="samples=0 must be at least 1"):
        saliency(*case, "rise", key=jax.random.key(0), samples=0)
    with pytest.raises(UserError, match="steps=0 must be at least 1"):
        saliency(*case, "integrated_gradients", steps=0)
    with pytest.raises(UserError, match="needs a network with an attention mechanism"):
        saliency(*case, "attention")
    with pytest.raises(UserError, match="kept=0.0 is no probability above 0"):
        saliency(*case, "rise", key=jax.random.key(0), kept=0.0)


def test_mistakes_in_images_and_targets_have_one_line(toys, linear):
    case = toys[2]
    with pytest.raises(UserError, match="images are uint8; give them in floating point"):
        saliency(case.model, case.variables, np.ones((3, 12, 10, 2), np.uint8), case.targets)
    for targets in (np.array([0.0, 1, 2]), np.array([True, False, True]), np.array([0, 1]), np.array([[0], [1], [2]])):
        with pytest.raises(UserError, match=r"targets are .*; give whole numbers, one an image, \[3\]"):
            saliency(case.model, case.variables, case.images, targets)
    with pytest.raises(UserError, match=r"targets \[-1, 4\] are not from 0 to 3: the network has 4 output"):
        saliency(case.model, case.variables, case.images, np.array([4, -1, 3]))
    one = {"params": {"head": {"kernel": linear.variables["params"]["head"]["kernel"][:, :1]}}}
    assert saliency(type(linear.model)(1), one, linear.images, np.array([0, 1]), "input_gradient").shape[0] == 2
    with pytest.raises(UserError, match=r"targets \[2\] are not from 0 to 1: the network has 1 output"):
        saliency(type(linear.model)(1), one, linear.images, np.array([2, 1]), "input_gradient")


def test_only_a_key_must_be_given():
    for method in METHODS.values():
        names = list(inspect.signature(method).parameters.values())
        assert [p.name for p in names[:4]] == ["model", "variables", "images", "targets"]
        assert {p.name for p in names[4:] if p.default is p.empty} <= {"key"}
