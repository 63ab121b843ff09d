"""Tables of what `leave_out` measured, in Markdown."""

from collections.abc import Mapping
from typing import Any

from tellsign.tables import as_text, markdown_table, percent


VERDICTS = ("real", "uncertain", "fake")


def leave_out_tables(record: Mapping[str, Any]) -> list[str]:
    """Markdown tables of a `leave_out.json`: means, verdicts, parts, histories, number of sources, generators."""
    means, calibration = record["means"], record["calibration"]
    tables = [
        markdown_table(
            ["generators, left out", "number", "AUROC, %", "worst", "recall at 1%, %", "recall at 2%, %"],
            [
                [
                    group,
                    str(row["generators"]),
                    percent(row["auroc"]),
                    f"{100 * row['worst_auroc']:.1f}",
                    percent(row["recall_at_1"]),
                    percent(row["recall_at_2"]),
                ]
                for group, row in means.items()
            ],
        ),
        *(
            markdown_table(
                [f"verdicts, {name}, %", "pictures", *VERDICTS],
                [
                    [kind, f"{row['pictures']:,}", *(f"{100 * row[verdict]:.1f}" for verdict in VERDICTS)]
                    for kind, row in said["kinds"].items()
                ]
                + [['"real" that are right, at equal shares', "", _or_none(said["real_right"]), "", ""]],
            )
            for name, said in record["verdicts"].items()
        ),
        f"The calibration error (ECE) is {100 * calibration['ece']:.1f}%.",
        markdown_table(
            ["shape and size", "photographs", "fakes", "AUROC, %"],
            [
                [name, str(row["photographs"]), str(row["fakes"]), f"{100 * row['auroc']:.1f}"]
                for name, row in record["parts"].items()
            ],
        ),
    ]
    if record["histories"]:
        tables.append(
            markdown_table(
                ["what happened to the pictures", "to both: AUROC, %", "to fakes alone: AUROC, %"],
                [["nothing", *[percent(means["all"]["auroc"])] * 2]]
                + [
                    [name, *(percent(row[to]["all"]["auroc"]) for to in ("both", "fakes alone"))]
                    for name, row in record["histories"].items()
                ],
            )
        )
    tables.append(
        markdown_table(
            ["share of the sources in training", "AUROC, %"],
            [[f"{point['share']:.0%}", f"{100 * point['auroc']:.1f}"] for point in record["curve"]],
        )
    )
    generators = sorted(record["generators"].items(), key=lambda row: row[1]["auroc"])
    tables.append(
        markdown_table(
            ["generator", "family", "pictures", "AUROC, %", "recall at 2%, %"],
            [
                [
                    as_text(name),
                    as_text(row["family"]),
                    str(row["pictures"]),
                    f"{100 * row['auroc']:.1f}",
                    f"{100 * row['recall_at_2']:.0f}",
                ]
                for name, row in generators
            ],
        )
    )
    return tables


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


def _or_none(share: float | None) -> str:
    return "none is called real" if share is None else f"{100 * share:.1f}"
