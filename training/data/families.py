"""Which generators are relatives: versions, fine-tunes and distillations of one model, whose images look alike."""

import re


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
    r"|noisy-latent-composition|\blcm",
    "FLUX.2": r"flux[-.]?2",
    "FLUX.1": r"flux|chroma|flex\.|shuttle|cenkre",
    "Qwen-Image": r"qwen|firered|vibe-image|joyai|unipic3",
    "Hunyuan": r"hunyuan",
    "GPT image": r"\bgpt-",
    "Gemini image": r"gemini|nano-banana",
    "Muse": r"\bmuse",
    "DALL-E": r"\bdall-?e(?!-?mini)",
    "Z-Image": r"z-?image|\bzit\b|-zit-|moodyrealmix",
    "Stable Cascade": r"cascade|wuerstchen",
    "Wan": r"\bwan|chronoedit",
    "Sana": r"\bsana",
    "Lumina": r"lumina",
    "Kandinsky": r"kandinsky",
    "HiDream": r"hidream",
    "ERNIE-Image": r"ernie",
    "Lens": r"\blens",
    "Boogu-Image": r"boogu",
    "Anima": r"\banima",
    "Ideogram": r"ideogram",
    "Krea 2": r"krea-?2",
    "Cosmos": r"cosmos",
    "OmniGen": r"omnigen",
    "BRIA": r"bria",
    "Ovis-Image": r"ovis",
    "LongCat-Image": r"longcat",
    "CogView": r"cogview",
    "amused": r"amused",
    "score-sde": r"score-sde",
    "F-Lite": r"\bf-lite",
    "PRX": r"\bprx",
    "Midjourney": r"midjourney",
    "Imagen": r"\bimagen(?!et)",
}


def family_of(generator: str) -> str:
    """The family that a generator belongs to, by its name; of an unknown one the name without what is in brackets.

    Args:
        generator (`str`): As in a column `generator`, in any case.
    """
    hyphenated = re.sub(r"[\s_]+", "-", generator)
    for family, pattern in FAMILIES.items():
        if re.search(pattern, hyphenated, re.IGNORECASE):
            return family
    return re.sub(r"\s*\(.*\)$", "", generator)
