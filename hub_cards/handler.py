"""What Inference Endpoints runs: judges the images of a request."""

import base64
import binascii
import os
from typing import Any

from PIL import Image
from transformers import pipeline


try:
    from tellsign import ArtifactExplanationPipeline

    CODE: dict[str, Any] = {"pipeline_class": ArtifactExplanationPipeline}
except ImportError:
    CODE = {"trust_remote_code": True}  # of this repository, which brings it along

OPTIONS = ("explain", "operating_point", "threshold", "top_k", "candidate_labels")
URLS = "TELLSIGN_ALLOW_URLS"
"""Environment variable of the endpoint: with `1` it fetches addresses, of its own network too."""


class EndpointHandler:
    """Judges the images of a request, by the models in the folder of a repository."""

    def __init__(self, path: str = "."):
        make: Any = pipeline  # which is typed for the tasks of transformers alone
        self.explain_image = make("artifact-explanation", model=path, explain="never", **CODE)
        self.allows_urls = os.environ.get(URLS) == "1"

    def __call__(self, data: dict[str, Any]) -> Any:
        """Answers a request.

        Args:
            data (`dict`):
                `inputs`, an image or a list of them, each as base64, as a `data:` address, as bytes or as a Pillow
                image. If the endpoint allows that, it may be an http(s) address. `parameters`, options of the
                pipeline: `explain`, `operating_point`, `threshold`, `top_k` and `candidate_labels`.

        Returns:
            `dict` for an image, `list` of them for a list: the pipeline's answer, or `{"error": message}`.

        Raises:
            ValueError: If there are no inputs, or a parameter is unknown or not as described.
        """
        if not isinstance(data, dict) or "inputs" not in data:
            raise ValueError("the request has no inputs, expected an image or a list of images")
        options = {"explain": "fake" if self.explain_image.tagger else "never"} | (data.get("parameters") or {})
        if unknown := sorted(options.keys() - set(OPTIONS)):
            raise ValueError(f"parameters: no {', '.join(unknown)}, expected {', '.join(OPTIONS)}")
        inputs = data["inputs"]
        sources = [self._source_of(image) for image in (inputs if isinstance(inputs, list) else [inputs])]
        answers = self.explain_image(sources, batch_size=8, **options)
        return answers if isinstance(inputs, list) else answers[0]

    def _source_of(self, image: Any) -> Any:
        """What the pipeline takes, or the error that it is to answer: of a text never the file of that name."""
        if isinstance(image, (bytes, Image.Image)):
            return image
        if not isinstance(image, str):
            return ValueError(f"expected base64, got {type(image).__name__}")
        scheme = image[:11].lower()
        if scheme == "data:image/":
            return image
        if scheme.startswith(("http://", "https://")):
            if self.allows_urls:
                return image
            return ValueError(f"this endpoint fetches no addresses: send base64, or set {URLS}=1 for the endpoint")
        try:
            return base64.b64decode("".join(image.split()), validate=True)
        except binascii.Error as error:
            return ValueError(f"is not base64, {error}")
