"""Names by which generators of images are known."""

import re


# Names that stand for generators of images and nothing else.
NAMES = re.compile(
    r"\b(Ideogram AI|Midjourney|NovelAI|DALL[·-]?E(?: ?\d)?|Adobe Firefly|Stable Diffusion|Google AI|InvokeAI|"
    r"Draw Things|Black Forest Labs|Apple Image Playground|Apple Photos Clean Up|Luma AI|Luma Dream Machine|"
    r"lumalabs\.ai|reve\.com|Reve AI|Reve Image|Aphrodite AI)\b"
)
# Names that are words of a language too: they count as a program's name alone.
PROGRAMS = {"Reve", "Luma", "Image Playground"}
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def generator_in(text: str) -> str:
    """The generator that a text names, or nothing."""
    match = NAMES.search(text)
    return match[1] if match else ""


def generator_of(program: str) -> str:
    """The generator that the name of a program is or holds, or nothing."""
    return program if program in PROGRAMS else generator_in(program)


def is_of_grok(description: str, author: str) -> bool:
    """Whether they are what xAI writes: a signature, and the picture's number in place of an author."""
    return description.startswith("Signature: ") and bool(_UUID.fullmatch(author.strip()))


GROK = "Grok (xAI)"
