"""Optimisers and learning-rate schedules by name, with clipping, weight decay and frozen parts."""

import inspect
from collections.abc import Mapping
from typing import Any

import jax
import optax

from attn_jax.errors import UserError, did_you_mean

OPTIMIZERS = {
    "sgd": optax.sgd,
    "adam": optax.adam,
    "adamw": optax.adamw,
    "nadam": optax.nadam,
    "nadamw": optax.nadamw,
    "radam": optax.radam,
    "rmsprop": optax.rmsprop,
    "adagrad": optax.adagrad,
    "adabelief": optax.adabelief,
    "lamb": optax.lamb,
    "lars": optax.lars,
    "lion": optax.lion,
    "novograd": optax.novograd,
    "yogi": optax.yogi,
}
SCHEDULES = ("constant", "cosine", "linear", "exponential", "step")


def make_schedule(options: Mapping[str, Any], steps_per_epoch: int, total_steps: int) -> optax.Schedule:
    """Learning rate at a step: a linear warm-up of `warmup_epochs`, then the named decay to the end of the run.

    `cosine` and `linear` end at `end_factor` times the peak, `exponential` falls to it geometrically, and `step`
    divides by ten at half and at three quarters of the run (the protocol of MedMNIST, arXiv 2110.14795).

    Raises:
        UserError: `optim.schedule` is unknown.
    """
    peak, end = options["learning_rate"], options["learning_rate"] * options["end_factor"]
    warmup = min(round(options["warmup_epochs"] * steps_per_epoch), total_steps - 1)
    steps = max(total_steps - warmup, 1)
    name = options["schedule"]
    if name == "constant":
        decay = optax.constant_schedule(peak)
    elif name == "cosine":
        decay = optax.cosine_decay_schedule(peak, steps, alpha=options["end_factor"])
    elif name == "linear":
        decay = optax.linear_schedule(peak, end, steps)
    elif name == "exponential":
        decay = optax.exponential_decay(peak, steps, max(options["end_factor"], 1e-6))
    elif name == "step":
        decay = optax.piecewise_constant_schedule(peak, {steps // 2: 0.1, steps * 3 // 4: 0.1})
    else:
        raise UserError(f"optim.schedule={name!r} is unknown.{did_you_mean(name, SCHEDULES)}")
    if not warmup:
        return decay
    return optax.join_schedules([optax.linear_schedule(0.0, peak, warmup), decay], [warmup])


def make_optimizer(
    options: Mapping[str, Any], steps_per_epoch: int, total_steps: int, params: Any
) -> tuple[optax.GradientTransformation, optax.Schedule]:
    """The optimiser of `config.optim`, and its schedule for the log.

    Gradients are clipped by global norm (`clip_norm`, 0 is off). Weight decay leaves biases and normalisation (all
    parameters of one dimension) alone; optimisers that know no decoupled decay get it as an L2 term. The numbers
    `alpha` of mechanisms that begin as the identity move `alpha_factor` times as far. Modules whose path starts with an
    entry of `freeze` do not move: until `unfreeze_epoch`, or for good where that is 0. Their running statistics still
    follow the data.

    Args:
        options: `config.optim`.
        steps_per_epoch: turns epochs into steps.
        total_steps: of the whole run.
        params: the parameters, or their shapes.

    Raises:
        UserError: an unknown optimiser, option, schedule or module to freeze.
    """
    schedule = make_schedule(options, steps_per_epoch, total_steps)
    name = options["name"]
    if name not in OPTIMIZERS:
        raise UserError(f"optim.name={name!r} is unknown.{did_you_mean(name, OPTIMIZERS)}")
    build, extra = OPTIMIZERS[name], dict(options["options"])
    known = inspect.signature(build).parameters
    for key in extra:
        if key not in known:
            raise UserError(f"optim.options.{key} is no option of {name}.{did_you_mean(key, known)}")
    if "momentum" in known:
        extra.setdefault("momentum", options["momentum"])
    chain = [optax.clip_by_global_norm(options["clip_norm"])] if options["clip_norm"] else []
    decay = options["weight_decay"]
    if decay and "weight_decay" in known:
        extra.setdefault("weight_decay", decay)
        for mask in ("mask", "weight_decay_mask"):
            if mask in known:
                extra.setdefault(mask, _decays)
    elif "weight_decay" in known:
        extra.setdefault("weight_decay", 0.0)
    elif decay:
        chain.append(optax.add_decayed_weights(decay, mask=_decays))
    optimizer = optax.chain(*chain, build(learning_rate=schedule, **extra))
    if options["alpha_factor"] != 1:
        optimizer = optax.chain(optimizer, optax.masked(optax.scale(options["alpha_factor"]), _alphas))
    if options["freeze"]:
        optimizer = _freeze(optimizer, tuple(options["freeze"]), params, options["unfreeze_epoch"] * steps_per_epoch)
    return optimizer, schedule


def _decays(params: Any) -> Any:
    return jax.tree.map(lambda p: p.ndim > 1, params)


def _alphas(params: Any) -> Any:
    """True for the `alpha` of each `FromIdentity`, the one beside a `mechanism`."""
    if not isinstance(params, Mapping):
        return False
    return {name: "mechanism" in params if name == "alpha" else _alphas(inner) for name, inner in params.items()}


def _freeze(
    optimizer: optax.GradientTransformation, prefixes: tuple[str, ...], params: Any, until: float
) -> optax.GradientTransformation:
    """Holds the modules under `prefixes`; those frozen for good carry no optimiser state."""
    modules = sorted(params)
    for prefix in prefixes:
        if not any(module.startswith(prefix) for module in modules):
            raise UserError(
                f"optim.freeze: no module of the network starts with {prefix!r}.{did_you_mean(prefix, modules)}"
            )
    labels = {
        module: jax.tree.map(lambda _, m=module: "frozen" if m.startswith(prefixes) else "moving", tree)
        for module, tree in params.items()
    }
    if not until:
        return optax.multi_transform({"moving": optimizer, "frozen": optax.set_to_zero()}, labels)
    thaw = optax.scale_by_schedule(lambda step: (step >= until) * 1.0)
    frozen = jax.tree.map(lambda label: label == "frozen", labels)
    return optax.chain(optimizer, optax.masked(thaw, frozen))
