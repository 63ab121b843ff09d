"""Which generators are relatives: versions, fine-tunes and distillations of one model, whose images look alike."""

import re


# In this order: the first pattern that occurs in a name decides.
FAMILIES = {
    "PixArt": r"pixart",
    "AuraFlow": r"aura_?flow|pony-v7",
    "Stable Diffusion 3": r"stable-diffusion-3|\bsd3",
    "Stable Diffusion 2": r"stable-diffusion-2|sd-?turbo|unclip",
    "SDXL": r"sdxl|[ _-]xl[ _-]|xl_|xl-v|illustrious|\bpony|ssd-1b|segmind-vega|segmoe-4x2|koala|tempestbyvlad"
    r"|playground-v2",
    "Stable Diffusion 1": r"stable-diffusion|(?<![a-z])sd[-_]?1|dreamshaper|\bv1-5|tiny-sd|segmoe-sd"
    r"|juggernaut_reborn|sdxs|simulacra|blipdiffusion|playground-v1|hypernetworks|2_pass_txt2img|area_composition"
    r"|noisy_latent_composition|\blcm",
    "FLUX.2": r"flux\.?2",
    "FLUX.1": r"flux|chroma|flex\.|shuttle|cenkre",
    "Qwen-Image": r"qwen|firered|vibe-image|joyai|unipic3",
    "Hunyuan": r"hunyuan",
    "GPT image": r"\bgpt-",
    "Gemini image": r"gemini|nano-banana",
    "Muse": r"\bmuse",
    "DALL-E": r"\bdall-e",
    "Z-Image": r"z[-_]?image|\bzit\b|-zit-|moodyrealmix",
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
}


def family_of(generator: str) -> str:
    """The family that a generator belongs to, by its name; of an unknown one the name without what is in brackets.

    Args:
        generator (`str`): As in a column `generator`, in any case.
    """
    for family, pattern in FAMILIES.items():
        if re.search(pattern, generator, re.IGNORECASE):
            return family
    return re.sub(r"\s*\(.*\)$", "", generator)
