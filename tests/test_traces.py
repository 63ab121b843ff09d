"""Traces in a file's own pixels."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter
from transformers import pipeline

import tellsign
from tellsign.pipelines.traces.grids import GRIDS, strength_of
from tellsign.pipelines.traces.picture import spectrum_pictures
from tellsign.pipelines.traces.spectrum import middle_of, residual_spectrum
from tellsign.pipelines.traces.table import GENERATED, OTHER_PICTURES, PHOTOGRAPHS, SHOWN
from tellsign.pipelines.tracing import find_traces, signatures_of


SPECTRA = Path(__file__).parents[2] / "shared" / "data" / "spectra.parquet"
PHOTO = Path(__file__).parents[1] / "examples" / "photo_astronaut.jpg"
WAVES = {
    "grid of 4 pixels": (1 / 4, 1 / 4),
    "grid of 8 pixels": (3 / 8, 3 / 8),
    "checkerboard of 2 pixels": (1 / 2, 1 / 2),
}


def photo(size: int = 512) -> np.ndarray:
    """A photograph without its file's own grids."""
    image = Image.open(PHOTO).convert("L").resize((size, size), Image.Resampling.LANCZOS)
    noise = np.random.default_rng(0).normal(0, 2, (size, size))
    return np.asarray(image) + noise


def as_file(pixels: np.ndarray, form: str = "PNG", **options) -> Image.Image:
    buffer = io.BytesIO()
    Image.fromarray(pixels.round().clip(0, 255).astype(np.uint8)).save(buffer, form, **options)
    return Image.open(buffer)


def with_wave(pixels: np.ndarray, frequency: tuple[float, float], strength: float = 4) -> np.ndarray:
    rows, columns = np.mgrid[: pixels.shape[0], : pixels.shape[1]]
    return pixels + strength * np.cos(2 * np.pi * (frequency[0] * rows + frequency[1] * columns))


def test_the_spectrum_equals_its_definition():
    grey = photo(200).round().clip(0, 255).astype(np.uint8)
    detail = grey.astype(float) - gaussian_filter(grey.astype(float), 1)
    window = np.outer(np.hanning(64), np.hanning(64))
    powers = []
    for top in (0, 64, 128):
        for left in (0, 64, 128):
            block = detail[top : top + 64, left : left + 64]
            power = np.abs(np.fft.rfft2((block - block.mean()) * window)) ** 2
            powers.append(power / power.mean())
    spectrum, blocks = residual_spectrum(grey)
    assert blocks == 9
    np.testing.assert_allclose(spectrum, np.log(np.mean(powers, axis=0)), atol=2e-3)


def test_blocks_of_one_color_do_not_count():
    grey = np.full((128, 192), 99, np.uint8)
    grey[8:56, 8:56] = np.random.default_rng(0).integers(0, 256, (48, 48))
    assert residual_spectrum(grey)[1] == 1
    assert residual_spectrum(np.full((500, 400), 99, np.uint8))[1] == 0


def test_only_the_middle_of_a_huge_picture_is_measured():
    huge = np.zeros((3000, 20000), np.uint8)
    huge[1500, 10000] = 1
    part = np.asarray(middle_of(Image.fromarray(huge)))
    assert part.shape == (2000, 2000) and part[1000, 1000] == 1


@pytest.mark.parametrize("name", WAVES)
def test_a_planted_grid_is_found_under_its_name(name):
    plain, waved = photo(), with_wave(photo(), WAVES[name])
    assert find_traces(as_file(plain)) == ([], "")
    traces, note = find_traces(as_file(waved))
    assert note == "" and name in [trace["name"] for trace in traces]


@pytest.mark.parametrize("mirrored", [False, True])
def test_a_grid_is_as_strong_after_a_turn(mirrored):
    grid, pixels = GRIDS[0], with_wave(photo(), (1 / 4, 1 / 4))
    turned = pixels[:, ::-1] if mirrored else pixels.T
    strengths = [
        strength_of(grid, residual_spectrum(each.round().clip(0, 255).astype(np.uint8))[0])
        for each in (pixels, turned)
    ]
    assert strengths[1] == pytest.approx(strengths[0], rel=0.2)


