"""The stamps of Tux Paint: drawings and photographs, each with a caption; and emoji drawn in two styles."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image
from rich.progress import track

from recipes.common.debian import debian_package
from recipes.common.emoji_draw import Painter, emoji_list, openmoji_font
from recipes.common.families import by_similarity

LICENCES = {
    "stamps": "tuxpaint-stamps-default, GPL-2+ (some public domain)",
    "emoji": "OpenMoji (CC BY-SA 4.0), names from emoji (BSD-3-Clause)",
    "style": "fonts-noto-color-emoji (OFL-1.1)",
}
SIMILAR = 80.0


def stamp_rows(folder: Path, side: int) -> list[dict[str, Any]]:
    """Every stamp with an English caption: ``image`` (RGB PNG on white, longer side at most ``side``), ``caption``,
    ``kind`` (its folder) and ``family`` (stamps with similar captions share one)."""
    stamps = debian_package("tuxpaint-stamps-default", LICENCES["stamps"]) / "usr/share/tuxpaint/stamps"
    rows = []
    for picture in track(sorted(stamps.rglob("*.png")), "stamps"):
        text = picture.with_suffix(".txt")
        name = picture.relative_to(stamps)
        if not text.exists() or picture.stem.endswith("_mirror"):
            continue
        caption = " ".join(text.read_text("utf-8").split("\n")[0].split())
        if not caption or "=" in caption[:12]:
            continue
        image = Path("images") / name
        (folder / image).parent.mkdir(parents=True, exist_ok=True)
        on_white(picture, side).save(folder / image)
        rows.append({"image": image.as_posix(), "caption": caption, "kind": name.parts[0]})
    families = by_similarity([row["caption"].lower() for row in rows], SIMILAR, min_words=2)
    return [{**row, "family": family} for row, family in zip(rows, families, strict=True)]


def on_white(path: Path, side: int) -> Image.Image:
    """A picture as RGB over white, made smaller until its longer side is at most ``side`` pixels."""
    with Image.open(path) as opened:
        picture = opened.convert("RGBA")
    white = Image.new("RGBA", picture.size, "white")
    flat = Image.alpha_composite(white, picture).convert("RGB")
    flat.thumbnail((side, side), Image.Resampling.LANCZOS)
    return flat


def emoji_rows(folder: Path, side: int, style: str = "openmoji") -> list[dict[str, Any]]:
    """Every emoji that the style draws: ``image`` (RGB PNG), ``caption`` (English name), ``kind`` and ``family``."""
    if style == "openmoji":
        painter = Painter(openmoji_font(), side)
    else:
        font = debian_package("fonts-noto-color-emoji", LICENCES["style"]) / "usr/share/fonts/truetype/noto"
        painter = Painter(font / "NotoColorEmoji.ttf", side, strike=109)
    (folder / style).mkdir()
    rows = []
    for one in track(emoji_list(("en",)), style):
        picture = painter(one.text)
        if picture is not None:
            image = f"{style}/{one.stem}.png"
            picture.save(folder / image)
            rows.append({"image": image, "caption": one.names["en"], "kind": "emoji", "family": one.names["en"]})
    return rows


def without(rows: Sequence[dict[str, Any]], column: str) -> list[dict[str, Any]]:
    """The rows without a column that only the split needed."""
    return [{name: value for name, value in row.items() if name != column} for row in rows]
