//! The seed's table, as in the change in Go that zc began with: each row against Go's old path and against its new
//! one.

use super::samples::{Cell, Metric, Run};
use super::stats::geomean;

/// How the rows are run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// Into /dev/null, with bytes from TCP moved as into any other sink.
    Splice,
    /// Into /dev/null as users call it, with bytes from TCP dropped. To drop is not to copy, so this claims nothing.
    Discard,
    /// Into a file.
    Ext4,
}

impl Way {
    const ALL: [Way; 3] = [Way::Splice, Way::Discard, Way::Ext4];

    fn name(self) -> &'static str {
        match self {
            Way::Splice => "by splice",
            Way::Discard => "by discard",
            Way::Ext4 => "into ext4",
        }
    }

    fn has(self, cell: &Cell) -> bool {
        cell.group == if self == Way::Ext4 { "seed into ext4" } else { "seed" }
    }

    /// The subject that runs a row in this way.
    fn subject(self, cell: &Cell) -> &'static str {
        let splices = self == Way::Splice && cell.subject("zc-splice").is_some();
        if splices { "zc-splice" } else { "zc" }
    }
}

/// A target against a peer: the most of its wall time and of its CPU time, and what that means.
struct Target {
    peer: &'static str,
    name: &'static str,
    wall: f64,
    cpu: f64,
    words: &'static str,
}

const TARGETS: [Target; 2] = [
    Target {
        peer: "go-old",
        name: "Go's old path",
        wall: 0.72,
        cpu: 0.45,
        words: "time at most 0.72, throughput at least +39%, CPU at most 0.45, 0 allocations",
    },
    Target {
        peer: "go",
        name: "Go's new path",
        wall: 1.0 / 1.08,
        cpu: 0.60,
        words: "throughput at least 1.08, CPU at most 0.60",
    },
];

/// A line for each way and peer.
pub(super) fn verdicts(run: &Run) -> Vec<String> {
    let mut out = Vec::new();
    for way in Way::ALL {
        let cells: Vec<&Cell> = run.cells.iter().filter(|cell| way.has(cell)).collect();
        out.extend(TARGETS.iter().filter_map(|target| verdict(way, target, &cells)));
        out.extend(line(way, ("std", "std"), &cells).map(|line| line.words));
    }
    if out.is_empty() {
        out.push("seed's table: not measured".to_owned());
    }
    out
}

fn verdict(way: Way, target: &Target, cells: &[&Cell]) -> Option<String> {
    let Line { words, wall, cpu, allocations } = line(way, (target.peer, target.name), cells)?;
    if way == Way::Discard {
        return Some(format!("{words} (nothing is copied: no claim)"));
    }
    // Against the old path the seed also claims throughput, and no allocation.
    let is_met = wall <= target.wall
        && cpu <= target.cpu
        && (target.peer != "go-old" || wall <= 1.0 / 1.39 && allocations == 0);
    let met = if is_met { "met" } else { "NOT MET" };
    Some(format!("{met}: {words} (target: {})", target.words))
}

/// The rows together.
struct Line {
    words: String,
    wall: f64,
    cpu: f64,
    allocations: u64,
}

fn line(way: Way, (peer, name): (&str, &str), cells: &[&Cell]) -> Option<Line> {
    let mean = |metric| {
        let ratios = cells
            .iter()
            .filter_map(|cell| Some(cell.ratio_of(way.subject(cell), peer, metric)?.median));
        geomean(ratios)
    };
    let (wall, cpu) = (mean(Metric::Wall)?, mean(Metric::Cpu)?);
    let rows = cells.iter().filter(|cell| cell.subject(peer).is_some()).count();
    let allocated = |ours: bool| {
        let subjects = cells
            .iter()
            .filter_map(|cell| cell.subject(if ours { way.subject(cell) } else { peer }));
        subjects.map(|subject| subject.allocated().0).sum::<u64>()
    };
    let (allocations, theirs) = (allocated(true), allocated(false));
    let words = format!(
        "seed's table {}, {rows} rows, against {name}: time {:+.1}%, throughput {:+.1}%, CPU {:+.1}%, \
         allocations {allocations} (its {theirs})",
        way.name(),
        100.0 * (wall - 1.0),
        100.0 * (1.0 / wall - 1.0),
        100.0 * (cpu - 1.0),
    );
    Some(Line { words, wall, cpu, allocations })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(ours: &str) -> Run {
        let row = |cell: &str, group: &str, ours: &str, splice: &str| {
            format!(
                "cell\t{cell}\t{group}\t2048\t1\tfalse\n{ours}{splice}\
                 sample\t{cell}\tgo-old\tsubject\t0\t100\t100\t0\t3\t32768\n\
                 sample\t{cell}\tgo\tsubject\t0\t80\t80\t0\t1\t8\nend\t{cell}\n"
            )
        };
        let sample = |cell: &str, who: &str, times: &str| {
            format!("sample\t{cell}\t{who}\tsubject\t0\t{times}\n")
        };
        let (a, b) = ("seed-tcp/1K", "seed-ext4-tcp/1K");
        let text = row(
            a,
            "seed",
            &sample(a, "zc", "10\t10\t0\t0\t0"),
            &sample(a, "zc-splice", "50\t40\t0\t0\t0"),
        ) + &row(b, "seed into ext4", &sample(b, "zc", ours), "");
        Run::parse(&text).unwrap()
    }

    #[test]
    fn each_way_is_judged_by_itself_and_dropping_is_not() {
        let lines = verdicts(&run("70\t45\t0\t0\t0"));
        assert_eq!(lines.len(), 6, "{lines:?}");
        assert!(lines[0].starts_with("met: seed's table by splice, 1 rows, against Go's old path: time -50.0%, throughput +100.0%, CPU -60.0%, allocations 0 (its 3)"), "{lines:?}");
        assert!(lines[1].starts_with("met: seed's table by splice"), "{lines:?}");
        assert!(lines[2].ends_with("(nothing is copied: no claim)"), "{lines:?}");
        assert!(lines[4].starts_with("met: seed's table into ext4"), "{lines:?}");
        assert!(lines[5].starts_with("met: seed's table into ext4"), "{lines:?}");
    }

    #[test]
    fn time_and_memory_both_have_to_be_met() {
        for ours in ["73\t45\t0\t0\t0", "70\t46\t0\t0\t0", "70\t45\t0\t1\t64"] {
            let lines = verdicts(&run(ours));
            assert!(lines[4].starts_with("NOT MET: seed's table into ext4"), "{lines:?}");
        }
    }
}
