//! The Markdown report, and the targets that it meets.

use std::fmt::Write;
use std::io;
use std::path::Path;

use super::plot;
use super::samples::{Cell, Metric, Run};
use super::seed;
use super::stats::{Spread, geomean};
use super::table::{self, RELAY};
use super::target::{Most, mean_target, target, target_of};

/// A cell or two of each kind, for the plot that goes into the README.
const OVERVIEW: &[&str] = &[
    "seed-tcp/64K",
    "seed-unix/64K",
    "tcp-ext4/1K",
    "tcp-ext4/16K",
    "tcp-ext4/128K",
    "tcp-ext4/1M",
    "unix-ext4/128K",
    "tcp-new/128K",
    "tcp-tcp/128K",
    "unix-unix/128K",
    "framed-tcp-ext4/64",
    "framed-tcp-ext4/4K",
    "framed-tcp-ext4/64K",
    "ext4-tcp/32M",
    "ext4-ext4/32M",
    "pipe-ext4/64K",
    "tcp-pipe/64K",
];

/// Writes `report.md` and its plots into `dir`.
pub(crate) fn write(run: &Run, machine: &[String], dir: &Path) -> io::Result<()> {
    std::fs::create_dir_all(dir)?;
    std::fs::write(dir.join("report.md"), markdown(run, machine))?;
    let chosen = run.cells.iter().filter(|cell| OVERVIEW.contains(&cell.name.as_str()));
    let overview = Run { go: run.go.clone(), cells: chosen.cloned().collect() };
    std::fs::write(dir.join("overview.svg"), plot::svg(&overview, Metric::Cpu))?;
    // Relays have other peers, and tables only.
    let copies = run.cells.iter().filter(|cell| cell.group != RELAY);
    let copies = Run { go: run.go.clone(), cells: copies.cloned().collect() };
    std::fs::write(dir.join("cpu.svg"), plot::svg(&copies, Metric::Cpu))?;
    std::fs::write(dir.join("throughput.svg"), plot::svg(&copies, Metric::Wall))
}

fn markdown(run: &Run, machine: &[String]) -> String {
    let mut out = String::from("# Performance report\n\nMade by `cargo xtask bench`.\n\n");
    for line in machine {
        let _ = writeln!(out, "- {line}");
    }
    let rounds = run.cells.iter().flat_map(|cell| cell.subject("zc")).map(|zc| zc.rounds()).max();
    let _ = writeln!(
        out,
        "- {} cells, up to {} rounds each, subjects interleaved\n",
        run.cells.len(),
        rounds.unwrap_or(0)
    );
    out.push_str(
        "The sender, and the drain where the destination is a socket or pipe, are processes of \
         their own and are not counted. CPU time is the copying thread's (Go: the process's). Each \
         delta is the median of zc's time in parts of the other's within one round; ± is half the \
         distance between the quartiles, ~ means that 1 lies between them. The floor of a cell is \
         the best, by CPU time, of the bare loops that can do it.\n\n\
         ![CPU time](cpu.svg)\n\n![Throughput](throughput.svg)\n\n",
    );
    out.push_str("## Targets\n\n");
    for verdict in verdicts(run) {
        let _ = writeln!(out, "- {verdict}");
    }
    for group in run.groups() {
        let _ = writeln!(out, "\n## {}", capitalised(group));
        let cells: Vec<&Cell> = run.cells.iter().filter(|cell| cell.group == group).collect();
        for metric in [Metric::Cpu, Metric::Wall] {
            for base in table::bases(group) {
                out.push_str(&benchstat(&cells, base, metric));
            }
        }
        if group == RELAY {
            out.push_str(&figures(&cells));
        } else {
            out.push_str(&allocations(&cells));
        }
        out.push_str(&skips(&cells));
    }
    out
}

