"""`vultus calibrate`."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import get_args

import click
import msgspec

from vultus.cli.console import counted, line, print_json, progress, say, table
from vultus.cli.options import config_option, configured, gallery_option, json_option
from vultus.cli.pages import document, write
from vultus.configs.address import Place
from vultus.index import Calibration, Policy
from vultus.index.calibration import Period, policy
from vultus.index.configured import open_gallery

_BAR = 40
_SHOWN_PAIRS = 10


@click.command()
@click.option("--fpir", type=float, metavar="RATE", help="Share of strangers' faces that may be taken for somebody.")
@click.option(
    "--one-false-alarm-per", type=click.Choice(get_args(Period)), help="Instead of --fpir, with --faces-per-day."
)
@click.option(
    "--faces-per-day", type=float, metavar="N", help="Faces that are searched for, all counted as strangers'."
)
@click.option(
    "--known", type=float, metavar="SHARE", help="Share of faces that are of enrolled people.  [default: 0.5]"
)
@click.option("--if-stale", is_flag=True, help="Only if the gallery has outgrown the calibration that it keeps.")
@click.option("--dry-run", is_flag=True, help="Keep nothing.")
@click.option("--forget", is_flag=True, help="Keep no calibration any more: the model's threshold holds.")
@click.option(
    "--out",
    "out_file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.html",
    help="Write the histogram with the threshold on it, as one page that needs nothing else.",
)
@gallery_option
@config_option
@json_option
def calibrate(
    fpir: float | None,
    one_false_alarm_per: Period | None,
    faces_per_day: float | None,
    known: float | None,
    if_stale: bool,
    dry_run: bool,
    forget: bool,
    out_file: Path | None,
    gallery_dir: Place | None,
    config_file: Path | None,
    as_json: bool,
) -> None:
    """Set the threshold from the gallery's own faces, for a stated rate of false alarms.

    The faces of people with names are compared to everybody else in the gallery: that is how similar strangers are here.
    The threshold that follows is kept in the gallery, and used by `vultus query` and `vultus watch` unless the
    configuration or an option says another one; matches get a probability. Without a rate the one of the last time
    holds, at first 0.001.

    \b
      vultus calibrate --fpir 0.001
      vultus calibrate --one-false-alarm-per week --faces-per-day 2000
    """
    config, _ = configured(config_file, gallery_dir)
    with open_gallery(config) as gallery:
        calibrating = gallery.calibration
        if forget:
            calibrating.forget()
            say("no calibration is kept; the model's threshold holds")
            return
        before = calibrating.current()
        if if_stale and before is not None and calibrating.stale() is None:
            say("the calibration still fits the gallery")
            return
        try:
            wanted = policy(
                before,
                fpir=fpir,
                one_false_alarm_per=one_false_alarm_per,
                faces_per_day=faces_per_day,
                known=known,
            )
        except ValueError as error:
            raise click.UsageError(str(error)) from error
        with progress(visible=not as_json) as bar:
            task = bar.add_task("faces", total=None)
            found = calibrating.measure(wanted, lambda done, total: bar.update(task, completed=done, total=total))
        pairs = [] if found.threshold is None else calibrating.confusable(found.threshold)
        if not dry_run:
            calibrating.keep(found)
    if out_file is not None:
        write(out_file, page(found))
        say(f"wrote {out_file}")
    if as_json:
        print_json({**msgspec.to_builtins(found), "confusable": msgspec.to_builtins(pairs)})
        return
    _tell(found)
    if pairs:
        say(f"{counted(len(pairs), 'pair')} of people may be mixed up; the nearest:")
        for one in pairs[:_SHOWN_PAIRS]:
            first, second = f"{one.name} (face {one.face})", f"{one.other_name} (face {one.other_face})"
            say(f"  {one.similarity:.3f}  {first} and {second}: {one.reading}")
        say("`vultus people confusable` lists all; merge them, or `vultus people deny`, and calibrate again")


def _tell(found: Calibration) -> None:
    line(f"{found.identities} people with names, {counted(found.faces, 'face')}; wanted: {_wanted(found.policy)}")
    if found.threshold is None:
        line(f"No threshold: {found.why_not}. The model's holds, which knows nothing of this gallery.")
        return
    most = max((max(impostors, genuine) for _, impostors, genuine in found.bins), default=1) or 1
    table(
        "Similarity to the nearest other person (▒), and to another picture of the same person (█)",
        (">from", "", ">others", ">same"),
        (
            (f"{low:.2f}", _bar(impostors, genuine, most) + _here(low, found), impostors or "", genuine or "")
            for low, impostors, genuine in found.bins
        ),
    )
    assert found.threshold_between is not None
    assert found.fpir_between is not None
    low, high = found.threshold_between
    least, most_rate = found.fpir_between
    line(
        f"Threshold {found.threshold:.3f} (95%: {low:.3f} to {high:.3f}); there the rate is {least:.2g} to {most_rate:.2g}"
    )
    if found.extrapolated > 1:
        rarer = f"{found.extrapolated:.1f} times rarer than {found.impostors} scores can show"
        line(f"The wanted rate is {rarer}: the threshold rests on the fitted tail")
    if found.fnir is None:
        line(
            "How many known faces it misses is not known: too few people have pictures from two sources; no probabilities"
        )
    else:
        line(f"It does not recognise {found.fnir:.1%} of {found.genuine} faces of known people")
    if found.set_aside:
        line(f"{counted(found.set_aside, 'score')} set aside: too similar for chance")
    grown = ", ".join(
        f"{found.threshold_for(found.policy.rate, n * found.identities):.3f} with {n} times the people" for n in (2, 10)
    )
    line(f"The same rate would need {grown}")


def _wanted(policy: Policy) -> str:
    if policy.fpir is not None:
        return f"{policy.fpir:g} of strangers' faces taken for somebody"
    return f"one false alarm a {policy.one_false_alarm_per} at {policy.faces_per_day:g} faces a day ({policy.rate:.2g})"


def _bar(impostors: int, genuine: int, most: int) -> str:
    first, second = (round(_BAR * count / most) for count in (impostors, genuine))
    return "█" * min(first, second) + ("▒" * (first - second) if first > second else "█" * (second - first))


def _here(low: float, found: Calibration) -> str:
    assert found.threshold is not None
    return " ◄ threshold" if low <= found.threshold < low + 0.02 else ""


def page(found: Calibration) -> str:
    """The histogram as one HTML page with an SVG picture in it."""
    width, height, margin = 900, 360, 40
    bins = found.bins or ((0.0, 0, 0),)
    first, last = bins[0][0], bins[-1][0] + 0.02
    most = max(max(one, other) for _, one, other in bins) or 1

    def across(similarity: float) -> float:
        return margin + (similarity - first) / (last - first) * (width - 2 * margin)

    step = (width - 2 * margin) / len(bins)
    parts = []
    for low, *counts in bins:
        for count, colour in zip(counts, ("#c0392b", "#2471a3"), strict=True):
            tall = count / most * (height - 2 * margin)
            parts.append(
                f'<rect x="{across(low):.1f}" y="{height - margin - tall:.1f}" width="{step:.1f}" height="{tall:.1f}" '
                f'fill="{colour}" fill-opacity="0.55"/>'
            )
        if round(low * 100) % 10 == 0:
            parts.append(f'<text x="{across(low):.1f}" y="{height - margin + 16}">{low:.1f}</text>')
    if found.threshold is not None:
        x = across(found.threshold)
        parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{margin / 2}" y2="{height - margin}" stroke="#222"/>')
        parts.append(f'<text x="{x + 4:.1f}" y="{margin / 2 + 10}">threshold {found.threshold:.3f}</text>')
    title = escape(f"{found.identities} people, {found.impostors} impostor scores; {_wanted(found.policy)}")
    return document(
        "Calibration",
        "body{font:14px sans-serif}",
        f"<h1>Calibration</h1><p>{title}</p><p>{escape(found.why_not or '')}</p>"
        f'<svg viewBox="0 0 {width} {height}" width="{width}" font-size="12">{"".join(parts)}</svg>'
        '<p><span style="color:#c0392b">■</span> similarity to the nearest other person '
        '<span style="color:#2471a3">■</span> to another picture of the same person</p>',
    )
