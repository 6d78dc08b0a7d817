//! Tables for the terminal.

use std::fmt::Write;

use super::samples::{Cell, Metric, Run};
use super::stats::{Spread, geomean};

/// One cell, a line for each subject.
pub(crate) fn cell(cell: &Cell) -> String {
    let (unit, per) = cell.unit();
    let mut out = String::new();
    let _ = writeln!(
        out,
        "\n{:<22} {:>12} ±%  {:>9}  {:>9} ±%   zc/it: cpu       time",
        cell.name,
        format!("cpu {unit}"),
        "and peers",
        "MiB/s"
    );
    let floor = cell.subject("floor").map(|floor| floor.name.as_str());
    for subject in cell.subjects() {
        let (Some(cpu), Some(wall)) = (subject.time(Metric::Cpu), subject.time(Metric::Wall))
        else {
            continue;
        };
        let ratio = |metric| match cell.ratio(&subject.name, metric) {
            Some(ratio) if subject.name != "zc" => {
                format!("{:.2} ±{:<2.0}", ratio.median, 100.0 * ratio.relative())
            }
            _ => String::new(),
        };
        let mark = if floor == Some(subject.name.as_str()) { "* " } else { "  " };
        let line = format!(
            "{mark}{:<20} {:>12.1} {:>3.0} {:>9.1}  {:>9.0} {:>3.0}        {:<10} {:<10}",
            subject.name,
            cpu.median / per,
            100.0 * cpu.relative(),
            subject.time(Metric::All).map_or(0.0, |all| all.median) / per,
            cell.throughput(wall.median),
            100.0 * wall.relative(),
            ratio(Metric::Cpu),
            ratio(Metric::Wall),
        );
        let _ = writeln!(out, "{}", line.trim_end());
    }
    for subject in cell.subjects() {
        for (what, Spread { median, low, high }) in subject.figures() {
            let _ = writeln!(
                out,
                "  {:<20} {median:>12.2} {what} ({low:.2} to {high:.2})",
                subject.name
            );
        }
    }
    for (subject, reason) in &cell.skips {
        let _ = writeln!(out, "  {subject:<20} skipped: {reason}");
    }
    out
}

/// All cells, a line each: zc's times divided by each peer's.
pub(crate) fn summary(run: &Run) -> String {
    let mut out = String::new();
    for metric in [Metric::Cpu, Metric::All, Metric::Wall] {
        let what = match metric {
            Metric::Cpu => "zc's CPU time in parts of",
            Metric::All => "all CPU time in parts of",
            Metric::Wall => "zc's wall time in parts of",
        };
        for group in run.groups() {
            let bases = bases(group);
            // The peers of a relay are not counted.
            if group == RELAY && metric == Metric::All {
                continue;
            }
            let names: Vec<_> = bases.iter().map(|base| format!("{base:>9}")).collect();
            let _ = writeln!(out, "{what:<26} {}", names.join(" "));
            let cells: Vec<&Cell> = run.cells.iter().filter(|cell| cell.group == group).collect();
            for cell in &cells {
                let ratios = bases.iter().map(|base| ratio(cell.ratio(base, metric)));
                let floor = cell.subject("floor").map_or("", |floor| &floor.name);
                // Such a loop knows beforehand what a general copy has to find out.
                let knows = if floor.starts_with("wait-") { ", knows its sender" } else { "" };
                let ratios = ratios.collect::<Vec<_>>().join(" ");
                let _ = writeln!(
                    out,
                    "{}",
                    format!("  {:<24} {ratios}  {floor}{knows}", cell.name).trim_end()
                );
            }
            let means = bases.iter().map(|base| {
                let ratios = cells.iter().filter_map(|cell| cell.ratio(base, metric));
                geomean(ratios.map(|ratio| ratio.median))
                    .map_or(format!("{:>9}", "-"), |mean| format!("{mean:>5.2}    "))
            });
            let means = means.collect::<Vec<_>>().join(" ");
            let _ = writeln!(out, "  {:<24} {means}", format!("geomean: {group}"));
        }
        out.push('\n');
    }
    out
}

/// The group of cells that have subjects of their own.
pub(crate) const RELAY: &str = "relay";

/// Whether a group of cells is the seed's table.
pub(crate) fn is_seed(group: &str) -> bool {
    group.starts_with("seed")
}

/// The peers that zc is compared with.
pub(crate) fn bases(group: &str) -> &'static [&'static str] {
    match group {
        RELAY => &["tokio-8K", "tokio-64K", "splice2", "go", "haproxy*"],
        _ if is_seed(group) => &["generic", "std", "go-old", "go", "floor"],
        _ => &["generic", "std", "go", "floor"],
    }
}

fn ratio(ratio: Option<Spread>) -> String {
    ratio.map_or(format!("{:>9}", "-"), |ratio| {
        format!("{:>5.2} ±{:<2.0}", ratio.median, 100.0 * ratio.relative())
    })
}
