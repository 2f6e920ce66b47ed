"""Diagrams of the theory of networks: attention, positions, convolution, recurrence."""

import math

from docs.drawing.canvas import Canvas


def attention() -> str:
    """The flow of one head, and three ways of which row sees which."""
    drawn = Canvas(760, 330, "Scaled dot-product attention, and three masks: packed, causal, prefix")
    drawn.box(10, 58, 70, 42, "rows x")
    for y, name, words in ((10, "q", "queries q"), (58, "k", "keys k"), (106, "v", "values v")):
        drawn.arrow((80, 79), (110, 79), (120, y + 21), (140, y + 21))
        drawn.box(140, y, 100, 42, words, {"q": "blue", "k": "green", "v": "yellow"}[name])
    drawn.arrow((240, 31), (270, 31), (290, 55))
    drawn.arrow((240, 79), (270, 79), (290, 65))
    drawn.box(290, 38, 110, 42, "q kᵀ / √d", "plain", "one score a pair")
    drawn.arrow((400, 59), (440, 59))
    drawn.box(440, 38, 100, 42, "softmax", "plain", "a row sums to 1")
    drawn.arrow((540, 59), (570, 59), (590, 80))
    drawn.arrow((240, 127), (550, 127), (590, 102))
    drawn.box(590, 70, 150, 42, "weights · v", "orange", "a mean of the values")
    masks = (
        ("packed: two samples", lambda row, key: (row < 2) == (key < 2)),
        ("causal", lambda row, key: key <= row),
        ("prefix: 2 prompt, 3 target", lambda row, key: key <= row or (row < 2 and key < 2)),
    )
    for number, (name, sees) in enumerate(masks):
        x = 80 + 240 * number
        drawn.text(x + 55, 190, name)
        for row in range(5):
            for key in range(5):
                drawn.cell(x + 22 * key, 204 + 22 * row, 22, 22, "strong" if sees(row, key) else "")
    drawn.text(66, 263, "query", "end", size=11)
    drawn.text(135, 328, "key", size=11)
    return str(drawn)


def positions() -> str:
    """Hands of dials that turn at several rates."""
    drawn = Canvas(640, 250, "Every pair of coordinates is a hand that turns by its own rate from position to position")
    for row, rate in enumerate((1.0, 0.4, 0.1)):
        y = 60 + 66 * row
        drawn.text(116, y + 4, ("fast pair", "slower pair", "slow pair")[row], "end")
        for place in range(9):
            x, angle = 150 + 56 * place, rate * place
            drawn.circle(x, y, 22, "blue")
            tip = (round(x + 18 * math.cos(angle), 1), round(y - 18 * math.sin(angle), 1))
            drawn.line((x, y), tip, kind="way", width=2.5)
    for place in range(9):
        drawn.text(150 + 56 * place, 26, str(place))
    drawn.text(116, 26, "position", "end")
    drawn.text(374, 240, "the angle between two hands depends on the distance of their positions alone", size=11)
    return str(drawn)


def convolution() -> str:
    """Two layers of kernel 3 and stride 2; what one output sees."""
    drawn = Canvas(680, 240, "Two convolutions of kernel 3 and stride 2: one row of the second sees seven inputs")
    layers = [[60 + 50 * place for place in range(12)], [60 + 100 * place for place in range(6)]]
    layers.append([60 + 200 * place for place in range(3)])
    heights = [196, 116, 36]
    seen: list[set[int]] = [set(range(1, 8)), {1, 2, 3}, {1}]
    for level in (1, 2):
        for place, x in enumerate(layers[level]):
            for source in (2 * place - 1, 2 * place, 2 * place + 1):
                if 0 <= source < len(layers[level - 1]):
                    ends = (layers[level - 1][source], heights[level - 1]), (x, heights[level])
                    hot = place in seen[level]
                    drawn.line(*ends, kind="way" if hot else "line", width=2 if hot else 1)
    for level, places in enumerate(layers):
        for place, x in enumerate(places):
            drawn.circle(x, heights[level], 13, "orange" if place in seen[level] else "plain")
    for level, words in enumerate(("12 rows", "6 rows", "3 rows")):
        drawn.text(40, heights[level] + 4, words.split()[0], "end")
    drawn.text(360, 232, "receptive field of the second row above: 1 + 2 + 2·2 = 7 inputs", size=11)
    return str(drawn)


def recurrence() -> str:
    """An LSTM cell: a state that is kept, gates that write and read it."""
    drawn = Canvas(680, 290, "An LSTM cell: the cell state runs through, three gates forget, write and read")
    drawn.arrow((20, 50), (660, 50))
    drawn.text(20, 38, "cₜ₋₁", "start")
    drawn.text(660, 38, "cₜ", "end")
    drawn.circle(180, 50, 15, "orange", "×")
    drawn.circle(350, 50, 15, "orange", "+")
    drawn.circle(350, 120, 15, "orange", "×")
    drawn.circle(560, 130, 15, "orange", "×")
    gates = ((150, "σ", "f: forget"), (270, "σ", "i: write"), (370, "tanh", "g: content"), (470, "σ", "o: read"))
    for x, function, name in gates:
        drawn.box(x, 180, 60, 34, function, "blue")
        drawn.arrow((x + 30, 244), (x + 30, 214))
        drawn.text(x + 34, 234, name.split(": ")[1], "start", size=11)
    drawn.arrow((180, 180), (180, 65))
    drawn.arrow((300, 180), (300, 120), (335, 120))
    drawn.arrow((400, 180), (400, 120), (365, 120))
    drawn.arrow((350, 105), (350, 65))
    drawn.arrow((500, 180), (500, 130), (545, 130))
    drawn.arrow((560, 50), (560, 74))
    drawn.box(530, 74, 60, 26, "tanh", "green")
    drawn.arrow((560, 100), (560, 115))
    drawn.arrow((575, 130), (660, 130))
    drawn.text(660, 122, "hₜ", "end")
    drawn.line((40, 244), (500, 244))
    drawn.text(20, 240, "hₜ₋₁", "start")
    drawn.arrow((90, 276), (90, 246))
    drawn.text(98, 274, "xₜ", "start")
    return str(drawn)
