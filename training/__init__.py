"""Training, evaluation and benchmarks. Nothing here is imported at run time."""

from importlib.util import find_spec


_NEEDED = (
    "accelerate",
    "art",
    "datasets",
    "evaluate",
    "matplotlib",
    "peft",
    "pyarrow",
    "sklearn",
    "torchmetrics",
    "tqdm",
)
if _missing := [name for name in _NEEDED if find_spec(name) is None]:
    raise ImportError(f"tellsign.training needs {', '.join(_missing)}: pip install 'tellsign[train]'")
