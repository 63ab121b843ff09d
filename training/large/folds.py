"""Which sources are left out together, and heads that did not see them."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from tqdm.auto import tqdm

from tellsign import WaveFreqConfig
from tellsign.modeling.large_branch import WaveFreqLargeHead
from tellsign.training.evaluation.left_out import FAKE, REAL

from .head import fit_head


def joined(*names: NDArray) -> NDArray:
    """Numbers of the groups in which rows are together that share a name in any of the arrays; "" is no name."""
    count = len(names[0])
    rows, values = [], []
    offset = count
    for column in names:
        unique, index = np.unique(column, return_inverse=True)
        named = column != ""
        rows.append(np.flatnonzero(named))
        values.append(offset + index[named])
        offset += len(unique)
    first, second = np.concatenate(rows), np.concatenate(values)
    graph = coo_array((np.ones(len(first)), (first, second)), shape=(offset, offset))
    return connected_components(graph, directed=False)[1][:count]


def assign_folds(columns: Mapping[str, NDArray], folds: int) -> NDArray:
    """The run in which each picture is left out.

    Fakes are left out by family, real pictures by collection and person together. The largest group comes first and
    goes to the fold that has the fewest pictures of its class so far.

    Raises:
        ValueError: If a class has fewer groups than there are folds.
    """
    assignment = np.zeros(len(columns["label"]), int)
    for label, title in ((REAL, "real"), (FAKE, "fake")):
        rows = np.flatnonzero(columns["label"] == label)
        keys = (columns["family"][rows],) if label == FAKE else (columns["family"][rows], columns["person"][rows])
        groups, counts = np.unique(joined(*keys), return_inverse=True, return_counts=True)[1:]
        if len(counts) < folds:
            raise ValueError(f"{len(counts)} sources of {title} pictures cannot be left out in {folds} folds")
        fold_of, filled = np.zeros(len(counts), int), np.zeros(folds, int)
        for group in np.argsort(-counts, kind="stable"):
            fold_of[group] = filled.argmin()
            filled[fold_of[group]] += counts[group]
        assignment[rows] = fold_of[groups]
    return assignment


def runs(columns: Mapping[str, NDArray], assignment: NDArray) -> Iterator[tuple[NDArray, NDArray]]:
    """For each run the rows that it may see and those that it is scored on.

    It sees no family or collection of those, and nothing by a person who made one of them. Rows beyond those of the
    assignment are scored in none.
    """
    kin = np.char.add(columns["label"].astype(str), columns["family"])
    assignment = np.pad(assignment, (0, len(kin) - len(assignment)), constant_values=-1)
    for fold in range(assignment.max() + 1):
        scored = assignment == fold
        people = set(columns["person"][scored]) - {""}
        seen = ~np.isin(kin, kin[scored]) & ~np.isin(columns["person"], sorted(people))
        yield np.flatnonzero(seen), np.flatnonzero(scored)


def some_sources(columns: Mapping[str, NDArray], share: float) -> NDArray[np.bool_]:
    """The pictures of a share of the generators and collections, drawn at random."""
    rng = np.random.default_rng(0)
    kept: list[str] = []
    for label in (REAL, FAKE):
        names = np.unique(columns["generator"][columns["label"] == label])
        kept += rng.permutation(names)[: max(1, round(share * len(names)))].tolist()
    return np.isin(columns["generator"], kept)


def heads_left_out(
    config: WaveFreqConfig,
    columns: Mapping[str, NDArray],
    assignment: NDArray,
    copies: torch.Tensor,
    share: float = 1.0,
) -> Iterator[tuple[WaveFreqLargeHead, NDArray]]:
    """A head for each fold, and the rows whose sources it did not see.

    Args:
        config ([`WaveFreqConfig`]): Of the head.
        columns, assignment: See [`columns_of`] and [`assign_folds`].
        copies (`torch.FloatTensor` of shape `(num_copies, n, num_features)`): The moments that heads learn from.
        share (`float`, *optional*, defaults to 1): Share of the sources that training may see.
    """
    allowed = some_sources(columns, share)
    for seen, scored in tqdm(list(runs(columns, assignment)), desc=f"Heads ({share:.0%} of the sources)"):
        rows = seen[allowed[seen]]
        yield fit_head(config, copies[:, rows], columns["label"][rows], columns["generator"][rows]), scored


def predict_left_out(
    config: WaveFreqConfig,
    columns: Mapping[str, NDArray],
    assignment: NDArray,
    copies: torch.Tensor,
    seen_as: Sequence[torch.Tensor],
    share: float = 1.0,
) -> list[NDArray]:
    """Logits of fake of all pictures, each by a head that did not see its source, for each way of seeing them.

    Args:
        config, columns, assignment, copies, share: See [`heads_left_out`].
        seen_as (`Sequence[torch.FloatTensor]`):
            The moments that heads are scored on, each `(m, num_features)`: of the rows of the assignment.
    """
    logits = [np.zeros(len(moments)) for moments in seen_as]
    for head, scored in heads_left_out(config, columns, assignment, copies, share):
        for of_history, moments in zip(logits, seen_as, strict=True):
            with torch.inference_mode():
                of_history[scored] = head(moments[scored]).numpy()
    return logits
