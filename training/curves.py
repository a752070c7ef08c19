"""A run's figures for its page: charts, the latest values, and the warnings that they call for. Pure, but for one read."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from annotation.winrate import ENOUGH_PROMPTS
from core.counting import counted
from training.models import MetricPoint, TrainingRun
from training.specs import METRICS

MAX_POINTS = 400
TABLE_ROWS = 12
OVERFIT_GAP = 0.15
LABEL_NOISE_CEILING = 0.9
KL_LIMIT_NATS = 3.0

# One chart each: title, the metrics in it, the label of its axis.
CHARTS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("loss", "Loss", ("loss", "heldout_loss")),
    ("accuracy", "Accuracy, held out and in training", ("heldout_accuracy", "train_accuracy")),
    ("margin", "Margin of chosen over rejected", ("heldout_margin", "margin")),
)

Points = Mapping[str, Sequence[tuple[int, float]]]


@dataclass(frozen=True)
class Chart:
    """One chart, and the same figures as a table for who has no script."""

    id: str
    title: str
    data: dict[str, Any]
    table: tuple[tuple[int, tuple[float | None, ...]], ...]

    @property
    def names(self) -> list[str]:
        return [series["name"] for series in self.data["series"]]


@dataclass(frozen=True)
class Figure:
    """The latest value of a metric."""

    label: str
    value: float
    step: int
    is_share: bool


def points_of(run: TrainingRun) -> Points:
    found: dict[str, list[tuple[int, float]]] = defaultdict(list)
    rows = MetricPoint.objects.filter(run=run).order_by("name", "step").values_list("name", "step", "value")
    for name, step, value in rows.iterator(chunk_size=5000):
        found[name].append((step, value))
    return found


def thinned(points: Sequence[tuple[int, float]], most: int = MAX_POINTS) -> list[tuple[int, float]]:
    """At most ``most`` points: every n-th, and always the last, so that the curve ends where the run is."""
    if len(points) <= most:
        return list(points)
    stride = -(-len(points) // (most - 1))
    return [*points[:-1:stride], points[-1]]


def charts_of(points: Points) -> list[Chart]:
    return [chart for name, title, metrics in CHARTS if (chart := _chart(name, title, metrics, points))]


def _chart(name: str, title: str, metrics: Sequence[str], points: Points) -> Chart | None:
    lines = {METRICS.get(metric, metric): dict(thinned(points[metric])) for metric in metrics if points.get(metric)}
    if not lines:
        return None
    steps = sorted({step for line in lines.values() for step in line})
    data = {
        "x": steps,
        "series": [{"name": label, "values": [line.get(step) for step in steps]} for label, line in lines.items()],
        "x_label": "step",
        "y_label": title,
    }
    # The rows of the table are those where held-out figures were taken, else evenly spread.
    marked = [step for step in steps if all(step in line for line in lines.values())] or steps
    shown = [step for step, _ in thinned([(step, 0.0) for step in marked], TABLE_ROWS)]
    table = tuple((step, tuple(line.get(step) for line in lines.values())) for step in shown)
    return Chart(f"chart-{name}", title, data, table)


def latest(points: Points, names: Sequence[str]) -> list[Figure]:
    return [
        Figure(METRICS.get(name, name), value, step, "accuracy" in name)
        for name in names
        if points.get(name)
        for step, value in points[name][-1:]
    ]


def warnings_of(points: Points, n_held_out: int) -> list[str]:
    """What the curves say against this run."""
    found = []
    train, held_out = _recent(points.get("train_accuracy")), _last(points.get("heldout_accuracy"))
    if 0 < n_held_out < ENOUGH_PROMPTS:
        found.append(
            f"Only {counted(n_held_out, 'pair is', 'pairs are')} held out: too few to tell from their accuracy whether the run "
            "learns or memorises."
        )
    elif held_out is not None and train is not None and train - held_out > OVERFIT_GAP:
        found.append(
            f"The pairs being trained are right in {train:.0%}, held-out ones in {held_out:.0%}: the run learns its pairs by heart. "
            "Fewer epochs, a lower learning rate, a higher beta or more judgements help."
        )
    elif held_out is None and train is not None and train > LABEL_NOISE_CEILING:
        found.append(
            f"The pairs being trained are right in {train:.0%}, more than people agree with each other; without held-out pairs "
            "nothing shows whether that is learning or memory."
        )
    kl = _last(points.get("kl"))
    if kl is not None and kl > KL_LIMIT_NATS:
        found.append(
            f"The policy has moved {kl:.1f} nats an answer from where it began; beyond about {KL_LIMIT_NATS:.0f} facts begin to break. "
            "A higher beta or a lower learning rate keeps it closer."
        )
    loss, first = _last(points.get("heldout_loss")), points.get("heldout_loss") or ()
    if (
        n_held_out >= ENOUGH_PROMPTS
        and loss is not None
        and len(first) >= 3
        and loss > min(value for _, value in first) * 1.1
    ):
        best = min(first, key=lambda point: point[1])
        found.append(f"The held-out loss was lowest at step {best[0]} and has risen since.")
    if not n_held_out:
        found.append("The dataset has no held-out pair, so nothing shows whether the run overfits.")
    return found


def _last(points: Sequence[tuple[int, float]] | None) -> float | None:
    return points[-1][1] if points else None


def _recent(points: Sequence[tuple[int, float]] | None, n: int = 10) -> float | None:
    """The mean of the last few: one batch is too few pairs to say anything."""
    if not points:
        return None
    values = [value for _, value in points[-n:]]
    return sum(values) / len(values)
