"""Metrics against scikit-learn, hand-computed cases, invariances, and what must be undefined."""

import json
import math

import numpy as np
import pytest
from sklearn import metrics as sk

from attn_jax.evaluation.metrics import METRICS, evaluate
from attn_jax.evaluation.records import Predictions, Result


def predicted(image_id, label, score, classes, kind="single", **more) -> Predictions:
    """Predictions from anything that makes arrays."""
    return Predictions(np.array(image_id), np.array(label), np.array(score), classes, kind, **more)


def make(rng, classes, val=40, test=60, ties=False, positive=None) -> Predictions:
    count = val + test
    score = rng.dirichlet(np.ones(len(classes)), size=count)
    if ties:
        score = rng.multinomial(8, score) / 8
    label = np.concatenate([rng.permutation(np.arange(n) % len(classes)) for n in (val, test)])
    split = np.repeat(["val", "test"], [val, test])
    return predicted(np.arange(count), label, score, classes, positive=positive, split=split)


def make_findings(rng, findings=3, count=120) -> Predictions:
    label = rng.choice([0.0, 1.0, np.nan], size=(count, findings), p=[0.5, 0.3, 0.2])
    score = rng.integers(0, 11, size=(count, findings)) / 10
    names = tuple(f"finding {k}" for k in range(findings))
    return predicted(np.arange(count), label, score, names, "multilabel", split=rng.choice(["val", "test"], count))


def sklearn_binary(y, score, taken) -> dict[str, float]:
    return {
        "auc": sk.roc_auc_score(y, score),
        "average_precision": sk.average_precision_score(y, score),
        "accuracy": sk.accuracy_score(y, taken),
        "balanced_accuracy": sk.balanced_accuracy_score(y, taken),
        "sensitivity": sk.recall_score(y, taken),
        "specificity": sk.recall_score(y, taken, pos_label=0),
        "f1": sk.f1_score(y, taken),
        "mcc": sk.matthews_corrcoef(y, taken),
        "kappa": sk.cohen_kappa_score(y, taken),
        "brier": sk.brier_score_loss(y, score),
        "log_loss": sk.log_loss(y, score),
    }


def assert_equal(found: dict, expected: dict) -> None:
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, abs=1e-12), name


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("positive", [0, 1])
def test_two_classes_equal_scikit_learn(seed, positive):
    predictions = make(np.random.default_rng(seed), ("a", "b"), ties=seed % 2 == 0, positive=positive)
    result = evaluate(predictions)
    val, test = predictions.part("val"), predictions.part("test")
    rates = sk.roc_curve(val.label == positive, val.score[:, positive])
    (threshold,) = result.thresholds.values()
    assert list(result.thresholds) == [("a", "b")[positive]]
    reached = val.score[:, positive] >= threshold
    youden = reached[val.label == positive].mean() - reached[val.label != positive].mean()
    assert youden == pytest.approx(np.max(rates[1] - rates[0])) or np.max(rates[1] - rates[0]) == 0
    y, score = (test.label == positive).astype(int), test.score[:, positive]
    assert_equal(result.metrics, sklearn_binary(y, score, (score >= threshold).astype(int)))
    assert result.per_class[("a", "b")[positive]] == result.metrics and result.undefined == {}
    taken = np.where(score >= threshold, positive, 1 - positive)
    assert result.confusion == sk.confusion_matrix(test.label, taken).tolist()


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("ordinal", [False, True])
def test_more_classes_equal_scikit_learn(seed, ordinal):
    predictions = make(np.random.default_rng(seed), ("a", "b", "c", "d"), ties=seed % 2 == 0)
    result = evaluate(predictions, ordinal=ordinal)
    test = predictions.part("test")
    y, score, taken = test.label, test.score, test.score.argmax(axis=1)
    one_hot = np.eye(4)[y]
    expected = {
        "auc": sk.roc_auc_score(y, score, multi_class="ovr"),
        "average_precision": sk.average_precision_score(one_hot, score, average="macro"),
        "accuracy": sk.accuracy_score(y, taken),
        "balanced_accuracy": sk.balanced_accuracy_score(y, taken),
        "sensitivity": sk.recall_score(y, taken, average="macro"),
        "f1": sk.f1_score(y, taken, average="macro"),
        "mcc": sk.matthews_corrcoef(y, taken),
        "kappa": sk.cohen_kappa_score(y, taken, weights="quadratic" if ordinal else None),
        "brier": np.mean(np.sum((score - one_hot) ** 2, axis=1)),
        "log_loss": sk.log_loss(y, score),
    }
    assert_equal(result.metrics, expected)
    table = sk.multilabel_confusion_matrix(y, taken)
    assert result.metrics["specificity"] == pytest.approx(np.mean(table[:, 0, 0] / table[:, 0].sum(axis=1)))
    for k, name in enumerate(predictions.classes):
        assert_equal(
            result.per_class[name], sklearn_binary((y == k).astype(int), score[:, k], (taken == k).astype(int))
        )
    assert result.thresholds == {} and result.undefined == {}


