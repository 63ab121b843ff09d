"""Tables of what `leave_out` measured, in Markdown."""

from collections.abc import Mapping
from typing import Any

from tellsign.tables import as_text, markdown_table, percent


VERDICTS = ("real", "uncertain", "fake")


def leave_out_tables(record: Mapping[str, Any]) -> list[str]:
    """Markdown tables of a `leave_out.json`: means, verdicts, parts, histories, number of sources, generators."""
    parts = [
        [name, str(row["photographs"]), str(row["fakes"]), percent(row["auroc"])]
        for name, row in record["parts"].items()
    ]
    curve = [[f"{point['share']:.0%}", percent(point["auroc"])] for point in record["curve"]]
    return [
        _means_table(record["means"]),
        *(_verdict_table(name, said) for name, said in record["verdicts"].items()),
        f"The calibration error (ECE) is {percent(record['calibration']['ece'])}%.",
        markdown_table(["shape and size", "photographs", "fakes", "AUROC, %"], parts),
        *([_history_table(record)] if record["histories"] else []),
        markdown_table(["share of the sources in training", "AUROC, %"], curve),
        _generator_table(record["generators"]),
    ]


def _means_table(means: Mapping[str, Any]) -> str:
    rows = [
        [
            group,
            str(row["generators"]),
            percent(row["auroc"]),
            percent(row["worst_auroc"]),
            percent(row["recall_at_1"]),
            percent(row["recall_at_2"]),
        ]
        for group, row in means.items()
    ]
    header = ["generators, left out", "number", "AUROC, %", "worst", "recall at 1%, %", "recall at 2%, %"]
    return markdown_table(header, rows)


def _verdict_table(name: str, said: Mapping[str, Any]) -> str:
    rows = [
        [kind, f"{row['pictures']:,}", *(percent(row[verdict]) for verdict in VERDICTS)]
        for kind, row in said["kinds"].items()
    ]
    right = "none is called real" if said["real_right"] is None else percent(said["real_right"])
    rows.append(['"real" that are right, at equal shares', "", right, "", ""])
    return markdown_table([f"verdicts, {name}, %", "pictures", *VERDICTS], rows)


def _history_table(record: Mapping[str, Any]) -> str:
    rows = [["nothing", *[percent(record["means"]["all"]["auroc"])] * 2]]
    for name, row in record["histories"].items():
        rows.append([name, *(percent(row[to]["all"]["auroc"]) for to in ("both", "fakes alone"))])
    header = ["what happened to the pictures", "to both: AUROC, %", "to fakes alone: AUROC, %"]
    return markdown_table(header, rows)


def _generator_table(generators: Mapping[str, Any]) -> str:
    rows = [
        [
            as_text(name),
            as_text(row["family"]),
            str(row["pictures"]),
            percent(row["auroc"]),
            percent(row["recall_at_2"], 0),
        ]
        for name, row in sorted(generators.items(), key=lambda row: row[1]["auroc"])
    ]
    return markdown_table(["generator", "family", "pictures", "AUROC, %", "recall at 2%, %"], rows)


def left_out_failures(record: Mapping[str, Any]) -> list[str]:
    """Where large pictures of unseen sources are judged badly, one sentence each."""
    worst = sorted(record["generators"].items(), key=lambda row: row[1]["auroc"])[:3]
    names = ", ".join(f"{as_text(name)} ({100 * row['auroc']:.1f})" for name, row in worst)
    uncertain = {kind: row["uncertain"] for kind, row in record["verdicts"]["cautious"]["kinds"].items()}
    failures = [f"Among unseen generators of large pictures, it does worst on {names} (AUROC, %)."]
    failures.append(
        'On large pictures of unseen sources it often says "uncertain": of '
        + ", ".join(f"{100 * share:.0f}% ({kind})" for kind, share in uncertain.items())
        + "."
    )
    return failures
