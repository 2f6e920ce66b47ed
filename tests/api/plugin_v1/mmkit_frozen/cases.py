"""What the conformance kit tries the components on."""

from mmkit.testing import Case

SIGNALS = ([0.0, 1.0, 2.0], [float(n) for n in range(17)], [1.0] * 8)
PACKED = {"compiles_whole": "torch's recurrent layers do not compile into one graph"}


def patches() -> list[Case]:
    bad = ([], [1.0, float("nan")], ["one"], [0.0] * 100_001, 3, "no/such/file.txt")
    return [Case({"patch": 4, "dim": 16}, raws=SIGNALS, bad=bad)]


def halve() -> list[Case]:
    return [Case(waive={"compiles_whole": "it computes where its pairs lie from lengths"})]


def levels() -> list[Case]:
    return [Case({"levels": 9}, raws=[[-1.0, 0.0, 1.0], [0.5, -0.5]], bad=["one", 3, [None]], same=close)]


def close(one: list[float], other: list[float]) -> bool:
    return len(one) == len(other) and all(abs(a - b) < 0.5 for a, b in zip(one, other, strict=True))


def gru() -> list[Case]:
    return [Case({"dim": 16}, waive=PACKED)]


def quantiles() -> list[Case]:
    return [Case({"quantiles": [0.1, 0.9]}, raws=[1, 2.5], bad=["one", True], name="two")]


def go_on() -> list[Case]:
    texts = ("ab", "cabin", "b", "dab")
    return [
        Case({"label_smoothing": 0.1}, raws=texts, bad=("", 3, b"ab")),
        Case({"beams": 2}, raws=texts, bad=("", 3, b"ab"), name="beams"),
    ]
