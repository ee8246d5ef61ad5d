"""What boards share: variables, links between boards, and expressions narrowed to what is chosen."""

from __future__ import annotations

from collections.abc import Sequence

from exporter.bundle.grafana.panels import Variable
from exporter.catalog import labels as lb
from exporter.catalog import metrics as m
from exporter.catalog.foreign import ALERTS
from exporter.catalog.labels import Label, Severity
from exporter.catalog.metrics import Metric
from exporter.catalog.promql import Expr, Selector, aggregate, binary, is_, label_replace, like, sel, unlike
from exporter.catalog.recordings import PIPELINE_KEY, TABLE_KEY
from exporter.catalog.signals import Signal

DATASOURCE = Variable("datasource", "Data source", many=False)
_ALL_JOBS = f"label_values({m.BUILD_INFO.name}, job)"
JOB = Variable("job", "Environment", _ALL_JOBS)
TEAM = Variable("team", "Team", f'label_values({m.TABLE_INFO.name}{{job=~"$job"}}, team)')
PIPELINE_TEAM = Variable("team", "Team", f'label_values({m.PIPELINE_INFO.name}{{job=~"$job"}}, team)')
TABLE = Variable("table", "Table", f'label_values({m.TABLE_INFO.name}{{job=~"$job"}}, table)', many=False)
CHECK = Variable("check", "Check", f'label_values({m.CHECK_INFO.name}{{job=~"$job", table=~"$table"}}, check)')
PIPELINE = Variable("pipeline", "Pipeline", f'label_values({m.PIPELINE_INFO.name}{{job=~"$job"}}, pipeline)', many=False)

_CARRY = "${datasource:queryparam}&${job:queryparam}"
_TIME = "${__url_time_range}"
TO_TABLE = f"/d/dq-table?{_CARRY}&var-table=${{__data.fields.Table}}&{_TIME}"
TO_PIPELINE = f"/d/dq-pipeline?{_CARRY}&var-pipeline=${{__data.fields.Pipeline}}&{_TIME}"
TO_TABLE_BY_LABEL = f"/d/dq-table?{_CARRY}&var-table=${{__field.labels.table}}&{_TIME}"
TO_PIPELINE_BY_LABEL = f"/d/dq-pipeline?{_CARRY}&var-pipeline=${{__field.labels.pipeline}}&{_TIME}"

BOARD_LINKS = (
    ("Overview", "/d/dq-overview"), ("Tables", "/d/dq-table"), ("Pipelines", "/d/dq-pipelines"), ("Alerts", "/d/dq-alerts"), ("Lineage", "/d/dq-lineage"),
    ("Score", "/d/dq-score"), ("Exporter", "/d/dq-exporter"),
)  # fmt: skip

_CHOSEN = {lb.JOB: like("$job")}


def here(expr: Expr) -> Expr:
    """Of the chosen environments."""
    return expr.where(_CHOSEN)


def of_team(expr: Expr, key: Sequence[Label] = TABLE_KEY, info: Metric = m.TABLE_INFO) -> Expr:
    """Of the chosen environments and teams."""
    subject = PIPELINE_KEY if lb.PIPELINE in key else TABLE_KEY
    owned = sel(info, {lb.JOB: like("$job"), lb.TEAM: like("$team")})
    return binary("and", here(expr), owned, subject)


def pipelines_of_team(expr: Expr) -> Expr:
    """Of the chosen environments and teams, for pipelines."""
    return of_team(expr, PIPELINE_KEY, m.PIPELINE_INFO)


def of_table(expr: Expr) -> Expr:
    """Of the chosen table."""
    return expr.where({lb.JOB: like("$job"), lb.TABLE: is_("$table")})


def of_checks(expr: Expr) -> Expr:
    """Of the chosen table and checks."""
    return expr.where({lb.JOB: like("$job"), lb.TABLE: is_("$table"), lb.CHECK: like("$check")})


def of_pipeline(expr: Expr) -> Expr:
    """Of the chosen pipeline."""
    return expr.where({lb.JOB: like("$job"), lb.PIPELINE: is_("$pipeline")})


def count(expr: Expr) -> Expr:
    """How many series there are; 0 when there are none but the exporter is there."""
    return binary("or", aggregate("count", expr), zero())


def zero() -> Expr:
    """0 while an exporter of the chosen environments is known: nothing is wrong is not the same as nothing is known."""
    return aggregate("sum", here(sel(m.BUILD_INFO))) * 0


def over_limit(signal: Signal) -> Expr:
    """The series of a signal that its alert would fire for."""
    assert signal.limits is not None
    return signal.expr.compare(signal.limits.op, signal.limits.bad)


def firing() -> Selector:
    """Alerts that fire, without those that only serve others."""
    found = sel(ALERTS, {lb.ALERTSTATE: is_("firing"), lb.SEVERITY: unlike("none|")})
    return found.where(_CHOSEN)


PRIORITY = Label("priority")


def prioritised(expr: Expr) -> Expr:
    """With the label `priority` (P1 to P4), which sorts as loud as it is."""
    for number, severity in enumerate(Severity, start=1):
        expr = label_replace(expr, PRIORITY, f"P{number}", lb.SEVERITY, severity.value)
    return expr
