"""Families of generators: versions, fine-tunes and distillations of one model, whose images look alike."""

import re
from functools import cache


# In this order: the first pattern that occurs in a name, its spaces and underscores as hyphens, decides.
FAMILIES = {
    "PixArt": r"pixart",
    "AuraFlow": r"aura-?flow|pony-v7",
    "Stable Diffusion 3": r"stable-diffusion-?v?-?3|\bsd-?v?3",
    "Stable Diffusion 2": r"stable-diffusion-?v?-?2|\bsd-?v?2|sd-?turbo|unclip",
    "SDXL": r"sdxl|xl-|(?<!glid-3-)xl\b|animagine|illustrious|\bpony|ssd-1b|segmind-vega|segmoe-4x2|koala"
    r"|tempestbyvlad|playground-v2",
    "Stable Diffusion 1": r"stable-diffusion|(?<![a-z])sd-?v?-?1|dreamshaper|\bv1-5|tiny-sd|segmoe-sd"
    r"|juggernaut-reborn|sdxs|simulacra|blipdiffusion|playground-v1|hypernetworks|2-pass-txt2img|area-composition"
    r"|noisy-latent-composition|\blcm|\bsd\b|streamdiffusion|prompt-to-prompt|plug-and-play",
    "FLUX.2": r"flux[-.]?2",
    "FLUX.1": r"flux|chroma|flex\.|shuttle|cenkre",
    "Qwen-Image": r"qwen|firered|vibe-image|joyai|unipic3",
    "GPT image": r"\bgpt-",
    "Gemini image": r"gemini|nano-banana|\bnbp\b|google-ai",
    "DALL-E mini": r"dall-?e-?(mini|mega)",
    "Z-Image": r"z-?image|\bzit\b|-zit-|moodyrealmix",
    "Stable Cascade": r"cascade|wuerstchen",
    "Wan": r"\bwan|chronoedit",
    "BRIA": r"bria",
    "Imagen": r"\bimagen(?!et)",
    "pix2pix": r"(?<!instruct-)pix2pix",
    "LDM": r"\bldm",
} | {
    # Those that every name of theirs begins with.
    name: r"\b" + re.sub(r"[- ]", "-?", name.lower())
    for name in (
        *("amused", "Anima", "Boogu", "CogView", "Cosmos", "CycleGAN", "DALL-E", "DeepFloyd IF", "ERNIE-Image"),
        *("F-Lite", "HiDream", "Hunyuan", "Ideogram", "Infinity", "Kandinsky", "Krea 2", "Lens", "LongCat", "Lumina"),
        *("Midjourney", "Muse", "OmniGen", "Ovis", "PRX", "Sana", "score-sde", "StarGAN", "StyleGAN2"),
    )
}

BEFORE_2022 = re.compile(
    r"stylegan|stargan|cyclegan|pix2pix|\bldm|dall-?e-?mini|vqgan|gaugan|diffusionclip|diffuseit|r3gan|unknown-gan",
    re.IGNORECASE,
)


def is_before_2022(family: str) -> bool:
    """Whether a family's models, or their kind, are older than Stable Diffusion."""
    return BEFORE_2022.search(family) is not None


@cache
def family_of(generator: str) -> str:
    """The family of a generator by its name in any case. An unknown one is its own, without a part in brackets."""
    hyphenated = re.sub(r"[\s_]+", "-", generator)
    for family, pattern in FAMILIES.items():
        if re.search(pattern, hyphenated, re.IGNORECASE):
            return family
    return re.sub(r"\s*\(.*\)$", "", generator)