@pytest.mark.parametrize("seed", range(4))
def test_findings_are_judged_where_they_are_known(seed):
    predictions = make_findings(np.random.default_rng(seed))
    result = evaluate(predictions)
    test = predictions.part("test")
    for k, name in enumerate(predictions.classes):
        known = ~np.isnan(test.label[:, k])
        y, score = test.label[known, k].astype(int), test.score[known, k]
        assert_equal(result.per_class[name], sklearn_binary(y, score, (score >= result.thresholds[name]).astype(int)))
    for metric in METRICS:
        assert result.metrics[metric] == pytest.approx(np.mean([of[metric] for of in result.per_class.values()]))
    assert result.confusion is None


def two(labels, scores, split="test") -> Predictions:
    score = np.array(scores, dtype=float)
    return predicted(
        np.arange(len(labels)),
        labels,
        np.stack([1 - score, score], 1),
        ("no", "yes"),
        split=np.full(len(labels), split),
    )


def test_by_hand():
    # At 0.5: 2 hits, 1 miss, 1 false alarm, 2 right refusals; of 9 pairs 7 are in order, one is a tie.
    result = evaluate(two([1, 1, 1, 0, 0, 0], [0.9, 0.6, 0.4, 0.7, 0.4, 0.1]))
    expected = {
        "auc": 6.5 / 9,
        "average_precision": 1 / 3 * 1 + 1 / 3 * 2 / 3 + 1 / 3 * 3 / 5,
        "accuracy": 4 / 6,
        "balanced_accuracy": 2 / 3,
        "sensitivity": 2 / 3,
        "specificity": 2 / 3,
        "f1": 2 / 3,
        "mcc": (2 * 2 - 1 * 1) / 9,
        "kappa": (4 / 6 - 1 / 2) / (1 / 2),
        "brier": (0.01 + 0.16 + 0.36 + 0.49 + 0.16 + 0.01) / 6,
        "log_loss": -math.log(0.9 * 0.6 * 0.4 * 0.3 * 0.6 * 0.9) / 6,
        # Bins of 1/15: {0.9}, {0.6}, {0.4, 0.4}, {0.7}, {0.1}
        "ece": (0.1 + 0.4 + 2 * 0.1 + 0.7 + 0.1) / 6,
    }
    assert_equal(result.metrics, expected)
    assert result.thresholds == {"yes": 0.5} and "0.5" in result.undefined["threshold"]
    assert result.images == 6 and result.confusion == [[2, 1], [1, 2]]


@pytest.mark.parametrize("seed", range(5))
def test_ranks_alone_decide_the_auc(seed):
    rng = np.random.default_rng(seed)
    label, score = rng.integers(2, size=80), rng.integers(0, 20, size=80) / 19
    base = evaluate(two(label, score)).metrics
    for f in (np.sqrt, lambda s: s**3, lambda s: 0.2 + 0.1 * s):
        moved = evaluate(two(label, f(score))).metrics
        assert_equal(moved, {name: base[name] for name in ("auc", "average_precision")})
    assert evaluate(two(label, 1 - score)).metrics["auc"] == pytest.approx(1 - base["auc"])
    order = rng.permutation(80)
    assert_equal(evaluate(two(label[order], score[order])).metrics, base)


ONE_CLASS = {"auc", "average_precision", "balanced_accuracy", "mcc", "kappa"}


