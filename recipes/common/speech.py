"""Synthetic speech: eSpeak NG (formant synthesis) through ctypes, from the ``espeakng-loader`` package."""

import ctypes
from functools import cache
from pathlib import Path

import numpy as np
import soundfile

from recipes.common.emoji_draw import demo_package
from recipes.common.errors import RecipeError

SAMPLE_RATE = 16_000
_SYNCHRONOUS, _UTF8, _RATE = 2, 1, 1


class Speaker:
    """Text → mono float32 speech at 16 kHz, peak ≤ 1. One a process: the library keeps global state.

    Args:
        voice: a voice of eSpeak NG, with a variant if wanted: ``en-us``, ``de``, ``en-us+f3``.
        rate: words a minute, 80 to 450.
    """

    def __init__(self, voice: str = "en-us", rate: int = 190) -> None:
        self.library, self.native_rate = _library()
        if self.library.espeak_SetVoiceByName(voice.encode()) != 0:
            raise ValueError(
                f"eSpeak NG has no voice {voice!r}; try 'en-us', 'de', 'fr', or a variant such as 'en-us+f3'"
            )
        self.library.espeak_SetParameter(_RATE, rate, 0)

    def __call__(self, text: str) -> "np.ndarray":
        """The spoken text.

        Raises:
            ValueError: nothing was spoken (a text without a single readable character).
        """
        import soxr

        chunks: list[np.ndarray] = []

        @_CALLBACK
        def collect(samples: "ctypes._Pointer[ctypes.c_short]", count: int, events: int) -> int:
            if samples and count > 0:
                chunks.append(np.ctypeslib.as_array(samples, (count,)).copy())
            return 0

        self.library.espeak_SetSynthCallback(collect)
        data = text.encode() + b"\0"
        self.library.espeak_Synth(data, len(data), 0, 0, 0, _UTF8, None, None)
        self.library.espeak_Synchronize()
        if not chunks:
            raise ValueError(f"eSpeak NG speaks nothing for {text!r}")
        native = np.concatenate(chunks).astype(np.float32) / 32768
        return np.clip(soxr.resample(native, self.native_rate, SAMPLE_RATE), -1, 1)

    def write(self, text: str, path: Path) -> float:
        """Speak into a file (the suffix decides the format); the seconds spoken."""
        speech = self(text)
        soundfile.write(path, speech, SAMPLE_RATE)
        return len(speech) / SAMPLE_RATE


_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


@cache
def _library() -> tuple[ctypes.CDLL, int]:
    loader = demo_package("espeakng_loader")
    try:
        library = ctypes.CDLL(loader.get_library_path())
    except OSError as error:
        raise RecipeError(
            f"the speech synthesiser of espeakng-loader does not load here: {error};\n"
            "    fix: use a platform that it has a wheel for (Linux, macOS or Windows on x86-64 or arm64)"
        ) from None
    rate = library.espeak_Initialize(_SYNCHRONOUS, 0, loader.get_data_path().encode(), 0)
    if rate <= 0:
        raise RecipeError(f"eSpeak NG could not start with its data in {loader.get_data_path()} (code {rate})")
    return library, rate
