"""What the conformance kit tries the encoder on."""

from mmkit.testing import Case


def ecg() -> list[Case]:
    """Recordings of several lengths, and what has to be refused."""
    beats = [[float(n % 13 == 0) for n in range(size)] for size in (1, 50, 131)]
    bad: tuple[object, ...] = ([], [float("nan")], ["one"], [[0.0, 1.0]], [0.0] * 7681, "no/such/file.txt", 0.5)
    return [Case({"dim": 16, "layers": 3}, raws=beats, bad=bad)]
