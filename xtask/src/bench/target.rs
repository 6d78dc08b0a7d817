//! Whether a run meets a target.

use super::samples::{Cell, Metric, Run};

/// Whether zc meets a target against `base`.
pub(super) fn target(
    run: &Run,
    what: &str,
    base: &str,
    metric: Metric,
    most: f64,
    applies: impl Fn(&Cell) -> bool,
) -> String {
    target_of(run, what, ("zc", base), metric, most, applies)
}

/// Whether `who` needs at most `most` times as much as `base`, in each cell that the target `applies` to.
pub(super) fn target_of(
    run: &Run,
    what: &str,
    (who, base): (&str, &str),
    metric: Metric,
    most: f64,
    applies: impl Fn(&Cell) -> bool,
) -> String {
    let cells = run.cells.iter().filter(|cell| applies(cell));
    let ratios: Vec<_> =
        cells.filter_map(|cell| Some((cell.ratio_of(who, base, metric)?, &cell.name))).collect();
    if ratios.is_empty() {
        return format!("{what}: not measured");
    }
    let mut missed: Vec<_> = ratios.iter().filter(|(ratio, _)| ratio.median > most).collect();
    missed.sort_by(|a, b| b.0.median.total_cmp(&a.0.median));
    let (of, most) = (ratios.len(), format!("at most {most:.2}"));
    if missed.is_empty() {
        return format!("met: {what} {most}, in all {of} cells");
    }
    let list = missed.iter().map(|(ratio, name)| {
        format!("{name} {:.2} ±{:.0}%", ratio.median, 100.0 * ratio.relative())
    });
    let list = list.collect::<Vec<_>>().join(", ");
    format!("NOT MET: {what} {most}, but in {} of {of} cells: {list}", missed.len())
}
