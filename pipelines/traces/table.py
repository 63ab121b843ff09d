"""The traces that are shown, and what each one is worth.

`python -m tellsign.training.evaluate_traces` measures this table, on people whose pictures its thresholds did not see.
"""

from dataclasses import dataclass

from .grids import CHECKERBOARD, GRID_OF_4, GRID_OF_8, Grid


@dataclass(frozen=True)
class Worth:
    """What a trace is worth in one kind of file.

    Args:
        grid ([`Grid`]): What is measured.
        is_lossless (`bool`): Of which files: those that keep the pixels, or all others.
        threshold (`float`): The strength above which a picture shows it.
        photographs, other_pictures, generated (`float`): Shares that show it, in [0, 1]. Other pictures are those by
            people that are no photographs: artwork, documents, screenshots, renders.
        sentence (`str`): What it is, in words.
    """

    grid: Grid
    is_lossless: bool
    threshold: float
    photographs: float
    other_pictures: float
    generated: float
    sentence: str

    @property
    def lift(self) -> float:
        """How many times as often generated pictures show it as photographs do."""
        return self.generated / self.photographs


GRID_SENTENCE = "A regular grid of {} pixels runs through the picture."
SHOWN = (
    Worth(GRID_OF_4, True, 0.09, 0.031, 0.000, 0.240, GRID_SENTENCE.format(4)),
    Worth(GRID_OF_4, False, -0.06, 0.002, 0.018, 0.048, GRID_SENTENCE.format(4)),
    Worth(GRID_OF_8, True, -0.09, 0.039, 0.006, 0.179, GRID_SENTENCE.format(8)),
    Worth(
        CHECKERBOARD, True, 0.37, 0.033, 0.009, 0.276, "Every second pixel is a little brighter, like a checkerboard."
    ),
)
"""A trace is shown in those kinds of files where generated pictures show it three times as often as photographs, and,
over all kinds alike, as other pictures by people. The lower ends of both 95% intervals are above 2."""
