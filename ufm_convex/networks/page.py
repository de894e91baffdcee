"""A report as one HTML file with its figures inside: nothing is loaded from elsewhere, so that it can be mailed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import escape

from ufm_convex import plots
from ufm_convex.errors import UFMError
from ufm_convex.measures import geometry
from ufm_convex.networks.report import NetworkReport, relative_norms

FIGURES = {
    "attribution": "The gap by part and by class",
    "norms": "Lengths and margins beside those of the optimum",
    "gram": "Gram matrices beside those of the optimum",
}
_ROWS = 200
"""Classes that the table lists; of more, those with the largest share of the gap."""
_STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #57606a; --line: #d0d7de; --paper: #fff; --good: #1a7f37;
  --bad: #b35900 }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6edf3; --soft: #9198a1; --line: #3d444d; --paper: #0d1117; --good: #3fb950; --bad: #d29922 } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 60rem;
  margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.5rem } h2 { font-size: 1.15rem; margin-top: 2rem }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .3rem 1.2rem }
dt { color: var(--soft) } dd { margin: 0; overflow-wrap: anywhere }
.yes { color: var(--good); font-weight: 600 } .no { color: var(--bad); font-weight: 600 }
table { border-collapse: collapse; font-variant-numeric: tabular-nums } .wide { overflow-x: auto }
th, td { text-align: right; padding: .15rem .7rem; border-bottom: 1px solid var(--line); white-space: nowrap }
th:first-child, td:first-child { text-align: left }
figure { margin: 1rem 0; background: #fff; border-radius: .4rem; padding: .6rem }
figcaption { color: #57606a; font-size: .9rem }
svg { width: 100%; max-width: 46rem; height: auto } small, .soft { color: var(--soft) }
@media (max-width: 40rem) { dl { grid-template-columns: 1fr } dt { margin-top: .5rem } }
"""


def html(report: NetworkReport, title: str = "Last layer of a network") -> str:
    """The page.

    Raises:
        MissingExtraError: Matplotlib is not installed.
    """
    plots.require()
    parts = [
        f"<h1>{escape(title)}</h1>",
        _summary(report),
        *_figures(report),
        "<h2>Classes</h2>",
        _table(report),
        "<h2>Neural collapse</h2>",
        _measures(report),
        f"<p><small>Certificate {report.certificate.digest[:16]}…, "
        f"candidate {report.candidate.sha256[:16]}…</small></p>",
    ]
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{escape(title)}</title>'
    body = "".join(parts)
    return f'<!doctype html>\n<html lang="en"><head>{head}<style>{_STYLE}</style></head>\n<body>{body}</body></html>\n'


def _summary(report: NetworkReport) -> str:
    rows = []
    for name, text in report.lines():
        said = escape(text)
        if name == "model applies":
            word = "yes" if report.applies else "no"
            said = f'<span class="{word}">{word}</span>{said[len(word) :]}'
        rows.append(f"<dt>{escape(name)}</dt><dd>{said}</dd>")
    return f"<dl>{''.join(rows)}</dl>"


def _figures(report: NetworkReport) -> Iterator[str]:
    """The figures that the problem admits; of the others, why they are not drawn."""
    for name, caption in FIGURES.items():
        try:
            plots.plot(name).check_size(report.problem.num_classes)
            drawn = plots.draw(name, report.problem, candidate=report.candidate, width="page")
        except UFMError as error:  # too many classes, a bias, no theorem: each says which
            yield f'<p class="soft">{escape(caption)}: not drawn, {escape(error.got)}</p>'
            continue
        svg = plots.rendered(drawn, ".svg").decode()
        yield f"<figure>{_inline(svg, name)}<figcaption>{escape(caption)}</figcaption></figure>"


def _inline(svg: str, name: str) -> str:
    """The element alone, its ids told apart from those of other figures on the page."""
    element = svg[svg.index("<svg") :]
    return re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", element)


def _table(report: NetworkReport) -> str:
    counts, norms = report.candidate.class_counts, relative_norms(report.candidate, report.solution)
    shares = None if report.attribution is None else report.attribution.by_class
    order = range(counts.size) if shares is None else (-shares).argsort(kind="stable").tolist()
    states = dict.fromkeys(report.dead_classes, "dead") | dict.fromkeys(report.collapsed_classes, "collapsed, rightly")
    states |= {k: "shares coordinates" for group in report.shared_coordinates for k in group}
    rows = [
        f"<tr><td>{escape(report.name(k))}</td><td>{counts[k]:,}</td>"
        f"<td>{'' if norms[k] != norms[k] else format(norms[k], '.3f')}</td>"
        f"<td>{'' if shares is None else format(shares[k], '.2e')}</td><td>{states.get(k, '')}</td></tr>"
        for k in list(order)[:_ROWS]
    ]
    more = f'<p class="soft">and {counts.size - _ROWS:,} more</p>' if counts.size > _ROWS else ""
    names = ("class", "samples", "‖h‖ / optimal", "share of the gap", "")
    head = "".join(f"<th>{name}</th>" for name in names)
    return f'<div class="wide"><table><tr>{head}</tr>{"".join(rows)}</table></div>{more}'


def _measures(report: NetworkReport) -> str:
    try:
        found = geometry(report.problem, report.candidate)
    except UFMError as error:  # too many classes, or a model that the measures do not know
        return f'<p class="soft">not measured: {escape(error.got)}</p>'
    said = {
        "NC1, trace ratio": found.trace_ratio,
        "NC1, CDNV": found.cdnv,
        "NC2, mean |cosine| of class means": found.mean_overlap,
        "NC2, largest |cosine|": found.largest_overlap,
        "NC3, with the theorem's scaling": found.theorem_self_duality,
        "NC4, agreement with the nearest class mean": found.nearest_centre,
    }
    rows = (
        f"<dt>{name}</dt><dd>{'not defined' if value is None else format(value, '.4g')}</dd>"
        for name, value in said.items()
    )
    return f"<dl>{''.join(rows)}</dl>"
