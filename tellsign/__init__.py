"""tellsign: tell AI-generated images from real ones, and show why.

Importing the package registers WaveFreq with the Auto classes of transformers. It is the only import with an effect.
"""

from pathlib import Path

from transformers import AutoConfig, AutoImageProcessor, AutoModel, AutoModelForImageClassification

from tellsign._version import __version__
from tellsign.configuration.configuration_wavefreq import WaveFreqConfig
from tellsign.modeling.image_loading import load_image
from tellsign.modeling.image_processing_wavefreq import WaveFreqImageProcessor
from tellsign.modeling.modeling_wavefreq import WaveFreqForImageClassification, WaveFreqModel


AutoConfig.register(WaveFreqConfig.model_type, WaveFreqConfig, exist_ok=True)
AutoModel.register(WaveFreqConfig, WaveFreqModel, exist_ok=True)
AutoModelForImageClassification.register(WaveFreqConfig, WaveFreqForImageClassification, exist_ok=True)
AutoImageProcessor.register(
    WaveFreqConfig, image_processor_classes={"torchvision": WaveFreqImageProcessor}, exist_ok=True
)

DEFAULT_MODEL = Path(__file__).parent / "default"
"""Folder of the packaged detector, for `from_pretrained`."""

__all__ = [
    "DEFAULT_MODEL",
    "WaveFreqConfig",
    "WaveFreqForImageClassification",
    "WaveFreqImageProcessor",
    "WaveFreqModel",
    "__version__",
    "load_image",
]