def test_texture_of_about_a_grids_frequency_is_no_grid():
    rows, columns = np.mgrid[:512, :512]
    amount = gaussian_filter(np.random.default_rng(0).normal(0, 60, (512, 512)), 2)
    assert find_traces(as_file(64 + photo() / 2 + amount * np.cos(np.pi / 2 * (rows + columns)))) == ([], "")
    assert find_traces(as_file(with_wave(photo(), (1 / 4, 1 / 4), 20)))[0]


@pytest.mark.parametrize(
    ("image", "said"),
    [
        (Image.new("RGB", (500, 500)), "only in files of PNG"),
        (as_file(with_wave(photo(), (1 / 4, 1 / 4)), "JPEG", quality=98), "only in files of PNG"),
        (as_file(photo(200)), "below 384 pixels"),
        (as_file(np.full((500, 400), 99.0)), "too little detail"),
        (as_file(np.zeros((1, 500))), "below 384 pixels"),
    ],
)
def test_what_cannot_be_measured_is_said(image, said):
    traces, note = find_traces(image)
    assert traces == [] and said in note


@pytest.mark.parametrize(
    ("form", "options", "is_measured"),
    [
        *(("TIFF", {"compression": name}, True) for name in ("raw", "packbits", "tiff_lzw", "tiff_adobe_deflate")),
        *(("TIFF", {"compression": name}, False) for name in ("jpeg", "tiff_jpeg")),
        *((form, {}, True) for form in ("PNG", "BMP", "PPM")),
        *(("WEBP", {"lossless": lossless}, False) for lossless in (True, False)),  # Pillow does not tell which
        *((form, {}, False) for form in ("AVIF", "JPEG2000", "TGA")),
    ],
)
def test_grids_are_sought_where_a_file_surely_keeps_pixels(form, options, is_measured):
    traces, note = find_traces(as_file(with_wave(photo(), WAVES["grid of 4 pixels"], 20), form, **options))
    assert bool(traces) == is_measured == (note == "")


def test_sixteen_bits_are_not_measured():
    buffer = io.BytesIO()
    Image.fromarray((256 * photo()).clip(0, 65535).astype(np.uint16)).save(buffer, "PNG")
    assert "8 bits" in find_traces(Image.open(buffer))[1]


@pytest.mark.parametrize(
    ("mode", "note"), [("CMYK", ""), ("RGBA", ""), ("LA", ""), ("P", "with a palette"), ("1", "with a palette")]
)
def test_pictures_of_any_mode_get_an_answer(mode, note):
    buffer = io.BytesIO()
    Image.open(PHOTO).resize((400, 400)).convert(mode).save(buffer, "TIFF" if mode == "CMYK" else "PNG")
    traces, reason = find_traces(Image.open(buffer))
    assert traces == [] and note in reason and bool(note) == bool(reason)


def test_the_strength_is_a_difference_of_logarithms():
    pixels = with_wave(photo(), WAVES["grid of 4 pixels"], 20).round().clip(0, 255).astype(np.uint8)
    power = np.exp(residual_spectrum(pixels)[0])
    around = [power[16 + y, 16 + x] for y in range(-4, 5) for x in range(-4, 5) if 2 <= np.hypot(y, x) <= 4]
    (trace,) = [trace for trace in find_traces(as_file(pixels))[0] if trace["name"] == "grid of 4 pixels"]
    assert trace["strength"] == pytest.approx(np.log(power[16, 16] / max(around)), abs=0.051)


def test_an_answer_holds_traces_and_says_them(tmp_path):
    as_file(with_wave(photo(), (1 / 4, 1 / 4))).convert("RGB").save(tmp_path / "grid.png")
    explain = pipeline("artifact-explanation", explain="never", tagger=False, explainer=False)
    answer, small = explain([str(tmp_path / "grid.png"), Image.new("RGB", (40, 40))])
    (trace,) = [trace for trace in answer["traces"] if trace["name"] == "grid of 4 pixels"]
    assert trace["toward"] == "fake" and trace["box"] is None
    assert answer["traces"][0]["text"] in answer["summary"] and trace["name"].split()[-1] in answer["summary"]
    assert answer["traces_note"] == "" and small["traces"] == [] and small["traces_note"]
    drawn = tellsign.annotate(tellsign.load_image(tmp_path / "grid.png"), answer)
    without = tellsign.annotate(tellsign.load_image(tmp_path / "grid.png"), answer | {"traces": []})
    assert drawn.height > without.height


