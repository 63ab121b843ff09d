"""Registers the models with the Auto classes of transformers, and the pipeline "artifact-explanation".

It holds the public names of the package, which looks them up here.
"""

from pathlib import Path

from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoModel,
    AutoModelForImageClassification,
    AutoModelForZeroShotImageClassification,
    AutoProcessor,
    SiglipImageProcessor,
    SiglipProcessor,
)
from transformers.pipelines import PIPELINE_REGISTRY

from tellsign.configuration.artifacts import find_artifact as find_artifact
from tellsign.configuration.configuration_artifact_siglip import ArtifactSiglipConfig
from tellsign.configuration.configuration_large_picture import LargePictureConfig
from tellsign.configuration.configuration_wavefreq import WaveFreqConfig
from tellsign.modeling.image_loading import load_image as load_image
from tellsign.modeling.image_processing_large_picture import LargePictureImageProcessor
from tellsign.modeling.image_processing_wavefreq import WaveFreqImageProcessor
from tellsign.modeling.modeling_artifact_siglip import ArtifactSiglipModel
from tellsign.modeling.modeling_large_picture import LargePictureForImageClassification
from tellsign.modeling.modeling_wavefreq import WaveFreqForImageClassification, WaveFreqModel
from tellsign.pipelines.annotation import annotate as annotate
from tellsign.pipelines.artifact_explanation import ArtifactExplanationPipeline
from tellsign.pipelines.provenance.reading import provenance as provenance
from tellsign.pipelines.tagger import ArtifactTagger as ArtifactTagger


PROCESSORS = {
    WaveFreqConfig: WaveFreqImageProcessor,
    LargePictureConfig: LargePictureImageProcessor,
    ArtifactSiglipConfig: SiglipImageProcessor,
}
for config, image_processor in PROCESSORS.items():
    AutoConfig.register(config.model_type, config, exist_ok=True)
    AutoImageProcessor.register(config, image_processor_classes={"torchvision": image_processor}, exist_ok=True)
AutoProcessor.register(ArtifactSiglipConfig, SiglipProcessor, exist_ok=True)

AutoModel.register(WaveFreqConfig, WaveFreqModel, exist_ok=True)
AutoModel.register(ArtifactSiglipConfig, ArtifactSiglipModel, exist_ok=True)
AutoModelForImageClassification.register(WaveFreqConfig, WaveFreqForImageClassification, exist_ok=True)
AutoModelForImageClassification.register(LargePictureConfig, LargePictureForImageClassification, exist_ok=True)
AutoModelForZeroShotImageClassification.register(ArtifactSiglipConfig, ArtifactSiglipModel, exist_ok=True)

if "artifact-explanation" not in PIPELINE_REGISTRY.get_supported_tasks():
    PIPELINE_REGISTRY.register_pipeline(
        "artifact-explanation",
        pipeline_class=ArtifactExplanationPipeline,
        pt_model=AutoModelForImageClassification,
        default=(str(Path(__file__).with_name("default")), "main"),  # type: ignore[arg-type]
        type="image",
    )
