"""Weights in and out: exact round trips, what may be missing, and mistakes in one line."""

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
import safetensors
import safetensors.numpy

from attn_jax import models
from attn_jax.errors import UserError
from attn_jax.models import weights
from attn_jax.models.resnet import torch_name


def variables(seed=0, channels=3, size=16, **options):
    """Random variables of a narrow ResNet-18: no compile."""
    model = models.create("resnet18", **{"num_classes": 4, "width": 1 / 8, **options})
    x = jnp.zeros((1, size, size, channels))
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), x, train=False))
    rng = np.random.default_rng(seed)
    both = {name: shapes[name] for name in ("params", "batch_stats")}
    return jax.tree.map(lambda s: jnp.asarray(rng.standard_normal(s.shape), s.dtype), both)


def assert_equal(ours, theirs):
    jax.tree.map(np.testing.assert_array_equal, ours, theirs)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "weights.safetensors"


def rewrite(path, change):
    """The file with `change` applied to its dictionary of arrays."""
    safetensors.numpy.save_file(change(safetensors.numpy.load_file(path)), path)


def test_round_trip_is_exact_and_keeps_metadata(path):
    trained = variables(1, attention="cbam")
    weights.export(trained, path, {"cell": "cbam-1234", "classes": 4})
    assert_equal(weights.load(path, variables(2, attention="cbam")), trained)
    with safetensors.safe_open(path, "np") as file:
        assert file.metadata() == {"cell": "cbam-1234", "classes": "4"}
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_names_and_layouts_are_torchvisions(path):
    trained = variables(1)
    weights.export(trained, path)
    arrays = safetensors.numpy.load_file(path)
    kernel = trained["params"]["stage2_block1"]["conv1"]["kernel"]
    np.testing.assert_array_equal(arrays["layer2.0.conv1.weight"], np.transpose(kernel, (3, 2, 0, 1)))
    np.testing.assert_array_equal(arrays["fc.weight"], np.transpose(trained["params"]["head"]["kernel"]))
    mean = trained["batch_stats"]["stage2_block1"]["shortcut_norm"]["mean"]
    np.testing.assert_array_equal(arrays["layer2.0.downsample.1.running_mean"], mean)
    assert torch_name("stage3_block6/attention/norm1") == "layer3.5.attention.norm1"


def test_prefixes_and_counters_are_ignored(path):
    trained = variables(1)
    weights.export(trained, path)
    counter = {"module.bn1.num_batches_tracked": np.array(7)}
    rewrite(path, lambda arrays: {f"module.{name}": array for name, array in arrays.items()} | counter)
    assert_equal(weights.load(path, variables(2)), trained)


def test_half_precision_files_become_the_models_type(path):
    trained = variables(1)
    weights.export(trained, path)
    rewrite(path, lambda arrays: {name: array.astype(ml_dtypes.bfloat16) for name, array in arrays.items()})
    loaded = weights.load(path, variables(2))
    assert_equal(loaded, jax.tree.map(lambda a: a.astype(jnp.bfloat16).astype(a.dtype), trained))


def test_attention_that_the_file_lacks_stays_as_initialised(path, capsys):
    trained, ours = variables(1), variables(2, attention="se")
    weights.export(trained, path)
    loaded = weights.load(path, ours)
    block = loaded["params"]["stage1_block1"]
    assert_equal(block["attention"], ours["params"]["stage1_block1"]["attention"])
    assert_equal(block["conv1"], trained["params"]["stage1_block1"]["conv1"])
    assert "32 tensors stay as initialised: layer1.0.attention.mlp.fc1" in capsys.readouterr().err


@pytest.mark.parametrize("dropped", [False, True])
def test_a_head_of_other_classes_stays_as_initialised(path, capsys, dropped):
    trained, ours = variables(1, num_classes=9), variables(2)
    weights.export(trained, path)
    if dropped:
        rewrite(path, lambda arrays: {name: array for name, array in arrays.items() if not name.startswith("fc.")})
    loaded = weights.load(path, ours)
    assert_equal(loaded["params"]["head"], ours["params"]["head"])
    assert_equal(loaded["params"]["stem_conv"], trained["params"]["stem_conv"])
    said = "is not in the file" if dropped else r"is (9, 64) in the file, (4, 64) in the model"
    assert f"fc.weight {said}" in capsys.readouterr().err.replace("(4, 64) is not", "is not")


def test_three_colours_are_summed_for_a_network_of_one(path):
    trained = variables(1)
    weights.export(trained, path)
    kernel = weights.load(path, variables(2, channels=1))["params"]["stem_conv"]["kernel"]
    np.testing.assert_allclose(kernel[:, :, 0], trained["params"]["stem_conv"]["kernel"].sum(2), rtol=1e-5, atol=1e-6)


def test_what_does_not_fit_is_listed_with_names_and_shapes(path):
    weights.export(variables(1, width=1 / 4), path)
    with pytest.raises(UserError) as caught:
        weights.load(path, variables(2))
    message = str(caught.value)
    # All but the head's bias, which has the classes alone.
    assert "101 tensors do not fit" in message and message.endswith("and 96 more")
    assert "layer1.0.bn1.weight is (16,) in the file, (8,) in the model" in message
    assert "\n" not in message


def test_extra_and_missing_tensors_are_mistakes(path):
    weights.export(variables(1, attention="se"), path)
    with pytest.raises(UserError, match=r"32 tensors .*layer1.0.attention.mlp.fc1.bias \(1,\) is not in the model"):
        weights.load(path, variables(2))
    weights.export(variables(1), path)
    rewrite(path, lambda arrays: {name: array for name, array in arrays.items() if name != "bn1.running_var"})
    with pytest.raises(UserError, match=r"1 tensors .*bn1.running_var \(8,\) is not in the file"):
        weights.load(path, variables(2))


def test_no_file_and_another_kind_of_file(path, tmp_path):
    with pytest.raises(UserError, match="no such file"):
        weights.load(path, {})
    with pytest.raises(UserError, match="no such file"):
        weights.load(tmp_path, {})
    path.write_bytes(b"PK\x03\x04 a pickle, surely")
    with pytest.raises(UserError, match="not a safetensors file"):
        weights.load(path, {})
