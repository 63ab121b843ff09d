"""What the commands that train have in common: a recipe before the options, and a record of both."""

import json
from pathlib import Path
from typing import Any

from transformers import HfArgumentParser, TrainingArguments


def parse_recipe(argument_types: tuple[type, ...], arguments: list[str]) -> tuple[Any, ...]:
    """Parses a command line. If it begins with a JSON file, that gives the defaults of what follows.

    Args:
        argument_types (`tuple[type, ...]`): Dataclasses, to which [`TrainingArguments`] is added.
        arguments (`list[str]`): The command line, without the program.

    Returns:
        An instance of each class.

    Raises:
        ValueError: If the file has a field that no argument has, or so few checkpoints are kept that a run which is
            killed while it writes one could not resume.
    """
    types: Any = (*argument_types, TrainingArguments)
    parser = HfArgumentParser(types)
    if arguments and arguments[0].endswith(".json"):
        recipe = json.loads(Path(arguments[0]).read_text(encoding="utf-8"))
        unknown = set(recipe) - {action.dest for action in parser._actions}
        if unknown:
            raise ValueError(f"{arguments[0]}: no argument is called {', '.join(sorted(unknown))}")
        parser.set_defaults(**recipe)
        arguments = arguments[1:]
    parsed = parser.parse_args_into_dataclasses(arguments, look_for_args_file=False)
    if parsed[-1].save_total_limit == 1:
        raise ValueError("--save_total_limit: a run can only resume safely if at least 2 checkpoints are kept")
    return parsed


def overrides_of(given: dict[str, Any] | str | None) -> dict[str, Any]:
    """Fields of a configuration to change, from a recipe or, as JSON, from the command line."""
    return json.loads(given) if isinstance(given, str) else given or {}


def refuse_push(training_args: TrainingArguments) -> None:
    """Raises a `ValueError` if a Trainer is to push, which would send its checkpoints, pickles and all."""
    if training_args.push_to_hub:
        raise ValueError("--push_to_hub: load the folder that the run saves, and call push_to_hub of the model")


def without_folders(source: str) -> str:
    """A source, or several that `+` joins, of local files and folders the names alone, as a card may show them."""
    return "+".join(Path(name).name if Path(name).exists() else name for name in source.split("+"))
