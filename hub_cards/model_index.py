"""The main results of a card, for the Hub's index of models."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from huggingface_hub import EvalResult


Scores = Sequence[tuple[str, str, float]]
"""Of each metric its name in the index, its title and its value in [0, 1]."""
AUROC = "roc_auc", "AUROC, %"
OF_LARGE = "roc_auc", "AUROC of fakes against photographs, %"
RECALL = "recall", "Fakes found at 2% of photographs called fake, %"
AFTER = {"auroc": OF_LARGE, "found": RECALL}
"""By the names of an `adaptation.json`."""


def model_index(
    config: Mapping[str, Any],
    evaluation: Mapping[str, Any] | None,
    leave_out: Mapping[str, Any] | None,
    adaptation: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """The main results in percent: first those on large pictures that training did not see, then those on small ones.

    Args:
        config, evaluation, leave_out, adaptation (`Mapping`): As for [`model_card`].

    Returns:
        `metrics` and `eval_results`, for [`~huggingface_hub.ModelCardData`]. Both are `None` if there are no results.
    """
    results = [*_adapted(adaptation), *_left_out(leave_out), *_evaluated(evaluation, config.get("image_size"))]
    metrics = list(dict.fromkeys(result.metric_type for result in results))
    return {"metrics": metrics or None, "eval_results": results or None}


def _evaluated(evaluation: Mapping[str, Any] | None, image_size: int | None) -> list[EvalResult]:
    """Of the images that are not in the training data, where these were named."""
    if not evaluation:
        return []
    result, data = evaluation["results"][0], evaluation["data"]
    size = evaluation.get("image_size") or image_size
    return _results(
        ", ".join(data) + (f", at {size}x{size} pixels" if size else ""),
        _type_of(data),
        result["name"],
        [("accuracy", "Accuracy, %", result["scores"]["accuracy"]), (*AUROC, result["scores"]["auroc"])],
        split=evaluation.get("split", "test"),
    )


def _left_out(record: Mapping[str, Any] | None) -> list[EvalResult]:
    """Of large pictures whose sources the run that judged them did not see."""
    if not record:
        return []
    pooled, (*_, all_answered) = record["pooled"]["all"], record["answered"]
    scores = [
        (*OF_LARGE, pooled["auroc"]["value"]),
        ("accuracy", "Accuracy if every picture is answered, %", all_answered["right"]),
        (*RECALL, pooled["recall_at_2"]["value"]),
    ]
    name = f"large pictures of sources that training did not see ({', '.join(record['data'])})"
    return _results(name, _type_of(record["data"]), "sources never seen", scores)


def _adapted(record: Mapping[str, Any] | None) -> Iterator[EvalResult]:
    """Scores on the pictures that a detector was adapted to, and on other people's, by heads that saw neither."""
    if not record:
        return
    data, scores = record["data"], record["scores"]
    if "fake" in record["pictures"]:
        sets = [("real, fake", f"large pictures of {data}", _type_of([data]))]
    else:
        sets = [("real, strange fake", f"large photographs of {data}, and fakes by others", _type_of([data]))]
    if "auroc: strange real, strange fake" in scores:
        sets.append(("strange real, strange fake", f"large pictures by others than {data}", "imagefolder"))
    for pair, name, kind in sets:
        after = [(*title, scores[f"{score}: {pair}"]["after"]["value"]) for score, title in AFTER.items()]
        yield from _results(f"{name}, that training did not see", kind, f"never seen: {pair}", after)


def _type_of(data: Sequence[str]) -> str:
    """The index wants the repository of data on the Hub. Local files are stated by name alone."""
    if len(data) == 1 and "/" in data[0]:
        return data[0]
    return "parquet" if all(name.endswith(".parquet") for name in data) else "imagefolder"


def _results(name: str, kind: str, config: str, scores: Scores, split: str | None = None) -> list[EvalResult]:
    return [
        EvalResult(
            task_type="image-classification",
            dataset_type=kind,
            dataset_name=name,
            dataset_config=config,
            dataset_split=split,
            metric_type=metric,
            metric_name=title,
            metric_value=round(100 * value, 2),
        )
        for metric, title, value in scores
    ]


__all__ = ["model_index"]
