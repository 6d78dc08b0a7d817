//! The plots: a row for each cell, a mark for each peer, zc at 1.

use std::fmt::Write;

use super::samples::{Metric, Run};

const LABEL: f64 = 190.0;
const WIDTH: f64 = 860.0;
const ROW: f64 = 16.0;
const TOP: f64 = 64.0;

/// Colours for the colour-blind, and shapes for black and white.
const MARKS: [(&str, &str); 4] =
    [("generic", "#999999"), ("std", "#d55e00"), ("go", "#0072b2"), ("floor", "#000000")];

/// Each subject's time divided by zc's, on a logarithmic scale: right of the line is slower than zc.
pub(crate) fn svg(run: &Run, metric: Metric) -> String {
    let rows = run.cells.len() + run.groups().len();
    let height = TOP + ROW * rows as f64 + 24.0;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"sans-serif\" font-size=\"11\">\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#fff\"/>\n"
    );
    let title = match metric {
        Metric::Cpu => "CPU time in multiples of zc's (right of the line: costs more than zc)",
        Metric::All => "CPU time with the peers', in multiples of zc's",
        Metric::Wall => "Wall time in multiples of zc's (right of the line: slower than zc)",
    };
    let _ = writeln!(out, "<text x=\"{LABEL}\" y=\"18\" font-size=\"14\">{title}</text>");
    legend(&mut out);
    axis(&mut out, height);
    let mut y = TOP;
    for group in run.groups() {
        y += ROW;
        let _ = writeln!(out, "<text x=\"8\" y=\"{y}\" font-weight=\"bold\">{group}</text>");
        for cell in run.cells.iter().filter(|cell| cell.group == group) {
            y += ROW;
            let name = &cell.name;
            let _ = writeln!(
                out,
                "<text x=\"{}\" y=\"{y}\" text-anchor=\"end\">{name}</text>",
                LABEL - 12.0
            );
            for (at, (base, _)) in MARKS.iter().enumerate() {
                if let Some(ratio) = cell.ratio(base, metric) {
                    mark(&mut out, at, place(1.0 / ratio.median), y - 4.0, 1.0 / ratio.median);
                }
            }
        }
    }
    out.push_str("</svg>\n");
    out
}

/// The place of a multiple on the axis, which goes from a quarter to 32 times.
fn place(multiple: f64) -> f64 {
    let (low, high) = (-2.0, 5.0);
    let part = (multiple.log2().clamp(low, high) - low) / (high - low);
    LABEL + part * (WIDTH - LABEL - 20.0)
}

fn axis(out: &mut String, height: f64) {
    for power in -2..=5 {
        let multiple = f64::powi(2.0, power);
        let (x, colour) = (place(multiple), if power == 0 { "#000" } else { "#ddd" });
        let _ = writeln!(
            out,
            "<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{:.1}\" stroke=\"{colour}\"/>\
             <text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{multiple}</text>",
            height - 8.0,
            TOP - 6.0
        );
    }
}

fn legend(out: &mut String) {
    for (at, (name, _)) in MARKS.iter().enumerate() {
        let x = LABEL + 8.0 + 90.0 * at as f64;
        mark(out, at, x, 34.0, 0.0);
        let _ = writeln!(out, "<text x=\"{}\" y=\"38\">{name}</text>", x + 8.0);
    }
}

fn mark(out: &mut String, which: usize, x: f64, y: f64, multiple: f64) {
    let (name, colour) = MARKS[which];
    let shape = match which {
        0 => format!("<circle cx=\"{x:.1}\" cy=\"{y}\" r=\"3.5\" fill=\"{colour}\">"),
        1 => format!(
            "<rect x=\"{:.1}\" y=\"{}\" width=\"7\" height=\"7\" fill=\"{colour}\">",
            x - 3.5,
            y - 3.5
        ),
        2 => format!("<path d=\"M{x:.1} {} l4 7 h-8 z\" fill=\"{colour}\">", y - 4.0),
        _ => {
            format!("<path d=\"M{x:.1} {} v10\" stroke=\"{colour}\" stroke-width=\"2.5\">", y - 5.0)
        }
    };
    let close = match which {
        0 => "</circle>",
        1 => "</rect>",
        _ => "</path>",
    };
    let _ = writeln!(out, "{shape}<title>{name} {multiple:.2}</title>{close}");
}