/// One table as benchstat prints it: old, new, delta, geomean.
fn benchstat(cells: &[&Cell], base: &str, metric: Metric) -> String {
    let rows: Vec<_> = cells
        .iter()
        .filter_map(|cell| {
            let (old, new) = (cell.subject(base)?, cell.subject("zc")?);
            Some((*cell, old, old.time(metric)?, new.time(metric)?, cell.ratio(base, metric)?))
        })
        .collect();
    if rows.is_empty() {
        return String::new();
    }
    let (what, unit) = match metric {
        Metric::Cpu => ("CPU time", ""),
        Metric::All => ("CPU time with the peers'", ""),
        Metric::Wall => ("Throughput", " MiB/s"),
    };
    let mut out = format!(
        "\n### {what}: zc against {base}\n\n| cell | {base}{unit} | zc{unit} | delta |\n|---|---:|---:|---:|\n"
    );
    for (cell, old, old_time, new_time, ratio) in &rows {
        let name = if matches!(base, "floor" | "haproxy*") {
            format!("{} ({})", cell.name, old.name)
        } else {
            cell.name.clone()
        };
        let _ = writeln!(
            out,
            "| {name} | {} | {} | {} |",
            figure(cell, old_time, metric),
            figure(cell, new_time, metric),
            delta(ratio, metric)
        );
    }
    let mean = geomean(rows.iter().map(|row| row.4.median)).expect("there are rows");
    let _ = writeln!(out, "| geomean | | | {} |", percent(mean, metric));
    out
}

fn figure(cell: &Cell, time: &Spread, metric: Metric) -> String {
    let spread = format!("± {:.0}%", 100.0 * time.relative());
    match metric {
        Metric::Cpu | Metric::All => {
            let (unit, per) = cell.unit();
            format!("{:.1} {unit} {spread}", time.median / per)
        }
        Metric::Wall => format!("{:.0} {spread}", cell.throughput(time.median)),
    }
}

fn delta(ratio: &Spread, metric: Metric) -> String {
    if ratio.spans_one() {
        return format!("~ ({})", percent(ratio.median, metric));
    }
    format!("{} ± {:.0}%", percent(ratio.median, metric), 100.0 * ratio.relative())
}

/// A ratio of times as a change of the time, or of the throughput.
fn percent(ratio: f64, metric: Metric) -> String {
    let ratio = if metric == Metric::Wall { 1.0 / ratio } else { ratio };
    format!("{:+.1}%", 100.0 * (ratio - 1.0))
}

fn allocations(cells: &[&Cell]) -> String {
    let worst = cells.iter().filter_map(|cell| {
        let (calls, bytes) = cell.subject("zc")?.allocated();
        (calls > 0).then(|| format!("{}: {calls} allocations, {bytes} B in a round", cell.name))
    });
    let worst: Vec<_> = worst.collect();
    if worst.is_empty() {
        return "\nzc allocates nothing in any of these: 0 B/op, 0 allocs/op.\n".to_owned();
    }
    format!("\nzc allocates:\n\n- {}\n", worst.join("\n- "))
}

/// Figures of relays other than times.
fn figures(cells: &[&Cell]) -> String {
    let mut out = String::new();
    for cell in cells {
        for subject in cell.subjects() {
            for (what, Spread { median, low, high }) in subject.figures() {
                let _ = writeln!(
                    out,
                    "| {} | {} | {what} | {median:.2} | {low:.2} to {high:.2} |",
                    cell.name, subject.name
                );
            }
        }
    }
    if out.is_empty() {
        return out;
    }
    format!(
        "\n### Besides\n\n| cell | subject | what | median | middle half |\n|---|---|---|---:|---|\n{out}"
    )
}

fn skips(cells: &[&Cell]) -> String {
    let skips = cells.iter().flat_map(|cell| {
        cell.skips.iter().map(|(subject, reason)| format!("- {}, {subject}: {reason}\n", cell.name))
    });
    let skips: String = skips.collect();
    if skips.is_empty() { skips } else { format!("\nSkipped:\n\n{skips}") }
}

