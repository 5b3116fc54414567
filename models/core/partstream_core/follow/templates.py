"""The looks by which a target is found again: a bounded set of embeddings that grows (template expansion).

Shape suffixes: N templates, D embedding.

Source: DyeNet (Li and Loy, ECCV 2018), section 2: confidently predicted masks expand the template set.
"""

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]

NOTHING_NEW = 0.98
"""Cosine similarity with a template from which an embedding tells nothing new."""


class TemplateSet:
    """Embeddings of one target, all of length one.

    Where it is full, the added template that is most like another one is left out; templates that a person
    gave are kept.

    Args:
        max_templates: Most templates, given ones included.

    Raises:
        ValueError: There is no room for one.
    """

    def __init__(self, max_templates: int = 32) -> None:
        if max_templates < 1:
            raise ValueError(f"max_templates must be at least 1, got {max_templates}")
        self._max = max_templates
        self._rows: list[FloatArray] = []
        self._given: list[bool] = []

    def __len__(self) -> int:
        return len(self._rows)

    def similarity(self, embedding_D: FloatArray) -> float:
        """Largest cosine similarity with a template; -1 where there are none."""
        if not self._rows:
            return -1.0
        return float(np.max(np.stack(self._rows) @ unit(embedding_D)))

    def add(self, embedding_D: FloatArray, *, given: bool = False) -> bool:
        """Take an embedding in; whether it told anything new.

        Raises:
            ValueError: It has another width than the templates, or a length of zero.
        """
        row = unit(embedding_D)
        if self._rows and len(row) != len(self._rows[0]):
            raise ValueError(f"templates have {len(self._rows[0])} numbers, the embedding {len(row)}")
        if not given and self.similarity(row) >= NOTHING_NEW:
            return False
        self._rows.append(row)
        self._given.append(given)
        if len(self._rows) > self._max:
            self._drop_one()
        return True

    def _drop_one(self) -> None:
        """Leave out the least telling template; among given ones the oldest, where there are no others."""
        rows_ND = np.stack(self._rows)
        likeness = rows_ND @ rows_ND.T - 3 * np.eye(len(rows_ND), dtype=np.float32)
        nearest = likeness.max(axis=1)
        added = [row for row, given in enumerate(self._given) if not given]
        drop = max(added, key=lambda row: float(nearest[row])) if added else 0
        del self._rows[drop], self._given[drop]


def unit(embedding_D: FloatArray) -> FloatArray:
    """The embedding at length one.

    Raises:
        ValueError: Its length is zero or not finite.
    """
    row = np.asarray(embedding_D, np.float32)
    length = float(np.linalg.norm(row))
    if not np.isfinite(length) or length == 0:
        raise ValueError(f"an embedding must have a finite length above zero, got {length}")
    scaled: FloatArray = row / np.float32(length)
    return scaled
