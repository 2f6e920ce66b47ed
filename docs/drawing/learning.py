"""Diagrams of the theory of losses: target positions, CTC, contrastive learning."""

from docs.drawing.canvas import Canvas


def targets() -> str:
    """Where in a stream the loss is computed."""
    drawn = Canvas(760, 250, "A stream of picture tokens, prompt ids and target ids; the loss is taken at the targets")
    prompt = [("", "green")] * 5 + [("Describe", "yellow"), ("it", "yellow")]
    inputs = [("begin", "orange"), ("a", "orange"), ("red", "orange")]
    for place, (word, colour) in enumerate([*prompt, *inputs]):
        drawn.cell(20 + 72 * place, 170, 72, 34, colour, word)
    drawn.text(200, 224, "picture, through encoder and adapter", size=11)
    drawn.text(452, 224, "prompt ids", size=11)
    drawn.text(632, 224, "target, moved by one", size=11)
    drawn.box(20, 108, 720, 36, "backbone", "plain")
    for place in range(10):
        drawn.line((56 + 72 * place, 170), (56 + 72 * place, 144))
    for place, word in enumerate(("a", "red", "end")):
        x = 524 + 72 * place
        drawn.arrow((x + 36, 108), (x + 36, 82), kind="way")
        drawn.cell(x, 48, 72, 34, "violet", word)
    drawn.text(632, 36, "− log p of each", kind="hot")
    drawn.text(272, 70, "no loss at the prompt", size=11)
    return str(drawn)


def ctc() -> str:
    """The trellis of the target "ab" over six rows."""
    drawn = Canvas(680, 320, "All paths that spell ab over six rows; one of them is marked")
    states = ["∅", "a", "∅", "b", "∅"]
    path = [0, 1, 1, 2, 3, 4]
    at = [[(130 + 96 * row, 50 + 54 * state) for state in range(5)] for row in range(6)]

    def open_(row: int, state: int) -> bool:
        return state <= 2 * row + 1 and state >= 5 - 2 - 2 * (5 - row)

    for row in range(5):
        for state in range(5):
            for step in (0, 1, 2):
                reached = state + step
                skips = step == 2 and states[reached % 5] == "∅"
                if reached > 4 or skips or not (open_(row, state) and open_(row + 1, reached)):
                    continue
                hot = path[row] == state and path[row + 1] == reached
                drawn.line(at[row][state], at[row + 1][reached], kind="way" if hot else "line", width=3 if hot else 1.2)
    for row in range(6):
        for state in range(5):
            if open_(row, state):
                hot = path[row] == state
                drawn.circle(*at[row][state], 15, "orange" if hot else "plain", states[state])
        drawn.text(130 + 96 * row, 24, f"row {row + 1}", size=11)
    for state, name in enumerate(states):
        drawn.text(90, 54 + 54 * state, "blank" if name == "∅" else name, "end")
    drawn.text(370, 312, "marked: ∅ a a ∅ b ∅, which becomes “ab”")
    return str(drawn)


def contrastive() -> str:
    """The matrix of similarities of a batch of four."""
    drawn = Canvas(600, 330, "Four pictures and four texts: the four pairs are right, the twelve others are wrong")
    for row in range(4):
        drawn.box(40, 62 + 58 * row, 84, 44, f"picture {row + 1}", "green")
        drawn.arrow((124, 84 + 58 * row), (170, 84 + 58 * row))
        drawn.box(182 + 74 * row, 10, 62, 34, f"text {row + 1}", "yellow")
        for column in range(4):
            right = row == column
            words = f"s{row + 1}{column + 1}".translate(str.maketrans("1234", "₁₂₃₄"))
            drawn.cell(176 + 74 * column, 56 + 58 * row, 74, 58, "orange" if right else "plain", words)
    drawn.line((176, 114), (472, 114), (472, 172), (176, 172), (176, 114), kind="way", width=2.5)
    drawn.line((324, 56), (398, 56), (398, 288), (324, 288), (324, 56), width=2.5)
    drawn.text(482, 140, "softmax of a row:", "start", "hot")
    drawn.text(482, 158, "which text?", "start", "hot")
    drawn.text(361, 310, "softmax of a column: which picture?")
    return str(drawn)