fn capitalised(word: &str) -> String {
    let mut chars = word.chars();
    chars.next().map_or(String::new(), |first| first.to_uppercase().chain(chars).collect())
}

/// Each target, whether it is met, and the cells that do not meet it.
pub(crate) fn verdicts(run: &Run) -> Vec<String> {
    use Metric::{Cpu, Wall};
    use Most::{BeyondSpread, Times, TimesOr};

    let of = |names: &'static [&str]| move |cell: &Cell| names.contains(&cell.name.as_str());
    let bulk = of(&["tcp-ext4/16K", "tcp-ext4/64K", "tcp-ext4/128K"]);
    let large = of(&["tcp-ext4/1M"]);
    let small_frame = |cell: &Cell| cell.group == "framed" && cell.bytes / cell.copies <= 4096;
    let is_no_relay = |cell: &Cell| cell.group != RELAY;
    let has_any = |_: &Cell| true;
    // Of a Unix socket nothing can be dropped without a copy.
    let from_tcp = |cell: &Cell| {
        cell.name.contains("tcp-null")
            || cell.name.contains("tcp-sink")
            || cell.name.starts_with("seed-tcp")
    };
    // The number of a relay's cell is one of connections.
    let small = |cell: &Cell| {
        let is_of = |size: &&str| cell.name.ends_with(&format!("/{size}"));
        is_no_relay(cell) && ["256", "1K", "4K"].iter().any(is_of)
    };

    let mut out = seed::verdicts(run);
    let plain = "best plain loop, TCP to ext4,";
    for (what, metric, most) in [("CPU", Cpu, 0.78), ("time", Wall, 0.85)] {
        out.push(mean_target(
            run,
            &format!("{plain} 16 to 128 KiB: {what}"),
            "plain",
            metric,
            most,
            bulk,
        ));
    }
    for (what, metric) in [("CPU", Cpu), ("time", Wall)] {
        out.push(target(
            run,
            &format!("{plain} 1 MiB: {what}"),
            "plain",
            metric,
            Times(0.95),
            large,
        ));
    }
    let to_ext4 = |cell: &Cell| bulk(cell) || large(cell);
    out.push(target(run, "std, TCP to ext4: CPU", "std", Cpu, Times(0.25), to_ext4));
    for (what, metric) in [("CPU", Cpu), ("time", Wall)] {
        let what = format!("std, everywhere: {what}");
        out.push(target(run, &what, "std", metric, TimesOr(1.03, 1000.0), is_no_relay));
    }
    for (group, most) in GO {
        let what = format!("Go, {group}: CPU");
        out.push(mean_target(run, &what, "go", Cpu, *most, |cell| cell.group == *group));
    }
    out.push(target(run, "Go, everywhere: CPU", "go", Cpu, BeyondSpread(1.05), is_no_relay));
    out.push(target(run, "recv(MSG_TRUNC): CPU", "recv-trunc", Cpu, Times(1.05), from_tcp));
    out.push(target(
        run,
        "bare loops that neither drop nor wait: CPU",
        "moving",
        Cpu,
        Times(1.10),
        has_any,
    ));
    let frames = "bare read/write, frames up to 4 KiB: CPU";
    out.push(target(run, frames, "rw-64K", Cpu, Times(1.05), small_frame));
    let coalescing = ("zc-coalesce", "go");
    out.push(target_of(
        run,
        "Go, small writes, coalescing: CPU",
        coalescing,
        Cpu,
        Times(0.2),
        small,
    ));
    out.extend(super::relays::verdicts(run));
    out
}

/// The most of Go's CPU time that zc may take in a group, by geometric mean.
const GO: &[(&str, f64)] = &[
    ("socket to file", 0.70),
    ("socket to socket", 0.70),
    ("file to socket", 0.95),
    ("file to file", 0.65),
];
