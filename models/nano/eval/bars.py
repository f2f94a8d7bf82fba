"""What tally-nano must reach, and which of it a report misses. Standard library only: the tests read it, too."""

# (task, figure): (bar of the generated sets, bar of what was written by hand)
BARS = {
    ("extract", "f1"): (0.90, 0.70),
    ("answer", "exact"): (0.85, 0.65),
    ("tool", "free_right"): (0.90, 0.90),
    ("tool", "forced_valid"): (0.99, 0.99),
    ("tool", "forced_right"): (0.90, 0.90),
}
SETS = ("words", "shapes", "both", "hand")


def missed(figures, sets=SETS, tasks=tuple(task for task, _ in BARS)):
    """One line for each bar of these sets and tasks that is not reached. A figure that is not there reaches nothing."""
    out = []
    for (task, figure), (generated, by_hand) in BARS.items():
        for name in [s for s in sets if task in tasks]:
            bar = by_hand if name == "hand" else generated
            found = figures.get(f"{name}/{task}", {}).get(figure)
            if not (isinstance(found, (int, float)) and found >= bar):
                out.append(f"{name}/{task}: {figure} is {found}, the bar is {bar}")
    return out