@pytest.fixture(scope="module")
def explain():
    """The packaged pipeline."""
    return pipeline("artifact-explanation")


def test_a_grid_is_named_as_an_artifact_where_one_looks_for_any(explain, tmp_path):
    as_file(with_wave(photo(), (1 / 4, 1 / 4))).convert("RGB").save(tmp_path / "grid.png")
    always, never = (explain(str(tmp_path / "grid.png"), explain=when) for when in ("always", "never"))
    (artifact,) = always["artifacts"]
    assert artifact["label"] == "Frequency domain signatures"
    assert artifact["box"] == {"xmin": 0, "ymin": 0, "xmax": 512, "ymax": 512}
    assert artifact["explanation"] == always["traces"][0]["text"] and len(artifact["explanation"].split()) <= 50
    assert "1 artifact found. Other artifacts are not looked for" in always["summary"]
    assert never["artifacts"] == [] and never["traces"] == always["traces"]


@pytest.mark.parametrize(
    ("options", "is_named"),
    [
        ({"candidate_labels": ["Artificial smoothness"]}, False),
        ({"candidate_labels": ["Artificial smoothness", "frequency signatures"]}, True),
        ({"threshold": 0.999}, False),
        ({"threshold": 0.8, "top_k": 1}, True),
        ({"candidate_labels": ["Frequency domain signatures"], "threshold": 0.999}, False),
    ],
)
def test_the_grid_as_artifact_obeys_the_callers_options(explain, tmp_path, options, is_named):
    as_file(with_wave(photo(), (1 / 4, 1 / 4))).convert("RGB").save(tmp_path / "grid.png")
    answer = explain(str(tmp_path / "grid.png"), explain="always", **options)
    assert [artifact["label"] for artifact in answer["artifacts"]] == ["Frequency domain signatures"] * is_named
    assert answer["traces"] and answer["artifacts_note"].startswith("Other artifacts" if is_named else "Artifacts")


@pytest.mark.parametrize("worth", SHOWN, ids=lambda worth: worth.grid.name)
def test_the_score_of_a_grid_is_its_precision_at_equal_shares(worth):
    trace = {"name": worth.grid.name, "text": "It is there."}
    (artifact,) = signatures_of([trace], 500, 400)
    people = max(worth.photographs, 1 / PHOTOGRAPHS, worth.other_pictures, 1 / OTHER_PICTURES)
    assert artifact["score"] == pytest.approx(1000 * worth.generated / (1000 * worth.generated + 1000 * people))


def test_rings_lie_on_the_peaks_of_the_picture():
    (picture,) = spectrum_pictures(as_file(with_wave(photo(), (1 / 4, 1 / 4), 20)), ["grid of 4 pixels"])
    picture = np.asarray(picture)
    assert (picture[48 * 4 + 1, 48 * 4 + 1] == 255).all()  # a quarter beyond the middle, down and right
    ring = (picture == (0xD5, 0x5E, 0)).all(-1)
    assert ring[48 * 4 - 14 : 48 * 4 + 18, 48 * 4 - 14 : 48 * 4 + 18].any()


@pytest.mark.skipif(not SPECTRA.exists(), reason="needs the spectra of whole files in ../shared/data")
def test_the_table_says_what_the_spectra_show(capsys):
    from tellsign.training.evaluate_traces import main

    main(SPECTRA)
    printed = capsys.readouterr().out
    assert f"lossless: {GENERATED} generated, {PHOTOGRAPHS} photo, {OTHER_PICTURES} other\n" in printed
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in printed.splitlines()]
    measured = {row[0]: [*row[2:6], row[6].split()[0]] for row in rows if row[1:2] == ["lossless"]}
    for worth in SHOWN:
        shares = (worth.generated, worth.photographs, worth.other_pictures)
        said = [f"{worth.threshold:.2f}", *(f"{100 * share:.1f}" for share in shares), f"{worth.lift:.1f}"]
        assert measured[worth.grid.name] == said


def test_a_picture_that_a_decoder_draws_shows_its_grid(tmp_path):
    from tellsign.training.redraw import main

    main(PHOTO, tmp_path / "drawn.png", steps=2)
    assert find_traces(Image.open(tmp_path / "drawn.png"))[0]