@pytest.mark.parametrize(
    ("labels", "missing", "word"),
    [
        ([0, 0, 0], ONE_CLASS | {"sensitivity", "f1"}, "no positive"),
        ([1, 1, 1], ONE_CLASS | {"specificity"}, "no negative"),
        ([], set(METRICS), "no test image"),
    ],
)
def test_undefined_is_said_and_never_zero(labels, missing, word):
    result = evaluate(two(labels, [0.2, 0.6, 0.9][: len(labels)]))
    assert {name for name, value in result.metrics.items() if value is None} == missing
    assert set(result.undefined) == missing | {"threshold"}
    assert all(word in result.undefined[name] for name in missing)
    assert not any(value is not None and math.isnan(value) for value in result.metrics.values())


def test_a_class_without_test_images():
    label, score = [0, 1, 0, 1], [[0.8, 0.1, 0.1], [0.2, 0.7, 0.1], [0.3, 0.4, 0.3], [0.1, 0.6, 0.3]]
    result = evaluate(predicted(range(4), label, score, ("a", "b", "c")))
    for name in ("auc", "average_precision", "balanced_accuracy", "sensitivity", "specificity", "f1"):
        assert result.metrics[name] is None and "class c" in result.undefined[name]
    assert result.metrics["accuracy"] == 0.75 and result.metrics["kappa"] == pytest.approx(0.5)
    assert result.per_class["a"]["auc"] is not None and result.per_class["c"]["auc"] is None
    assert "no positive" in result.undefined["auc/c"]
    alone = evaluate(predicted(range(2), [0, 0], score[:2], ("a", "b", "c")))
    assert alone.metrics["mcc"] is None and alone.metrics["kappa"] is None and alone.metrics["accuracy"] == 0.5


def test_a_finding_that_is_always_unknown_is_left_out_of_the_mean_and_named():
    label = np.array([[1, np.nan], [0, np.nan], [1, np.nan]])
    result = evaluate(predicted(range(3), label, np.full((3, 2), 0.5), ("mass", "hernia"), "multilabel"))
    assert result.per_class["hernia"] == dict.fromkeys(METRICS)
    assert result.metrics == result.per_class["mass"]
    assert {f"{metric}/hernia" for metric in METRICS} <= set(result.undefined)
    nothing = evaluate(predicted(range(3), label[:, 1:], np.full((3, 1), 0.5), ("hernia",), "multilabel"))
    assert nothing.metrics == dict.fromkeys(METRICS) and set(METRICS) <= set(nothing.undefined)


def test_the_threshold_sees_validation_images_only():
    rng = np.random.default_rng(0)
    predictions = make(rng, ("a", "b"))
    label = np.where(predictions.split == "test", 1 - predictions.label, predictions.label)
    turned = predicted(predictions.image_id, label, predictions.score, ("a", "b"), split=predictions.split)
    assert evaluate(turned).thresholds == evaluate(predictions).thresholds
    one_kind = predictions.rows((predictions.split == "test") | (predictions.label == 1))
    assert evaluate(one_kind).undefined == {"threshold": "no negative validation image: 0.5 was used"}


def test_certain_and_wrong_is_finite_and_scores_need_not_sum_exactly():
    result = evaluate(two([1, 0], [0.0, 0.0]))
    assert result.metrics["log_loss"] == pytest.approx(-math.log(np.finfo(float).eps) / 2, rel=1e-6)
    evaluate(predicted(range(3), [0, 1, 2], np.eye(3, dtype=np.float32) * 0.9995, ("a", "b", "c")))


@pytest.mark.parametrize("make_one", [lambda r: make(r, ("a", "b")), lambda r: make(r, ("a", "b", "c")), make_findings])
def test_json_round_trip(make_one):
    predictions = make_one(np.random.default_rng(0))
    for result in (evaluate(predictions), evaluate(predictions.rows(np.arange(3)))):
        text = json.dumps(result.to_json(), allow_nan=False)
        assert Result.from_json(json.loads(text)) == result


def test_the_digest_knows_the_test_images_and_nothing_else():
    rng = np.random.default_rng(0)
    base = make(rng, ("a", "b"))
    digest = evaluate(base).test_set
    assert evaluate(base.rows(rng.permutation(len(base)))).test_set == digest
    assert evaluate(base.part("test")).test_set == digest
    assert evaluate(base.rows(np.arange(len(base) - 1))).test_set != digest
