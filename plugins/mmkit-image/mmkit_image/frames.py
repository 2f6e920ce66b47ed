"""How many frames a picture file has, counted no further than a limit and without decoding any."""

from PIL import Image

_GIF_EXTENSION, _GIF_IMAGE = 0x21, 0x2C


def more_frames_than(limit: int, image: Image.Image, data: bytes | None) -> bool:
    """Whether an opened, not yet decoded picture has more than ``limit`` frames.

    GIF and TIFF name no count, and finding it walks the whole file; both walks here stop at the limit. The other
    formats write a count into their header.
    """
    if image.format == "GIF" and data is not None:
        return _gif_frames(data, limit + 1) > limit
    if image.format == "TIFF":
        return _can_seek(image, limit)
    return getattr(image, "n_frames", 1) > limit


def _can_seek(image: Image.Image, frame: int) -> bool:
    try:
        image.seek(frame)
    except EOFError:
        image.seek(0)
        return False
    return True


def _gif_frames(data: bytes, stop: int) -> int:
    """Image descriptors of a GIF89a (W3C specification, appendix A), no more than ``stop``; a cut file ends the count."""
    frames = 0
    try:
        at = 13 + _colours(data[10])
        while frames < stop:
            if data[at] == _GIF_IMAGE:
                frames += 1
                at = _skip(data, at + 11 + _colours(data[at + 9]))
            elif data[at] == _GIF_EXTENSION:
                at = _skip(data, at + 2)
            else:
                break
    except IndexError:
        pass
    return frames


def _colours(flags: int) -> int:
    """Bytes of the colour table that a flags byte announces."""
    return 3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0


def _skip(data: bytes, at: int) -> int:
    """The place after a run of sub-blocks."""
    while data[at]:
        at += data[at] + 1
    return at + 1
