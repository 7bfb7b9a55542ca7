"""The charts of a plan search: what each trial lost, how much of it ran in INT8, and how long it
took."""

from __future__ import annotations

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter

from bench.report.drawing import WIDTH, Drawing, wrap
from bench.report.style import BLUE, GREEN, INK, MARKERS, ORANGE, PURPLE, SKY, VERMILLION
from bench.report.wording import plural
from bench.results.plan_search import Trail, Trial

_COLOURS = (BLUE, VERMILLION, GREEN, ORANGE, SKY, PURPLE)


def search_trials(trail: Trail) -> Drawing | None:
    """Loss against the share of multiply-accumulates in INT8, with the budget and the choice."""
    best = trail.best
    if best is None:
        return None
    figure = Figure(figsize=(WIDTH, 4.2), layout="constrained")
    axes = figure.add_subplot()
    names = list(dict.fromkeys(trial.candidate for trial in trail.trials))
    keys = []
    for number, name in enumerate(names):
        colour, marker = _COLOURS[number % len(_COLOURS)], MARKERS[number % len(MARKERS)]
        for trial in trail.trials:
            if trial.candidate == name:
                axes.errorbar(
                    trial.int8_mac_share, trial.loss, yerr=trial.error, linestyle="none",
                    marker=marker, color=colour, elinewidth=0.8, alpha=0.85,
                    markerfacecolor=colour if trial.meets(trail.budget) else "none",
                )  # fmt: skip
        keys.append(Line2D([], [], color=colour, marker=marker, ls="none", label=wrap(name, 30)))
    axes.plot(
        best.int8_mac_share, best.loss, marker="*", markersize=15, color=INK, linestyle="none",
        markerfacecolor="none", zorder=3,
    )  # fmt: skip
    keys.append(Line2D([], [], color=INK, marker="*", ls="none", label="chosen"))
    if trail.budget.max_loss is not None:
        axes.axhline(trail.budget.max_loss, color=INK, linestyle="--", linewidth=1.0, alpha=0.6)
    if trail.budget.min_int8_mac_share is not None:
        share = trail.budget.min_int8_mac_share
        axes.axvline(share, color=INK, linestyle="--", linewidth=1.0, alpha=0.6)
    axes.set_ylim(*_loss_limits(trail, best))
    axes.margins(x=0.08)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=None))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=None))
    axes.set_xlabel("multiply-accumulates in INT8")
    axes.set_ylabel(f"loss of {trail.metric}, share of FP32")
    figure.legend(handles=keys, loc="outside right upper")
    met = "" if trail.meets else ", and none of them is within the budget"
    return Drawing(
        figure,
        f"{plural(len(trail.trials), 'trial')} of plan=auto chose "
        f"{plural(len(best.float_nodes), 'layer')} in float{met}",
        f"Better is down and to the right. Measured on {trail.images}; the row uses other images. "
        f"Dashed: the budget ({trail.budget}). Filled: within the budget, with a margin of one "
        "standard error (the bars) or of half the budget, whichever is smaller. Trials that lose "
        "far more are not drawn; one that was dropped early shows its loss on the images it saw.",
    )


def timed_trials(trail: Trail) -> Drawing | None:
    """How much faster each timed trial was than the best plan until then, with its interval; None
    for a search that timed none."""
    timed = trail.latency
    if timed is None or not timed.trials:
        return None
    figure = Figure(figsize=(WIDTH, 1.6 + 0.32 * len(timed.trials)), layout="constrained")
    axes = figure.add_subplot()
    labels = []
    for number, trial in enumerate(timed.trials):
        gain, colour = trial.gain, GREEN if trial.accepted else INK
        below, above = gain.share - gain.low, gain.high - gain.share
        axes.errorbar(
            gain.share, number, xerr=[[below], [above]], marker="o", color=colour,
            linestyle="none", markerfacecolor=colour if trial.accepted else "none",
        )  # fmt: skip
        count = plural(len(trial.float_nodes), "layer")
        loss = "loss not measured" if trial.loss is None else f"loses {trial.loss:.1%}"
        labels.append(f"{count} in float, {trial.milliseconds:.3g} ms, {loss}")
    axes.axvline(0.0, color=INK, linestyle="--", linewidth=1.0, alpha=0.6)
    axes.set_yticks(range(len(labels)), labels)
    axes.invert_yaxis()
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=None))
    axes.set_xlabel("faster than the best plan until then (95 % interval)")
    begun = plural(len(timed.begun_with), "layer")
    before = "" if timed.milliseconds is None else f" ({timed.milliseconds:.3g} ms)"
    return Drawing(
        figure,
        f"Latency of plan=auto: {timed.answer}",
        f"Measured on {timed.place}: elsewhere the plan may be slower. The search by accuracy left "
        f"{begun} in float{before}. {plural(len(timed.slower), 'layer')} of the others took longer "
        "in INT8 than in FP32 by the engine's profile; all of them were tried in float, then "
        "halves. Filled: accepted, as it is faster with its interval clear of zero and loses no "
        "more accuracy than the plan chosen by accuracy.",
    )


def _loss_limits(trail: Trail, best: Trial) -> tuple[float, float]:
    """The range of losses to show: up to four times the budget or the best loss."""
    losses = [trial.loss for trial in trail.trials]
    reach = max(4 * (trail.budget.max_loss or 0.01), 3 * best.loss, 0.02)
    top = min(max(losses), reach)
    bottom = min(*losses, 0.0)
    room = 0.1 * (top - bottom) or 0.01
    return bottom - room, top + room
