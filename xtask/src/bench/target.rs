//! Whether a run meets a target.

use super::samples::{Cell, Metric, Run};
use super::stats::{Spread, geomean};

/// How much of a peer's time zc may take.
#[derive(Clone, Copy, Debug)]
pub(super) enum Most {
    /// So many times the peer's.
    Times(f64),
    /// So many times the peer's, or so many nanoseconds a copy more.
    TimesOr(f64, f64),
    /// So many times the peer's, where the middle half of the rounds does not reach down to that.
    BeyondSpread(f64),
}

impl Most {
    fn is_missed(self, ratio: &Spread, more: f64) -> bool {
        match self {
            Most::Times(most) => ratio.median > most,
            Most::TimesOr(most, nanoseconds) => ratio.median > most && more > nanoseconds,
            Most::BeyondSpread(most) => ratio.low > most,
        }
    }

    fn words(self) -> String {
        match self {
            Most::Times(most) => format!("at most {most:.2}"),
            Most::TimesOr(most, more) => format!("at most {most:.2}, or {:.0} µs more", more / 1e3),
            Most::BeyondSpread(most) => format!("at most {most:.2} beyond the spread"),
        }
    }
}

/// Whether zc meets a target against `base` in each cell that the target `applies` to.
pub(super) fn target(
    run: &Run,
    what: &str,
    base: &str,
    metric: Metric,
    most: Most,
    applies: impl Fn(&Cell) -> bool,
) -> String {
    target_of(run, what, ("zc", base), metric, most, applies)
}

/// The same of any subject.
pub(super) fn target_of(
    run: &Run,
    what: &str,
    (who, base): (&str, &str),
    metric: Metric,
    most: Most,
    applies: impl Fn(&Cell) -> bool,
) -> String {
    let cells = run.cells.iter().filter(|cell| applies(cell));
    let ratios = cells.filter_map(|cell| {
        let ratio = cell.ratio_of(who, base, metric)?;
        let time = |name| Some(cell.subject(name)?.time(metric)?.median);
        Some((ratio, (time(who)? - time(base)?) / cell.copies as f64, &cell.name))
    });
    let ratios: Vec<_> = ratios.collect();
    if ratios.is_empty() {
        return format!("{what}: not measured");
    }
    let mut missed: Vec<_> =
        ratios.iter().filter(|(ratio, more, _)| most.is_missed(ratio, *more)).collect();
    missed.sort_by(|a, b| b.0.median.total_cmp(&a.0.median));
    let (of, most) = (ratios.len(), most.words());
    if missed.is_empty() {
        return format!("met: {what} {most}, in all {of} cells");
    }
    let list = missed.iter().map(|(ratio, _, name)| {
        format!("{name} {:.2} ±{:.0}%", ratio.median, 100.0 * ratio.relative())
    });
    let list = list.collect::<Vec<_>>().join(", ");
    format!("NOT MET: {what} {most}, but in {} of {of} cells: {list}", missed.len())
}

/// Whether the geometric mean of the cells that it `applies` to meets a target against `base`.
pub(super) fn mean_target(
    run: &Run,
    what: &str,
    base: &str,
    metric: Metric,
    most: f64,
    applies: impl Fn(&Cell) -> bool,
) -> String {
    let cells = run.cells.iter().filter(|cell| applies(cell));
    let ratios: Vec<_> = cells.filter_map(|cell| Some(cell.ratio(base, metric)?.median)).collect();
    let Some(mean) = geomean(ratios.iter().copied()) else {
        return format!("{what}: not measured");
    };
    let met = if mean <= most { "met" } else { "NOT MET" };
    format!("{met}: {what} {mean:.2}, geometric mean of {} cells (at most {most:.2})", ratios.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run() -> Run {
        let cell = |name: &str, ours: &[u32], theirs: u32| {
            let rounds = ours.iter().enumerate().map(|(round, ours)| {
                format!(
                    "sample\t{name}\tzc\tsubject\t{round}\t{ours}\t{ours}\t0\t0\t0\n\
                     sample\t{name}\tstd\tsubject\t{round}\t{theirs}\t{theirs}\t0\t0\t0\n"
                )
            });
            let rounds: String = rounds.collect();
            format!("cell\t{name}\tgroup\t2048\t2\tfalse\n{rounds}end\t{name}\n")
        };
        let text = cell("a/1", &[500, 500, 500], 1000) + &cell("b/1", &[1000, 2000, 2200], 1000);
        Run::parse(&text).unwrap()
    }

    #[test]
    fn each_cell_counts_or_their_mean() {
        let run = run();
        let verdict =
            |most, name| target(&run, "std", "std", Metric::Cpu, most, |cell| cell.name != name);
        assert_eq!(verdict(Most::Times(2.0), ""), "met: std at most 2.00, in all 2 cells");
        let missed = verdict(Most::Times(1.5), "");
        assert!(missed.starts_with("NOT MET: std at most 1.50, but in 1 of 2 cells: b/1 2.00"));
        // 500 ns a copy.
        assert!(verdict(Most::TimesOr(1.5, 500.0), "").starts_with("met: "));
        assert!(verdict(Most::TimesOr(1.5, 499.0), "").starts_with("NOT MET: "));
        assert!(verdict(Most::BeyondSpread(1.5), "").starts_with("met: "));
        assert!(verdict(Most::BeyondSpread(1.49), "").starts_with("NOT MET: "));
        assert_eq!(verdict(Most::Times(0.5), "b/1"), "met: std at most 0.50, in all 1 cells");

        let mean = |most| mean_target(&run, "std:", "std", Metric::Cpu, most, |_| true);
        assert_eq!(mean(1.0), "met: std: 1.00, geometric mean of 2 cells (at most 1.00)");
        assert!(mean(0.9).starts_with("NOT MET"));
        assert_eq!(mean_target(&run, "Go", "go", Metric::Cpu, 1.0, |_| true), "Go: not measured");
    }
}
