//! How far a copy is: a bar on a terminal, or a line a second.

use std::path::Path;
use std::time::{Duration, Instant};

use indicatif::{HumanDuration, ProgressBar, ProgressStyle};

use crate::error::one_line;
use crate::say::say;
use crate::size::show;

/// Whether to show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Visible {
    Never,
    OnTerminal,
    Always,
}

/// How far a copy is.
#[derive(Debug)]
pub(crate) struct Bar {
    drawn: ProgressBar,
    lines: Option<Lines>,
}

impl Bar {
    /// For the file or peer `name`, with the bytes that were there before.
    pub(crate) fn new(visible: Visible, name: &str, total: Option<u64>, resumed: u64) -> Bar {
        let name = short(name);
        let drawn = match visible {
            Visible::Never => ProgressBar::hidden(),
            _ => drawn(&name, total),
        };
        drawn.set_position(resumed);
        drawn.reset_eta();
        // For a standard error that cannot show a bar.
        let lines = (visible == Visible::Always && drawn.is_hidden()).then(|| Lines {
            name,
            total,
            done: resumed,
            resumed,
            begun: Instant::now(),
            said: None,
        });
        Bar { drawn, lines }
    }

    /// Counts `n` bytes more.
    pub(crate) fn inc(&mut self, n: u64) {
        self.drawn.inc(n);
        if let Some(lines) = &mut self.lines {
            lines.inc(n);
        }
    }

    /// Takes the bar away, and says the last line.
    pub(crate) fn finish(self) {
        self.drawn.finish_and_clear();
        if let Some(lines) = self.lines {
            lines.say();
        }
    }
}

fn drawn(name: &str, total: Option<u64>) -> ProgressBar {
    let (bar, template) = match total {
        Some(total) => (
            ProgressBar::new(total),
            "{msg} {percent:>3}% {wide_bar} {bytes}/{total_bytes} {binary_bytes_per_sec} ETA {eta}",
        ),
        None => {
            (ProgressBar::no_length(), "{msg} {spinner} {bytes} {binary_bytes_per_sec} {elapsed}")
        }
    };
    let style = ProgressStyle::with_template(template).expect("a valid template");
    bar.with_style(style).with_message(name.to_owned())
}

/// The end of a path, as far as there is room for it beside a bar.
fn short(name: &str) -> String {
    const ROOM: usize = 24;
    let file = Path::new(name).file_name().map_or(name.into(), |file| file.to_string_lossy());
    let name = one_line(&file);
    match name.char_indices().rev().nth(ROOM - 1) {
        Some((at, _)) if at > 0 => format!("\u{2026}{}", &name[at..]),
        _ => name,
    }
}

/// A line a second.
#[derive(Debug)]
struct Lines {
    name: String,
    total: Option<u64>,
    done: u64,
    resumed: u64,
    begun: Instant,
    said: Option<Instant>,
}

impl Lines {
    fn inc(&mut self, n: u64) {
        self.done += n;
        let last = self.said.unwrap_or(self.begun);
        if last.elapsed() >= Duration::from_secs(1) {
            self.said = Some(Instant::now());
            self.say();
        }
    }

    fn say(&self) {
        let seconds = self.begun.elapsed().as_secs_f64().max(1e-9);
        let rate = (self.done - self.resumed) as f64 / seconds;
        let speed = show(rate as u64);
        let (name, done) = (&self.name, show(self.done));
        match self.total {
            Some(total) => {
                let percent =
                    if total == 0 { 100.0 } else { 100.0 * self.done as f64 / total as f64 };
                let left = total.saturating_sub(self.done) as f64 / rate.max(1.0);
                let left =
                    HumanDuration(Duration::try_from_secs_f64(left).unwrap_or(Duration::MAX));
                let total = show(total);
                say(format_args!("{name} {percent:.0}% {done}/{total} {speed}/s ETA {left:#}"));
            }
            None => say(format_args!("{name} {done} {speed}/s")),
        }
    }
}
