"""The golden table: parameters (exact) and multiply-accumulates (within 0.1 %) of every mechanism on three ResNets."""

import jax
import jax.numpy as jnp
import pytest

from attn_jax import models
from attn_jax.errors import UserError
from attn_jax.models import cost

# Mechanism: (parameters, GMACs at 224) on ResNet-18, -34 and -50; published and measured by others.
TABLE = {
    "none": ((11_689_512, 1.814), (21_797_672, 3.664), (25_557_032, 4.0892)),
    "se": ((11_778_592, 1.8142), (21_958_868, 3.6639), (28_088_024, 4.0917)),
    "cbam": ((11_779_392, 1.8151), (21_960_468, 3.6654), (28_089_624, 4.0956)),
    "gc": ((11_780_760, 1.8157), (21_963_132, 3.6667), (28_105_032, 4.1027)),
}
ROWS = [
    (mechanism, model, *row)
    for mechanism, rows in TABLE.items()
    for model, row in zip(("resnet18", "resnet34", "resnet50"), rows, strict=True)
]


@pytest.mark.parametrize(("mechanism", "name", "parameters", "gmacs"), ROWS)
def test_golden_table(mechanism, name, parameters, gmacs):
    model = models.create(name, num_classes=1000, attention=mechanism)
    x = jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.float32)
    variables = jax.eval_shape(lambda key, x: model.init(key, x, train=False), jax.random.key(0), x)
    assert cost.parameters(variables) == parameters
    counted = cost.macs(lambda v, x: model.apply(v, x, train=False), variables, x)
    assert counted == pytest.approx(gmacs * 1e9, rel=1e-3)


def test_resnet101_has_torchvisions_parameters():
    model = models.create("resnet101", num_classes=1000)
    variables = jax.eval_shape(lambda: model.init(jax.random.key(0), jnp.zeros((1, 64, 64, 3)), train=False))
    assert cost.parameters(variables) == 44_549_160


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "resnet19"}, "'resnet19' is unknown. Did you mean 'resnet18'"),
        ({"stem": "smal"}, "'smal' is unknown. Did you mean 'small'"),
        ({"attention": "sez"}, "'sez' is unknown. Did you mean 'se'"),
        ({"attention": "se", "attention_options": {"ratio": 4}}, "has no option 'ratio'"),
        ({"attention": "se", "placement": "blok"}, "'blok' is unknown. Did you mean 'block'"),
        ({"attention": "se", "placement": "conv"}, "SE keeps its input's shape.*not 'conv'"),
        ({"attention": "se", "stages": (0, 1)}, "stages: 0"),
        ({"attention": "se", "stages": 3}, "stages=3: give a list"),
        ({"attention": "se", "stages": "34"}, "stages='34': give a list"),
    ],
)
def test_mistakes_get_one_clear_line(arguments, message):
    with pytest.raises(UserError, match=message):
        models.create(**{"name": "resnet18", "num_classes": 2, **arguments})
