"""The traces that are shown, and what each one is worth.

`python -m tellsign.training.evaluate_traces` measures this table, on people whose pictures its thresholds did not see.
"""

from dataclasses import dataclass

from .grids import CHECKERBOARD, GRID_OF_4, GRID_OF_8, Grid


PHOTOGRAPHS, OTHER_PICTURES, GENERATED = 75, 53, 756
"""How many lossless files were measured. Other pictures are those by people that are no photographs: artwork,
documents, screenshots, renders."""


@dataclass(frozen=True)
class Worth:
    """What a trace is worth in files that keep their pixels.

    Args:
        grid ([`Grid`]): What is measured.
        threshold (`float`): The strength above which a picture shows it.
        photographs, other_pictures, generated (`float`): Shares that show it, in [0, 1].
        sentence (`str`): What it is, in words.
    """

    grid: Grid
    threshold: float
    photographs: float
    other_pictures: float
    generated: float
    sentence: str

    @property
    def false_alarms(self) -> float:
        """The share of photographs that show it. It is that of one if none does."""
        return max(self.photographs, 1 / PHOTOGRAPHS)

    @property
    def lift(self) -> float:
        """How many times as often generated pictures show it as photographs do."""
        return self.generated / self.false_alarms

    @property
    def precision(self) -> float:
        """The share of generated pictures among those that show it, where there are as many by people as generated.

        The pictures by people are photographs or others, whichever show it more often.
        """
        return self.generated / (self.generated + max(self.false_alarms, self.other_pictures, 1 / OTHER_PICTURES))


GRID_SENTENCE = "A regular grid of {} pixels runs through the picture."
SHOWN = (
    Worth(GRID_OF_4, 0.09, 0.0267, 0.0, 0.2284, GRID_SENTENCE.format(4)),
    Worth(GRID_OF_8, 0.00, 0.0, 0.0, 0.0979, GRID_SENTENCE.format(8)),
    Worth(CHECKERBOARD, 0.37, 0.0327, 0.0094, 0.2755, "Every second pixel is a little brighter, like a checkerboard."),
)
"""A trace is shown if generated pictures show it three times as often as photographs, and as other pictures by people.
The lower ends of both 95% intervals are above 2."""
