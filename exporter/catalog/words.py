"""Pieces of Prometheus's template language for annotations, so that no alert spells a metric or a label."""

from __future__ import annotations

from collections.abc import Sequence

from exporter.catalog import labels as lb
from exporter.catalog import metrics as m
from exporter.catalog.labels import Label
from exporter.catalog.metrics import Metric
from exporter.catalog.promql import Expr, Match, binary, sel
from exporter.catalog.recordings import upstream_of

DURATION, PERCENT, NUMBER, TIMES = "humanizeDuration", "humanizePercentage", "humanize", 'printf "%.1f"'


def label(name: Label) -> str:
    """The value of a label of the alert."""
    return f"{{{{ $labels.{name.name} }}}}"


def value(show: str) -> str:
    """The value of the alert's expression."""
    return f"{{{{ $value | {show} }}}}"


def looked_up(expr: Expr, by: Sequence[Label], show: str, otherwise: str) -> str:
    """Something of the first series of a query in which each `%q` is the value of a label of the alert."""
    arguments = " ".join(f"$labels.{name.name}" for name in by)
    query = str(expr).replace("%%", "%").replace('"', '\\"').replace('\\"%q\\"', "%q")
    return f'{{{{ with printf "{query}" {arguments} | query }}}}{{{{ . | first | {show} }}}}{{{{ else }}}}{otherwise}{{{{ end }}}}'


def listed(expr: Expr, by: Sequence[Label], name: Label, otherwise: str) -> str:
    """The values of a label of all series of a query, separated by commas."""
    arguments = " ".join(f"$labels.{one.name}" for one in by)
    query = str(expr).replace('"', '\\"').replace('\\"%q\\"', "%q")
    body = f'{{{{ range $i, $one := . }}}}{{{{ if $i }}}}, {{{{ end }}}}{{{{ $one.Labels.{name.name} }}}}{{{{ end }}}}'
    return f'{{{{ with printf "{query}" {arguments} | query }}}}{body}{{{{ else }}}}{otherwise}{{{{ end }}}}'


def of(metric: Metric, by: Sequence[Label]) -> Expr:
    """The series of a metric with the alert's values of some labels."""
    return sel(metric, {name: Match("=", "%q") for name in by})


def gauge(metric: Metric, by: Sequence[Label], show: str, otherwise: str = "an unknown number of") -> str:
    """The value of a metric that has the alert's labels."""
    return looked_up(of(metric, by), by, f"value | {show}", otherwise)


CHECK = (lb.JOB, lb.TABLE, lb.CHECK)
TABLE = (lb.JOB, lb.TABLE)
PIPELINE = (lb.JOB, lb.PIPELINE)

_RUN = f'label "{lb.RUN_ID.name}"'
_CAUSE = f'label "{lb.ERROR_CLASS.name}"'


def failed_run_of_pipeline() -> str:
    """The last failed run of the alert's pipeline and its error."""
    found = of(m.PIPELINE_LAST_FAILED_RUN, PIPELINE)
    return looked_up(found, PIPELINE, _RUN, "no failed run is known") + looked_up(found, PIPELINE, f"{_CAUSE} | printf \" (%s)\"", "")


def failed_run_above_table() -> str:
    """The last failed run of a pipeline that writes the alert's table."""
    failed = sel(m.PIPELINE_LAST_FAILED_RUN, {lb.JOB: Match("=", "%q")})
    edges = upstream_of().where({lb.DOWNSTREAM: Match("=", "%q")})
    found = binary("and", failed, edges, (lb.PIPELINE,))
    parts = [looked_up(found, TABLE, show, otherwise) for show, otherwise in (
        (f'label "{lb.PIPELINE.name}"', "no failed run of a pipeline above is known"), (f"{_RUN} | printf \" run %s\"", ""), (f"{_CAUSE} | printf \" (%s)\"", ""),
    )]  # fmt: skip
    return "".join(parts)


def downstream(of_: Label) -> str:
    """What lies one step below the alert's table or pipeline."""
    edges = sel(m.LINEAGE_EDGE, {lb.UPSTREAM: Match("=", "%q")})
    return listed(edges, (of_,), lb.DOWNSTREAM, "nothing that is known")
