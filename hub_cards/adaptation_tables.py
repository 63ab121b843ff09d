"""What `tellsign adapt` measured, as text."""

from collections.abc import Mapping
from typing import Any

from tellsign.modeling.verdicts import OPERATING_POINTS
from tellsign.tables import markdown_table, percent


TITLES = {
    "real": "your photographs",
    "fake": "your generated pictures",
    "strange real": "strangers' photographs",
    "strange fake": "generators never seen",
}
LARGEST_LOSS = 0.02
"""Of the AUROC on strangers' pictures, beyond which adapting is not advised for them."""


def _name(score: str) -> str:
    kind, _, pair = score.partition(": ")
    first, second = (TITLES[group] for group in pair.split(", "))
    if kind == "auroc":
        return f"AUROC: {second} against {first}"
    if kind in OPERATING_POINTS:
        return f'balanced accuracy of "fake", {kind} thresholds of before: {second}, {first}'
    return f"{kind} at 2% of {first}: {second}"


def adaptation_tables(record: Mapping[str, Any]) -> list[str]:
    """Markdown tables of an `adaptation.json`: scores before and after, and verdicts."""
    rows = [
        [_name(name), *(percent(row[time]) for time in ("before", "after", "gain"))]
        for name, row in record["scores"].items()
    ]
    said = [
        [
            f"{TITLES[group]}, {point}",
            *(
                " / ".join(
                    percent(record["verdicts"][time][point][group][verdict], 0)
                    for verdict in ("real", "uncertain", "fake")
                )
                for time in ("before", "after")
            ),
        ]
        for point, groups in record["verdicts"]["after"].items()
        for group in groups
    ]
    return [
        markdown_table(["left out, %", "before", "after", "gain"], rows),
        markdown_table(["called real / uncertain / fake, %", "before", "after"], said),
        "The calibration error (ECE) is "
        f"{percent(record['ece']['before'])}% before and {percent(record['ece']['after'])}% after.",
    ]


def case_of(record: Mapping[str, Any]) -> str:
    """What the figures are of: photographs of one's own, more of a series, or generators as others use them."""
    if "fake" not in record["pictures"]:
        return "photographs of your own, and no generated pictures of yours"
    if not record["by_source"]["fake"]:
        return (
            "more of the same series: generated pictures were left out one by one, so others of their source were "
            "seen. They do not show that the generator is known as other people use it"
        )
    return "generated pictures of other sources than those learned from"


def advice(record: Mapping[str, Any]) -> str:
    """Whether to use the adapted model, and for what, in a few sentences."""
    scores, said = record["scores"], record["verdicts"]["after"]["cautious"]
    target = "fake" if "fake" in record["pictures"] else "strange fake"
    gain, found = scores[f"auroc: real, {target}"]["gain"], scores[f"found: real, {target}"]
    low, high = gain["interval"]
    helps = low > 0 and found["gain"]["value"] >= 0
    strange = said.get("strange real")
    of_strangers = f", of strangers' {_of(strange['fake'])}" if strange else ""
    word = "Use it" if helps else "Do not use it" if high < 0 else "It is not clear that it helps: use it with care"
    lines = [
        f"{word}, for pictures like yours. Of your photographs {_of(said['real']['fake'])} accused{of_strangers}. At "
        f"2 in 100 of your photographs accused, of {TITLES[target]} it finds "
        f"{round(100 * found['after']['value'])} in 100 instead of {round(100 * found['before']['value'])}.",
        f"The figures show {case_of(record)}.",
    ]
    if not record["by_source"]["real"]:
        lines.append(
            "All your real pictures are of one source, or of none that is named: what it does on photographs by "
            "others of yours cannot be known."
        )
    if strange is None:
        return " ".join([*lines, "What it does on strangers' pictures is not known: it learned from none."])
    loss = scores["auroc: strange real, strange fake"]["gain"]["value"]
    lines.append(
        f"On strangers' pictures it loses {percent(-loss)} points: keep the packaged model for these."
        if loss < -LARGEST_LOSS
        else f"On strangers' pictures its AUROC changes by {100 * loss:+.1f} points."
    )
    return " ".join(lines)


def _of(share: float) -> str:
    count = round(100 * share)
    return "fewer than 1 in 100 are" if count < 1 else f"{count} in 100 {'is' if count == 1 else 'are'}"


def adaptation_report(record: Mapping[str, Any]) -> str:
    """Tables, what was left out, and advice."""
    counts = ", ".join(
        f"{count:,} {title} pictures of {record['sources'][title] or 'no'} named sources"
        for title, count in record["pictures"].items()
    )
    lines = [counts, *adaptation_tables(record), advice(record)]
    if backbone := record["backbone"]:
        lines.insert(1, f'"After" is a head on {backbone["name"]} that learned from these pictures alone.')
    if record["audit"]:
        told = ", ".join(f"{name} ({percent(score, 0)})" for name, score in record["audit"].items())
        lines.insert(1, f"Alone these tell the classes, AUROC in %: {told}. What pixels hold of it was made alike.")
    if count := record["left_out"]["copies"]:
        lines.insert(1, f"{count:,} copies were left out.")
    if unreadable := record["left_out"]["unreadable"]:
        some = "; ".join(f"{name}: {why}" for name, why in list(unreadable.items())[:5])
        lines.insert(1, f"{len(unreadable):,} pictures cannot be read or are too small, and were left out: {some}")
    if "test" in record:
        lines += ["On the pictures of --test:", *adaptation_tables(record["test"])]
    return "\n\n".join(lines)


__all__ = ["adaptation_report", "adaptation_tables", "advice"]
