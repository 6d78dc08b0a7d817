//! What was measured.

use super::cell::{Method, Transport};

/// One upload.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    pub(crate) method: Method,
    pub(crate) seconds: f64,
    pub(crate) cpu_seconds: f64,
    /// As zc and the loop report them; `std::io::copy` and Go do not tell.
    pub(crate) calls: Option<u64>,
}

/// The medians of several uploads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Figures {
    pub(crate) seconds: f64,
    pub(crate) cpu_seconds: f64,
    /// `None` where they were not counted.
    pub(crate) calls: Option<u64>,
}

impl Figures {
    /// `counted` are the calls of the pass of `std::io::copy` that was made to count them.
    pub(crate) fn of(runs: &[Run], counted: u64) -> Figures {
        Figures {
            seconds: median(runs.iter().map(|run| run.seconds)),
            cpu_seconds: median(runs.iter().map(|run| run.cpu_seconds)),
            calls: median(runs.iter().map(|run| match run.method {
                Method::Std => Some(counted),
                _ => run.calls,
            })),
        }
    }
}

/// Everything the demo found out.
pub(crate) struct Findings {
    pub(crate) size: u64,
    pub(crate) rounds: usize,
    pub(crate) directory: String,
    pub(crate) file_system: String,
    pub(crate) cells: Vec<Cell>,
}

/// One transport and method.
pub(crate) struct Cell {
    pub(crate) transport: Transport,
    pub(crate) method: Method,
    pub(crate) figures: Figures,
}

impl Findings {
    /// What was measured of one method over one transport.
    pub(crate) fn of(&self, transport: Transport, method: Method) -> &Figures {
        let mut cells = self.cells.iter();
        let cell = cells.find(|cell| cell.transport == transport && cell.method == method);
        &cell.expect("every transport and method was measured").figures
    }
}

fn median<T: PartialOrd + Copy>(values: impl Iterator<Item = T>) -> T {
    let mut values: Vec<T> = values.collect();
    values.sort_by(|a, b| a.partial_cmp(b).expect("no NaN"));
    values[values.len() / 2]
}
