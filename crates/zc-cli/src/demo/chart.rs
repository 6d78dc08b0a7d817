//! The table and the bars.

use std::fmt::Write;

use super::cell::{Method, Transport};
use super::figures::{Cell, Figures, Findings};
use super::sender;
use crate::size::{group, show};

/// How long the longest bar is.
const WIDTH: usize = 36;

/// A quantity of each method, if it was measured.
struct Quantity {
    name: &'static str,
    of: fn(&Figures, u64) -> Option<f64>,
    show: fn(f64) -> String,
    /// What zc is ahead by: its share of the other's, or the other way round.
    more_is_better: bool,
}

const QUANTITIES: [Quantity; 3] = [
    Quantity {
        name: "throughput",
        of: |figures, size| Some(size as f64 / figures.seconds),
        show: |rate| format!("{} MiB/s", group((rate / f64::from(1 << 20)).round() as u64)),
        more_is_better: true,
    },
    Quantity {
        name: "CPU seconds",
        of: |figures, _| Some(figures.cpu_seconds),
        show: |seconds| format!("{seconds:.4}"),
        more_is_better: false,
    },
    Quantity {
        name: "system calls",
        of: |figures, _| Some(figures.calls? as f64),
        show: |calls| group(calls as u64),
        more_is_better: false,
    },
];

impl Quantity {
    /// By how much zc is ahead of another; less than 1 if it is behind.
    fn ratio(&self, other: Option<f64>, zc: Option<f64>) -> String {
        let (Some(other), Some(zc)) = (other, zc) else { return "-".into() };
        let (more, less) = if self.more_is_better { (zc, other) } else { (other, zc) };
        match more / less {
            ratio if !ratio.is_finite() => "-".into(),
            ratio if ratio < 10.0 => format!("{ratio:.1}x"),
            ratio => format!("{ratio:.0}x"),
        }
    }
}

/// Everything that `zc demo` prints.
pub(crate) fn draw(findings: &Findings) -> String {
    let mut text = heading(findings);
    table(&mut text, findings);
    bars(&mut text, findings);
    text
}

fn heading(findings: &Findings) -> String {
    let Findings { size, rounds, directory, file_system, .. } = findings;
    let of = if *rounds == 1 { "one round".into() } else { format!("medians of {rounds} rounds") };
    format!(
        "Uploads of {} into a file on {file_system} ({directory}), {of}.\n\
         The sender, a process of its own, writes {} at a time.\n\
         Every upload was compared with what was sent, byte for byte: no difference.\n",
        show(*size),
        show(sender::CHUNK),
    )
}

fn table(text: &mut String, findings: &Findings) {
    let _ = write!(text, "\n{:35}", "");
    for quantity in &QUANTITIES {
        let _ = write!(text, "{:>15}", quantity.name);
    }
    text.push('\n');
    for transport in Transport::ALL {
        let mut row = |head: String, cell: &dyn Fn(&Quantity) -> String| {
            let _ = write!(text, "  {head:33}");
            for quantity in &QUANTITIES {
                let _ = write!(text, "{:>15}", cell(quantity));
            }
            text.push('\n');
        };
        let value = |quantity: &Quantity, figures| (quantity.of)(figures, findings.size);
        let zc = findings.of(transport, Method::Zc);
        let cells = || findings.cells.iter().filter(|cell| cell.transport == transport);
        for (at, cell) in cells().enumerate() {
            let transport = if at == 0 { transport.to_string() } else { String::new() };
            row(format!("{transport:6}{}", cell.method), &|q| {
                value(q, &cell.figures).map_or("-".into(), q.show)
            });
        }
        for Cell { method, figures, .. } in cells().filter(|cell| cell.method != Method::Zc) {
            row(format!("{:6}better than {method}", ""), &|q| {
                q.ratio(value(q, figures), value(q, zc))
            });
        }
    }
}

fn bars(text: &mut String, findings: &Findings) {
    for quantity in &QUANTITIES {
        let better = if quantity.more_is_better { "more" } else { "less" };
        let _ = writeln!(text, "\n  {} ({better} is better)", quantity.name);
        let value = |cell: &Cell| (quantity.of)(&cell.figures, findings.size);
        let longest = findings.cells.iter().filter_map(value).fold(0.0, f64::max);
        for cell in &findings.cells {
            let transport = match cell.method {
                Method::Std => cell.transport.to_string(),
                _ => String::new(),
            };
            let Some(amount) = value(cell) else { continue };
            let bar = bar(amount / longest);
            let mut shown = (quantity.show)(amount);
            if cell.method == Method::Zc {
                let std = findings.of(cell.transport, Method::Std);
                let std = (quantity.of)(std, findings.size);
                let _ = write!(shown, "  ({})", quantity.ratio(std, Some(amount)));
            }
            let _ = writeln!(text, "  {transport:6}{:15}{bar} {shown}", cell.method);
        }
    }
}

/// A bar of a share of the full width, to an eighth of a character.
fn bar(share: f64) -> String {
    let share = if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 };
    let eighths = ((share * WIDTH as f64 * 8.0).round() as usize).max(1);
    if !speaks_utf8() {
        return "#".repeat(eighths.div_ceil(8));
    }
    let partial =
        ["", "\u{258f}", "\u{258e}", "\u{258d}", "\u{258c}", "\u{258b}", "\u{258a}", "\u{2589}"];
    "\u{2588}".repeat(eighths / 8) + partial[eighths % 8]
}

/// Whether the locale has block characters.
fn speaks_utf8() -> bool {
    ["LC_ALL", "LC_CTYPE", "LANG"]
        .into_iter()
        .filter_map(|name| std::env::var(name).ok())
        .find(|value| !value.is_empty())
        .is_some_and(|value| value.to_ascii_lowercase().replace('-', "").contains("utf8"))
}
