"""Which interval is shown: the closed form where there is one, t over seeds and patients with several seeds."""

import pytest

from attn_jax.evaluation.comparing import Effect
from attn_jax.evaluation.evidence import Value
from attn_jax.evaluation.intervals import Interval
from attn_jax.evaluation.shown import of_difference, of_value, why_none

NAMES = ("wilson", "delong", "patients logit t", "patients bca", "seeds and patients logit t")


def value(*names):
    known = {name: Interval(k, k + 0.5) for k, name in enumerate(NAMES)}
    return Value(0.5, None, {}, {name: known[name] for name in names})


@pytest.mark.parametrize(
    "names, several, shown",
    [
        (("patients bca", "patients logit t"), False, "patients logit t"),
        (("patients bca", "patients logit t", "delong"), False, "delong"),
        (("patients logit t", "wilson"), False, "wilson"),
        (("patients logit t", "delong", "seeds and patients logit t"), True, "seeds and patients logit t"),
        (("patients logit t", "delong"), True, "delong"),
    ],
)
def test_of_value(names, several, shown):
    assert of_value(value(*names), "auc", several) == (shown, Interval(NAMES.index(shown), NAMES.index(shown) + 0.5))


def test_ece_has_none_and_neither_has_what_does_not_vary():
    assert of_value(value(*NAMES), "ece", True) == ("", None)
    alike = Value(1.0, None, {}, {"patients logit t": None})
    assert "alike" in why_none(alike) and of_value(alike, "f1", False) == ("patients logit t", None)


def test_of_difference():
    alone, both = Interval(0, 1), Interval(-1, 2)
    assert of_difference(Effect("auc", 0.5, intervals={"patients t": alone})) == ("patients t", alone)
    effect = Effect("auc", 0.5, intervals={"patients t": alone, "seeds and patients t": both})
    assert of_difference(effect) == ("seeds and patients t", both)
    assert of_difference(Effect("auc", None)) == ("patients t", None)
