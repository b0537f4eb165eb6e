"""Permutations of groups over images under the hypothesis that a group tells only how often labels occur."""

import numpy as np
from jaxtyping import Int


class Exchange:
    """Exchanges groups between patients of the same labels, so that each group keeps about its labels.

    Where all images of each patient are of one group, patients are exchanged within those whose most frequent label is
    the same. Else images of the same label exchange within a patient, and patients with equally many images of each
    label exchange theirs as a whole. In both, patients stay together, as they must: their images are alike.

    Args:
        cluster: the patient of each image, from 0.
        label: its class.
        group: its group, from 0.
    """

    def __init__(
        self,
        cluster: Int[np.ndarray, "images"],
        label: Int[np.ndarray, "images"],
        group: Int[np.ndarray, "images"],
    ) -> None:
        count, labels = int(cluster.max()) + 1, int(label.max()) + 1
        self.cluster, self.group = cluster, group
        held = np.zeros((count, labels), np.int64)
        np.add.at(held, (cluster, label), 1)
        groups = np.zeros((count, int(group.max()) + 1), np.int64)
        np.add.at(groups, (cluster, group), 1)
        self.of_patients = bool(((groups > 0).sum(axis=1) == 1).all())
        if self.of_patients:
            self.own = groups.argmax(axis=1)
            self.strata = _members(held.argmax(axis=1))
            return
        # Images sorted by patient and label: those of equal patients correspond, place by place.
        self.order = np.lexsort((label, cluster))
        self.blocks = _members(np.stack([cluster, label], axis=1)[self.order])
        start = np.concatenate([[0], np.cumsum(held.sum(axis=1))])
        self.strata = [
            np.stack([np.arange(start[patient], start[patient + 1]) for patient in members])
            for members in _members(held)
            if len(members) > 1
        ]

    def __call__(self, rng: np.random.Generator, number: int) -> Int[np.ndarray, "number images"]:
        """The groups of the images in each of `number` permutations."""
        if self.of_patients:
            own = np.tile(self.own, (number, 1))
            for members in self.strata:
                own[:, members] = rng.permuted(own[:, members], axis=1)
            return own[:, self.cluster]
        sorted_groups = np.tile(self.group[self.order], (number, 1))
        for block in self.blocks:
            if len(block) > 1:
                sorted_groups[:, block] = rng.permuted(sorted_groups[:, block], axis=1)
        for places in self.strata:
            shuffled = rng.permuted(np.tile(np.arange(len(places)), (number, 1)), axis=1)
            rows = np.arange(number)[:, None, None]
            sorted_groups[:, places] = sorted_groups[rows, places[shuffled]]
        found = np.empty_like(sorted_groups)
        found[:, self.order] = sorted_groups
        return found


def _members(keys: np.ndarray) -> list[np.ndarray]:
    """The places of equal keys."""
    _, at = np.unique(keys, axis=0, return_inverse=True)
    order = np.argsort(at.reshape(-1), kind="stable")
    return np.split(order, np.flatnonzero(np.diff(at.reshape(-1)[order])) + 1)
