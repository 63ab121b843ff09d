"""The operators of training: for each artifact in several forms, none of which works as that of evaluation does."""

from functools import partial

from . import changes as do
from . import patterns as by
from . import pixels as px
from . import places as at
from .registry import Effect


def through(
    place: at.Place, kinds: str, amount: tuple[float, float], toward: float = 0, gain: float = 1, opacity=(1.0, 0.0)
) -> Effect:
    """Seen through one of several filters, see `changes.filtered`."""
    return Effect(place, None, partial(do.filtered, kinds=kinds, toward=toward), amount, gain, opacity)


HALF = (0.25, 0.75)
EDGES = at.along_edges(0.07, 1.7)
TRAINING = {
    "Discontinuous surfaces": [
        Effect(at.STRUCTURED, by.fault, do.displace, (0.8, 3.2)),
        Effect(at.STRUCTURED, by.fault, do.displace, (0.8, 3.2)),
        Effect(at.STRUCTURED, by.shards, do.displace, (0.8, 3.2)),
        Effect(at.behind_subject, by.fault, do.displace, (1.5, 4)),
    ],
    "Floating or disconnected components": [
        Effect(at.subject, None, do.carry_off, (0.75, 0.25), opacity=(0.5, 0.5)),
        Effect(at.subject, None, do.carry_off, (0.75, 0.25), opacity=(0.5, 0.5)),
        Effect(at.subject, partial(by.blots, share=(0.4, 0.6), size=2), do.crumble),
    ],
    "Texture repetition patterns": [
        Effect(at.TEXTURED, by.wallpaper, do.resample, gain=3, opacity=(0.15, 0.85)),
        Effect(at.thing, by.wallpaper, do.resample, opacity=(0.15, 0.85)),
    ],
    "Artificial noise patterns in uniform surfaces": [Effect(at.PLAIN, by.grain, do.brighten, (0.02, 0.1), gain=2)],
    "Unrealistic specular highlights": [
        Effect(at.DARK, by.spots, do.shine, opacity=(0.2, 0.8)),
        Effect(at.DARK, partial(by.spots, size=0.8), do.shine, opacity=(0.2, 0.8)),
        Effect(
            at.area(px.texture, 0.02, (0.2, 0.4)),
            partial(by.blots, share=(0.1, 0.3), size=1.6),
            do.shine,
            opacity=(0.2, 0.8),
        ),
        Effect(at.DETAILED, by.relief, do.shine, opacity=(0.2, 0.8)),
    ],
    "Over-sharpening artifacts": [through(at.everywhere, "unsharp mask", (0.07, 0.95), toward=1)],
    "Aliasing along high-contrast edges": [
        through(at.along_edges(0.06, 1.5), "points", (1.4, 1.2), opacity=(0.5, 0.5))
    ],
    "Blurred boundaries in fine details": [
        through(EDGES, "gaussian, disc", (0.7, 1.5)),
        through(EDGES, "motion, zoom", (1, 2)),
        through(EDGES, "thumbnail", (0.85, 1.2)),
        through(EDGES, "halfway", (1.2, 0.6), opacity=HALF),
        through(EDGES, "weak band", (1.4, 0.8), opacity=(0.4, 0.6)),
    ],
    "Jagged edges in curved structures": [
        Effect(at.thing, partial(by.mesh, period=(2.5, 4)), do.redraw_by_map, (0.5, 2)),
        Effect(at.thing, None, do.redraw_by_cells, (0.3, 0.7)),
    ],
    "Random noise patterns in detailed areas": [
        Effect(at.DETAILED, by.grain, do.brighten, (0.02, 0.18), gain=2),
        Effect(at.fine_structure, by.grain, do.brighten, (0.02, 0.22)),
        Effect(at.fine_structure, by.grain, do.expose, (0.08, 0.5)),
        Effect(at.fine_structure, by.grain, do.speckle, (0.1, 0.75)),
        Effect(at.DETAILED, None, do.dither, (0.1, 0.35), gain=2),
    ],
    "Artificial enhancement artifacts": [
        Effect(at.everywhere, None, partial(do.recast, kinds="clear, no haze, lifted, lifted"))
    ],
    "Regular grid-like artifacts in textures": [
        Effect(at.TEXTURED, by.mesh, do.ink, (0.08, 0.4), gain=3),
        Effect(at.TEXTURED, by.mesh, do.expose, (0.08, 0.5), gain=3),
        Effect(at.TEXTURED, by.mesh, do.imprint, (0.12, 0.88), gain=3),
        Effect(at.TEXTURED, by.walls, do.ink, (0.08, 0.4), gain=3),
        Effect(at.TEXTURED, by.walls, do.imprint, (0.12, 0.88), gain=3),
        Effect(at.TEXTURED, by.blocks, do.expose, (0.1, 0.6), gain=3),
        Effect(at.TEXTURED, by.blocks, do.imprint, (0.12, 0.88), gain=3),
        Effect(at.TEXTURED, by.shards, do.displace, (0.7, 2)),
    ],
    "Systematic color distribution anomalies": [
        Effect(
            at.everywhere,
            None,
            partial(do.recast, kinds="exponents, gains, contrasts, wrong bath, mixed, turned, two hues, false"),
        ),
    ],
    "Frequency domain signatures": [
        Effect(at.everywhere, partial(by.mesh, period=(2.8, 4.5), scale=px.pixel), do.brighten, (0.015, 0.09)),
        Effect(at.everywhere, by.residue, do.brighten, (0.01, 0.06)),
    ],
    "Color coherence breaks": [
        Effect(at.thing, by.side, do.recolor, opacity=HALF),
        Effect(at.thing, by.pieces, do.recolor, opacity=HALF),
        Effect(at.thing, by.blots, do.recolor, opacity=HALF),
    ],
    "Unnatural color transitions": [
        Effect(at.SOFT, None, do.part_channels, gain=3),
        Effect(at.SOFT, partial(by.side, soft=1), do.tint_sides, (0.05, 0.2), gain=3),
        Effect(at.SOFT, None, do.quantize, (0.04, 0.18), gain=3),
        Effect(at.SMOOTH, partial(by.course, tone=1.5), do.band, (0.025, 0.11), gain=3),
        Effect(at.SMOOTH, partial(by.course, tone=1.5), do.jump, (0.08, 0.34), gain=3),
    ],
    "Resolution inconsistencies within regions": [
        through(at.area(px.detail, 0.04, solid=True), "blocks, mosaic", (1.6, 2.4), opacity=(0.5, 0.5)),
        through(at.area(px.detail, 0.04, square=True, solid=True), "blocks, ringing", (1.6, 2.6)),
        through(at.detailed_thing, "ringing", (1.4, 2.4)),
    ],
    "Unnatural Lighting Gradients": [
        Effect(at.everywhere, by.course, partial(do.expose, hue=0.5), (0, 0.9)),
        Effect(at.everywhere, by.course, do.bend_tones),
        Effect(at.everywhere, by.course, do.run_through_hues),
    ],
    "Fake depth of field": [
        Effect(at.SHARP, by.course, do.focus, (0.6, 2)),
        Effect(at.SHARP, partial(by.course, tone=2), do.focus, (0.6, 2)),
        Effect(at.SHARP, partial(by.side, soft=20), do.focus, (0.6, 2)),
        through(at.SHARP, "zoom", (0.5, 2)),
    ],
    "Glow or light bleed around object boundaries": [
        Effect(at.thing, by.rim, do.light_up, (0.2, 0.8)),
        Effect(at.thing, by.rim, do.light_up, (0.2, 0.8)),
        Effect(at.thing, partial(by.rim, inside=True), do.light_up, (0.2, 0.8)),
        Effect(at.thing, by.bloom, do.light_up, (0.2, 0.8)),
    ],
    "Excessive sharpness in certain image regions": [
        through(at.BUSY, "unsharp mask, even contrast", (0.2, 1.2), toward=0.7, gain=2)
    ],
    "Artificial smoothness": [
        Effect(at.GRAINY, None, do.diffuse, (4, 26)),
        Effect(at.GRAINY, None, do.drop_small_contrasts, (0.015, 0.075)),
    ],
    "Dramatic lighting that defies natural physics": [
        Effect(at.everywhere, partial(by.spots, size=6), do.stage),
        Effect(at.everywhere, partial(by.blots, share=(0.2, 0.4), size=7), do.stage),
        Effect(at.everywhere, partial(by.side, soft=6), do.stage),
        Effect(at.everywhere, partial(by.relief, share=0.3), do.stage),
        Effect(at.everywhere, by.course, do.stage),
        Effect(at.everywhere, by.pieces, do.stage),
    ],
    "Artificial depth of field in object presentation": [
        through(at.behind_subject, "gaussian", (0.8, 2.6)),
        through(at.behind_subject, "motion, zoom", (0.7, 2.5)),
        through(at.behind_subject, "thumbnail", (0.9, 2)),
    ],
}
