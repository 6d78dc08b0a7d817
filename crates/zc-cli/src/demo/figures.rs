//! What was measured.

use super::cell::Method;

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
    /// `None` where nobody can tell.
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

fn median<T: PartialOrd + Copy>(values: impl Iterator<Item = T>) -> T {
    let mut values: Vec<T> = values.collect();
    values.sort_by(|a, b| a.partial_cmp(b).expect("no NaN"));
    values[values.len() / 2]
}
