"""What a cell leaves of its training: facts as JSON, and the network with its best variables."""

import json
import os
import pathlib
import shutil
from collections.abc import Mapping
from typing import Any

import jax
import orbax.checkpoint as ocp
from flax import linen as nn
from ml_collections import ConfigDict

from attn_jax.data.prepare import Prepared
from attn_jax.errors import UserError
from attn_jax.study.build import abstract_variables, make_model, make_task
from attn_jax.tasks import Classification


def data_facts(data: Prepared) -> dict[str, Any]:
    """What must be known of the data to use a trained cell without them."""
    return {
        "name": data.name,
        "classes": list(data.classes),
        "kind": data.kind,
        "positive": data.positive,
        "ordinal": data.ordinal,
        "simulated": data.simulated,
        "image_shape": list(data.images.shape[1:]),
        "digest": data.digest,
    }


def load_model(
    config: ConfigDict, facts: Mapping[str, Any], folder: pathlib.Path
) -> tuple[nn.Module, Classification, dict[str, Any]]:
    """A finished cell's network, task and best variables.

    Args:
        config: the cell's.
        facts: `data_facts` of what it was trained on.
        folder: the cell's.

    Raises:
        UserError: the folder holds no trained variables.
    """
    if not (folder / "variables").is_dir():
        raise UserError(f"{folder} holds no trained network; its training failed or has not finished.")
    model = make_model(config, len(facts["classes"]))
    task = make_task(config, len(facts["classes"]), facts["kind"])
    like = abstract_variables(model, tuple(facts["image_shape"]), len(facts["classes"]))
    device = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    like = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=device), like)
    with ocp.StandardCheckpointer() as checkpointer:
        return model, task, checkpointer.restore((folder / "variables").absolute(), like)


def write_json(path: pathlib.Path, facts: dict[str, Any]) -> None:
    """Writes a file whole or not at all."""
    partial = path.with_suffix(f".{os.getpid()}.partial")
    partial.write_text(json.dumps(facts, indent=1, default=str) + "\n")
    os.replace(partial, path)


def save_variables(folder: pathlib.Path, variables: dict[str, Any]) -> None:
    """Writes a network's variables, in place of those that were there."""
    if folder.exists():
        shutil.rmtree(folder)
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(folder.absolute(), variables)
